# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Pose, root position and reprojection errors in one pass over the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmpose.registry import METRICS
from torch import Tensor

from ..geometry.alignment import root_relative
from ..geometry.skeletons import get_skeleton
from .pose_errors import DEFAULT_METRICS, JOINTS_14, MILLIMETRES, POSE_ERRORS, ErrorSettings, PoseError, Poses


@METRICS.register_module()
class MPJPEMetric(BaseMetric):
    """Pose, root position and reprojection errors, averaged over poses.

    Reads ``gt_instances.lifting_target`` ``(n, K, 3)`` in metres and, where it is there,
    ``lifting_target_visible`` ``(n, K)``, and ``pred_instances.keypoints`` ``(n, K, 3)``, as
    MMPose's pose lifting codecs and ``PoseLifter`` make them; further ``keypoints_cam``
    ``(n, K, 3)`` and ``reprojection_error`` ``(n,)`` of ``pred_instances`` where the model
    predicts them. A data sample may hold any number n of poses.

    The results:

    - ``MPJPE`` (mm): Protocol 1, root-centred; the root counts as a joint, as is usual.
    - ``P-MPJPE`` (mm): Protocol 2, after the best similarity transform.
    - ``N-MPJPE`` (mm): Protocol 3, root-centred, after the best scale.
    - ``MRPE`` (mm): distance of the root in ``keypoints_cam`` from the one in ``lifting_target``;
      left out, with a warning, as are the other absolute errors, where the ground truth is not
      in front of the camera and so is not absolute.
    - ``reprojection-error-px`` (px): mean of ``reprojection_error``.
    - ``MPJPE-14`` (mm): MPJPE of LSP's 14 joints, still centred on the root (see ``JOINTS_14``).
    - ``3DPCK``, ``3DAUC`` (%): share of root-centred joints nearer than ``pck_threshold``, and its mean over the
      thresholds 0, 5, .., 150 mm; every labelled joint counts, as in MMPose 0.x. ``3DPCK-14``, ``3DAUC-14``: of the 14
      joints, as MPI-INF-3DHP's own script and MuPoTS-3D's (its 3DPCK-rel and AUC-rel) count. A joint at exactly the
      threshold is wrong, so the threshold of 0 mm is lost to all and the best AUC is 96.77.
    - ``3DPCK-abs`` (%): MuPoTS-3D's 3DPCK-abs (Moon et al., ICCV 2019): the 14 joints of ``keypoints_cam`` against the
      camera-frame ``lifting_target``, root not aligned. Of matched people: a pose is given with its ground truth, so
      nobody is missed.
    - ``3DAUC-root`` (%): the same 31 thresholds, of the distance of the root in the camera frame.
    - ``MRPE-x``, ``MRPE-y``, ``MRPE-z`` (mm): mean absolute error of the root along each camera axis.
    - ``bone-length-error`` (mm): mean absolute error of the lengths of the skeleton's bones.
    - ``MPJVE`` (mm per frame): error of root-centred joints' first differences, of the poses whose previous frame is
      there; only with ``sequence_key`` and ``frame_key``.
    - ``poses``: number of labelled poses. A pose is labelled when its root joint is.
    - ``invalid``: number of these for which a predicted quantity is not finite. They are left out
      of every average above, with a warning.

    Each is an average over poses, of averages over the labelled joints of a pose; a pose that an error does not apply
    to (none of the 14 joints labelled, no previous frame) is left out of that one. MMPose's ``MPJPE`` averages over all
    joints at once; the two agree when every joint is labelled. An average over no poses is NaN.

    Args:
        root_index: Joint number of the root. Default: 0, the pelvis of H36M-17.
        metrics: Names of what to compute, of the keys of ``POSE_ERRORS``, or ``'all'``. One that the
            model makes no prediction for is left out. Default: the first five results above.
        group_by: Key of the data samples' meta information, for example ``'subject'`` (listed in
            ``meta_keys`` of ``PackPoseInputs``), whose value is one label, or one for each of the
            sample's poses. Adds each result for each label, as ``MPJPE_S9``. Default: None.
        collect_device: ``'cpu'`` or ``'gpu'``, where ranks collect results. Default: ``'cpu'``.
        prefix: Prefix of the results' keys, ``prefix/MPJPE``. Default: None.
        pck_threshold: Threshold of the 3DPCKs, millimetres. Default: 150.
        skeleton: Keypoint set of the poses, ``'h36m'`` or ``'mpi_inf_3dhp'``, for the bones and the 14 joints.
            Default: ``'h36m'``.
        sequence_key: Key of the data samples' meta information that says which sequence, of one person in one video,
            a pose is in: one value, or one for each of the sample's poses. Default: None.
        frame_key: Key of the meta information that gives the frame number within it, likewise. Default: None.

    Raises:
        ValueError: If an argument is wrong, or a data sample lacks a key, has arrays of shapes
            that do not fit, or has labelled ground truth that is not finite, or a sequence has a
            frame twice.
    """

    def __init__(
        self,
        root_index: int = 0,
        metrics: Sequence[str] = DEFAULT_METRICS,
        group_by: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        pck_threshold: float = 150.0,
        skeleton: str = 'h36m',
        sequence_key: str | None = None,
        frame_key: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if metrics == 'all':
            metrics = tuple(POSE_ERRORS)
        names = [metrics] if isinstance(metrics, str) else list(metrics)
        unknown = [name for name in names if name not in POSE_ERRORS]
        if unknown or not names:
            raise ValueError(f'metrics is {metrics!r}; takes names of {list(POSE_ERRORS)}')
        if not pck_threshold > 0:
            raise ValueError(f'pck_threshold is {pck_threshold!r}; takes millimetres above 0')
        if skeleton not in JOINTS_14:
            raise ValueError(f'skeleton is {skeleton!r}; takes one of {list(JOINTS_14)}')
        if (sequence_key is None) != (frame_key is None):
            raise ValueError(f'sequence_key is {sequence_key!r}, frame_key {frame_key!r}; takes both or none')
        self.root_index = root_index
        self.metrics = names
        self.group_by = group_by
        self.settings = ErrorSettings(get_skeleton(skeleton), pck_threshold / MILLIMETRES)
        self.sequence_key = sequence_key
        self.frame_key = frame_key

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Collect the arrays of a batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions with their ground truth, ``PoseDataSample.to_dict()``.
        """
        for data_sample in data_samples:
            name = _sample_name(data_sample, len(self.results))
            try:
                result = self._collect(data_sample)
                if self.results:
                    _check_alike(result, self.results[0])
            except ValueError as error:
                raise ValueError(f'{name}: {error}') from None
            self.results.append(result)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Compute the errors of all poses and average them.

        Args:
            results: What ``process`` collected, one entry a data sample.

        Returns:
            The results by their key; see the class.
        """
        if not results:
            raise ValueError('results is empty: no data sample was processed')
        parts = {key: np.concatenate([result[key] for result in results]) for key in results[0]}
        groups = parts.pop('group', None)
        if 'frame' in parts:
            parts['sequence'] = _number_sequences(parts['sequence'], parts['frame'])
        poses = self._root_relative({key: torch.from_numpy(parts[key]) for key in parts})
        labelled = poses.is_labelled()
        valid = labelled & poses.is_finite()
        errors = self._errors(poses, valid)

        metrics = _average(errors, labelled, valid, labelled)
        if groups is not None:
            labels, index = np.unique(groups, return_inverse=True)
            for i, label in enumerate(labels):
                rows = _average(errors, labelled, valid, torch.from_numpy(index == i))
                metrics.update({f'{key}_{label}': value for key, value in rows.items()})
        if metrics['invalid']:
            MMLogger.get_current_instance().warning(
                f'{metrics["invalid"]} of {metrics["poses"]} poses have predictions that are not '
                'finite; they are left out of the averages'
            )
        return metrics

    def _collect(self, data_sample: dict) -> dict[str, np.ndarray]:
        """Take what is needed from a data sample, checked, as arrays of n poses."""
        pred_instances = _get(data_sample, 'pred_instances')
        gt_instances = _get(data_sample, 'gt_instances')
        target = _get_poses(gt_instances, 'lifting_target')
        n, num_joints = target.shape[:2]
        if not -num_joints <= self.root_index < num_joints:
            raise ValueError(f'root_index is {self.root_index}; lifting_target has {num_joints} joints')
        skeleton = self.settings.skeleton
        if num_joints != skeleton.num_keypoints and any(row.needs_skeleton for row in self._rows()):
            raise ValueError(f'lifting_target has {num_joints} joints; {skeleton.name} has {skeleton.num_keypoints}')

        result = dict(
            pred=_get_poses(pred_instances, 'keypoints', target.shape),
            target=target,
            mask=np.ones((n, num_joints), dtype=bool),
        )
        if 'lifting_target_visible' in gt_instances:
            visible = _get_array(gt_instances, 'lifting_target_visible')
            result['mask'] = _reshape(visible, 'lifting_target_visible', (n, num_joints)) > 0
        if not np.isfinite(target[result['mask']]).all():
            raise ValueError('lifting_target is not finite at a labelled joint')

        needs = {row.needs for row in self._rows()}
        if needs & {'pred_root', 'pred_cam'} and 'keypoints_cam' in pred_instances:
            keypoints_cam = _get_poses(pred_instances, 'keypoints_cam', target.shape)
            result['pred_root'] = keypoints_cam[:, self.root_index].copy()
            if 'pred_cam' in needs:
                result['pred_cam'] = keypoints_cam
        if 'reprojection_error' in needs and 'reprojection_error' in pred_instances:
            error = _get_array(pred_instances, 'reprojection_error')
            result['reprojection_error'] = _reshape(error, 'reprojection_error', (n,))
        if 'frame' in needs and self.frame_key is not None:
            result['sequence'] = _get_labels(data_sample, self.sequence_key, n)
            result['frame'] = _get_frames(data_sample, self.frame_key, n)
        if self.group_by is not None:
            result['group'] = _get_labels(data_sample, self.group_by, n)
        return result

    def _rows(self) -> list[PoseError]:
        """The chosen rows of the table."""
        return [POSE_ERRORS[name] for name in self.metrics]

    def _root_relative(self, parts: dict[str, Tensor]) -> Poses:
        """Centre the poses on their root; a pose whose root is not labelled has no label."""
        target, mask = parts['target'], parts['mask']
        return Poses(
            pred=root_relative(parts['pred'], self.root_index),
            target=root_relative(target, self.root_index),
            mask=mask & mask[:, [self.root_index]],
            target_root=target[:, self.root_index],
            pred_root=parts.get('pred_root'),
            reprojection_error=parts.get('reprojection_error'),
            target_cam=target,
            pred_cam=parts.get('pred_cam'),
            sequence=parts.get('sequence'),
            frame=parts.get('frame'),
        )

    def _errors(self, poses: Poses, valid: Tensor) -> dict[str, Tensor]:
        """Errors ``(N,)`` of all poses by the key of their result; NaN where not valid."""
        kept = poses[valid]
        if kept.pred_root is not None and (kept.target_root[:, 2] <= 0).any():
            MMLogger.get_current_instance().warning(
                'MRPE and other absolute errors are left out: lifting_target has roots that are not in front of '
                'the camera'
            )
            kept = replace(kept, pred_root=None, pred_cam=None)
        errors = {}
        for metric in self._rows():
            if metric.needs is None or getattr(kept, metric.needs) is not None:
                error = torch.full(valid.shape, torch.nan, dtype=torch.float64)
                error[valid] = metric.unit * metric.error(kept, self.settings).double()
                errors[metric.label] = error
        return errors


def _average(errors: dict[str, Tensor], labelled: Tensor, valid: Tensor, group: Tensor) -> dict[str, float]:
    """Average over the valid poses of a group that an error applies to, and count its labelled and invalid ones."""
    averages = {}
    for label, error in errors.items():
        error = error[valid & group]
        averages[label] = error[~error.isnan()].mean().item()
    averages['poses'] = int((labelled & group).sum())
    averages['invalid'] = int((labelled & ~valid & group).sum())
    return averages


def _sample_name(data_sample: dict, position: int) -> str:
    for key in ('id', 'img_id', 'target_img_path', 'img_path'):
        if key in data_sample:
            return f'data sample with {key} {data_sample[key]}'
    return f'data sample number {position}'


def _check_alike(result: dict[str, np.ndarray], first: dict[str, np.ndarray]) -> None:
    if result.keys() != first.keys():
        raise ValueError(f'gives {sorted(result)}, where the first data sample gave {sorted(first)}')
    shape, like = result['target'].shape[1:], first['target'].shape[1:]
    if shape != like:
        raise ValueError(f'lifting_target is (n, {shape[0]}, 3); the first one was (n, {like[0]}, 3)')


def _get(mapping: dict, key: str) -> object:
    if key not in mapping:
        raise ValueError(f'has no {key!r}; has {sorted(mapping)}')
    return mapping[key]


def _get_array(instances: dict, key: str) -> np.ndarray:
    """Get a floating-point array, from an array or a tensor anywhere."""
    value = _get(instances, key)
    try:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.ascontiguousarray(value))
    except TypeError:
        raise ValueError(f'{key} is not an array of numbers') from None
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    return tensor.detach().to('cpu', dtype).numpy()


def _get_poses(instances: dict, key: str, like: tuple[int, ...] | None = None) -> np.ndarray:
    """Get ``(n, K, 3)``; MMPose's decoders add a first axis of one."""
    poses = _get_array(instances, key)
    if poses.ndim == 4 and poses.shape[0] == 1:
        poses = poses[0]
    if poses.ndim != 3 or poses.shape[-1] != 3:
        raise ValueError(f'{key} is {poses.shape}; takes (n, K, 3)')
    if like is not None and poses.shape != like:
        raise ValueError(f'{key} is {poses.shape}; takes the shape of lifting_target, {like}')
    return poses


def _reshape(value: np.ndarray, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Drop axes of one, such as the last of ``(n, K, 1)``, so that ``shape`` is left."""
    if [size for size in value.shape if size != 1] != [size for size in shape if size != 1]:
        raise ValueError(f'{key} is {value.shape}; takes {shape}')
    return value.reshape(shape)


def _get_labels(data_sample: dict, key: str, n: int) -> np.ndarray:
    """Get the group of each of n poses, as text."""
    labels = np.asarray(_get(data_sample, key)).astype(str).reshape(-1)
    if labels.size not in (1, n):
        raise ValueError(f'{key} has {labels.size} labels; takes 1 or one for each of {n} poses')
    return np.broadcast_to(labels, (n,))


def _get_frames(data_sample: dict, key: str, n: int) -> np.ndarray:
    """Get the frame number of each of n poses."""
    frames = np.asarray(_get(data_sample, key)).reshape(-1)
    if frames.size not in (1, n) or not np.issubdtype(frames.dtype, np.integer):
        raise ValueError(f'{key} is {frames.size} of {frames.dtype}; takes 1 integer or one for each of {n} poses')
    return np.broadcast_to(frames, (n,)).astype(np.int64)


def _number_sequences(sequences: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Number the sequences that names ``(N,)`` tell apart; none may have a frame twice."""
    names, numbers = np.unique(sequences, return_inverse=True)
    order = np.lexsort((frames, numbers))
    twice = (np.diff(numbers[order]) == 0) & (np.diff(frames[order]) == 0)
    if twice.any():
        first = order[1:][twice][0]
        raise ValueError(f'sequence {names[numbers[first]]!r} has frame {frames[first]} twice')
    return numbers
