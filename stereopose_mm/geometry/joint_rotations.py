# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Rotations of an animation rig's joints from the positions of H36M-17 keypoints.

The rest pose is a T-pose: x to the person's left, y up, z to the front. A rotation is split into a swing, which takes
a bone from its rest direction to where it is by the least angle, and a twist about the bone (P. Baerlocher and
R. Boulic, "Parametrization and range of motion of the ball-and-socket joint", Deformable Avatars 2001):

- The hips take x from hip to hip and lean as the spine's first bone does; the chest takes x from shoulder to shoulder
  and leans as the bone below it does. (Keypoint 9 is near the nose: a chest set upright by it would nod with the head.)
- Every other bone swings from its parent's frame, without a twist: positions say nothing of one.
- Thigh and upper arm also twist, so that knee and elbow bend as hinges, about one axis of their own: animators edit
  and retarget hinges. The twist fades with the bend, because a straight limb has no bend plane, and stays within 90
  degrees of none. So it is continuous in the pose: noise about a straight limb flips nothing, nor does a knee that
  bends the wrong way.

Hips and chest are nodes without a bone of their own. Each bone that leaves them has its own node in the same place:
lifted hips and shoulders need not be rigid, and every bone still ends exactly where its keypoint is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from .skeletons import H36M_17


class RigNode(NamedTuple):
    """A node of the rig.

    Attributes:
        name: As MotionBuilder and Mixamo call it, so that retargeting tools know it.
        parent: Index of its parent node, -1 for the root.
        joint: H36M-17 keypoint where it is.
        end: Keypoint where its bone ends; -1 without a bone.
    """

    name: str
    parent: int
    joint: int
    end: int


#: J = 23 nodes, parents before children.
RIG = tuple(
    RigNode(*row)
    for row in (
        ('Hips', -1, 0, -1),
        ('RightPelvis', 0, 0, 1), ('RightUpLeg', 1, 1, 2), ('RightLeg', 2, 2, 3), ('RightFoot', 3, 3, -1),
        ('LeftPelvis', 0, 0, 4), ('LeftUpLeg', 5, 4, 5), ('LeftLeg', 6, 5, 6), ('LeftFoot', 7, 6, -1),
        ('Spine', 0, 0, 7), ('Spine1', 9, 7, 8), ('Spine2', 10, 8, -1),
        ('Neck', 11, 8, 9), ('Head', 12, 9, 10), ('HeadTop', 13, 10, -1),
        ('LeftShoulder', 11, 8, 11), ('LeftArm', 15, 11, 12), ('LeftForeArm', 16, 12, 13), ('LeftHand', 17, 13, -1),
        ('RightShoulder', 11, 8, 14), ('RightArm', 19, 14, 15), ('RightForeArm', 20, 15, 16), ('RightHand', 21, 16, -1),
    )
)  # fmt: skip
_HIPS, _CHEST = 0, 11

_X, _Y, _Z = np.eye(3)
#: ``(17, 3)`` rest direction of the bone that ends at each keypoint; none for the root.
REST_DIRECTIONS = np.array([0 * _X, -_X, -_Y, -_Y, _X, -_Y, -_Y, _Y, _Y, _Y, _Y, _X, _X, _X, -_X, -_X, -_X])
# By the node that twists: the axis about which the joint at its end bends. Shins fold back, forearms to the front.
_HINGES = {2: _X, 6: _X, 16: -_Y, 20: _Y}
# Sine of the bend at which a hinge has half its say about the twist.
_SOFT_BEND = 0.25
_TINY = 1e-9

_BONES = np.array(H36M_17.bones)


def bone_lengths(poses: np.ndarray) -> np.ndarray:
    """Lengths of the bones of poses.

    Args:
        poses: ``(..., 17, 3)`` H36M-17.

    Returns:
        ``(..., 16)`` in the order of ``H36M_17.bones``, in the unit of ``poses``.
    """
    return np.linalg.norm(poses[..., _BONES[:, 1], :] - poses[..., _BONES[:, 0], :], axis=-1)


def rest_pose(lengths: np.ndarray) -> np.ndarray:
    """The T-pose with bones of these lengths.

    Args:
        lengths: ``(16,)`` in the order of ``H36M_17.bones``.

    Returns:
        ``(17, 3)`` keypoints, the pelvis at the origin, in the unit of ``lengths``.
    """
    return chain_bones(REST_DIRECTIONS[1:], lengths)


def rest_offsets(lengths: np.ndarray) -> np.ndarray:
    """Places of the rig's nodes in the frames of their parents, the same in every pose.

    Args:
        lengths: ``(16,)`` in the order of ``H36M_17.bones``.

    Returns:
        ``(J, 3)``, zero for the root and for nodes in the places of their parents.
    """
    places = rest_pose(lengths)[[node.joint for node in RIG]]
    return places - places[[max(node.parent, 0) for node in RIG]]


def chain_bones(directions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Keypoints of a pose from its bones.

    Args:
        directions: ``(..., 16, 3)`` unit vectors in the order of ``H36M_17.bones``.
        lengths: ``(..., 16)`` or ``(16,)``.

    Returns:
        ``(..., 17, 3)`` keypoints, the pelvis at the origin.
    """
    bones = directions * lengths[..., None]
    return H36M_17.path_matrix.double().numpy()[:, 1:] @ bones


def joint_rotations(poses: np.ndarray) -> np.ndarray:
    """Rotation of each node of the rig in its parent's frame; see the module for the method.

    With parent p of node j at rest offset o_j: ``R_j = R_p L_j``, ``x_j = x_p + R_p o_j``; x are the poses' keypoints
    if all poses have the bone lengths of the offsets.

    Args:
        poses: ``(N, 17, 3)`` H36M-17 in a right-handed frame; y up if the T-pose is to stand.

    Returns:
        ``(N, J, 4)`` float64 unit quaternions (x, y, z, w); of consecutive poses always the nearer of the two signs.
        A bone of no length is as at rest; a node without a bone turns with its parent.
    """
    poses = np.asarray(poses, np.float64)
    still = Rotation.from_quat(np.tile([0.0, 0.0, 0.0, 1.0], (len(poses), 1)))
    world, quaternions = [], []
    for index, node in enumerate(RIG):
        parent = still if node.parent < 0 else world[node.parent]
        local = still
        if index == _HIPS:
            local = _frame(poses[:, 4] - poses[:, 1], poses[:, 7] - poses[:, 0])
        elif index == _CHEST:
            local = parent.inv() * _frame(poses[:, 11] - poses[:, 14], poses[:, 8] - poses[:, 7])
        elif node.end >= 0:
            bone = parent.inv().apply(poses[:, node.end] - poses[:, node.joint])
            local = _swing(REST_DIRECTIONS[node.end], bone)
        if index in _HINGES:
            lower = (parent * local).inv().apply(poses[:, node.end + 1] - poses[:, node.end])
            local = local * _hinge_twist(REST_DIRECTIONS[node.end], _HINGES[index], lower)
        world.append(parent * local)
        quaternions.append(local.as_quat())
    return continuous_signs(np.stack(quaternions, 1))


def continuous_signs(quaternions: np.ndarray) -> np.ndarray:
    """Turn signs of quaternions so that each is on the side of the one before it.

    Args:
        quaternions: ``(N, ..., 4)``; the first keep their signs.
    """
    flips = (quaternions[1:] * quaternions[:-1]).sum(-1, keepdims=True) < 0
    signs = np.where(np.cumsum(flips, 0) % 2, -1.0, 1.0)
    return np.concatenate([quaternions[:1], quaternions[1:] * signs])


def euler_angles(quaternions: np.ndarray, order: str) -> np.ndarray:
    """Angles of rotations about three axes, without jumps from one to the next.

    Two triples, and whole turns, describe a rotation: the one nearest to that before it is taken. Where the middle
    angle is a right angle the outer axes coincide (gimbal lock), and the last angle stays as it was.

    Args:
        quaternions: ``(N, 4)`` unit quaternions (x, y, z, w).
        order: Three different axes such as ``'ZXY'``: R = Rz Rx Ry.

    Returns:
        ``(N, 3)`` radians, in the order of the axes.
    """
    rotations = Rotation.from_quat(quaternions)
    angles, locked = _free_angles(rotations, order)
    # (a, b, c) and (a + pi, pi - b, c + pi) are one rotation. Exchanging both of two neighbours keeps their distance,
    # so the choices follow from whether each pair is nearer as it is or with one of them exchanged.
    other = np.stack([angles[:, 0] + np.pi, np.pi - angles[:, 1], angles[:, 2] + np.pi], -1)
    exchanges = _distance(other[1:], angles[:-1]) < _distance(angles[1:], angles[:-1])
    exchanged = np.concatenate([[0], np.cumsum(exchanges) % 2]).astype(bool)[: len(angles)]
    angles = np.where(exchanged[:, None], other, angles)
    if locked.any():
        angles[locked] = _hold_last_angle(rotations, angles, locked, order)
    return np.unwrap(angles, axis=0)


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squared distance of triples of angles ``(N, 3)``, whole turns apart."""
    return (((one - other + np.pi) % (2 * np.pi) - np.pi) ** 2).sum(-1)


def _free_angles(rotations: Rotation, order: str) -> tuple[np.ndarray, np.ndarray]:
    """Angles ``(N, 3)`` with the middle one within a right angle, and where the outer two are not determined."""
    # Not scipy's as_euler, which warns of gimbal lock: with axes i, j, k and parity s, R_ik = s sin b.
    i, j, k = ('XYZ'.index(axis) for axis in order)
    parity = 1 if (j - i) % 3 == 1 else -1
    matrix = rotations.as_matrix()
    cosine = np.hypot(matrix[:, i, i], matrix[:, i, j])
    middle = np.arctan2(parity * matrix[:, i, k], cosine)
    first = np.arctan2(-parity * matrix[:, j, k], matrix[:, k, k])
    last = np.arctan2(-parity * matrix[:, i, j], matrix[:, i, i])
    return np.stack([first, middle, last], -1), cosine < 1e-7


def _hold_last_angle(rotations: Rotation, angles: np.ndarray, locked: np.ndarray, order: str) -> np.ndarray:
    """Angles of the locked rotations with the last angle of the last free rotation before them, or 0."""
    source = np.maximum.accumulate(np.where(locked, -1, np.arange(len(locked))))[locked]
    last = np.where(source >= 0, angles[source, 2], 0.0)
    held = np.stack([0 * last, angles[locked, 1], last], -1)
    rest = rotations[locked] * Rotation.from_euler(order, held).inv()
    first = rest.as_rotvec()[:, 'XYZ'.index(order[0])]
    return np.stack([first, held[:, 1], last], -1)


def _unit(vectors: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Vectors ``(N, 3)`` made of length 1; ``otherwise`` where they have none."""
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(norm > _TINY, vectors / np.maximum(norm, _TINY), otherwise)


def _perpendicular(vectors: np.ndarray) -> np.ndarray:
    """For unit vectors ``(N, 3)`` one at a right angle to each, always the same."""
    axes = np.eye(3)[np.abs(vectors).argmin(-1)]
    return _unit(np.cross(vectors, axes), _Z)


def _frame(left: np.ndarray, up: np.ndarray) -> Rotation:
    """Frames with x along ``left`` ``(N, 3)`` and y as near to ``up`` ``(N, 3)`` as it can be."""
    x = _unit(left, _X)
    z = _unit(np.cross(x, _unit(up, _Y)), _perpendicular(x))
    return Rotation.from_matrix(np.stack([x, np.cross(z, x), z], -1))


def _swing(rest: np.ndarray, bones: np.ndarray) -> Rotation:
    """Least rotation that takes the direction ``rest`` ``(3,)`` to those of ``bones`` ``(N, 3)``.

    A bone opposite to its rest direction turns about a fixed axis.
    """
    # With h half-way between the unit vectors a and b, the quaternion is (a x h, a . h).
    half = _unit(rest + _unit(bones, rest), _perpendicular(rest[None]))
    return Rotation.from_quat(np.concatenate([np.cross(rest, half), half @ rest[:, None]], -1))


def _hinge_twist(rest: np.ndarray, hinge: np.ndarray, lower: np.ndarray) -> Rotation:
    """Twist about ``rest`` that turns ``hinge`` towards the axis about which the lower bone is bent.

    Args:
        rest: ``(3,)`` rest direction of the upper bone.
        hinge: ``(3,)`` axis at a right angle to it.
        lower: ``(N, 3)`` lower bones in the upper bone's frame before the twist.
    """
    axis = np.cross(rest, _unit(lower, rest))
    along, across = axis @ hinge, axis @ np.cross(rest, hinge)
    angle = np.arctan2(across, np.maximum(along, 0) + _SOFT_BEND)
    return Rotation.from_rotvec(angle[:, None] * rest)
