# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpose.evaluation.functional import keypoint_mpjpe, keypoint_pck_accuracy
from scipy.spatial.distance import pdist, squareform

from stereopose_mm.geometry.errors import AUC_THRESHOLDS, auc, bone_length_error, mpjve, mrpe_axis, pck, previous_frame
from stereopose_mm.geometry.skeletons import H36M_17

BONES = H36M_17.bones
seeds = st.integers(0, 2**31 - 1)


def bones(pred, target, mask=None):
    return bone_length_error(pred, target, BONES, mask)


def pck_150(pred, target, mask=None):
    return pck(pred, target, mask=mask)


def one_sequence(pred, target, mask=None):
    frame = torch.arange(len(pred))
    return mpjve(pred, target, torch.zeros_like(frame), frame, mask)


ERRORS = [pck_150, auc, bones]


def random_poses(n=6, k=17, seed=0, dtype=torch.float64, size=0.08):
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(n, k, 3, generator=generator, dtype=torch.float64).to(dtype)


def random_masks(n=6, k=17, seed=0):
    return torch.rand(n, k, generator=torch.Generator().manual_seed(seed)) > 0.3


@settings(max_examples=20, deadline=None)
@given(seed=seeds, dtype=st.sampled_from([torch.float16, torch.float32, torch.float64]))
def test_exact_poses(seed, dtype):
    pose = random_poses(seed=seed, dtype=dtype)
    assert (pck(pose, pose) == 1).all()
    torch.testing.assert_close(auc(pose, pose), torch.full((6,), 30 / 31, dtype=dtype))
    assert (bones(pose, pose) == 0).all()
    assert (one_sequence(pose, pose)[1:] == 0).all()
    assert {error(pose, pose).dtype for error in [*ERRORS, one_sequence]} == {dtype}


@settings(max_examples=30, deadline=None)
@given(seed=seeds, dtype=st.sampled_from([torch.float32, torch.float64]))
def test_auc_is_the_mean_of_pck_over_31_thresholds(seed, dtype):
    pred, target, mask = random_poses(seed=seed, dtype=dtype), random_poses(seed=seed + 1, dtype=dtype), random_masks()
    assert len(AUC_THRESHOLDS) == 31 and AUC_THRESHOLDS[::10] == (0.0, 0.05, 0.1, 0.15)
    curve = [torch.zeros(6, dtype=dtype), *(pck(pred, target, t, mask) for t in AUC_THRESHOLDS[1:])]
    torch.testing.assert_close(auc(pred, target, mask), torch.stack(curve).mean(0))


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_pck_and_auc_agree_with_mmpose(seed):
    pred, target = random_poses(seed=seed), random_poses(seed=seed + 1)
    mask = np.ones((6, 17), dtype=bool)
    _, expected, _ = keypoint_pck_accuracy(pred.numpy(), target.numpy(), mask, 0.15, np.ones((6, 3)))
    assert pck(pred, target).mean().item() == pytest.approx(expected)
    curve = [keypoint_pck_accuracy(pred.numpy(), target.numpy(), mask, t, np.ones((6, 3)))[1] for t in AUC_THRESHOLDS]
    assert auc(pred, target).mean().item() == pytest.approx(np.mean(curve))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_joint_at_the_threshold_is_wrong(dtype):
    target = torch.zeros(1, 3, 3, dtype=dtype)
    pred = target.clone()
    pred[0, :, 0] = torch.tensor([0.25, 0.2499, 0.2501])
    assert pck(pred, target, threshold=0.25).item() == pytest.approx(1 / 3)
    pred[0, :, 0] = torch.tensor([0.125, 1.0, 1.0])  # right at 130, 135, 140, 145 and 150 mm, not at 125
    assert auc(pred, target).item() == pytest.approx(5 / 31 / 3)


def test_pck_grows_with_its_threshold():
    pred, target = random_poses(50, seed=1), random_poses(50, seed=2)
    curve = torch.stack([pck(pred, target, t) for t in (0.05, 0.1, 0.2, 10.0)])
    assert (curve.diff(dim=0) >= 0).all() and (curve[-1] == 1).all() and curve[0].mean() < curve[2].mean()


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_bone_length_error_agrees_with_scipy(seed):
    pred, target, mask = random_poses(seed=seed), random_poses(seed=seed + 1), random_masks(seed=seed)
    for i, error in enumerate(bones(pred, target, mask).tolist()):
        difference = np.abs(squareform(pdist(pred[i].numpy())) - squareform(pdist(target[i].numpy())))
        counted = [difference[a, b] for a, b in BONES if mask[i, a] and mask[i, b]]
        assert error == pytest.approx(np.mean(counted)) if counted else np.isnan(error)


def test_bone_length_error_sees_scale_alone():
    target = random_poses(seed=3)
    q, _ = torch.linalg.qr(random_poses(6, 3, seed=4))
    torch.testing.assert_close(bones(target @ q + 3, target), torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)
    length = torch.stack([(target[:, a] - target[:, b]).norm(dim=-1) for a, b in BONES]).mean(0)
    torch.testing.assert_close(bones(1.2 * target, target), 0.2 * length)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_mpjve_agrees_with_mmpose_on_differences_in_any_order(seed):
    pred, target = random_poses(12, seed=seed), random_poses(12, seed=seed + 1)
    # Sequence 5: frames 10..15; sequence 2: frames 16, 17, 18, then, after a gap, 20, 21, 22.
    sequence = torch.tensor([5] * 6 + [2] * 6)
    frame = torch.tensor([10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22])
    expected = torch.full((12,), torch.nan, dtype=torch.float64)
    for rows in (range(6), range(6, 9), range(9, 12)):
        rows = list(rows)
        steps = np.diff(pred[rows].numpy(), axis=0), np.diff(target[rows].numpy(), axis=0)
        for i, a, b in zip(rows[1:], *steps, strict=True):
            expected[i] = keypoint_mpjpe(a[None], b[None], np.ones((1, 17), dtype=bool))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    result = mpjve(pred[order], target[order], sequence[order], frame[order])
    torch.testing.assert_close(result, expected[order], equal_nan=True)


@pytest.mark.parametrize('step', [2, 5])
def test_mpjve_of_every_kept_frame_is_that_of_the_thinned_sequence(step):
    """Whether the frames between are there or not, and wherever the numbers begin."""
    pred, target = random_poses(23, seed=1), random_poses(23, seed=2)
    frame, sequence = torch.arange(-7, 16), torch.zeros(23, dtype=torch.long)
    whole = mpjve(pred, target, sequence, frame, step=step)
    assert whole.isfinite().tolist() == [False] * step + [True] * (23 - step)
    for first in range(step):
        kept = slice(first, None, step)
        thinned = mpjve(pred[kept], target[kept], sequence[kept], frame[kept], step=step)
        torch.testing.assert_close(thinned, whole[kept], equal_nan=True)
        renumbered = one_sequence(pred[kept], target[kept])
        torch.testing.assert_close(renumbered[1:], whole[kept][1:])


def test_mpjve_counts_joints_labelled_in_both_frames():
    pred, target = random_poses(3, seed=1), random_poses(3, seed=2)
    mask = torch.ones(3, 17, dtype=torch.bool)
    mask[0, :8], mask[1, 10:] = False, False
    mask[2] = False
    expected = keypoint_mpjpe((pred[1:2] - pred[:1]).numpy(), (target[1:2] - target[:1]).numpy(), mask[:1] & mask[1:2])
    pred[~mask] = torch.nan
    result = one_sequence(pred, target, mask)
    assert result.isnan().tolist() == [True, False, True]
    assert result[1].item() == pytest.approx(expected)


def test_previous_frame_of_known_sequences():
    previous, found = previous_frame(torch.tensor([1, 0, 1, 1]), torch.tensor([4, 4, 3, 6]))
    assert found.tolist() == [True, False, False, False] and previous[0] == 2
    with pytest.raises(ValueError, match='frame is 4 twice in sequence 1'):
        previous_frame(torch.tensor([1, 0, 1]), torch.tensor([4, 4, 4]))
    with pytest.raises(ValueError, match='frame is 9 twice in sequence 1'):
        previous_frame(torch.tensor([1, 1, 0, 1]), torch.tensor([9, 4, 9, 9]), step=5)
    with pytest.raises(ValueError, match='step is 0; takes a positive'):
        previous_frame(torch.tensor([1]), torch.tensor([4]), step=0)
    with pytest.raises(ValueError, match=r'frame is torch.float32 \(3,\)'):
        previous_frame(torch.tensor([1, 0, 1]), torch.ones(3))


def test_mrpe_axis_of_known_roots():
    pred, target = torch.tensor([[1.0, 2.0, 5.0], [0.0, 0.0, 4.0]]), torch.tensor([[1.0, 2.0, 3.0], [0.0, 3.0, 8.0]])
    errors = [mrpe_axis(pred, target, axis).tolist() for axis in range(3)]
    assert errors == [[0.0, 0.0], [0.0, 3.0], [2.0, 4.0]]
    with pytest.raises(ValueError, match='axis is 3'):
        mrpe_axis(pred, target, 3)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_masked_joints_may_hold_anything(seed):
    pred, target, mask = random_poses(seed=seed), random_poses(seed=seed + 1), random_masks(seed=seed)
    spoilt = torch.where(mask[..., None], pred, torch.nan), torch.where(mask[..., None], target, torch.inf)
    for error in [*ERRORS, one_sequence]:
        torch.testing.assert_close(error(*spoilt, mask), error(pred, target, mask), equal_nan=True)
    for error in (pck_150, auc):  # as if the others were not there at all
        for i in range(6):
            kept = error(pred[i : i + 1, mask[i]], target[i : i + 1, mask[i]])
            torch.testing.assert_close(error(pred, target, mask)[i], kept[0], equal_nan=True)


@pytest.mark.parametrize('error', ERRORS)
@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_poses_without_joints_or_not_finite_spoil_no_other(error, value):
    pred, target = random_poses(4, seed=1), random_poses(4, seed=2)
    expected = error(pred, target)
    mask = torch.ones(4, 17, dtype=torch.bool)
    mask[0] = False
    pred[2, 4, 1] = value
    result = error(pred, target, mask)
    assert result.isfinite().tolist() == [False, True, False, True]
    torch.testing.assert_close(result[[1, 3]], expected[[1, 3]])


@pytest.mark.parametrize('error', [*ERRORS, one_sequence])
def test_degenerate_and_no_poses(error):
    point, line = torch.zeros(2, 17, 3), torch.linspace(-1, 1, 17)[:, None].expand(2, 17, 3)
    for pred, target in ((point, point), (point, line), (line, point), (-line, line)):
        assert error(pred, target)[1].isfinite()
    assert error(point[:0], point[:0]).shape == (0,)


def test_bad_arguments_are_named():
    pose = random_poses()
    for error in [*ERRORS, one_sequence]:
        with pytest.raises(ValueError, match=r'pred is \(6, 16, 3\)'):
            error(pose[:, 1:], pose)
        with pytest.raises(ValueError, match=r'mask is torch.bool \(6, 16\)'):
            error(pose, pose, torch.ones(6, 16, dtype=torch.bool))
    with pytest.raises(ValueError, match='threshold is 0'):
        pck(pose, pose, threshold=0)
    for wrong in ([], [(0, 17)], [(-1, 2)]):
        with pytest.raises(ValueError, match='bones is'):
            bone_length_error(pose, pose, wrong)
    with pytest.raises(ValueError, match=r'sequence is \(5,\)'):
        mpjve(pose, pose, torch.zeros(5, dtype=torch.long), torch.arange(5))
