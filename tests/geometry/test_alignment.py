# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpose.evaluation.functional import keypoint_mpjpe

from stereopose_mm.geometry.alignment import (
    mpjpe,
    mrpe,
    n_mpjpe,
    p_mpjpe,
    procrustes_align,
    root_relative,
)

ERRORS = [mpjpe, p_mpjpe, n_mpjpe]
seeds = st.integers(0, 2**31 - 1)


def random_poses(n=6, k=17, seed=0, dtype=torch.float64, size=0.5):
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(n, k, 3, generator=generator, dtype=torch.float64).to(dtype)


def random_rotations(n, seed):
    q, _ = torch.linalg.qr(random_poses(n, 3, seed))
    return q * torch.linalg.det(q).sign()[:, None, None]


def assert_small(error, tolerance):
    assert error.shape[0] > 0
    assert (error.abs() <= tolerance).all(), error


def test_mpjpe_of_known_poses():
    target = torch.zeros(2, 2, 3)
    pred = torch.tensor([[[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0], [2.0, 3.0, 6.0]]])
    torch.testing.assert_close(mpjpe(pred, target), torch.tensor([3.0, 3.5]))


def test_n_mpjpe_of_known_pose():
    # Best scale of (1, 1) onto (1, 3) is 2: the joints are 1 off each.
    pred = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    target = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 3.0, 0.0]]])
    torch.testing.assert_close(n_mpjpe(pred, target), torch.tensor([1.0]))


def test_mrpe_of_known_roots():
    pred = torch.tensor([[1.0, 2.0, 5.0], [0.0, 0.0, 4.0]])
    target = torch.tensor([[1.0, 2.0, 3.0], [0.0, 3.0, 8.0]])
    torch.testing.assert_close(mrpe(pred, target), torch.tensor([2.0, 5.0]))


@pytest.mark.parametrize(('error', 'alignment'), [(mpjpe, 'none'), (n_mpjpe, 'scale'), (p_mpjpe, 'procrustes')])
def test_agrees_with_mmpose(error, alignment):
    pred, target = random_poses(50, seed=1), random_poses(50, seed=2)
    mask = np.ones(pred.shape[:2], dtype=bool)
    expected = keypoint_mpjpe(pred.numpy(), target.numpy(), mask, alignment)
    assert error(pred, target).mean().item() == pytest.approx(expected, rel=1e-12)


def test_agrees_with_scipy():
    spatial = pytest.importorskip('scipy.spatial')
    target = random_poses(10, seed=3)
    pred = target + random_poses(10, seed=4, size=0.05)
    aligned = procrustes_align(pred, target)
    centred = target - target.mean(dim=1, keepdim=True)
    disparity = ((aligned - target) ** 2).sum((1, 2)) / (centred**2).sum((1, 2))
    pairs = zip(target.numpy(), pred.numpy(), strict=True)
    expected = [spatial.procrustes(y, x)[2] for y, x in pairs]
    np.testing.assert_allclose(disparity, expected, rtol=1e-9)


def proper(pred, target):
    """Which pairs scipy's and torchmetrics' alignments, which excuse a mirror image, do not mirror."""
    centred = [poses - poses.mean(dim=1, keepdim=True) for poses in (pred, target)]
    return torch.linalg.det(centred[1].mT @ centred[0]) > 0


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_agrees_with_scipy_and_torchmetrics_where_they_do_not_mirror(seed):
    pytest.importorskip('torchmetrics')
    from scipy.linalg import orthogonal_procrustes
    from torchmetrics.functional.shape import procrustes_disparity

    target, pred = random_poses(12, seed=seed), random_poses(12, seed=seed + 1)
    pred = pred * torch.where(proper(pred, target), 1, -1)[:, None, None]
    assert proper(pred, target).all()
    aligned = procrustes_align(pred, target)
    centred = target - target.mean(dim=1, keepdim=True)
    disparity = ((aligned - target) ** 2).sum((1, 2)) / (centred**2).sum((1, 2))
    torch.testing.assert_close(disparity, procrustes_disparity(target, pred), rtol=1e-9, atol=1e-12)
    for i in range(12):
        x = (pred[i] - pred[i].mean(0)).numpy()
        rotation, trace = orthogonal_procrustes(x, centred[i].numpy())
        expected = x @ rotation * trace / (x * x).sum() + target[i].mean(0).numpy()
        np.testing.assert_allclose(aligned[i], expected, rtol=1e-9, atol=1e-12)
    # A mirror image is the same pose to them.
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0])
    ours = ((procrustes_align(mirrored, target) - target) ** 2).sum((1, 2)) / (centred**2).sum((1, 2))
    theirs = procrustes_disparity(target, mirrored)
    assert_small(theirs, 1e-12)
    assert (ours > 1e-3).all()


@settings(max_examples=40, deadline=None)
@given(seed=seeds, log_scale=st.floats(-4, 4), distance=st.floats(0, 20))
def test_p_mpjpe_ignores_similarity_transforms(seed, log_scale, distance):
    target, other = random_poses(seed=seed), random_poses(seed=seed + 1)
    move = distance * random_poses(6, 1, seed + 3)
    moved = np.exp(log_scale) * other @ random_rotations(6, seed + 2).mT + move
    torch.testing.assert_close(p_mpjpe(moved, target), p_mpjpe(other, target), rtol=1e-7, atol=1e-10)
    assert_small(p_mpjpe(moved, other), 1e-10)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, log_scale=st.floats(-6, 6))
def test_n_mpjpe_ignores_scale_only(seed, log_scale):
    target, pred = random_poses(seed=seed), random_poses(seed=seed + 1)
    scaled = np.exp(log_scale) * pred
    torch.testing.assert_close(n_mpjpe(scaled, target), n_mpjpe(pred, target))
    assert (n_mpjpe(target @ random_rotations(6, seed).mT + 1, target) > 1e-3).all()


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_alignment_is_the_best_one(seed):
    """No similarity transform near the one found has a lower sum of squares."""
    target, pred = random_poses(seed=seed), random_poses(seed=seed + 1)
    aligned = procrustes_align(pred, target)
    best = ((aligned - target) ** 2).sum((1, 2))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(5):
        twist = 0.01 * torch.randn(6, 3, 3, generator=generator, dtype=torch.float64)
        turn = torch.matrix_exp(twist - twist.mT)
        scale = 1 + 0.01 * torch.randn(6, 1, 1, generator=generator, dtype=torch.float64)
        shift = 0.01 * torch.randn(6, 1, 3, generator=generator, dtype=torch.float64)
        nearby = scale * aligned @ turn.mT + shift
        assert (((nearby - target) ** 2).sum((1, 2)) >= best).all()


def test_reflections_are_not_excused():
    target = random_poses()
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0])
    assert (p_mpjpe(mirrored, target) > 0.05).all()
    flat = target * torch.tensor([1.0, 1.0, 0.0])  # in the plane a mirror image is a half turn
    assert_small(p_mpjpe(flat * torch.tensor([-1.0, 1.0, 1.0]), flat), 1e-12)


@pytest.mark.parametrize('error', ERRORS)
def test_masked_joints_are_left_out(error):
    target, pred = random_poses(seed=5), random_poses(seed=6)
    mask = torch.ones(6, 17, dtype=torch.bool)
    mask[:, 12:] = False
    expected = error(pred[:, :12], target[:, :12])
    for hidden in (1e6, torch.nan, torch.inf):
        pred[:, 12:], target[:, 12:] = hidden, -hidden
        torch.testing.assert_close(error(pred, target, mask), expected)


def test_alignment_applies_to_masked_joints_too():
    target = random_poses()
    pred = 3 * target @ random_rotations(6, 1).mT + 1
    mask = torch.ones(6, 17, dtype=torch.bool)
    mask[:, 12:] = False
    torch.testing.assert_close(procrustes_align(pred, target, mask), target)


@pytest.mark.parametrize('error', ERRORS)
def test_pose_without_labelled_joint_is_nan(error):
    pred, target = random_poses(3, seed=1), random_poses(3, seed=2)
    mask = torch.ones(3, 17, dtype=torch.bool)
    mask[1] = False
    result = error(pred, target, mask)
    assert result.isnan().tolist() == [False, True, False]
    torch.testing.assert_close(result[[0, 2]], error(pred[[0, 2]], target[[0, 2]]))


@pytest.mark.parametrize('error', ERRORS)
@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_pose_that_is_not_finite_spoils_no_other(error, value):
    pred, target = random_poses(3, seed=1), random_poses(3, seed=2)
    expected = error(pred, target)
    pred[1, 4, 2] = value
    result = error(pred, target)
    assert not result[1].isfinite()
    torch.testing.assert_close(result[[0, 2]], expected[[0, 2]])


def line(direction, k=17):
    return torch.linspace(-1, 1, k, dtype=torch.float64)[:, None] * torch.tensor(direction)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ('pred', 'target', 'expected'),
    [
        (line([0.0, 1.0, 0.0]), line([0.3, 0.0, 0.4]), 0.0),
        (torch.zeros(17, 3), torch.zeros(17, 3), 0.0),
        (torch.full((17, 3), 5.123), line([1.0, 0.0, 0.0]), line([1.0, 0.0, 0.0]).abs().sum() / 17),
        (line([1.0, 0.0, 0.0]), torch.full((17, 3), 5.123), 0.0),
    ],
    ids=['lines', 'zeros', 'pred-one-point', 'target-one-point'],
)
def test_degenerate_poses(pred, target, expected, dtype):
    pred, target = pred.to(dtype)[None], target.to(dtype)[None]
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    assert p_mpjpe(pred, target).item() == pytest.approx(float(expected), abs=tolerance)
    assert procrustes_align(pred, target).isfinite().all()
    assert n_mpjpe(pred, target).isfinite().all()


def test_one_labelled_joint_is_aligned_onto_its_target():
    pred, target = random_poses(seed=1), random_poses(seed=2)
    mask = torch.zeros(6, 17, dtype=torch.bool)
    mask[:, 3] = True
    assert_small(p_mpjpe(pred, target, mask), 1e-12)
    assert procrustes_align(pred, target, mask).isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    pred, target = random_poses(seed=1, dtype=dtype), random_poses(seed=2, dtype=dtype)
    for error in ERRORS:
        assert error(pred, target).dtype == dtype
    assert procrustes_align(pred, target).dtype == dtype
    assert root_relative(pred).dtype == dtype
    assert mrpe(pred[:, 0], target[:, 0]).dtype == dtype


def test_p_mpjpe_of_float32_is_accurate_far_from_the_origin():
    target = random_poses(100, seed=1, dtype=torch.float32) + torch.tensor([0.0, 0.0, 30.0])
    pred = target + random_poses(100, seed=2, dtype=torch.float32, size=1e-3)
    expected = p_mpjpe(pred.double(), target.double())
    torch.testing.assert_close(p_mpjpe(pred, target).double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize('error', ERRORS)
def test_no_poses(error):
    assert error(torch.zeros(0, 17, 3), torch.zeros(0, 17, 3)).shape == (0,)


def test_root_relative():
    pose = random_poses()
    for index in (0, 14, -1):
        centred = root_relative(pose, index)
        assert (centred[:, index] == 0).all()
        torch.testing.assert_close(centred + pose[:, [index]], pose)
    with pytest.raises(ValueError, match=r'root_index is 17; takes a joint of 0\.\.16'):
        root_relative(pose, 17)


@pytest.mark.parametrize('error', [*ERRORS, procrustes_align])
def test_bad_arguments_are_named(error):
    pose = random_poses()
    with pytest.raises(ValueError, match=r'pred is torch.float64 \(17, 3\)'):
        error(pose[0], pose)
    with pytest.raises(ValueError, match=r'target is torch.int64'):
        error(pose, pose.long())
    with pytest.raises(ValueError, match=r'pred is \(6, 16, 3\)'):
        error(pose[:, 1:], pose)
    with pytest.raises(ValueError, match=r'mask is torch.float64 \(6, 17\); takes torch.bool'):
        error(pose, pose, torch.ones(6, 17, dtype=torch.float64))
    with pytest.raises(ValueError, match=r'mask is torch.bool \(6, 16\)'):
        error(pose, pose, torch.ones(6, 16, dtype=torch.bool))


def test_mrpe_bad_arguments_are_named():
    with pytest.raises(ValueError, match='pred_root'):
        mrpe(torch.zeros(4, 17, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match='target_root'):
        mrpe(torch.zeros(4, 3), torch.zeros(5, 3))
