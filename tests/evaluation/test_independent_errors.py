# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Every error, pose by pose, against an implementation that is not ours, or the paper's formula as a plain loop."""

import math

import numpy as np
import pytest
import torch
from mmpose.evaluation.functional import keypoint_mpjpe, keypoint_pck_accuracy

from stereopose_mm.evaluation.pose_errors import JOINTS_14, POSE_ERRORS, ErrorSettings, Poses, compute_errors
from stereopose_mm.geometry.skeletons import H36M_17

STEP = 2
SETTINGS = ErrorSettings(pck_threshold=0.12, frame_step=STEP)
ALL = list(range(17))
NOT_NECK = [joint for joint in ALL if joint != H36M_17.index('neck_base')]


def by_mmpose(alignment, joints):
    def error(p, i):
        kept = [joint for joint in joints if p['mask'][i, joint]]
        if not kept:
            return math.nan
        if alignment == 'procrustes' and np.ptp(p['pred'][i, kept], axis=0).max() == 0:
            # MMPose divides by the spread of the prediction: best is then the mean of the target.
            target = p['target'][i, kept]
            return 1000 * np.linalg.norm(target - target.mean(0), axis=1).mean()
        pair = p['pred'][i : i + 1, kept], p['target'][i : i + 1, kept]
        return 1000 * keypoint_mpjpe(*pair, np.ones((1, len(kept)), dtype=bool), alignment)

    return error


def share(pred, target, threshold):
    """MMPose's PCK of one pose, all of whose joints count."""
    mask = np.ones((1, len(pred)), dtype=bool)
    return keypoint_pck_accuracy(pred[None], target[None], mask, threshold, np.ones((1, 3)))[1]


def pck_by_mmpose(joints, source='', thresholds=(0.12,)):
    def error(p, i):
        kept = [joint for joint in joints if p['mask'][i, joint]]
        pair = p[f'pred{source}'][i, kept], p[f'target{source}'][i, kept]
        return 100 * np.mean([share(*pair, t) for t in thresholds]) if kept else math.nan

    return error


def auc_by_mmpose(joints, source=''):
    return pck_by_mmpose(joints, source, np.linspace(0, 0.15, 31))


def bone_lengths(p, i):
    errors = []
    for a, b in H36M_17.bones:
        if p['mask'][i, a] and p['mask'][i, b]:
            errors.append(
                abs(math.dist(p['pred'][i, a], p['pred'][i, b]) - math.dist(p['target'][i, a], p['target'][i, b]))
            )
    return 1000 * sum(errors) / len(errors) if errors else math.nan


def velocity(p, i):
    """Equation of Pavllo et al.: the mean distance of first differences."""
    for j in range(len(p['frame'])):
        if p['sequence'][j] == p['sequence'][i] and p['frame'][j] == p['frame'][i] - STEP:
            errors = [
                math.dist(p['pred'][i, k] - p['pred'][j, k], p['target'][i, k] - p['target'][j, k])
                for k in ALL
                if p['mask'][i, k] and p['mask'][j, k]
            ]
            return 1000 * sum(errors) / len(errors) if errors else math.nan
    return math.nan


def root_axis(axis):
    return lambda p, i: 1000 * abs(p['pred_root'][i, axis] - p['target_root'][i, axis])


INDEPENDENT = {
    'mpjpe': by_mmpose('none', ALL),
    'p_mpjpe': by_mmpose('procrustes', ALL),
    'n_mpjpe': by_mmpose('scale', ALL),
    'mrpe': lambda p, i: 1000 * math.dist(p['pred_root'][i], p['target_root'][i]),
    'reprojection_error': lambda p, i: p['reprojection_error'][i],
    'mpjpe_14': by_mmpose('none', JOINTS_14['h36m']),
    'p_mpjpe_14': by_mmpose('procrustes', JOINTS_14['h36m']),
    'mpjpe_16': by_mmpose('none', NOT_NECK),
    'p_mpjpe_16': by_mmpose('procrustes', NOT_NECK),
    'pck_3d': pck_by_mmpose(ALL),
    'auc_3d': auc_by_mmpose(ALL),
    'pck_3d_14': pck_by_mmpose(JOINTS_14['h36m']),
    'auc_3d_14': auc_by_mmpose(JOINTS_14['h36m']),
    'pck_3d_abs': pck_by_mmpose(JOINTS_14['h36m'], '_cam'),
    'auc_3d_root': lambda p, i: (
        100 * np.mean([share(p['pred_root'][[i]], p['target_root'][[i]], t) for t in np.linspace(0, 0.15, 31)])
    ),
    'mrpe_x': root_axis(0),
    'mrpe_y': root_axis(1),
    'mrpe_z': root_axis(2),
    'bone_length_error': bone_lengths,
    'mpjve': velocity,
}


def random_case(seed, n=8):
    rng = np.random.default_rng(seed)
    target = 0.3 * rng.normal(size=(n, 17, 3))
    pred = target + 0.07 * rng.normal(size=target.shape)
    target_root, offset = rng.uniform((-1, -1, 2), (1, 1, 6), (n, 3)), 0.05 * rng.normal(size=(n, 3))
    return dict(
        pred=pred,
        target=target,
        mask=np.ones((n, 17), dtype=bool),
        target_root=target_root,
        pred_root=target_root + offset,
        reprojection_error=rng.random(n),
        target_cam=target + target_root[:, None],
        pred_cam=pred + (target_root + offset)[:, None],
        sequence=np.array([3, 1, 3, 3, 1, 1, 3, 1])[:n],
        frame=np.array([4, 9, 6, 7, 7, 2, 9, 11])[:n],
    )


def make_case(name, seed):
    p = random_case(seed)
    rng = np.random.default_rng(seed)
    line = np.linspace(-1, 1, 17)[:, None]
    if name == 'reflected':
        p['pred'] = p['target'] * np.array([-1, 1, 1])
    elif name == 'collinear':
        p['pred'], p['target'] = (line * rng.normal(size=(8, 1, 3)) for _ in range(2))
    elif name == 'collinear prediction':
        p['pred'] = line * rng.normal(size=(8, 1, 3))
    elif name == 'flat':
        p['pred'][..., 2], p['target'][..., 1] = 0, 0
    elif name == 'prediction in one point':
        p['pred'] = np.broadcast_to(rng.normal(size=(8, 1, 3)), p['pred'].shape).copy()
    elif name == 'one joint valid':
        p['mask'][:] = np.arange(17) == rng.integers(17, size=(8, 1))
    elif name == 'some valid':
        p['mask'] = rng.random((8, 17)) > 0.6
    elif name == 'none valid':
        p['mask'][:] = False
    return p


@pytest.mark.parametrize('seed', [1, 2])
@pytest.mark.parametrize(
    'case',
    [
        'random',
        'reflected',
        'collinear',
        'collinear prediction',
        'flat',
        'prediction in one point',
        'one joint valid',
        'some valid',
        'none valid',
    ],
)
def test_every_error_agrees_with_an_independent_implementation(case, seed):
    assert INDEPENDENT.keys() == POSE_ERRORS.keys()
    p = make_case(case, seed)
    poses = Poses(**{key: torch.from_numpy(value) for key, value in p.items()})
    errors = compute_errors(poses, list(POSE_ERRORS.values()), SETTINGS)
    for name, independent in INDEPENDENT.items():
        expected = [independent(p, i) for i in range(8)]
        np.testing.assert_allclose(errors[POSE_ERRORS[name].label], expected, rtol=1e-9, atol=1e-9, err_msg=name)
    velocities = ~errors['MPJVE'].isnan()
    if case in ('random', 'reflected', 'flat'):
        assert velocities.tolist() == [False, True, True, False, False, False, True, True]
    if case == 'none valid':
        rooted = {'MRPE', 'MRPE-x', 'MRPE-y', 'MRPE-z', '3DAUC-root', 'reprojection-error-px'}
        assert {label for label, error in errors.items() if not error.isnan().all()} == rooted


@pytest.mark.parametrize('chunk', [1, 3, 8])
def test_chunks_change_nothing(monkeypatch, chunk):
    p = random_case(3)
    poses = Poses(**{key: torch.from_numpy(value) for key, value in p.items()})
    rows = list(POSE_ERRORS.values())
    expected = compute_errors(poses, rows, SETTINGS)
    monkeypatch.setattr('stereopose_mm.evaluation.pose_errors._CHUNK', chunk)
    result = compute_errors(poses, rows, SETTINGS)
    assert list(result) == list(expected) == [row.label for row in rows]
    for label in expected:
        torch.testing.assert_close(result[label], expected[label], equal_nan=True, rtol=1e-12, atol=1e-12)
    assert {len(error) for error in compute_errors(poses[:0], rows, SETTINGS).values()} == {0}
