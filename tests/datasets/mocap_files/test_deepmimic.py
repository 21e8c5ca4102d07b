# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.datasets.mocap_files import (
    MotionFileError,
    parse_deepmimic,
    parse_deepmimic_skeleton,
)

HALF = np.sqrt(0.5)


def pose(make, skeleton, **rotations):
    motion = parse_deepmimic(make(rotations=rotations), parse_deepmimic_skeleton(skeleton))
    return motion.h36m()[0]


def test_rest_pose_by_hand(make_deepmimic, deepmimic_skeleton):
    joints = pose(make_deepmimic, deepmimic_skeleton)
    expected = {
        0: [0, 0.9, 0],
        1: [0, 0.9, 0.085],
        3: [0, 0.07, 0.085],
        6: [0, 0.07, -0.085],
        7: [0, 1.136, 0],
        8: [0, 1.41, 0],
        9: [0, 1.48, 0],
        10: [0, 1.595, 0],
        11: [-0.024, 1.379, -0.183],
        16: [-0.024, 0.845, 0.183],
    }
    for joint, place in expected.items():
        np.testing.assert_allclose(joints[joint], place, atol=1e-6)


def test_turned_root_and_joints_by_hand(make_deepmimic, deepmimic_skeleton):
    # A quarter turn about y takes forward (x) to -z and right (z) to x.
    joints = pose(make_deepmimic, deepmimic_skeleton, root=[HALF, 0, HALF, 0])
    np.testing.assert_allclose(joints[1], [0.085, 0.9, 0], atol=1e-6)
    # The elbow bends about z: the forearm points forward.
    joints = pose(make_deepmimic, deepmimic_skeleton, right_elbow=[np.pi / 2])
    np.testing.assert_allclose(joints[16] - joints[15], [0.259, 0, 0], atol=1e-6)
    # The shoulder's quarter turn about x takes the arm from down to back to its side: -y to -z.
    joints = pose(make_deepmimic, deepmimic_skeleton, left_shoulder=[HALF, HALF, 0, 0])
    np.testing.assert_allclose(joints[12] - joints[11], [0, 0, -0.275], atol=1e-6)


def test_knees_bend_back_and_sides_are_right(make_deepmimic, deepmimic_skeleton):
    joints = pose(make_deepmimic, deepmimic_skeleton, right_knee=[-1.0], left_knee=[-1.0])
    forward = np.cross(joints[8] - joints[0], joints[1] - joints[4])
    assert forward[0] > 0
    assert (joints[3] - joints[2]) @ forward < 0 and (joints[6] - joints[5]) @ forward < 0
    right = joints[1] - joints[4]
    assert (joints[14] - joints[11]) @ right > 0


def test_rotations_need_no_unit_length(make_deepmimic, deepmimic_skeleton):
    long = pose(make_deepmimic, deepmimic_skeleton, chest=[1.6, 1.2, 0.0, 0.0])
    unit = pose(make_deepmimic, deepmimic_skeleton, chest=[0.8, 0.6, 0.0, 0.0])
    np.testing.assert_allclose(long, unit, atol=1e-9)


def test_fps_is_the_files_own_and_last_duration_is_no_matter(make_deepmimic, deepmimic_skeleton):
    skeleton = parse_deepmimic_skeleton(deepmimic_skeleton)
    text = make_deepmimic(frames=2, duration=0.0625)
    head, tail = text.rsplit('[0.0625', 1)
    assert parse_deepmimic(head + '[0.0' + tail, skeleton).fps == pytest.approx(16)


def broken(text, old, new):
    head, tail = text.rsplit(old, 1)  # the last one: in the last of the frames
    return head + new + tail


@pytest.mark.parametrize(
    'old, new, message, line',
    [
        (', 0.9, ', ', ', 'has 44 values, frame 4 has 43', 9),
        (', 0.9, ', ', NaN, ', 'frame 4 has a value that is no number', 9),
        (', 0.9, ', ', "high", ', 'frame 4 has a value that is no number', 9),
        (', 0.9, ', ', 0.9.1, ', 'not JSON', 9),
        ('1.0, 0.0, 0.0, 0.0', '0.0, 0.0, 0.0, 0.0', 'has length 0', 9),
        (']\n]\n}', '', 'not JSON', 10),
    ],
)
def test_broken_motion_is_refused_at_its_line(make_deepmimic, deepmimic_skeleton, old, new, message, line):
    skeleton = parse_deepmimic_skeleton(deepmimic_skeleton)
    with pytest.raises(MotionFileError) as caught:
        parse_deepmimic(broken(make_deepmimic(), old, new), skeleton, 'roll.txt')
    assert message in str(caught.value)
    assert caught.value.line == line


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"Frames": 3}', '{"Frames": []}', '[' * 100000])
def test_what_is_no_motion_is_refused(deepmimic_skeleton, text):
    with pytest.raises(MotionFileError, match='^roll.txt'):
        parse_deepmimic(text, parse_deepmimic_skeleton(deepmimic_skeleton), 'roll.txt')


@pytest.mark.parametrize(
    'old, new', [('"revolute"', '"prismatic"'), ('"Parent": 0', '"Parent": 9'), ('"AttachY"', '"Y"')]
)
def test_broken_skeleton_is_refused(deepmimic_skeleton, old, new):
    with pytest.raises(MotionFileError, match='^humanoid3d.txt'):
        parse_deepmimic_skeleton(deepmimic_skeleton.replace(old, new, 1), 'humanoid3d.txt')


def test_missing_joints_are_named(make_deepmimic, deepmimic_skeleton):
    skeleton = parse_deepmimic_skeleton(deepmimic_skeleton.replace('left_wrist', 'left_paw'))
    with pytest.raises(MotionFileError, match='left_wrist'):
        parse_deepmimic(make_deepmimic(), skeleton).h36m()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_bone_lengths_do_not_depend_on_the_pose(make_deepmimic, deepmimic_skeleton, seed):
    draw = np.random.default_rng(seed)
    joints = pose(
        make_deepmimic,
        deepmimic_skeleton,
        root=draw.normal(size=4).tolist(),
        right_hip=draw.normal(size=4).tolist(),
        right_knee=draw.normal(size=1).tolist(),
    )
    assert np.linalg.norm(joints[2] - joints[1]) == pytest.approx(0.42, abs=1e-9)
    assert np.linalg.norm(joints[3] - joints[2]) == pytest.approx(0.41, abs=1e-9)
