# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Reading predictions and ground truth out of MMPose's data samples.

A test set has hundreds of thousands of data samples of one pose each, so that what is done for each has to be little.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from torch import Tensor

from ..geometry.skeletons import Skeleton

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_NAME_KEYS = ('target_img_path', 'img_path', 'id', 'img_id')
_ERROR_NAME_KEYS = ('id', 'img_id', 'target_img_path', 'img_path')


@dataclass
class SampleParts:
    """What was taken from one data sample of n poses.

    MMEngine goes through every list and dict among a metric's results; this it passes on.

    Attributes:
        parts: Arrays ``pred``, ``target`` ``(n, K, 3)`` and ``mask`` bool ``(n, K)``; of the quantities ``pred_root``
            ``(n, 3)``, ``pred_cam`` ``(n, K, 3)`` and ``reprojection_error`` ``(n,)``; and lists of n values:
            ``sequence``, ``frame``, ``name`` and, for a group key G, ``group_G``.
    """

    parts: dict[str, np.ndarray | list]


@dataclass(frozen=True)
class SampleReader:
    """Takes what a metric needs from data samples, checked.

    Attributes:
        root_index: Joint number of the root.
        skeleton: Whose joints every pose has to have. Default: any, the same number of all.
        quantities: Of ``pred_root``, ``pred_cam`` and ``reprojection_error``, those to take where they are predicted.
        sequence_key: Key of the meta information that says which sequence a pose is in. Default: not taken.
        frame_key: Key of the meta information that gives the frame number. Default: not taken.
        group_keys: Keys of the meta information whose values group poses.
        names: Whether to name the poses.
    """

    root_index: int = 0
    skeleton: Skeleton | None = None
    quantities: Collection[str] = ()
    sequence_key: str | None = None
    frame_key: str | None = None
    group_keys: Sequence[str] = ()
    names: bool = False

    def read(self, data_sample: Mapping) -> SampleParts:
        """Read a data sample.

        Args:
            data_sample: ``PoseDataSample.to_dict()``.

        Returns:
            What was taken.

        Raises:
            ValueError: If a key is missing, an array has a shape that does not fit, or labelled ground truth is not
                finite.
        """
        pred_instances, gt_instances = _get(data_sample, 'pred_instances'), _get(data_sample, 'gt_instances')
        target = _get_poses(gt_instances, 'lifting_target')
        n, num_joints = target.shape[:2]
        if not -num_joints <= self.root_index < num_joints:
            raise ValueError(f'root_index is {self.root_index}; lifting_target has {num_joints} joints')
        if self.skeleton is not None and num_joints != self.skeleton.num_keypoints:
            takes = f'{self.skeleton.name} has {self.skeleton.num_keypoints}'
            raise ValueError(f'lifting_target has {num_joints} joints; {takes}')
        pred = _get_poses(pred_instances, 'keypoints', target.shape)
        result = dict(pred=pred, target=target, mask=_get_mask(gt_instances, target))

        if ('pred_cam' in self.quantities or 'pred_root' in self.quantities) and 'keypoints_cam' in pred_instances:
            keypoints_cam = _get_poses(pred_instances, 'keypoints_cam', target.shape)
            result['pred_root'] = keypoints_cam[:, self.root_index]
            if 'pred_cam' in self.quantities:
                result['pred_cam'] = keypoints_cam
            else:
                result['pred_root'] = result['pred_root'].copy()  # does not keep the other joints in memory
        if 'reprojection_error' in self.quantities and 'reprojection_error' in pred_instances:
            error = _get_array(pred_instances, 'reprojection_error')
            result['reprojection_error'] = _reshape(error, 'reprojection_error', (n,))

        if self.sequence_key is not None:
            result['sequence'] = _get_labels(data_sample, self.sequence_key, n)
        if self.frame_key is not None:
            result['frame'] = _get_frames(data_sample, self.frame_key, n)
        for key in self.group_keys:
            result[f'group_{key}'] = _get_labels(data_sample, key, n)
        if self.names:
            result['name'] = _get_names(data_sample, n)
        return SampleParts(result)


def check_alike(sample: SampleParts, first: SampleParts) -> None:
    """Check that the parts of a data sample can be joined with those of the first one.

    Raises:
        ValueError: If there are others, or another number of joints.
    """
    parts, like = sample.parts, first.parts
    if parts.keys() != like.keys():
        raise ValueError(f'gives {sorted(parts)}, where the first data sample gave {sorted(like)}')
    if parts['target'].shape[1:] != like['target'].shape[1:]:
        shapes = parts['target'].shape[1], like['target'].shape[1]
        raise ValueError('lifting_target is (n, {}, 3); the first one was (n, {}, 3)'.format(*shapes))


def join(samples: Sequence[SampleParts]) -> dict[str, np.ndarray | list]:
    """Join the parts of data samples, N poses in all; ``frame`` becomes an array ``(N,)``."""
    joined = {}
    for key, value in samples[0].parts.items():
        parts = [sample.parts[key] for sample in samples]
        joined[key] = list(chain.from_iterable(parts)) if isinstance(value, list) else np.concatenate(parts)
    if 'frame' in joined:
        joined['frame'] = np.array(joined['frame'], dtype=np.int64)
    return joined


def describe_sample(data_sample: Mapping, position: int) -> str:
    """What an error message calls a data sample."""
    for key in _ERROR_NAME_KEYS:
        if key in data_sample:
            value = data_sample[key]
            if isinstance(value, (list, tuple)) and len(value) > 1:
                return f'data sample with {key} {value[0]} and {len(value) - 1} more'
            return f'data sample with {key} {value}'
    return f'data sample number {position}'


def _get(mapping: Mapping, key: str) -> object:
    if key not in mapping:
        raise ValueError(f'has no {key!r}; has {sorted(mapping)}')
    return mapping[key]


def _get_array(instances: Mapping, key: str) -> np.ndarray:
    """Get an array of float32 or float64, from an array or a tensor anywhere."""
    array = _to_numpy(_get(instances, key), key)
    if array.dtype in _FLOATS:
        return array
    if array.dtype.kind not in 'biuf':
        raise ValueError(f'{key} is not an array of numbers')
    return array.astype(np.float32 if array.dtype.itemsize <= 4 else np.float64)


def _to_numpy(value: object, key: str) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() and value.itemsize < 4 else value).numpy()
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f'{key} is not an array of numbers') from None


def _get_poses(instances: Mapping, key: str, like: tuple[int, ...] | None = None) -> np.ndarray:
    """Get ``(n, K, 3)``; MMPose's decoders add a first axis of one."""
    poses = _get_array(instances, key)
    if poses.ndim == 4 and poses.shape[0] == 1:
        poses = poses[0]
    if poses.ndim != 3 or poses.shape[-1] != 3:
        raise ValueError(f'{key} is {poses.shape}; takes (n, K, 3)')
    if like is not None and poses.shape != like:
        raise ValueError(f'{key} is {poses.shape}; takes the shape of lifting_target, {like}')
    return poses


def _get_mask(instances: Mapping, target: np.ndarray) -> np.ndarray:
    """Get which joints are labelled, bool ``(n, K)``; their ground truth has to be finite."""
    shape = target.shape[:2]
    if 'lifting_target_visible' in instances:
        visible = _get_array(instances, 'lifting_target_visible')
        mask = _reshape(visible, 'lifting_target_visible', shape) > 0
    else:
        mask = np.ones(shape, dtype=bool)
    if not np.isfinite(target).all():
        wrong = mask & ~np.isfinite(target).all(axis=-1)
        if wrong.any():
            pose, joint = np.argwhere(wrong)[0]
            raise ValueError(f'lifting_target is not finite at a labelled joint: pose {pose}, joint {joint}')
    return mask


def _reshape(value: np.ndarray, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Drop axes of one, such as the last of ``(n, K, 1)``, so that ``shape`` is left."""
    if value.shape == shape:
        return value
    if [size for size in value.shape if size != 1] != [size for size in shape if size != 1]:
        raise ValueError(f'{key} is {value.shape}; takes {shape}')
    return value.reshape(shape)


def _get_labels(data_sample: Mapping, key: str, n: int) -> list[str]:
    """Get the label of each of n poses, as text."""
    value = _get(data_sample, key)
    if isinstance(value, str):
        return [value] * n
    labels = np.asarray(value).astype(str).reshape(-1).tolist()
    if len(labels) not in (1, n):
        raise ValueError(f'{key} has {len(labels)} labels; takes 1 or one for each of {n} poses')
    return labels * n if len(labels) == 1 else labels


def _get_frames(data_sample: Mapping, key: str, n: int) -> list[int]:
    """Get the frame number of each of n poses."""
    value = _get(data_sample, key)
    if type(value) is int:
        return [value] * n
    frames = np.asarray(value).reshape(-1)
    if frames.size not in (1, n) or frames.dtype.kind not in 'iu':
        raise ValueError(f'{key} is {frames.size} of {frames.dtype}; takes 1 integer or one for each of {n} poses')
    return frames.tolist() * n if frames.size == 1 else frames.tolist()


def _get_names(data_sample: Mapping, n: int) -> list[str]:
    """Get what identifies each of n poses: the image's path or the sample's number, not yet told apart."""
    for key in _NAME_KEYS:
        if key in data_sample:
            names = np.asarray(data_sample[key]).astype(str).reshape(-1).tolist()
            if names:
                return names if len(names) == n else names[:1] * n
    return ['sample'] * n
