# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Pose, root position and reprojection errors in one pass over the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmpose.registry import METRICS
from torch import Tensor

from ..geometry.alignment import root_relative
from ..geometry.skeletons import get_skeleton
from .averages import average, average_groups, number_labels
from .data_samples import SampleParts, SampleReader, check_alike, describe_sample, join
from .pose_errors import (
    DEFAULT_METRICS,
    JOINTS_14,
    MILLIMETRES,
    POSE_ERRORS,
    ErrorSettings,
    PoseError,
    Poses,
    compute_errors,
)
from .predictions_file import Predictions, distinct_names, write_predictions

_QUANTITIES = ('pred_root', 'pred_cam', 'reprojection_error')


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
    - ``reprojection-error-px`` (px): mean of ``reprojection_error``, which the model measures against its own 2D input,
      not against 2D ground truth. :class:`GeometricSearch` averages it over the keypoints that took part in the search,
      those of a positive score that is ``min_score`` at least; a missing 2D joint does not count.
    - ``MPJPE-14``, ``P-MPJPE-14`` (mm): of LSP's 14 joints, still centred on the root (see ``JOINTS_14``).
    - ``MPJPE-16``, ``P-MPJPE-16`` (mm): of H36M-17 without joint 9, neck/nose, as SemGCN (Zhao et al., CVPR 2019) and
      the graph networks after it report; of the skeleton ``'h36m'`` only. The root counts. Papers that average over
      "the joints without the root", which is exact after centring, report 17/16 of ``MPJPE``, or 16/15 of
      ``MPJPE-16``.
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
      there; only with ``sequence_key`` and ``frame_key``. With ``frame_step`` mm per step, from a frame that is kept to
      the next.
    - ``poses``: number of labelled poses. A pose is labelled when its root joint is.
    - ``invalid``: number of these for which a predicted quantity is not finite. They are left out
      of every average above, with a warning.

    Each is an average over poses, of averages over the labelled joints of a pose; a pose that an error does not apply
    to (none of the 14 joints labelled, no previous frame) is left out of that one. MMPose's ``MPJPE`` averages over all
    joints at once; the two agree when every joint is labelled. An average over no poses is NaN.

    With ``group_by`` there is also each result for each label, as ``MPJPE_S9``, and the mean of each error over the
    labels of a key, as ``MPJPE_mean-over-action``, in which every label weighs the same, and which leaves out labels
    whose own average is NaN. Papers on Human3.6M report the latter, the mean of the 15 actions; a result without suffix
    is the mean over all poses.

    In distributed evaluation the numbers are those of one process if the sampler deals no data sample twice, as
    MMEngine's ``DefaultSampler`` does not with ``round_up=False``.

    Args:
        root_index: Joint number of the root. Default: 0, the pelvis of H36M-17.
        metrics: Names of what to compute, of the keys of ``POSE_ERRORS``, or ``'all'`` that ``skeleton`` has. One that
            the model makes no prediction for is left out. Default: the first five results above.
        group_by: Key, or keys, of the data samples' meta information, for example ``['action', 'subject']`` (listed in
            ``meta_keys`` of ``PackPoseInputs``), whose value is one label, or one for each of the sample's poses. No
            label may be of two keys. Default: None.
        collect_device: ``'cpu'`` or ``'gpu'``, where ranks collect results. Default: ``'cpu'``.
        prefix: Prefix of the results' keys, ``prefix/MPJPE``. Default: None.
        pck_threshold: Threshold of the 3DPCKs, millimetres. Default: 150.
        skeleton: Keypoint set of the poses, ``'h36m'`` or ``'mpi_inf_3dhp'``, for the bones and the 14 joints.
            Default: ``'h36m'``.
        sequence_key: Key of the data samples' meta information that says which sequence, of one person in one video,
            a pose is in: one value, or one for each of the sample's poses. Default: None.
        frame_key: Key of the meta information that gives the frame number within it, likewise. Default: None.
        frame_step: Difference in number from a frame to the one that MPJVE takes for the previous; 5 for Human3.6M at
            10 fps, which keeps every fifth frame. Default: 1.
        out_file: NPZ to write the raw predictions and the errors of every pose to, which
            :func:`.predictions_file.read_predictions` reads. Default: None.

    Raises:
        ValueError: If an argument is wrong, or a data sample lacks a key, has arrays of shapes that do not fit, or has
            labelled ground truth that is not finite, or a sequence has a frame twice, or two keys of ``group_by`` have
            a label in common.
    """

    def __init__(
        self,
        root_index: int = 0,
        metrics: Sequence[str] = DEFAULT_METRICS,
        group_by: str | Sequence[str] | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        pck_threshold: float = 150.0,
        skeleton: str = 'h36m',
        sequence_key: str | None = None,
        frame_key: str | None = None,
        frame_step: int = 1,
        out_file: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if skeleton not in JOINTS_14:
            raise ValueError(f'skeleton is {skeleton!r}; takes one of {list(JOINTS_14)}')
        if not pck_threshold > 0:
            raise ValueError(f'pck_threshold is {pck_threshold!r}; takes millimetres above 0')
        if (sequence_key is None) != (frame_key is None):
            raise ValueError(f'sequence_key is {sequence_key!r}, frame_key {frame_key!r}; takes both or none')
        if type(frame_step) is not int or frame_step < 1:
            raise ValueError(f'frame_step is {frame_step!r}; takes a whole number above 0')
        if out_file is not None and Path(out_file).suffix != '.npz':
            raise ValueError(f'out_file is {str(out_file)!r}; takes a name that ends in .npz')
        self.root_index = root_index
        self.metrics = _choose(metrics, skeleton)
        self.group_by = [group_by] if isinstance(group_by, str) else list(group_by or ())
        if len(set(self.group_by)) < len(self.group_by):
            raise ValueError(f'group_by is {group_by!r}; takes each key once')
        self.settings = ErrorSettings(get_skeleton(skeleton), pck_threshold / MILLIMETRES, frame_step)
        self.out_file = out_file
        self._rows = [POSE_ERRORS[name] for name in self.metrics]
        self._needs = {row.needs for row in self._rows}
        # A file gets all there is; the errors, and what is valid, depend on what the metrics need alone.
        tracked = sequence_key is not None and ('frame' in self._needs or out_file is not None)
        self._reader = SampleReader(
            root_index=root_index,
            skeleton=self.settings.skeleton if any(row.skeletons for row in self._rows) else None,
            quantities=_QUANTITIES if out_file is not None else self._needs & set(_QUANTITIES),
            sequence_key=sequence_key if tracked else None,
            frame_key=frame_key if tracked else None,
            group_keys=self.group_by,
            names=out_file is not None,
        )

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Collect the arrays of a batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions with their ground truth, ``PoseDataSample.to_dict()``.
        """
        for data_sample in data_samples:
            try:
                sample = self._reader.read(data_sample)
                if self.results:
                    check_alike(sample, self.results[0])
            except ValueError as error:
                raise ValueError(f'{describe_sample(data_sample, len(self.results))}: {error}') from None
            self.results.append(sample)

    def compute_metrics(self, results: list[SampleParts]) -> dict[str, float]:
        """Compute the errors of all poses and average them; write ``out_file``.

        MMEngine calls it on the first process only, with what all of them collected.

        Args:
            results: What ``process`` collected, one entry a data sample.

        Returns:
            The results by their key; see the class.
        """
        if not results:
            raise ValueError('results is empty: no data sample was processed')
        parts = join(results)
        poses = self._root_relative(parts)
        labelled = poses.is_labelled()
        valid = labelled & poses.is_finite()
        errors = {label: error.numpy() for label, error in self._errors(poses, valid).items()}

        state = labelled.numpy(), valid.numpy()
        groups = {key: parts[f'group_{key}'] for key in self.group_by}
        metrics = average(errors, *state)
        metrics.update(average_groups(errors, *state, groups))
        if metrics['invalid']:
            MMLogger.get_current_instance().warning(
                f'{metrics["invalid"]:.0f} of {metrics["poses"]:.0f} poses have predictions that are not '
                'finite; they are left out of the averages'
            )
        if self.out_file is not None:
            self._write(parts, poses, errors, *state)
        return metrics

    def _root_relative(self, parts: dict) -> Poses:
        """Centre the poses on their root; a pose whose root is not labelled has no label."""
        quantities = {key: torch.from_numpy(parts[key]) for key in _QUANTITIES if key in parts and key in self._needs}
        if 'frame' in parts:
            quantities['sequence'] = torch.from_numpy(_number_sequences(parts['sequence'], parts['frame']))
            quantities['frame'] = torch.from_numpy(parts['frame'])
        pred, target, mask = (torch.from_numpy(parts[key]) for key in ('pred', 'target', 'mask'))
        return Poses(
            pred=root_relative(pred, self.root_index),
            target=root_relative(target, self.root_index),
            mask=mask & mask[:, [self.root_index]],
            target_root=target[:, self.root_index],
            target_cam=target,
            **quantities,
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
        for label, error in compute_errors(kept, self._rows, self.settings).items():
            errors[label] = error.new_full(valid.shape, torch.nan)
            errors[label][valid] = error
        return errors

    def _write(self, parts: dict, poses: Poses, errors: dict, labelled: np.ndarray, valid: np.ndarray) -> None:
        """Write the raw predictions and the errors of every pose to ``out_file``."""
        predictions = Predictions(
            skeleton=self.settings.skeleton.name,
            root_index=self.root_index,
            pck_threshold=MILLIMETRES * self.settings.pck_threshold,
            name=distinct_names(parts['name']),
            pred=poses.pred.numpy(),
            target=poses.target.numpy(),
            mask=poses.mask.numpy(),
            target_root=poses.target_root.numpy(),
            labelled=labelled,
            valid=valid,
            errors=np.stack(list(errors.values()), axis=1) if errors else np.empty((len(valid), 0)),
            error_labels=np.array(list(errors), dtype=str),
            sequence=np.array(parts['sequence']) if 'sequence' in parts else None,
            frame=parts.get('frame'),
            groups={key: np.array(parts[f'group_{key}']) for key in self.group_by},
            **{key: parts.get(key) for key in _QUANTITIES},
        )
        write_predictions(self.out_file, predictions)


def _choose(metrics: str | Sequence[str], skeleton: str) -> list[str]:
    """Names of the rows of the table of errors, checked."""

    def is_defined(row: PoseError) -> bool:
        return row.skeletons is None or skeleton in row.skeletons

    if metrics == 'all':
        return [name for name, row in POSE_ERRORS.items() if is_defined(row)]
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names or any(name not in POSE_ERRORS for name in names):
        raise ValueError(f'metrics is {metrics!r}; takes names of {list(POSE_ERRORS)}')
    for name in names:
        if not is_defined(POSE_ERRORS[name]):
            takes = list(POSE_ERRORS[name].skeletons)
            raise ValueError(f'metrics has {name!r}, of joints that {skeleton!r} lacks; takes a skeleton of {takes}')
    return names


def _number_sequences(sequences: Sequence[str], frames: np.ndarray) -> np.ndarray:
    """Number the sequences that names of N poses tell apart; none may have a frame twice."""
    names, numbers = number_labels(sequences)
    order = np.lexsort((frames, numbers))
    twice = (np.diff(numbers[order]) == 0) & (np.diff(frames[order]) == 0)
    if twice.any():
        first = order[1:][twice][0]
        raise ValueError(f'sequence {names[numbers[first]]!r} has frame {frames[first]} twice')
    return numbers
