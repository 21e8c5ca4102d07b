# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stereopose_mm.datasets.body_files import SEGMENTS, segment_turns
from stereopose_mm.datasets.mocap_files import (
    MotionFileError,
    parse_amc,
    parse_asf,
    parse_bvh,
    parse_deepmimic,
    parse_deepmimic_skeleton,
)
from stereopose_mm.geometry import H36M_17

LIMBS = [H36M_17.index(f'{side}_{joint}') for side in ('left', 'right') for joint in ('knee', 'foot', 'elbow', 'wrist')]
BIOVISION = {
    'neck': 'Neck', 'head': 'Head', 'chest': 'Chest2', 'rThigh': 'RightHip', 'rShin': 'RightKnee',
    'rFoot': 'RightAnkle', 'lThigh': 'LeftHip', 'lShin': 'LeftKnee', 'lFoot': 'LeftAnkle', 'lShldr': 'LeftShoulder',
    'lForeArm': 'LeftElbow', 'lHand': 'LeftWrist', 'rShldr': 'RightShoulder', 'rForeArm': 'RightElbow',
    'rHand': 'RightWrist',
}  # fmt: skip
angles = st.integers(0, 2**31).map(lambda seed: np.random.default_rng(seed).uniform(-80, 80, (30, 3)))


def limb_directions(poses):
    bones = poses[:, LIMBS] - poses[:, [H36M_17.parents[joint] for joint in LIMBS]]
    return bones / np.linalg.norm(bones, axis=-1, keepdims=True)


def check_limbs(motion, bodies):
    poses = bodies.pose(segment_turns(motion), np.zeros(len(motion.frames), dtype=int))
    np.testing.assert_allclose(limb_directions(poses), limb_directions(motion.h36m()), atol=1e-6)


def turn(turns, name):
    return turns[:, SEGMENTS.index(name)]


@settings(max_examples=10)
@given(drawn=angles)
def test_limbs_point_where_those_of_amc_do(make_asf, make_amc, bodies, drawn):
    names = ['lfemur', 'rfemur', 'lhumerus', 'rhumerus', 'thorax', 'lowerback', 'head']
    values = {name: drawn[i].tolist() for i, name in enumerate(names)}
    values |= {'ltibia': [drawn[8, 0]], 'lradius': [drawn[9, 0]], 'root': [0, 0, 0, *drawn[10]]}
    check_limbs(parse_amc(make_amc(2, values), parse_asf(make_asf())), bodies)


@settings(max_examples=10)
@given(drawn=angles)
def test_limbs_point_where_those_of_deepmimic_do(deepmimic_skeleton, make_deepmimic, bodies, drawn):
    names = ['root', 'chest', 'neck', 'right_hip', 'left_hip', 'right_shoulder', 'left_shoulder', 'left_ankle']
    quaternions = Rotation.from_euler('xyz', drawn[: len(names)], degrees=True).as_quat()[:, [3, 0, 1, 2]]
    rotations = {name: quaternion.tolist() for name, quaternion in zip(names, quaternions, strict=True)}
    rotations |= {'left_elbow': [0.7], 'right_knee': [-1.1]}
    check_limbs(parse_deepmimic(make_deepmimic(2, rotations), parse_deepmimic_skeleton(deepmimic_skeleton)), bodies)


@settings(max_examples=10)
@given(drawn=angles)
def test_limbs_point_where_those_of_bvh_do(make_bvh, bodies, drawn):
    names = ['hip', 'chest', 'neck', 'rThigh', 'rShin', 'lThigh', 'lShldr', 'lForeArm', 'rShldr', 'rForeArm']
    turned = dict(zip(names, drawn.tolist(), strict=False))
    check_limbs(parse_bvh(make_bvh(2, turned, rename=lambda name: BIOVISION.get(name, name))), bodies)


def test_the_daz_figure_rests_as_the_original_recordings_do(make_bvh):
    turns = segment_turns(parse_bvh(make_bvh(1)))
    for name in ('pelvis', 'waist', 'belly', 'chest', 'left_clavicle'):
        np.testing.assert_allclose(turn(turns, name), np.eye(3)[None], atol=1e-9)
    forearm = turn(turns, 'left_forearm')[0] @ [1.0, 0.0, 0.0]
    # Level with the body to 1 degree, though this figure's own forearms reach forward.
    assert abs(forearm[2]) < 0.02 and forearm[0] > 0.98
    assert np.degrees(np.arcsin((turn(turns, 'head')[0] @ [0.0, 0.0, 1.0])[1])) == pytest.approx(-8, abs=0.1)


def test_a_turn_of_the_root_turns_everything(make_bvh):
    rest, turned = (
        segment_turns(parse_bvh(make_bvh(1, {'hip': angles, 'lShin': (0, 50, 0)})))
        for angles in ((0, 0, 0), (40, 20, 70))
    )
    # The root's channels are z, y, x, in degrees.
    root = Rotation.from_euler('ZYX', (40, 20, 70), degrees=True).as_matrix()
    np.testing.assert_allclose(turned[0], root @ rest[0], atol=1e-9)


def test_the_back_bends_evenly_between_pelvis_and_chest(deepmimic_skeleton, make_deepmimic):
    # DeepMimic's axes are x forward, z right: a bow of 60 degrees is a turn about -z.
    bow = Rotation.from_euler('z', -60, degrees=True).as_quat()[[3, 0, 1, 2]].tolist()
    skeleton = parse_deepmimic_skeleton(deepmimic_skeleton)
    turns = segment_turns(parse_deepmimic(make_deepmimic(1, {'chest': bow}), skeleton))
    forward = [np.degrees(np.arcsin(turn(turns, name)[0, 0, 1])) for name in ('pelvis', 'waist', 'belly', 'chest')]
    np.testing.assert_allclose(forward, [0, 20, 40, 60], atol=1e-6)


@pytest.mark.parametrize('name', ['chest', 'left_elbow'])
def test_a_lacking_joint_is_named(deepmimic_skeleton, make_deepmimic, name):
    skeleton = parse_deepmimic_skeleton(deepmimic_skeleton.replace(f'"{name}"', '"other"'), 'figure.txt')
    with pytest.raises(MotionFileError, match=f'^figure.txt: the skeleton lacks {name}'):
        segment_turns(parse_deepmimic(make_deepmimic(1), skeleton))
