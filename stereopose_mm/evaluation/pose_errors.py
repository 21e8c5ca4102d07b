# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The table of pose errors: what each is called, is computed from and is reported in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry.alignment import mpjpe, mrpe, n_mpjpe, p_mpjpe
from ..geometry.errors import PCK_THRESHOLD, auc, bone_length_error, mpjve, mrpe_axis, pck
from ..geometry.skeletons import H36M_17, Skeleton

MILLIMETRES = 1000.0
PERCENT = 100.0
PIXELS = 1.0

# LSP's 14 joints: ankles, knees, hips, wrists, elbows, shoulders, neck and head top. They are the subset of the
# 14-joint evaluations of Human3.6M (Kanazawa et al., HMR, CVPR 2018; H36M_TO_J14 of Kolotouros et al., SPIN, ICCV
# 2019), and the joints that MPI-INF-3DHP and MuPoTS-3D count (mpii_get_pck_auc_joint_groups.m).
JOINTS_14 = {
    'h36m': (1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16),
    'mpi_inf_3dhp': tuple(range(14)),
}
# The 16 joints that SemGCN (Zhao et al., "Semantic Graph Convolutional Networks for 3D Human Pose Regression", CVPR
# 2019) and the graph networks after it report: all but number 9, which Human3.6M calls neck/nose.
JOINTS_16 = {'h36m': tuple(joint for joint in range(17) if joint != 9)}

# Poses at once: few enough for their arrays to stay in a core's cache, which halves the time.
_CHUNK = 4096


@dataclass(frozen=True)
class Poses:
    """What errors are computed from; a quantity that is not known is None.

    Attributes:
        pred: Predicted poses relative to the root, ``(N, K, 3)`` metres.
        target: Ground truth relative to the root, ``(N, K, 3)`` metres.
        mask: Labelled joints, bool ``(N, K)``; none is, where the root is not.
        target_root: Ground-truth root in the camera frame, ``(N, 3)`` metres.
        pred_root: Predicted root in the camera frame, ``(N, 3)`` metres.
        reprojection_error: ``(N,)`` pixels.
        target_cam: Ground truth in the camera frame, ``(N, K, 3)`` metres.
        pred_cam: Predicted poses in the camera frame, ``(N, K, 3)`` metres.
        sequence: Number of the sequence of each pose, integer ``(N,)``.
        frame: Frame number of each pose within its sequence, integer ``(N,)``.
    """

    pred: Tensor
    target: Tensor
    mask: Tensor
    target_root: Tensor
    pred_root: Tensor | None = None
    reprojection_error: Tensor | None = None
    target_cam: Tensor | None = None
    pred_cam: Tensor | None = None
    sequence: Tensor | None = None
    frame: Tensor | None = None

    def __len__(self) -> int:
        """Number of poses N."""
        return len(self.pred)

    def __getitem__(self, index: Tensor | slice) -> Poses:
        """Return the poses that ``index`` selects."""
        parts = vars(self).items()
        return Poses(**{key: None if part is None else part[index] for key, part in parts})

    def is_labelled(self) -> Tensor:
        """Return which poses have ground truth, bool ``(N,)``."""
        return self.mask.any(dim=1)

    def is_finite(self) -> Tensor:
        """Return which poses have a finite prediction of every quantity, bool ``(N,)``."""
        finite = (self.pred.isfinite().all(dim=-1) | ~self.mask).all(dim=-1)
        if self.pred_cam is not None:
            finite &= (self.pred_cam.isfinite().all(dim=-1) | ~self.mask).all(dim=-1)
        if self.pred_root is not None:
            finite &= self.pred_root.isfinite().all(dim=-1)
        if self.reprojection_error is not None:
            finite &= self.reprojection_error.isfinite()
        return finite


@dataclass(frozen=True)
class ErrorSettings:
    """What errors depend on beside the poses.

    Attributes:
        skeleton: The keypoint set of the poses, one of :data:`JOINTS_14`.
        pck_threshold: Distance below which a joint is correct, metres.
        frame_step: Difference in number from a frame to the previous one.
    """

    skeleton: Skeleton = H36M_17
    pck_threshold: float = PCK_THRESHOLD
    frame_step: int = 1

    @property
    def joints_14(self) -> list[int]:
        """The skeleton's numbers of the 14 joints of :data:`JOINTS_14`."""
        return list(JOINTS_14[self.skeleton.name])

    @property
    def joints_16(self) -> list[int]:
        """The skeleton's numbers of the 16 joints of :data:`JOINTS_16`."""
        return list(JOINTS_16[self.skeleton.name])


@dataclass(frozen=True)
class PoseError:
    """One row of the table of metrics.

    Attributes:
        label: Key of the result.
        unit: Reported units per unit of ``error``.
        error: Poses and settings to errors ``(N,)``; NaN for a pose that the error does not apply to.
        needs: The quantity, of those that may be None, that it is computed from. An error that needs ``'frame'``
            compares poses with one another; every other is of each pose by itself.
        skeletons: Names of the skeletons, whose joints the poses then have to have, that it is defined for.
            Default: any joints will do.
    """

    label: str
    unit: float
    error: Callable[[Poses, ErrorSettings], Tensor]
    needs: str | None = None
    skeletons: tuple[str, ...] | None = None


def compute_errors(poses: Poses, rows: Sequence[PoseError], settings: ErrorSettings) -> dict[str, Tensor]:
    """Compute errors of poses in the units they are reported in.

    Args:
        poses: N poses.
        rows: The errors, of :data:`POSE_ERRORS`.
        settings: What they depend on beside the poses.

    Returns:
        Errors ``(N,)`` float64 by label, of the rows whose needs are known.
    """
    rows = [row for row in rows if row.needs is None or getattr(poses, row.needs) is not None]
    chunks = [poses[start : start + _CHUNK] for start in range(0, max(len(poses), 1), _CHUNK)]
    errors = {row.label: [] for row in rows}
    for parts, needs_others in ((chunks, False), ([poses], True)):
        for part in parts:
            for row in rows:
                if (row.needs == 'frame') is needs_others:
                    errors[row.label].append(row.unit * row.error(part, settings).double())
    return {label: torch.cat(parts) for label, parts in errors.items()}


def _joints(p: Poses, joints: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, target and mask of some of the joints."""
    return p.pred[:, joints], p.target[:, joints], p.mask[:, joints]


def _pck_14(p: Poses, s: ErrorSettings) -> Tensor:
    pred, target, mask = _joints(p, s.joints_14)
    return pck(pred, target, s.pck_threshold, mask)


def _pck_abs(p: Poses, s: ErrorSettings) -> Tensor:
    joints = s.joints_14
    return pck(p.pred_cam[:, joints], p.target_cam[:, joints], s.pck_threshold, p.mask[:, joints])


def _auc_root(p: Poses, s: ErrorSettings) -> Tensor:
    return auc(p.pred_root[:, None], p.target_root[:, None])


def _mrpe_axis(axis: int) -> PoseError:
    label = f'MRPE-{"xyz"[axis]}'
    return PoseError(label, MILLIMETRES, lambda p, s: mrpe_axis(p.pred_root, p.target_root, axis), 'pred_root')


_ALL, _H36M = tuple(JOINTS_14), tuple(JOINTS_16)
POSE_ERRORS = {
    'mpjpe': PoseError('MPJPE', MILLIMETRES, lambda p, s: mpjpe(p.pred, p.target, p.mask)),
    'p_mpjpe': PoseError('P-MPJPE', MILLIMETRES, lambda p, s: p_mpjpe(p.pred, p.target, p.mask)),
    'n_mpjpe': PoseError('N-MPJPE', MILLIMETRES, lambda p, s: n_mpjpe(p.pred, p.target, p.mask)),
    'mrpe': PoseError('MRPE', MILLIMETRES, lambda p, s: mrpe(p.pred_root, p.target_root), 'pred_root'),
    'reprojection_error': PoseError(
        'reprojection-error-px', PIXELS, lambda p, s: p.reprojection_error, 'reprojection_error'
    ),
    'mpjpe_14': PoseError('MPJPE-14', MILLIMETRES, lambda p, s: mpjpe(*_joints(p, s.joints_14)), skeletons=_ALL),
    'p_mpjpe_14': PoseError('P-MPJPE-14', MILLIMETRES, lambda p, s: p_mpjpe(*_joints(p, s.joints_14)), skeletons=_ALL),
    'mpjpe_16': PoseError('MPJPE-16', MILLIMETRES, lambda p, s: mpjpe(*_joints(p, s.joints_16)), skeletons=_H36M),
    'p_mpjpe_16': PoseError('P-MPJPE-16', MILLIMETRES, lambda p, s: p_mpjpe(*_joints(p, s.joints_16)), skeletons=_H36M),
    'pck_3d': PoseError('3DPCK', PERCENT, lambda p, s: pck(p.pred, p.target, s.pck_threshold, p.mask)),
    'auc_3d': PoseError('3DAUC', PERCENT, lambda p, s: auc(p.pred, p.target, p.mask)),
    'pck_3d_14': PoseError('3DPCK-14', PERCENT, _pck_14, skeletons=_ALL),
    'auc_3d_14': PoseError('3DAUC-14', PERCENT, lambda p, s: auc(*_joints(p, s.joints_14)), skeletons=_ALL),
    'pck_3d_abs': PoseError('3DPCK-abs', PERCENT, _pck_abs, 'pred_cam', skeletons=_ALL),
    'auc_3d_root': PoseError('3DAUC-root', PERCENT, _auc_root, 'pred_root'),
    'mrpe_x': _mrpe_axis(0),
    'mrpe_y': _mrpe_axis(1),
    'mrpe_z': _mrpe_axis(2),
    'bone_length_error': PoseError(
        'bone-length-error',
        MILLIMETRES,
        lambda p, s: bone_length_error(p.pred, p.target, s.skeleton.bones, p.mask),
        skeletons=_ALL,
    ),
    'mpjve': PoseError(
        'MPJVE',
        MILLIMETRES,
        lambda p, s: mpjve(p.pred, p.target, p.sequence, p.frame, p.mask, s.frame_step),
        'frame',
    ),
}
DEFAULT_METRICS = ('mpjpe', 'p_mpjpe', 'n_mpjpe', 'mrpe', 'reprojection_error')
