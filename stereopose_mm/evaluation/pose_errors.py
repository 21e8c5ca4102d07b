# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The table of pose errors: what each is called, is computed from and is reported in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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

    def __getitem__(self, index: Tensor) -> Poses:
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
    """

    skeleton: Skeleton = H36M_17
    pck_threshold: float = PCK_THRESHOLD

    @property
    def joints_14(self) -> list[int]:
        """The skeleton's numbers of the 14 joints of :data:`JOINTS_14`."""
        return list(JOINTS_14[self.skeleton.name])


@dataclass(frozen=True)
class PoseError:
    """One row of the table of metrics.

    Attributes:
        label: Key of the result.
        unit: Reported units per unit of ``error``.
        error: Poses and settings to errors ``(N,)``; NaN for a pose that the error does not apply to.
        needs: The quantity, of those that may be None, that it is computed from.
        needs_skeleton: Whether the poses have to be of the joints of ``settings.skeleton``.
    """

    label: str
    unit: float
    error: Callable[[Poses, ErrorSettings], Tensor]
    needs: str | None = None
    needs_skeleton: bool = False


def _joints_14(p: Poses, s: ErrorSettings) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, target and mask of the 14 joints."""
    joints = s.joints_14
    return p.pred[:, joints], p.target[:, joints], p.mask[:, joints]


def _mpjpe_14(p: Poses, s: ErrorSettings) -> Tensor:
    return mpjpe(*_joints_14(p, s))


def _pck_14(p: Poses, s: ErrorSettings) -> Tensor:
    pred, target, mask = _joints_14(p, s)
    return pck(pred, target, s.pck_threshold, mask)


def _auc_14(p: Poses, s: ErrorSettings) -> Tensor:
    return auc(*_joints_14(p, s))


def _pck_abs(p: Poses, s: ErrorSettings) -> Tensor:
    joints = s.joints_14
    return pck(p.pred_cam[:, joints], p.target_cam[:, joints], s.pck_threshold, p.mask[:, joints])


def _auc_root(p: Poses, s: ErrorSettings) -> Tensor:
    return auc(p.pred_root[:, None], p.target_root[:, None])


def _mrpe_axis(axis: int) -> PoseError:
    label = f'MRPE-{"xyz"[axis]}'
    return PoseError(label, MILLIMETRES, lambda p, s: mrpe_axis(p.pred_root, p.target_root, axis), 'pred_root')


POSE_ERRORS = {
    'mpjpe': PoseError('MPJPE', MILLIMETRES, lambda p, s: mpjpe(p.pred, p.target, p.mask)),
    'p_mpjpe': PoseError('P-MPJPE', MILLIMETRES, lambda p, s: p_mpjpe(p.pred, p.target, p.mask)),
    'n_mpjpe': PoseError('N-MPJPE', MILLIMETRES, lambda p, s: n_mpjpe(p.pred, p.target, p.mask)),
    'mrpe': PoseError('MRPE', MILLIMETRES, lambda p, s: mrpe(p.pred_root, p.target_root), 'pred_root'),
    'reprojection_error': PoseError(
        'reprojection-error-px', PIXELS, lambda p, s: p.reprojection_error, 'reprojection_error'
    ),
    'mpjpe_14': PoseError('MPJPE-14', MILLIMETRES, _mpjpe_14, needs_skeleton=True),
    'pck_3d': PoseError('3DPCK', PERCENT, lambda p, s: pck(p.pred, p.target, s.pck_threshold, p.mask)),
    'auc_3d': PoseError('3DAUC', PERCENT, lambda p, s: auc(p.pred, p.target, p.mask)),
    'pck_3d_14': PoseError('3DPCK-14', PERCENT, _pck_14, needs_skeleton=True),
    'auc_3d_14': PoseError('3DAUC-14', PERCENT, _auc_14, needs_skeleton=True),
    'pck_3d_abs': PoseError('3DPCK-abs', PERCENT, _pck_abs, 'pred_cam', needs_skeleton=True),
    'auc_3d_root': PoseError('3DAUC-root', PERCENT, _auc_root, 'pred_root'),
    'mrpe_x': _mrpe_axis(0),
    'mrpe_y': _mrpe_axis(1),
    'mrpe_z': _mrpe_axis(2),
    'bone_length_error': PoseError(
        'bone-length-error',
        MILLIMETRES,
        lambda p, s: bone_length_error(p.pred, p.target, s.skeleton.bones, p.mask),
        needs_skeleton=True,
    ),
    'mpjve': PoseError(
        'MPJVE', MILLIMETRES, lambda p, s: mpjve(p.pred, p.target, p.sequence, p.frame, p.mask), 'frame'
    ),
}
DEFAULT_METRICS = ('mpjpe', 'p_mpjpe', 'n_mpjpe', 'mrpe', 'reprojection_error')
