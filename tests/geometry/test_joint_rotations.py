# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of joint rotations from positions: exact, equivariant, continuous."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stereopose_mm.geometry import H36M_17
from stereopose_mm.geometry.joint_rotations import (
    REST_DIRECTIONS,
    RIG,
    bone_lengths,
    chain_bones,
    continuous_signs,
    euler_angles,
    joint_rotations,
    rest_offsets,
    rest_pose,
)

from ..made_sequence import walking_pose

LENGTHS = np.array([.13, .44, .45, .13, .44, .45, .23, .26, .12, .11, .16, .28, .25, .16, .28, .25])  # fmt: skip
NAMES = [node.name for node in RIG]
SEEDS = st.integers(0, 2**32 - 1)


def place(root, lengths, rotations):
    """Places of the rig's nodes ``(N, J, 3)`` by SciPy alone."""
    offsets, places, world = rest_offsets(lengths), [], []
    for index, node in enumerate(RIG):
        local = Rotation.from_quat(rotations[:, index])
        world.append(local if node.parent < 0 else world[node.parent] * local)
        places.append(root if node.parent < 0 else places[node.parent] + world[node.parent].apply(offsets[index]))
    return np.stack(places, 1)


def angles_between(one, other):
    """Radians between rotations given as quaternions ``(..., 4)``."""
    return 2 * np.arccos(np.clip(np.abs((one * other).sum(-1)), 0, 1))


def random_poses(seed, count=50):
    """Bones in all directions, many of them along the axes: straight, folded and opposite to the rest pose."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 16, 3))
    axes = np.eye(3)[rng.integers(0, 3, (count, 16))] * rng.choice([-1, 1], (count, 16, 1))
    directions = np.where(rng.random((count, 16, 1)) < 0.5, axes, directions)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return chain_bones(directions, LENGTHS) + rng.normal(size=(count, 1, 3))


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_rotations_give_the_positions_back(seed):
    poses = random_poses(seed)
    rotations = joint_rotations(poses)
    np.testing.assert_allclose(np.linalg.norm(rotations, axis=-1), 1, atol=1e-12)
    places = place(poses[:, 0], LENGTHS, rotations)
    np.testing.assert_allclose(places, poses[:, [node.joint for node in RIG]], atol=1e-8)


def test_rest_pose_needs_no_rotation():
    pose = rest_pose(LENGTHS)
    np.testing.assert_allclose(bone_lengths(pose), LENGTHS, atol=1e-12)
    np.testing.assert_allclose(joint_rotations(pose[None])[0], [[0, 0, 0, 1]] * len(RIG), atol=1e-12)
    assert pose[4, 0] > 0 > pose[1, 0]
    assert pose[10, 1] > 0 > pose[3, 1]
    np.testing.assert_allclose(np.linalg.norm(REST_DIRECTIONS[1:], axis=-1), 1)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_turning_the_person_turns_the_hips_alone(seed):
    pose = walking_pose(np.array([seed / 2**30]))
    turn = Rotation.random(random_state=seed)
    before, after = joint_rotations(pose)[0], joint_rotations(turn.apply(pose[0])[None])[0]
    assert angles_between(before[1:], after[1:]).max() < 1e-6
    hips = (turn * Rotation.from_quat(before[0])).as_quat()
    assert angles_between(hips, after[0]) < 1e-6


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_mirrored_pose_has_mirrored_rotations(seed):
    rng = np.random.default_rng(seed)
    pose = walking_pose(rng.uniform(0, 6, 1)) + rng.normal(0, 0.03, (1, 17, 3))
    mirrored = (pose * [-1, 1, 1])[:, list(H36M_17.flip_indices)]
    swap = {'Left': 'Right', 'Right': 'Left'}
    partner = [NAMES.index(next((name.replace(a, b) for a, b in swap.items() if a in name), name)) for name in NAMES]
    expected = joint_rotations(pose)[:, partner] * [1, -1, -1, 1]
    assert angles_between(joint_rotations(mirrored), expected).max() < 1e-6


def limb_poses(upper, lower, bends, hinge, joints):
    """Rest poses with one limb bent by ``bends`` radians about ``hinge``; ``upper`` is where its first bone points."""
    poses = np.tile(rest_pose(LENGTHS), (len(bends), 1, 1))
    first, second, third = joints
    poses[:, second] = poses[:, first] + LENGTHS[second - 1] * upper
    turned = Rotation.from_rotvec(bends[:, None] * hinge).apply(lower)
    poses[:, third] = poses[:, second] + LENGTHS[third - 1] * turned
    return poses


def test_straight_and_overstretched_knees_flip_nothing():
    bends = np.linspace(-0.5, 1.5, 401)
    down, x = np.array([0, -1.0, 0]), np.array([1.0, 0, 0])
    rotations = joint_rotations(limb_poses(down, down, bends, x, (1, 2, 3)))
    assert angles_between(rotations[1:], rotations[:-1]).max() < 1.01 * (bends[1] - bends[0])
    # The same with a bend plane that wanders round about a leg that is almost straight.
    around = np.linspace(0, 4 * np.pi, 401)
    poses = limb_poses(down, down, 0 * around, x, (1, 2, 3))
    poses[:, 3] += 0.02 * np.stack([np.cos(around), 0 * around, np.sin(around)], -1)
    rotations = joint_rotations(poses)
    assert angles_between(rotations[1:], rotations[:-1]).max() < 0.01
    assert (rotations[1:] * rotations[:-1]).sum(-1).min() > 0.99


@pytest.mark.parametrize(
    ('node', 'joints', 'upper', 'lower', 'hinge', 'axis'),
    [
        # A thigh straight to the front with the shin to the left: without a twist the knee would bend sideways.
        ('RightLeg', (1, 2, 3), [0, 0, 1.0], [0, 0, 1.0], [0, 1.0, 0], [1, 0, 0]),
        # An arm straight to the front with the forearm up.
        ('LeftForeArm', (11, 12, 13), [0, 0, 1.0], [0, 0, 1.0], [-1.0, 0, 0], [0, -1, 0]),
    ],
)
def test_bent_limbs_turn_about_their_hinge(node, joints, upper, lower, hinge, axis):
    bends = np.array([1.5])
    rotations = joint_rotations(limb_poses(np.array(upper), np.array(lower), bends, np.array(hinge), joints))
    turn = Rotation.from_quat(rotations[0, NAMES.index(node)]).as_rotvec()
    assert np.linalg.norm(turn) == pytest.approx(1.5, abs=1e-6)
    assert turn @ axis / np.linalg.norm(turn) > np.cos(np.deg2rad(20))


def test_bones_opposite_to_rest_and_of_no_length_are_settled():
    pose = rest_pose(LENGTHS)
    pose[2], pose[3] = pose[1] + [0, 0.44, 0], pose[1] + [0, 0.89, 0]
    pose[12:14] = pose[11]
    rotations = joint_rotations(np.stack([pose, pose]))
    assert np.isfinite(rotations).all()
    np.testing.assert_array_equal(*rotations)
    assert angles_between(rotations[0, NAMES.index('RightUpLeg')], np.array([0, 0, 0, 1])) == pytest.approx(np.pi)
    collapsed = joint_rotations(np.zeros((1, 17, 3)))
    np.testing.assert_allclose(np.linalg.norm(collapsed, axis=-1), 1)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_signs_follow_the_neighbour(seed):
    rng = np.random.default_rng(seed)
    quaternions = rng.normal(size=(9, 3, 4))
    signed = continuous_signs(quaternions)
    np.testing.assert_array_equal(np.abs(signed), np.abs(quaternions))
    assert (signed[1:] * signed[:-1]).sum(-1).min() >= 0
    assert continuous_signs(quaternions[:0]).shape == (0, 3, 4)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.permutations('XYZ').map(''.join))
def test_euler_angles_are_the_rotation_without_jumps(seed, order):
    rng = np.random.default_rng(seed)
    steps = Rotation.from_rotvec(rng.normal(0, 0.02, (200, 3)) + rng.normal(0, 0.02, 3))
    rotations = [Rotation.random(random_state=seed)]
    for step in steps:
        rotations.append(step * rotations[-1])
    rotations = Rotation.concatenate(rotations)
    angles = euler_angles(rotations.as_quat(), order)
    assert (Rotation.from_euler(order, angles) * rotations.inv()).magnitude().max() < 1e-7
    moves = np.abs(np.diff(angles, axis=0)).sum(-1)
    free = np.abs(np.cos(angles[:, 1])) > 0.3
    assert moves[free[1:] & free[:-1]].max(initial=0) < 1.0


def test_euler_angles_go_on_through_whole_turns_and_gimbal_lock():
    turn = np.linspace(0, 6 * np.pi, 300)
    angles = euler_angles(Rotation.from_euler('Y', turn[:, None]).as_quat(), 'ZXY')
    np.testing.assert_allclose(angles, np.stack([0 * turn, 0 * turn, turn], -1), atol=1e-9)
    # Straight through the right angle of the middle axis, with a frame exactly there.
    middle = np.deg2rad(np.arange(60, 121.0))
    wanted = np.stack([0 * middle + 0.3, middle, 0 * middle + 0.8], -1)
    found = euler_angles(Rotation.from_euler('ZXY', wanted).as_quat(), 'ZXY')
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    locked = euler_angles(Rotation.from_euler('ZXY', wanted[30:31]).as_quat(), 'ZXY')
    np.testing.assert_allclose(locked, [[1.1, np.pi / 2, 0]], atol=1e-6)
