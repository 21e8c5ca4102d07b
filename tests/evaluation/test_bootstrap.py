# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from stereopose_mm.evaluation import bootstrap
from stereopose_mm.evaluation.bootstrap import bootstrap_means, cluster_sums, mean_interval, percentile_interval
from stereopose_mm.evaluation.comparison import compare
from stereopose_mm.evaluation.predictions_file import read_predictions

from .leaderboard_runs import ACTIONS, make_run


def draws_of(values, cluster=None, resamples=2000, seed=0):
    """Resampled means ``(B, Q)`` of values ``(N, Q)``."""
    cluster = np.arange(len(values)) if cluster is None else cluster
    sums, counts = cluster_sums(values, cluster, cluster.max() + 1)
    return bootstrap_means(sums[:, :, None], counts[:, :1], resamples, seed)[..., 0]


def test_intervals_cover_as_often_as_they_say():
    """2,000 sets of 60 numbers of known mean: percentile intervals of so few cover 94 % (Efron's n - 1 for n)."""
    rng = np.random.default_rng(0)
    values = 3 + 2 * rng.normal(size=(60, 2000))
    low, high = percentile_interval(draws_of(values))
    assert 0.925 < ((low < 3) & (high > 3)).mean() < 0.955
    half = mean_interval(values, np.arange(60), 60)
    assert 0.93 < (np.abs(values.mean(axis=0) - 3) < half).mean() < 0.96


def test_frames_of_a_sequence_are_not_independent():
    """40 sequences of 25 frames that share most of their error: only intervals from whole sequences cover."""
    rng = np.random.default_rng(1)
    values = np.repeat(rng.normal(size=(40, 1000)), 25, axis=0) + 0.3 * rng.normal(size=(1000, 1000))
    cluster = np.repeat(np.arange(40), 25)
    low, high = percentile_interval(draws_of(values, cluster, 1000))
    assert 0.91 < ((low < 0) & (high > 0)).mean() < 0.96
    half = mean_interval(values, cluster, 40)
    assert 0.92 < (np.abs(values.mean(axis=0)) < half).mean() < 0.965
    low, high = percentile_interval(draws_of(values, None, 500))
    assert ((low < 0) & (high > 0)).mean() < 0.5


def test_agrees_with_scipy_on_paired_runs():
    rng = np.random.default_rng(2)
    a = 50 + 10 * rng.normal(size=300)
    b = a - 1 + 3 * rng.normal(size=300)
    expected = stats.bootstrap(
        (a, b), lambda x, y, axis: (y - x).mean(axis=axis), paired=True, vectorized=True, n_resamples=20_000,
        method='percentile', random_state=np.random.default_rng(3), batch=500,
    )  # fmt: skip
    draws = draws_of(np.stack([a, b, b - a], axis=1), resamples=20_000)
    low, high = percentile_interval(draws)
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert low[2] == pytest.approx(expected.confidence_interval.low, abs=0.03 * width)
    assert high[2] == pytest.approx(expected.confidence_interval.high, abs=0.03 * width)
    assert draws[:, 2].std() == pytest.approx(expected.standard_error, rel=0.03)
    # Pairing is what makes it narrow.
    np.testing.assert_allclose(draws[:, 1] - draws[:, 0], draws[:, 2], atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.floats(-100, 100)),
    st.floats(0.01, 100),
    st.floats(-50, 50),
)
def test_scale_and_shift_carry_over(values, scale, shift):
    draws = draws_of(values, resamples=50)
    np.testing.assert_allclose(draws_of(scale * values + shift, resamples=50), scale * draws + shift, atol=1e-6)
    assert (draws >= values.min(axis=0) - 1e-9).all() and (draws <= values.max(axis=0) + 1e-9).all()


def test_memory_is_bounded_and_chunks_change_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(size=(37, 2))
    whole = draws_of(values, resamples=101)
    monkeypatch.setattr(bootstrap, '_CHUNK', 100)
    np.testing.assert_allclose(draws_of(values, resamples=101), whole, atol=1e-12)
    assert not np.array_equal(draws_of(values, resamples=101, seed=1), whole)


def test_groups_that_a_resample_misses():
    """One pose of group 1 in one of two clusters: a quarter of the resamples has none of it."""
    sums, counts = np.array([[[1.0, 5.0]], [[2.0, 0.0]]]), np.array([[1, 1], [1, 0]])
    draws = bootstrap_means(sums, counts, 4000)
    assert np.isnan(draws[:, 0, 1]).mean() == pytest.approx(0.25, abs=0.03)
    assert np.nanmin(draws[:, 0, 1]) == np.nanmax(draws[:, 0, 1]) == 5
    low, high = percentile_interval(draws)
    assert (low[0, 1], high[0, 1]) == (5, 5) and (low[0, 0], high[0, 0]) == (1, 2)
    assert np.isnan(mean_interval(np.array([[1.0], [np.nan]]), np.array([0, 1]), 2)).all()


def test_wrong_arguments():
    with pytest.raises(ValueError, match='resamples is 0'):
        bootstrap_means(np.ones((2, 1, 1)), np.ones((2, 1)), 0)
    with pytest.raises(ValueError, match='sums is empty'):
        bootstrap_means(np.ones((0, 1, 1)), np.ones((0, 1)), 10)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    # The last file has its poses the other way round.
    options = dict(first=dict(), same=dict(order=-1), better=dict(seed=4, noise=0.03, order=-1))
    for name, option in options.items():
        make_run(folder / f'{name}.npz', **option)
    return {name: read_predictions(folder / f'{name}.npz') for name in options}


def test_runs_are_paired_by_name(runs):
    result = compare(runs, group_by='action', resamples=500)
    assert result.runs == ('first', 'same', 'better') and result.rows == (*ACTIONS, 'Avg (actions)', 'Avg (frames)')
    # The same predictions differ by nothing, in every resample.
    for difference, share in zip(result.differences[1], result.shares[1], strict=True):
        assert (difference.value, difference.low, difference.high, share) == (0, 0, 0, 0)
    errors = {name: run.errors[:, list(run.error_labels).index('MPJPE')] for name, run in runs.items()}
    assert result.means[2][-1].value == pytest.approx(np.nanmean(errors['better']))
    by_action = [np.nanmean(errors['better'][runs['better'].groups['action'] == action]) for action in ACTIONS]
    assert [mean.value for mean in result.means[2][:15]] == pytest.approx(by_action)
    assert result.means[2][-2].value == pytest.approx(np.mean(by_action))
    last = result.differences[2][-1]
    assert last.value == pytest.approx(result.means[2][-1].value - result.means[0][-1].value)
    assert last.low < last.value < last.high < 0
    assert result.shares[2, -1] == 100
    # A sequence of each subject: 30; one pose has no label and one no finite prediction.
    assert (result.unit, result.num_units, result.counts[-1], result.left_out) == ('sequences', 30, 118, 1)


def test_an_error_where_higher_is_better(runs):
    result = compare(runs, '3DPCK', resamples=200)
    assert result.better == 1 and result.shares[2, -1] == 100 and result.differences[2][-1].value > 0
    assert result.rows == ('Avg (frames)',)


def test_other_clusters(runs):
    result = compare(runs, cluster_by='action', resamples=200)
    assert (result.unit, result.num_units) == ('actions', 15)
    assert any('fewer than 20 actions are rough' in note for note in result.notes())
    # Of one cluster there is no interval.
    of_action = compare(runs, group_by='action', cluster_by='action', resamples=200)
    assert np.isnan(of_action.means[0][0].low) and not np.isnan(of_action.means[0][-1].low)
    assert of_action.means[0][0].value == compare(runs, group_by='action', resamples=1).means[0][0].value


def test_poses_without_sequences(tmp_path):
    for name, seed in (('a', 0), ('b', 1)):
        make_run(tmp_path / f'{name}.npz', seed=seed, sequences=False)
    result = compare({name: read_predictions(tmp_path / f'{name}.npz') for name in 'ab'}, resamples=100)
    assert (result.unit, result.num_units) == ('poses', 118)
    assert any('taken as independent' in note for note in result.notes())


def test_runs_that_cannot_be_compared(runs, tmp_path):
    first = runs['first']
    make_run(tmp_path / 'fewer.npz', frames=3)
    make_run(tmp_path / 'other.npz', shift=np.linspace(0, 0.01, 17)[:, None])
    make_run(tmp_path / 'relative.npz', absolute=False)
    fewer, other, relative = (read_predictions(tmp_path / f'{name}.npz') for name in ('fewer', 'other', 'relative'))
    for others, options, message in (
        ({}, {}, 'runs has 1; takes two or more'),
        (dict(b=fewer), {}, r"b: has no pose 'S11/Directions_0060.jpg', which a has \(114 in all\)"),
        (dict(b=other), {}, "b: has another ground truth for pose 'S9/Directions_0000.jpg' than a"),
        (dict(b=runs['better']), dict(label='PCK'), r"a: has no PCK; has \['MPJPE'"),
        (dict(b=relative), dict(label='MRPE'), "b: has no MRPE; has .'MPJPE'"),
        (dict(b=runs['better']), dict(group_by='camera'), "a: has no groups by 'camera'"),
        (dict(b=runs['better']), dict(cluster_by='camera'), "a: has no groups by 'camera'"),
        (dict(b=runs['better']), dict(resamples=0), 'resamples is 0'),
    ):
        with pytest.raises(ValueError, match=message):
            compare(dict(a=first) | others, **(dict(resamples=10) | options))
