# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Turns of body segments out of motion capture, the same for every file format.

A segment's turn is the rotation that takes it from the T-pose to a frame: arms level, palms down, legs
straight down, toes forward, back and head upright, in axes x to the body's left, y up, z forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..mocap_files.amc import BONES, AmcMotion
from ..mocap_files.bvh import BvhMotion
from ..mocap_files.deepmimic import JOINTS, DeepMimicMotion
from ..mocap_files.kinematics import MotionFileError, axis_rotation, blend_rotations, shortest_rotation

Motion = BvhMotion | AmcMotion | DeepMimicMotion

# The rigid parts of a body and what each hangs from. A hand turns with its forearm: the wrist is the
# last keypoint there.
_TRUNK = {'pelvis': '', 'waist': 'pelvis', 'belly': 'waist', 'chest': 'belly', 'neck': 'chest', 'head': 'neck'}
_LIMBS = {
    'clavicle': 'chest',
    'upper_arm': 'clavicle',
    'forearm': 'upper_arm',
    'thigh': 'pelvis',
    'shin': 'thigh',
    'foot': 'shin',
}
_PARENTS = _TRUNK | {
    f'{side}_{name}': parent if parent in _TRUNK else f'{side}_{parent}'
    for side in ('left', 'right')
    for name, parent in _LIMBS.items()
}
SEGMENTS = tuple(_PARENTS)
SEGMENT_PARENTS = tuple(SEGMENTS.index(parent) if parent else -1 for parent in _PARENTS.values())

# Where the limbs point in the T-pose.
LIMB_AXES = {
    'left_upper_arm': (1.0, 0.0, 0.0),
    'left_forearm': (1.0, 0.0, 0.0),
    'left_thigh': (0.0, -1.0, 0.0),
    'left_shin': (0.0, -1.0, 0.0),
    'right_upper_arm': (-1.0, 0.0, 0.0),
    'right_forearm': (-1.0, 0.0, 0.0),
    'right_thigh': (0.0, -1.0, 0.0),
    'right_shin': (0.0, -1.0, 0.0),
}

# Limbs of the DAZ figure of CMU's BVH conversion at rest. Its own offsets bend the forearms forward by 17
# degrees; these directions are those of the original AMC files in the same frames, in the mean of
# clips that are there in both forms.
_DAZ_REST = {
    f'{side}_{name}': direction
    for side, x in (('left', 1.0), ('right', -1.0))
    for name, direction in {
        'upper_arm': (0.99 * x, -0.15, 0.0),
        'forearm': (0.99 * x, -0.15, 0.0),
        'thigh': (0.0, -0.99, -0.09),
        'shin': (0.0, -0.99, -0.08),
    }.items()
}
# The DAZ figure's face looks up by 16 degrees against the AMC files' in the same frames. Half of that
# is taken back: people who walk then look a little down in the mean of either form.
_DAZ_NOD = np.deg2rad(8.0)

_ASF_BONES = {'upper_arm': 'humerus', 'forearm': 'radius', 'thigh': 'femur', 'shin': 'tibia'}
_DEEPMIMIC_JOINTS = {'upper_arm': 'shoulder', 'forearm': 'elbow', 'thigh': 'hip', 'shin': 'knee', 'foot': 'ankle'}


@dataclass
class _Rig:
    """What a motion file tells of its segments.

    Attributes:
        turns: ``(F, 3, 3)`` world rotations by segment, against the file's own rest pose.
        spine: ``(F, C, 3, 3)`` world rotations from the pelvis up to the chest, both included.
        rest: Where the limbs point at rest, in the file's axes.
        left: ``(3,)`` the body's left at rest, in the file's axes; y is up.
    """

    turns: dict[str, np.ndarray]
    spine: np.ndarray
    rest: dict[str, np.ndarray]
    left: np.ndarray


def segment_turns(motion: Motion, frames: slice = slice(None)) -> np.ndarray:
    """Give the turns of all segments in the frames of a motion.

    Limbs follow the file's rotations from the directions that they have at rest, whether that is a
    T-pose (BVH), one with the legs apart (ASF) or one with the arms down (DeepMimic). The back bends
    evenly where a file has fewer joints than the body, and the neck is half way between chest and head.

    Args:
        motion: A parsed motion.
        frames: Which frames.

    Returns:
        ``(F, S, 3, 3)`` rotations from the T-pose, in the order of :data:`SEGMENTS`, in the file's axes
        (y up).

    Raises:
        MotionFileError: If the skeleton lacks a segment that turns the body.
    """
    rig = {BvhMotion: _bvh_rig, AmcMotion: _amc_rig, DeepMimicMotion: _deepmimic_rig}[type(motion)](motion, frames)
    up = np.array([0.0, 1.0, 0.0])
    left = rig.left - (rig.left @ up) * up
    left = left / np.linalg.norm(left)
    # Columns: the body's left, up and forward in the file's axes.
    facing = np.stack([left, up, np.cross(left, up)], axis=1)
    turns = dict(rig.turns)
    for name, share in (('pelvis', 0.0), ('waist', 1 / 3), ('belly', 2 / 3), ('chest', 1.0)):
        turns[name] = _along(rig.spine, share)
    turns['neck'] = blend_rotations(turns['chest'], turns['head'], 0.5)
    for name, axis in LIMB_AXES.items():
        turns[name] = turns[name] @ shortest_rotation(facing @ axis, rig.rest[name])
    for side in ('left', 'right'):
        # At rest the foot stands square on the shin.
        turns[f'{side}_foot'] = turns[f'{side}_foot'] @ shortest_rotation(
            facing @ LIMB_AXES[f'{side}_shin'], rig.rest[f'{side}_shin']
        )
    return np.stack([turns[name] for name in SEGMENTS], axis=1) @ facing


def _along(chain: np.ndarray, share: float) -> np.ndarray:
    """Give the rotations ``(F, 3, 3)`` at a share of the way along chains of rotations ``(F, C, 3, 3)``."""
    place = share * (chain.shape[1] - 1)
    below = min(int(place), max(chain.shape[1] - 2, 0))
    return blend_rotations(chain[:, below], chain[:, min(below + 1, chain.shape[1] - 1)], place - below)


def _bvh_rig(motion: BvhMotion, frames: slice) -> _Rig:
    rotations = motion.placed(frames)[1]
    joints = motion.h36m_joints()
    # The joints by H36M-17 index, and a segment by the joint that it hangs from.
    thighs, shins, feet = (joints[3], joints[0]), (joints[4], joints[1]), (joints[5], joints[2])
    neck, head = joints[7], joints[8]
    arms, forearms, hands = (joints[9], joints[12]), (joints[10], joints[13]), (joints[11], joints[14])
    is_daz = 'lshldr' in motion.plain_names()
    turns = {'head': rotations[:, head] @ (axis_rotation('x', _DAZ_NOD) if is_daz else np.eye(3))}
    rest = {}
    for index, side in enumerate(('left', 'right')):
        turns[f'{side}_clavicle'] = rotations[:, motion.parents[arms[index]]]
        for name, start, end in (
            ('upper_arm', arms, forearms),
            ('forearm', forearms, hands),
            ('thigh', thighs, shins),
            ('shin', shins, feet),
        ):
            turns[f'{side}_{name}'] = rotations[:, start[index]]
            rest[f'{side}_{name}'] = motion.offsets[end[index]]
        turns[f'{side}_foot'] = rotations[:, feet[index]]
    if is_daz:
        rest = {name: np.array(direction) for name, direction in _DAZ_REST.items()}
    chain = _path_to(motion.parents, motion.parents[neck])
    left = _rest_places(motion)[list(thighs)]
    return _Rig(turns, rotations[:, chain], rest, left[0] - left[1])


def _path_to(parents: list[int], joint: int) -> list[int]:
    """Give the joints from the root down to a joint."""
    path = [joint]
    while parents[path[0]] >= 0:
        path.insert(0, parents[path[0]])
    return path


def _rest_places(motion: BvhMotion) -> np.ndarray:
    places = motion.offsets.copy()
    for joint, parent in enumerate(motion.parents):
        places[joint] += places[parent] if parent >= 0 else 0
    return places


def _amc_rig(motion: AmcMotion, frames: slice) -> _Rig:
    skeleton = motion.skeleton
    bones = {bone.name: i for i, bone in enumerate(skeleton.bones)}
    _check_names(skeleton.file, bones, BONES)
    rotations = motion.placed(frames)[1]
    turns, rest = {'head': rotations[:, bones['head']]}, {}
    for side in ('left', 'right'):
        turns[f'{side}_clavicle'] = rotations[:, bones[f'{side[0]}clavicle']]
        for name, bone in _ASF_BONES.items():
            turns[f'{side}_{name}'] = rotations[:, bones[side[0] + bone]]
            rest[f'{side}_{name}'] = skeleton.bones[bones[side[0] + bone]].vector
        # Without a foot of its own, it stands still on the shin.
        turns[f'{side}_foot'] = rotations[:, bones.get(f'{side[0]}foot', bones[f'{side[0]}tibia'])]
    chain = _path_to([bone.parent for bone in skeleton.bones], skeleton.bones[bones['lclavicle']].parent)
    hips = (skeleton.bones[bones[f'{side}hipjoint']].vector for side in 'lr')
    return _Rig(turns, rotations[:, chain], rest, np.subtract(*hips))


def _deepmimic_rig(motion: DeepMimicMotion, frames: slice) -> _Rig:
    skeleton = motion.skeleton
    joints = {name: i for i, name in enumerate(skeleton.names)}
    _check_names(skeleton.file, joints, JOINTS)
    rotations = motion.positions(frames)[1]
    turns, rest = {'head': rotations[:, joints['neck']]}, {}
    for side in ('left', 'right'):
        turns[f'{side}_clavicle'] = rotations[:, joints['chest']]
        for name, joint in _DEEPMIMIC_JOINTS.items():
            turns[f'{side}_{name}'] = rotations[:, joints[f'{side}_{joint}']]
        for name, end in (('upper_arm', 'elbow'), ('forearm', 'wrist'), ('thigh', 'knee'), ('shin', 'ankle')):
            rest[f'{side}_{name}'] = skeleton.offsets[joints[f'{side}_{end}']]
    chain = _path_to(skeleton.parents, joints['chest'])
    left = skeleton.offsets[joints['left_hip']] - skeleton.offsets[joints['right_hip']]
    return _Rig(turns, rotations[:, chain], rest, left)


def _check_names(file: str, known: dict[str, int], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in known]
    if missing:
        raise MotionFileError(file, 0, f'the skeleton lacks {", ".join(missing)}, which turn the body')
