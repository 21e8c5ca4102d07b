# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of the One-Euro filter."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.geometry.one_euro import OneEuroFilter, smooth_sequence

from ..made_sequence import make_sequence


def run(one_euro, values, times, track=0):
    return np.stack([one_euro.update(v[None], np.array([track]), t)[0] for v, t in zip(values, times, strict=True)])


def walk(seed, count=40, joints=3):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.02, (count, joints, 3)).cumsum(0), np.cumsum(rng.uniform(0.01, 0.1, count))


def by_the_paper(x, times, min_cutoff, beta, d_cutoff):
    """One joint in one dimension, line for line as in the paper's algorithm."""
    result, before, slope = [x[0]], x[0], 0.0
    for i in range(1, len(x)):
        gap = times[i] - times[i - 1]
        alpha_d = 1 / (1 + 1 / (2 * np.pi * d_cutoff * gap))
        slope = alpha_d * (x[i] - before) / gap + (1 - alpha_d) * slope
        alpha = 1 / (1 + 1 / (2 * np.pi * (min_cutoff + beta * abs(slope)) * gap))
        before = alpha * x[i] + (1 - alpha) * before
        result.append(before)
    return np.array(result)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.1, 10), st.floats(0, 10), st.floats(0.2, 5))
def test_on_a_line_it_is_the_papers(seed, min_cutoff, beta, d_cutoff):
    values, times = walk(seed, joints=1)
    values[..., 1:] = 0
    found = run(OneEuroFilter(min_cutoff, beta, d_cutoff), values, times)
    expected = by_the_paper(values[:, 0, 0], times, min_cutoff, beta, d_cutoff)
    np.testing.assert_allclose(found[:, 0, 0], expected, atol=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_turning_and_moving_the_axes_changes_nothing(seed):
    values, times = walk(seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    plain = run(OneEuroFilter(), values, times)
    np.testing.assert_allclose(run(OneEuroFilter(), values @ turn + 5, times), plain @ turn + 5, atol=1e-9)


@settings(max_examples=20)
@given(st.floats(0.2, 8), st.floats(0, 4), st.floats(0.1, 3))
def test_lag_at_constant_speed_is_that_of_the_cutoff(min_cutoff, beta, speed):
    gap, times = 0.02, np.arange(400) * 0.02
    values = np.zeros((400, 1, 3))
    values[:, 0, 2] = speed * times
    lag = (values - run(OneEuroFilter(min_cutoff, beta), values, times))[-1, 0, 2] / speed
    # The velocity that it sees is that from the smoothed place.
    cutoff = min_cutoff + beta * speed * (1 + lag / gap)
    assert lag == pytest.approx(1 / (2 * np.pi * cutoff), rel=1e-3)


def test_stated_lag_at_one_metre_a_second():
    times = np.arange(300) / 30
    values = np.zeros((300, 1, 3))
    values[:, 0, 0] = times
    assert 1000 * (values - run(OneEuroFilter(), values, times))[-1, 0, 0] == pytest.approx(28, abs=0.5)


def test_jitter_of_people_who_stand_is_halved():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.02, (200, 17, 3))
    smooth = run(OneEuroFilter(), values, np.arange(200) / 30)
    assert np.diff(smooth, axis=0).std() < 0.5 * np.diff(values, axis=0).std()
    assert smooth[20:].std() < 0.7 * values.std()


def test_people_come_go_and_return_without_touching_each_other():
    (a, _), (b, _) = walk(1), walk(2)
    times = np.arange(40) / 10
    alone = run(OneEuroFilter(), a, times)
    both, found = OneEuroFilter(max_gap=0.35), []
    for i, time in enumerate(times):
        here = [7, 3] if i < 10 or i >= 20 else [7]
        values = np.stack([{7: a, 3: b}[track][i] for track in here])
        found.append(both.update(values, np.array(here), time))
    np.testing.assert_allclose([f[0] for f in found], alone)
    # After a long gap somebody starts anew; the filter goes on from there.
    np.testing.assert_array_equal(found[20][1], b[20])
    np.testing.assert_allclose([f[1] for f in found[20:]], run(OneEuroFilter(), b[20:], times[20:]), atol=1e-12)


def test_short_gaps_count_by_their_time():
    values, times = walk(4)
    one_euro = OneEuroFilter(max_gap=5)
    for i, (value, time) in enumerate(zip(values, times, strict=True)):
        if 10 <= i < 14:
            result = one_euro.update(np.full((1, 3, 3), np.nan), np.array([0]), time)
            assert np.isnan(result).all()
        else:
            result = one_euro.update(value[None], np.array([0]), time)
    kept = np.r_[:10, 14:40]
    np.testing.assert_allclose(result[0], run(OneEuroFilter(max_gap=5), values[kept], times[kept])[-1])


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(0, 40))
def test_goes_on_from_a_stored_state(seed, stop):
    values, times = walk(seed)
    whole = run(OneEuroFilter(), values, times)
    first, second = OneEuroFilter(), OneEuroFilter()
    for value, time in zip(values[:stop], times[:stop], strict=True):
        first.update(value[None], np.array([0]), time)
    second.load_state_dict(json.loads(json.dumps({k: v.tolist() for k, v in first.state_dict().items()})))
    if stop < 40:
        np.testing.assert_array_equal(run(second, values[stop:], times[stop:]), whole[stop:])


def test_memory_does_not_grow_with_people_who_left():
    one_euro = OneEuroFilter(max_gap=0.2)
    for frame in range(200):
        one_euro.update(np.zeros((2, 17, 3)), np.array([frame, frame + 1000]), frame / 10)
    assert len(one_euro.state_dict()['tracks']) <= 8


def test_sequence_in_parts_is_the_sequence_in_one():
    clip = make_sequence(3, 30, noise=0.02)
    whole = smooth_sequence(clip)
    one_euro = OneEuroFilter()
    parts = [smooth_sequence(clip.select_frames(slice(a, b)), one_euro) for a, b in ((0, 11), (11, 12), (12, 30))]
    np.testing.assert_array_equal(np.concatenate([p.keypoints_cam for p in parts]), whole.keypoints_cam)
    assert whole.keypoints_cam.dtype == np.float32 and whole.keypoints_2d is clip.keypoints_2d

    def jitter(joints):
        joints = joints.reshape(30, 3, 17, 3)
        return np.abs(joints[2:] - 2 * joints[1:-1] + joints[:-2]).mean()

    assert jitter(whole.keypoints_cam) < 0.6 * jitter(clip.keypoints_cam)


def test_empty_frames_pass():
    one_euro = OneEuroFilter()
    assert one_euro.update(np.zeros((0, 17, 3)), np.zeros(0), 0.0).shape == (0, 17, 3)
    one_euro.load_state_dict(one_euro.state_dict())
    assert one_euro.update(np.zeros((1, 17, 3)), np.array([1]), 1.0).shape == (1, 17, 3)


@pytest.mark.parametrize('options', [dict(min_cutoff=0), dict(beta=-1), dict(d_cutoff=np.nan), dict(max_gap=0)])
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        OneEuroFilter(**options)


def test_bad_input_is_named():
    one_euro = OneEuroFilter()
    one_euro.update(np.zeros((1, 17, 3)), np.array([0]), 1.0)
    with pytest.raises(ValueError, match='after 1.0, got 1.0'):
        one_euro.update(np.zeros((1, 17, 3)), np.array([0]), 1.0)
    with pytest.raises(ValueError, match='once a frame'):
        one_euro.update(np.zeros((2, 17, 3)), np.array([0, 0]), 2.0)
    with pytest.raises(ValueError, match=r'\(17, 3\)'):
        one_euro.update(np.zeros((17, 3)), np.array([0]), 2.0)
    with pytest.raises(ValueError, match='no times'):
        one_euro.load_state_dict({'tracks': [1]})
    with pytest.raises(ValueError, match='of one length'):
        one_euro.load_state_dict({**one_euro.state_dict(), 'times': [1.0, 2.0]})
