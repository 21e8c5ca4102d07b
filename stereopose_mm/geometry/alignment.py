# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Pose errors of the field and the alignments that they are measured after.

Note:
    - number of poses: N
    - number of keypoints: K

Every error is one number a pose, in the unit of its input. Poses are compared as they are given:
a protocol that centres poses on their root first calls :func:`root_relative` on both. ``mask``
marks the joints that count; the others may hold anything, NaN included. The error of a pose in
which no joint counts is NaN, as is that of a pose with a joint that counts and is not finite.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mpjpe(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Protocol 1: mean per-joint position error.

    Args:
        pred: Predicted poses, ``(N, K, 3)``.
        target: Ground-truth poses, ``(N, K, 3)``.
        mask: Joints that count, bool ``(N, K)``. Default: all.

    Returns:
        Errors ``(N,)``, in the unit of the poses.

    Raises:
        ValueError: If an argument has the wrong shape or dtype.
    """
    mask = _check_poses(pred, target, mask)
    distance = torch.linalg.vector_norm(pred - target, dim=-1)
    return _mean_over_joints(distance, mask).to(pred.dtype)


def p_mpjpe(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Protocol 2: MPJPE after the best scale, rotation and translation.

    Computed in float64, whatever the dtype of the poses. See :func:`procrustes_align`.

    Args:
        pred: Predicted poses, ``(N, K, 3)``.
        target: Ground-truth poses, ``(N, K, 3)``.
        mask: Joints that count, bool ``(N, K)``. Default: all.

    Returns:
        Errors ``(N,)``, in the unit of the poses.

    Raises:
        ValueError: If an argument has the wrong shape or dtype.
    """
    mask = _check_poses(pred, target, mask)
    aligned = procrustes_align(pred.double(), target.double(), mask)
    return mpjpe(aligned, target.double(), mask).to(pred.dtype)


def n_mpjpe(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Protocol 3: MPJPE after the best scale about the origin.

    Rhodin et al., "Unsupervised Geometry-Aware Representation for 3D Human Pose Estimation",
    ECCV 2018; the origin is the root once the poses are :func:`root_relative`.

    Args:
        pred: Predicted poses, ``(N, K, 3)``.
        target: Ground-truth poses, ``(N, K, 3)``.
        mask: Joints that count, bool ``(N, K)``. Default: all.

    Returns:
        Errors ``(N,)``, in the unit of the poses.

    Raises:
        ValueError: If an argument has the wrong shape or dtype.
    """
    mask = _check_poses(pred, target, mask)
    x, y = _drop_joints(pred, mask).double(), _drop_joints(target, mask).double()
    # s = <x, y> / <x, x>; a pose that is all origin stays there under any scale.
    norm = (x * x).sum(dim=(-2, -1))
    scale = (x * y).sum(dim=(-2, -1)) / torch.where(norm == 0, 1, norm)
    return mpjpe(scale[:, None, None] * x, y, mask).to(pred.dtype)


def mrpe(pred_root: Tensor, target_root: Tensor) -> Tensor:
    """Root position error: how far the absolute root is from where it should be.

    Moon et al., "Camera Distance-aware Top-down Approach for 3D Multi-person Pose Estimation from
    a Single RGB Image", ICCV 2019.

    Args:
        pred_root: Predicted roots in the camera frame, ``(N, 3)``.
        target_root: Ground-truth roots in the camera frame, ``(N, 3)``.

    Returns:
        Errors ``(N,)``, in the unit of the positions.

    Raises:
        ValueError: If an argument has the wrong shape or dtype.
    """
    _check_same('pred_root', pred_root, 'target_root', target_root, '(N, 3)', ndim=2)
    return torch.linalg.vector_norm(pred_root - target_root, dim=-1).to(pred_root.dtype)


def procrustes_align(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Move each predicted pose onto its target by the best similarity transform.

    The scale, rotation and translation that minimise the squared distance between the joints that
    count: Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", TPAMI 1991, eqs. 40-43. Rotations are proper: a mirrored pose is not excused.
    Where the best transform is not unique (joints on one line, one joint) one of the best is
    taken; a prediction that is all one point lands on the mean of its target.

    Args:
        pred: Predicted poses, ``(N, K, 3)``.
        target: Ground-truth poses, ``(N, K, 3)``.
        mask: Joints that count, bool ``(N, K)``. Default: all.

    Returns:
        Predicted poses, aligned, ``(N, K, 3)``. The transform is found from the joints
        that count and applied to all. Poses in which one of them is not finite are NaN.

    Raises:
        ValueError: If an argument has the wrong shape or dtype.
    """
    mask = _check_poses(pred, target, mask)
    mean_x, x = _centre(pred.double(), mask)
    mean_y, y = _centre(target.double(), mask)
    # One joint that is not finite makes the mean so.
    finite = (mean_x + mean_y).isfinite().all(dim=-1, keepdim=True)

    # y.T x = U S V.T;  R = U diag(1, 1, det(U V.T)) V.T;  s = trace(S diag(...)) / |x|^2
    # The SVD refuses NaN, even for one pose of many.
    u, s, vh = torch.linalg.svd(torch.where(finite, y.mT @ x, 0))
    sign = torch.ones_like(s)
    sign[:, 2] = torch.linalg.det(u @ vh).sign()
    rotation = u * sign[:, None] @ vh
    norm = (x * x).sum(dim=(-2, -1))
    scale = torch.where(_is_one_point(x, mean_x), 0, (s * sign).sum(-1) / norm)

    aligned = scale[:, None, None] * (pred.double() - mean_x) @ rotation.mT + mean_y
    return torch.where(finite, aligned, torch.nan).to(pred.dtype)


def root_relative(pose: Tensor, root_index: int = 0) -> Tensor:
    """Move each pose so that its root is the origin.

    Args:
        pose: Poses ``(..., K, 3)``.
        root_index: The root's joint number. Default: 0, the pelvis of H36M-17.

    Returns:
        Poses ``(..., K, 3)`` relative to their roots, in the unit they came in.

    Raises:
        ValueError: If ``root_index`` is not one of the K joints.
    """
    num_joints = pose.shape[-2]
    if not -num_joints <= root_index < num_joints:
        raise ValueError(f'root_index is {root_index}; takes a joint of 0..{num_joints - 1}')
    return pose - pose[..., [root_index], :]


def _mean_over_joints(value: Tensor, mask: Tensor) -> Tensor:
    """Mean ``(N,)`` of ``(N, K)`` over the joints that count; NaN where none does."""
    return value.mean(-1) if mask.all() else torch.where(mask, value, 0).sum(-1) / mask.sum(-1)


def _drop_joints(pose: Tensor, mask: Tensor) -> Tensor:
    """Poses with zeros in the place of joints that do not count, whatever those held."""
    return pose if mask.all() else torch.where(mask[..., None], pose, 0)


def _centre(pose: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(N, 1, 3)`` of the joints that count, and those joints ``(N, K, 3)`` about it."""
    count = mask.sum(-1).clamp(min=1)[:, None, None]
    mean = _drop_joints(pose, mask).sum(-2, keepdim=True) / count
    return mean, _drop_joints(pose - mean, mask)


def _is_one_point(centred: Tensor, mean: Tensor) -> Tensor:
    """Whether a pose about its mean is no larger than the mean's rounding error, ``(N,)``."""
    rounding = 8 * torch.finfo(centred.dtype).eps * mean.abs().amax(dim=(-2, -1))
    return centred.abs().amax(dim=(-2, -1)) <= rounding


def _check_poses(pred: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Check the arguments of an error; return the mask, made when there is none."""
    _check_same('pred', pred, 'target', target, '(N, K, 3)', ndim=3)
    if mask is None:
        return torch.ones(pred.shape[:2], dtype=torch.bool, device=pred.device)
    if mask.dtype != torch.bool or mask.shape != pred.shape[:2]:
        raise ValueError(f'mask is {mask.dtype} {tuple(mask.shape)}; takes torch.bool {tuple(pred.shape[:2])}')
    return mask


def _check_same(name: str, value: Tensor, like: str, other: Tensor, takes: str, ndim: int) -> None:
    for label, tensor in ((name, value), (like, other)):
        if tensor.ndim != ndim or tensor.shape[-1] != 3 or not tensor.is_floating_point():
            raise ValueError(f'{label} is {tensor.dtype} {tuple(tensor.shape)}; takes floating point {takes}')
    if value.shape != other.shape:
        raise ValueError(f'{name} is {tuple(value.shape)}; takes the shape of {like}, {tuple(other.shape)}')
