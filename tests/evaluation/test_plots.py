# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import warnings

import matplotlib
import numpy as np
import pytest
from mmpose.evaluation.functional import keypoint_mpjpe
from PIL import Image

from stereopose_mm.evaluation.joint_errors import clusters_of, joint_errors, pck_curve
from stereopose_mm.evaluation.plots import (
    difference_figure,
    joint_depth_figure,
    joint_figure,
    pck_figure,
    root_distance_figure,
    save_figure,
)
from stereopose_mm.evaluation.pose_errors import JOINTS_14
from stereopose_mm.evaluation.predictions_file import read_predictions
from stereopose_mm.evaluation.tables import Interval
from stereopose_mm.geometry import H36M_17

from .leaderboard_runs import make_run


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp('plots') / 'predictions.npz'
    return path, make_run(path, frames=8)


@pytest.fixture
def run(written):
    return read_predictions(written[0])


def test_the_curve_goes_through_the_metrics(run, written):
    thresholds = np.arange(201)
    for joints, pck, auc in ((None, '3DPCK', '3DAUC'), (JOINTS_14['h36m'], '3DPCK-14', '3DAUC-14')):
        curve = pck_curve(run, thresholds, joints)
        assert curve[150] == pytest.approx(written[1][pck])
        assert curve[:151:5].mean() == pytest.approx(written[1][auc])
        assert (np.diff(curve) >= 0).all() and curve[0] == 0


def test_joint_errors_are_those_of_mmpose(run):
    used = np.flatnonzero(run.mask.all(axis=1) & run.valid)
    for aligned, alignment in ((False, 'none'), (True, 'procrustes')):
        error = joint_errors(run, aligned)
        assert (np.isnan(error) == ~(run.mask & run.valid[:, None])).all()
        expected = 1000 * keypoint_mpjpe(run.pred[used], run.target[used], run.mask[used], alignment)
        assert error[used].mean() == pytest.approx(expected, rel=1e-5)


def bars(axes):
    return np.array([[bar.get_width() for bar in container] for container in axes.containers if len(container) == 17])


def test_bars_are_by_joint(run):
    (axes,) = joint_figure(run).axes
    mpjpe, p_mpjpe = bars(axes)
    np.testing.assert_allclose(mpjpe, np.nanmean(joint_errors(run), axis=0))
    np.testing.assert_allclose(p_mpjpe, np.nanmean(joint_errors(run, aligned=True), axis=0))
    labels = [label.get_text().replace(' ', '_') for label in axes.get_yticklabels()]
    assert tuple(labels) == H36M_17.joint_names
    assert 'MPJPE' in [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize(('draw', 'counted'), [(root_distance_figure, 'poses'), (joint_depth_figure, 'joints')])
def test_bins_hold_everything(run, draw, counted):
    axes, histogram = draw(run).axes
    heights = np.array([patch.get_height() for patch in histogram.patches])
    joints = (run.mask & run.valid[:, None])[:, 1:].sum()
    assert heights.sum() == (run.valid.sum() if counted == 'poses' else joints)
    means = axes.lines[0].get_ydata()
    errors = joint_errors(run)
    overall = np.nanmean(np.nanmean(errors[run.valid], axis=1)) if counted == 'poses' else np.nanmean(errors[:, 1:])
    assert (heights[heights > 0] * means).sum() / heights.sum() == pytest.approx(overall)
    # Bins of a few poses are hollow and have their count written over them.
    few = heights[(heights > 0) & (heights < 30)]
    assert sorted(int(text.get_text()) for text in histogram.texts) == sorted(few) and len(few)
    assert histogram.get_ylabel() == counted and axes.get_ylim()[0] == 0


def test_distance_needs_absolute_ground_truth(run):
    run.target_root[:] = 0
    with pytest.raises(ValueError, match='target_root is not in front'):
        root_distance_figure(run)


def test_sequences_are_what_intervals_are_made_of(run):
    assert clusters_of(run)[1:] == (30, 'sequences')
    assert '30 sequences' in joint_figure(run).axes[0].texts[0].get_text()
    run.sequence = None
    assert clusters_of(run)[1:] == (240, 'poses')


def test_curves_of_several_runs_and_their_differences(run):
    legend = pck_figure(dict(ours=run, theirs=run)).axes[0].get_legend()
    assert [text.get_text()[: text.get_text().index(' (AUC')] for text in legend.get_texts()] == ['ours', 'theirs']
    rows = [('Walking', Interval(-2.0, -3.0, -1.0)), ('Avg (frames)', Interval(1.0, np.nan, np.nan))]
    (axes,) = difference_figure(dict(theirs=rows), 'ours', 'MPJPE, mm', -1, averages=1).axes
    assert [text.get_text() for text in axes.texts] == ['← better', 'worse →']
    ((start, end),) = [segment[:, 0] for segment in axes.collections[0].get_segments() if len(segment)][:1]
    assert (start, end) == (-3, -1) and axes.get_xlim()[0] == -axes.get_xlim()[1]
    (axes,) = difference_figure(dict(theirs=rows), 'ours', '3DPCK, %', 1).axes
    assert [text.get_text() for text in axes.texts] == ['← worse', 'better →']


def test_very_small_sets(tmp_path):
    """Two poses, as of a sample: nothing to average over, and nothing to warn of."""
    make_run(tmp_path / 'run.npz')
    run = read_predictions(tmp_path / 'run.npz')
    run.valid[2:] = False
    run.pred[0] = run.target[0]
    for draw in (joint_figure, joint_depth_figure, root_distance_figure, lambda run: pck_figure({'ours': run})):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            draw(run).draw_without_rendering()


def test_files_are_whole_fit_a_column_and_repeat(run, tmp_path):
    before = dict(matplotlib.rcParams)
    first, second = (save_figure(joint_depth_figure(run), tmp_path, name) for name in ('a', 'b'))
    assert matplotlib.rcParams == before
    assert [path.name for path in first] == ['a.pdf', 'a.png']
    assert first[0].read_bytes().startswith(b'%PDF') and b'/Type3' not in first[0].read_bytes()
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    with Image.open(first[1]) as picture:
        assert picture.width == 1005 and picture.info['dpi'][0] == pytest.approx(300, abs=0.1)
        # It is not an empty page.
        assert len(np.unique(np.asarray(picture.convert('RGB')).reshape(-1, 3), axis=0)) > 50
