# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Pose errors of the leaderboards beside MPJPE: shares of correct joints, bone lengths, velocity.

Note:
    - number of poses: N
    - number of keypoints: K

As in :mod:`.alignment`, every error is one number a pose, poses are compared as they are given, and ``mask`` marks
the joints that count. The error of a pose in which nothing counts is NaN, as is that of a pose with a joint that
counts and is not finite.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .alignment import _check_poses, _check_same, _mean_over_joints, mpjpe

PCK_THRESHOLD = 0.15
# thresh = 0:5:150 (mm) of mpii_compute_3d_pck.m. No distance is below 0: the AUC of an exact pose is 30/31.
AUC_THRESHOLDS = tuple(5 * i / 1000 for i in range(31))


def pck(pred: Tensor, target: Tensor, threshold: float = PCK_THRESHOLD, mask: Tensor | None = None) -> Tensor:
    """3DPCK: share of joints that are nearer to where they should be than a threshold.

    Mehta et al., "Monocular 3D Human Pose Estimation In The Wild Using Improved CNN Supervision", 3DV 2017. As in
    the ``mpii_compute_3d_pck.m`` of its test set, a joint at exactly the threshold is wrong.

    Args:
        pred: Predicted poses, ``(N, K, 3)``.
        target: Ground-truth poses, ``(N, K, 3)``.
        threshold: Distance, in the unit of the poses. Default: 0.15 (metres).
        mask: Joints that count, bool ``(N, K)``. Default: all.

    Returns:
        Shares ``(N,)`` of 0..1.

    Raises:
        ValueError: If an argument has the wrong shape or dtype, or the threshold is not positive.
    """
    mask = _check_poses(pred, target, mask)
    if not threshold > 0:
        raise ValueError(f'threshold is {threshold}; takes a positive distance')
    distance = _distance(pred, target)
    return _mean_of_finite(distance < threshold, distance, mask).to(pred.dtype)


def auc(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """3DAUC: mean of :func:`pck` over the thresholds 0, 5, .., 150 mm.

    The 31 thresholds are those of ``mpii_compute_3d_pck.m`` of the MPI-INF-3DHP test set (see :func:`pck`). The one of
    0 counts as well, so that an exact pose has 30/31.

    Args:
        pred: Predicted poses, ``(N, K, 3)`` metres.
        target: Ground-truth poses, ``(N, K, 3)`` metres.
        mask: Joints that count, bool ``(N, K)``. Default: all.

    Returns:
        Shares ``(N,)`` of 0..1.

    Raises:
        ValueError: If an argument has the wrong shape or dtype.
    """
    mask = _check_poses(pred, target, mask)
    distance = _distance(pred, target)
    thresholds = distance.new_tensor(AUC_THRESHOLDS)
    # Counted by bisection: 31 comparisons of every joint would take 31 times the memory.
    above = len(AUC_THRESHOLDS) - torch.searchsorted(thresholds, distance, right=True)
    return _mean_of_finite(above.double() / len(AUC_THRESHOLDS), distance, mask).to(pred.dtype)


def bone_length_error(
    pred: Tensor, target: Tensor, bones: Sequence[tuple[int, int]], mask: Tensor | None = None
) -> Tensor:
    """Mean absolute difference of bone lengths.

    Args:
        pred: Predicted poses, ``(N, K, 3)``.
        target: Ground-truth poses, ``(N, K, 3)``.
        bones: Joint numbers of the two ends of each bone, as ``Skeleton.bones``.
        mask: Joints that count, bool ``(N, K)``; a bone counts when both ends do. Default: all.

    Returns:
        Errors ``(N,)``, in the unit of the poses.

    Raises:
        ValueError: If an argument has the wrong shape or dtype, or a bone has an end that is not one of K joints.
    """
    mask = _check_poses(pred, target, mask)
    num_joints = pred.shape[1]
    if not bones or any(not 0 <= end < num_joints for bone in bones for end in bone):
        raise ValueError(f'bones is {bones!r}; takes pairs of joints of 0..{num_joints - 1}')
    start, end = torch.tensor(bones, device=pred.device).unbind(dim=-1)
    error = _distance(pred[:, start], pred[:, end]) - _distance(target[:, start], target[:, end])
    return _mean_over_joints(error.abs(), mask[:, start] & mask[:, end]).to(pred.dtype)


def mpjve(
    pred: Tensor,
    target: Tensor,
    sequence: Tensor,
    frame: Tensor,
    mask: Tensor | None = None,
    step: int = 1,
) -> Tensor:
    """Mean per-joint velocity error: MPJPE of the poses' first differences in time.

    Pavllo et al., "3D human pose estimation in video with temporal convolutions and semi-supervised training", CVPR
    2019. The poses may come in any order. One whose previous frame is not among them has no velocity and NaN.
    With ``step`` the previous frame is the one so many numbers before, as where a protocol keeps every fifth.

    Args:
        pred: Predicted poses, ``(N, K, 3)``.
        target: Ground-truth poses, ``(N, K, 3)``.
        sequence: Number of the sequence, of one person in one video, that a pose is in, integer ``(N,)``.
        frame: Frame number within the sequence, integer ``(N,)``.
        mask: Joints that count, bool ``(N, K)``; a velocity counts when both positions do. Default: all.
        step: Difference in number from a frame to the previous one. Default: 1.

    Returns:
        Errors ``(N,)``, in the unit of the poses per ``step`` frame numbers.

    Raises:
        ValueError: If an argument has the wrong shape or dtype, or a sequence has a frame twice.
    """
    mask = _check_poses(pred, target, mask)
    previous, found = previous_frame(sequence, frame, step)
    if len(previous) != len(pred):
        raise ValueError(f'sequence is ({len(previous)},); takes one number for each of {len(pred)} poses')
    mask = mask & mask[previous] & found[:, None]
    return mpjpe(pred - pred[previous], target - target[previous], mask)


def mrpe_axis(pred_root: Tensor, target_root: Tensor, axis: int) -> Tensor:
    """Root position error along one axis of the camera: MRPE-x, MRPE-y or MRPE-z.

    Moon et al., ICCV 2019; see :func:`.alignment.mrpe`.

    Args:
        pred_root: Predicted roots in the camera frame, ``(N, 3)``.
        target_root: Ground-truth roots in the camera frame, ``(N, 3)``.
        axis: 0 for x, 1 for y, 2 for z.

    Returns:
        Errors ``(N,)``, in the unit of the positions.

    Raises:
        ValueError: If an argument has the wrong shape or dtype, or there is no such axis.
    """
    _check_same('pred_root', pred_root, 'target_root', target_root, '(N, 3)', ndim=2)
    if axis not in (0, 1, 2):
        raise ValueError(f'axis is {axis}; takes 0, 1 or 2')
    return (pred_root - target_root)[:, axis].abs().to(pred_root.dtype)


def previous_frame(sequence: Tensor, frame: Tensor, step: int = 1) -> tuple[Tensor, Tensor]:
    """Find, for each of N frames, the one before it in the same sequence.

    Args:
        sequence: Numbers of sequences, integer ``(N,)``.
        frame: Frame numbers within them, integer ``(N,)``.
        step: How much less the number of the previous frame is. Default: 1.

    Returns:
        Index ``(N,)`` of the frame whose number is ``step`` less, 0 where there is none; and whether there is one,
        bool ``(N,)``.

    Raises:
        ValueError: If an argument has the wrong shape or dtype, ``step`` is not positive, or a sequence has a frame
            twice.
    """
    for name, value in (('sequence', sequence), ('frame', frame)):
        if value.ndim != 1 or value.is_floating_point() or value.shape != frame.shape:
            raise ValueError(f'{name} is {value.dtype} {tuple(value.shape)}; takes integers (N,)')
    if not step > 0:
        raise ValueError(f'step is {step}; takes a positive number of frames')
    # Sorted by sequence, by remainder within it, so that frames a step apart are neighbours, and by frame within that:
    # a stable sort keeps the order of the one before.
    order = frame.argsort(stable=True)
    order = order[frame[order].remainder(step).argsort(stable=True)]
    order = order[sequence[order].argsort(stable=True)]
    same = sequence[order].diff() == 0
    passed = frame[order].diff()
    if (same & (passed == 0)).any():
        twice = order[1:][same & (passed == 0)][0]
        raise ValueError(f'frame is {frame[twice]} twice in sequence {sequence[twice]}; takes each once')
    follows = same & (passed == step)
    previous, found = torch.zeros_like(order), torch.zeros_like(order, dtype=torch.bool)
    previous[order[1:]] = torch.where(follows, order[:-1], 0)
    found[order[1:]] = follows
    return previous, found


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Distances ``(N, K)`` in float64: a threshold is then the same number for every dtype."""
    return torch.linalg.vector_norm(a.double() - b.double(), dim=-1)


def _mean_of_finite(value: Tensor, distance: Tensor, mask: Tensor) -> Tensor:
    """Mean ``(N,)`` of ``(N, K)`` over the joints that count; NaN where one of them is not finite."""
    return _mean_over_joints(torch.where(distance.isfinite(), value.double(), torch.nan), mask)
