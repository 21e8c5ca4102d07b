# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Keypoint sets: names, kinematic tree, left/right pairs and mappings between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Skeleton:
    """A named keypoint set with a kinematic tree.

    Attributes:
        name: Key in :data:`SKELETONS`.
        joint_names: ``K`` keypoint names, in index order.
        parents: Parent index of each keypoint; a root has ``-1``.
        left: Indices of left-side keypoints, paired in order with ``right``.
        right: Indices of right-side keypoints.
        root: Index of the pelvis, or ``None`` where the set has none (COCO).
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    root: int | None

    @property
    def num_keypoints(self) -> int:
        """Number of keypoints ``K``."""
        return len(self.joint_names)

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """``(parent, child)`` index pairs, in the children's order."""
        return tuple((p, c) for c, p in enumerate(self.parents) if p >= 0)

    @cached_property
    def flip_indices(self) -> tuple[int, ...]:
        """For each keypoint the index of its mirror image, ``K`` values."""
        flip = list(range(self.num_keypoints))
        for a, b in zip(self.left, self.right, strict=True):
            flip[a], flip[b] = b, a
        return tuple(flip)

    @cached_property
    def path_matrix(self) -> Tensor:
        """``(K, K)`` 0/1 matrix: row k marks the bones, by child, from the root to keypoint k.

        Joint positions are ``path_matrix @ bone_vectors``; one product replaces a walk of the tree.
        """
        path = torch.zeros(self.num_keypoints, self.num_keypoints)
        for joint in range(self.num_keypoints):
            child = joint
            while self.parents[child] >= 0:
                path[joint, child] = 1
                child = self.parents[child]
        return path

    def index(self, joint_name: str) -> int:
        """Index of a keypoint by name.

        Raises:
            ValueError: If the set has no keypoint of that name.
        """
        if joint_name not in self.joint_names:
            raise ValueError(f'{self.name} has no keypoint {joint_name!r}; it has {self.joint_names}')
        return self.joint_names.index(joint_name)


# Order and names are MMPose's (configs/_base_/datasets/h36m.py).
H36M_17 = Skeleton(
    name='h36m',
    joint_names=(
        'root', 'right_hip', 'right_knee', 'right_foot', 'left_hip', 'left_knee', 'left_foot', 'spine', 'thorax',
        'neck_base', 'head', 'left_shoulder', 'left_elbow', 'left_wrist', 'right_shoulder', 'right_elbow',
        'right_wrist',
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    left=(4, 5, 6, 11, 12, 13),
    right=(1, 2, 3, 14, 15, 16),
    root=0,
)  # fmt: skip

# COCO has neither pelvis nor spine: its limbs hang from the nose here, as in COCO's own drawing tree.
COCO_17 = Skeleton(
    name='coco',
    joint_names=(
        'nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder', 'left_elbow',
        'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip', 'left_knee', 'right_knee', 'left_ankle',
        'right_ankle',
    ),
    parents=(-1, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    left=(1, 3, 5, 7, 9, 11, 13, 15),
    right=(2, 4, 6, 8, 10, 12, 14, 16),
    root=None,
)  # fmt: skip

# Order and names are MMPose's (configs/_base_/datasets/mpi_inf_3dhp.py).
MPI_INF_3DHP_17 = Skeleton(
    name='mpi_inf_3dhp',
    joint_names=(
        'head_top', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder', 'left_elbow',
        'left_wrist', 'right_hip', 'right_knee', 'right_ankle', 'left_hip', 'left_knee', 'left_ankle', 'root', 'spine',
        'head',
    ),
    parents=(16, 15, 1, 2, 3, 1, 5, 6, 14, 8, 9, 14, 11, 12, -1, 14, 1),
    left=(5, 6, 7, 11, 12, 13),
    right=(2, 3, 4, 8, 9, 10),
    root=14,
)  # fmt: skip

# Both sets on one body: H36M-17, then COCO-17, each of its keypoints hung from the H36M-17 joint that it is nearest to.
_H36M_JOINT_OF_COCO = (9, 9, 9, 9, 9, 11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3)
H36M_COCO = Skeleton(
    name='h36m_coco',
    joint_names=(*H36M_17.joint_names, *(f'coco_{name}' for name in COCO_17.joint_names)),
    parents=(*H36M_17.parents, *_H36M_JOINT_OF_COCO),
    left=(*H36M_17.left, *(17 + k for k in COCO_17.left)),
    right=(*H36M_17.right, *(17 + k for k in COCO_17.right)),
    root=0,
)

# What can be given as input.
SKELETONS = {s.name: s for s in (H36M_17, COCO_17, MPI_INF_3DHP_17)}

# Which source keypoint each H36M-17 keypoint is; an average where two are named, absent where the
# source marks no such point. (COCO's head top is not detected at all: nothing stands for it.)
_TO_H36M = {
    'mpi_inf_3dhp': {
        0: (14,), 1: (8,), 2: (9,), 3: (10,), 4: (11,), 5: (12,), 6: (13,), 7: (15,), 8: (1,), 9: (16,), 10: (0,),
        11: (5,), 12: (6,), 13: (7,), 14: (2,), 15: (3,), 16: (4,),
    },
    'coco': {
        0: (11, 12), 1: (12,), 2: (14,), 3: (16,), 4: (11,), 5: (13,), 6: (15,), 8: (5, 6), 9: (0,), 11: (5,),
        12: (7,), 13: (9,), 14: (6,), 15: (8,), 16: (10,),
    },
    'h36m': {k: (k,) for k in range(17)},
}  # fmt: skip


def get_skeleton(name: str) -> Skeleton:
    """Look a keypoint set up by name: ``'h36m'``, ``'coco'`` or ``'mpi_inf_3dhp'``.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in SKELETONS:
        raise ValueError(f'unknown skeleton {name!r}: takes one of {sorted(SKELETONS)}')
    return SKELETONS[name]


def body_skeleton(num_joints: int) -> Skeleton:
    """The skeleton of 3D poses by their number of joints: 17 for H36M-17, 34 for H36M-17 and COCO-17 together.

    Raises:
        ValueError: For another number.
    """
    for skeleton in (H36M_17, H36M_COCO):
        if skeleton.num_keypoints == num_joints:
            return skeleton
    raise ValueError(f'takes poses of 17 joints (H36M-17) or 34 (H36M-17, then COCO-17), got {num_joints}')


def to_h36m_mapping(name: str) -> dict[int, tuple[int, ...]]:
    """Source keypoints of each H36M-17 keypoint, averaged where there are two.

    Args:
        name: Source set, as for :func:`get_skeleton`.

    Returns:
        ``{h36m_index: (source_index, ...)}``; H36M keypoints without a source are absent.

    Raises:
        ValueError: If the name is unknown.
    """
    return dict(_TO_H36M[get_skeleton(name).name])


def mapping_matrix(name: str) -> tuple[Tensor, Tensor]:
    """Linear form of :func:`to_h36m_mapping`, for batches.

    Args:
        name: Source set with K keypoints.

    Returns:
        ``(17, K)`` averaging matrix, and a ``(17,)`` bool mask of the H36M keypoints that have a source.
        ``matrix @ keypoints`` maps ``(N, K, D)`` to ``(N, 17, D)``.
    """
    source = get_skeleton(name)
    matrix = torch.zeros(H36M_17.num_keypoints, source.num_keypoints)
    for target, sources in to_h36m_mapping(name).items():
        matrix[target, list(sources)] = 1 / len(sources)
    return matrix, matrix.sum(1) > 0


def map_scores(name: str, scores: Tensor) -> Tensor:
    """Scores of H36M-17 joints by the keypoints that they are seen by.

    Args:
        name: Source set with K keypoints.
        scores: ``(N, K)``.

    Returns:
        ``(N, 17)``: the smaller one where a joint lies between two keypoints, 0 where none tells of it.
    """
    matrix, has_source = mapping_matrix(name)
    smallest = torch.where(matrix.to(scores) > 0, scores[:, None], torch.inf).amin(-1)
    return torch.where(has_source.to(scores.device), smallest, 0.0)
