# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What errors depend on: how far a pose is from the training poses, what a body is like."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS
from torch import Tensor

from ...datasets.pair_synthesis import Proportions, assemble_pose, mirror_pose
from ...files import read_npz
from ...geometry import H36M_17
from .conditions import TestSet
from .evaluating import Lifted

_BODY = H36M_17.num_keypoints
# Poses of the test set compared with all of the training set at once.
_CHUNK = 256
#: Joints that uncertainties are judged together for.
JOINT_GROUPS = {
    'hips, knees, feet': ('hip', 'knee', 'foot'),
    'spine, thorax, neck, head': ('spine', 'thorax', 'neck_base', 'head'),
    'shoulders, elbows, wrists': ('shoulder', 'elbow', 'wrist'),
}
# Anny's anchors of age: a child at 1/3, a young adult at 2/3.
_ADULT_AGE = 2 / 3
# Degrees: from here on a trunk lies and a raised thigh sits.
_LYING_DEG, _SITTING_DEG = 60.0, 50.0


def training_poses(config: Mapping) -> Tensor:
    """Poses of a training set at mean lengths, turned to face one way, mirror images too.

    Args:
        config: Config of a :class:`MocapDataset`.

    Returns:
        ``(2F, 17, 3)`` metres, root at 0; F frames.
    """
    plain = {key: value for key, value in config.items() if key not in ('codec', 'pipeline', 'noise', 'augmentation')}
    with DefaultScope.overwrite_default_scope('mmpose'):
        dataset = DATASETS.build(plain)
    poses = mean_length_poses(dataset.directions.cpu())
    mirrored = mirror_pose(poses, torch.ones(len(poses), dtype=torch.bool))
    return torch.cat([facing_forward(poses), facing_forward(mirrored)])


def mean_length_poses(directions: Tensor) -> Tensor:
    """``(N, 17, 3)`` metres, root at 0, of ``(N, 16, 3)`` or more bone directions, at Human3.6M's mean lengths."""
    directions = directions[:, : _BODY - 1]
    lengths = Proportions(bone_spread=0.0, body_spread=0.0).sample(1, torch.Generator(directions.device))
    return assemble_pose(directions, lengths.expand(len(directions), -1))


def facing_forward(poses: Tensor) -> Tensor:
    """Turn ``(N, 17, 3)`` poses about the vertical (y) so that the line through the hips lies along x."""
    hips = poses[:, H36M_17.index('left_hip')] - poses[:, H36M_17.index('right_hip')]
    turn = torch.atan2(hips[:, 2], hips[:, 0])
    cos, sin = turn.cos()[:, None], turn.sin()[:, None]
    x, y, z = poses.unbind(-1)
    return torch.stack([cos * x + sin * z, y, cos * z - sin * x], -1)


def nearest_distance(poses: Tensor, training: Tensor) -> Tensor:
    """Mean joint distance of each pose from the nearest training pose.

    Args:
        poses: ``(N, 17, 3)`` metres, root at 0, facing forward.
        training: ``(M, 17, 3)`` alike.

    Returns:
        ``(N,)`` metres.
    """
    nearest = []
    for chunk in poses.split(_CHUNK):
        total = torch.zeros(len(chunk), len(training))
        for joint in range(1, _BODY):
            # Coordinates, not products: distances of near points would be lost in rounding.
            total += torch.cdist(chunk[:, joint], training[:, joint], compute_mode='donot_use_mm_for_euclid_dist')
        nearest.append(total.amin(1) / _BODY)
    return torch.cat(nearest)


def pose_distances(test_set: TestSet, training: Tensor) -> np.ndarray:
    """``(N,)`` metres: :func:`nearest_distance` of a test set's poses as they were recorded."""
    poses = facing_forward(mean_length_poses(test_set.directions.cpu()))
    # Frames are drawn more than once.
    unique, inverse = np.unique(test_set.file_frames, return_inverse=True)
    first = np.zeros(len(unique), dtype=np.int64)
    first[inverse[::-1]] = np.arange(len(inverse))[::-1]
    return nearest_distance(poses[torch.from_numpy(first)], training).numpy()[inverse]


def posture_shares(test_set: TestSet) -> dict[str, float]:
    """Shares of a test set's poses that lie and that sit.

    To lie is a trunk 60° or more from upright; to sit is not to lie, with both thighs 50° or more from hanging.
    """
    poses = mean_length_poses(test_set.directions.cpu())
    trunk = poses[:, H36M_17.index('thorax')]
    lies = _angle_from(trunk, 1.0) > _LYING_DEG
    thighs = [
        _angle_from(poses[:, H36M_17.index(f'{side}_knee')] - poses[:, H36M_17.index(f'{side}_hip')], -1.0)
        for side in ('left', 'right')
    ]
    sits = ~lies & (torch.minimum(*thighs) > _SITTING_DEG)
    return dict(lying=float(lies.float().mean()), sitting=float(sits.float().mean()))


def _angle_from(vector: Tensor, up: float) -> Tensor:
    """Degrees between ``(N, 3)`` vectors and the vertical, which is up at 1 and down at -1."""
    return (up * vector[:, 1] / vector.norm(dim=-1)).clamp(-1, 1).acos() * (180 / math.pi)


def body_measures(pose_cam: Tensor) -> dict[str, np.ndarray]:
    """What bodies are like, from their true poses.

    Args:
        pose_cam: ``(N, 17, 3)`` metres.

    Returns:
        ``(N,)`` each: ``stature``, metres along the bones from foot to head top; ``leg_to_trunk``, thigh and shin over
        the spine's two bones; ``arm_to_leg``, upper arm and forearm over thigh and shin.
    """
    bones = (pose_cam[:, 1:_BODY] - pose_cam[:, list(H36M_17.parents[1:])]).norm(dim=-1)

    def length(*joints: str) -> Tensor:
        return bones[:, [H36M_17.index(joint) - 1 for joint in joints]].sum(1)

    leg = 0.5 * length('left_knee', 'left_foot', 'right_knee', 'right_foot')
    arm = 0.5 * length('left_elbow', 'left_wrist', 'right_elbow', 'right_wrist')
    trunk = length('spine', 'thorax')
    measures = dict(stature=leg + trunk + length('neck_base', 'head'), leg_to_trunk=leg / trunk, arm_to_leg=arm / leg)
    return {name: values.cpu().numpy().astype(np.float64) for name, values in measures.items()}


def body_groups(bodies_file: str, file_frames: np.ndarray) -> dict[str, np.ndarray]:
    """Who parametric bodies are.

    Args:
        bodies_file: NPZ of ``mocap2bodies.py``.
        file_frames: ``(N,)`` frames in it.

    Returns:
        ``(N,)`` bool for each of women, men (adults in the outer thirds of Anny's gender, which is 0 for men and 1 for
        women) and children (of an age below 2/3, Anny's young adult). Nothing where the file has no phenotypes.
    """
    arrays = read_npz(bodies_file, 'make it with tools/dataset_converters/mocap2bodies.py')
    if not {'body_index', 'body_phenotypes', 'phenotype_names'} <= arrays.keys():
        return {}
    names = [str(name) for name in arrays['phenotype_names']]
    if not {'age', 'gender'} <= set(names):
        return {}
    phenotypes = arrays['body_phenotypes'][arrays['body_index'][file_frames]]
    age, gender = phenotypes[:, names.index('age')], phenotypes[:, names.index('gender')]
    adult = age >= _ADULT_AGE
    return {
        'women': adult & (gender > 2 / 3),
        'men': adult & (gender < 1 / 3),
        'children': ~adult,
    }


def quantile_bins(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Bins of as many values each.

    Args:
        values: ``(N,)``.
        count: How many bins; fewer where values are equal.

    Returns:
        ``(B + 1,)`` edges and the ``(N,)`` bin of each value.
    """
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)))
    if len(edges) == 1:
        return np.array([edges[0], edges[0]]), np.zeros(len(values), dtype=np.int64)
    return edges, np.clip(np.searchsorted(edges, values, side='right') - 1, 0, len(edges) - 2)


def bin_means(values: np.ndarray, bins: np.ndarray, count: int) -> list[float]:
    """Mean of ``(N,)`` values in each of so many bins; NaN in an empty one."""
    number = np.bincount(bins, minlength=count)
    total = np.bincount(bins, weights=values, minlength=count)
    return [float(t / n) if n else math.nan for t, n in zip(total, number, strict=True)]


def coverage(lifted: Lifted) -> dict[str, dict[str, float]]:
    """How often the depths' errors are within the uncertainties told, by joint group and over all joints.

    Args:
        lifted: Poses of a lifter that has uncertainties.

    Returns:
        By group: ``within_1``, the share within a standard deviation, ``within_2``, within 1.96, and ``count``, of
        how many depths.
    """
    ratio = lifted.depth_ratio.numpy()
    names = H36M_17.joint_names[1:]
    groups = {group: [i for i, name in enumerate(names) if name.endswith(ends)] for group, ends in JOINT_GROUPS.items()}
    groups['all'] = list(range(len(names)))
    return {
        group: dict(
            within_1=float((ratio[:, joints] <= 1).mean()),
            within_2=float((ratio[:, joints] <= 1.96).mean()),
            count=int(ratio[:, joints].size),
        )
        for group, joints in groups.items()
    }
