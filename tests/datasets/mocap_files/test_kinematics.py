# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stereopose_mm.datasets.mocap_files.kinematics import (
    MotionFileError,
    axis_rotation,
    euler_rotation,
    forward_kinematics,
    parse_floats,
    quaternion_rotation,
)


@pytest.mark.parametrize('axis, start, end', [('x', 'y', 'z'), ('y', 'z', 'x'), ('z', 'x', 'y')])
def test_quarter_turn_follows_the_right_hand_rule(axis, start, end):
    unit = dict(zip('xyz', np.eye(3), strict=True))
    turned = axis_rotation(axis, np.array(np.pi / 2)) @ unit[start]
    np.testing.assert_allclose(turned, unit[end], atol=1e-12)


@pytest.mark.parametrize('axes', ['xyz', 'zyx', 'zxy', 'yxz', 'zy', 'x'])
def test_euler_rotation_agrees_with_scipy(axes):
    angles = np.random.default_rng(0).uniform(-3, 3, (20, len(axes)))
    expected = Rotation.from_euler(axes.upper(), angles).as_matrix()  # upper case: intrinsic
    np.testing.assert_allclose(euler_rotation(axes, angles), expected.reshape(20, 3, 3), atol=1e-12)


def test_euler_rotation_without_axes_is_the_identity():
    np.testing.assert_array_equal(euler_rotation('', np.zeros((4, 0))), np.tile(np.eye(3), (4, 1, 1)))


def test_quaternion_rotation_agrees_with_scipy_at_any_length():
    wxyz = np.random.default_rng(1).normal(size=(30, 4))
    expected = Rotation.from_quat(wxyz[:, [1, 2, 3, 0]]).as_matrix()
    np.testing.assert_allclose(quaternion_rotation(wxyz), expected, atol=1e-12)


def test_forward_kinematics_of_a_bent_arm():
    quarter = axis_rotation('z', np.array([np.pi / 2]))
    positions, rotations = forward_kinematics(
        [-1, 0, 1], np.array([[[1.0, 0, 0], [2, 0, 0], [3, 0, 0]]]), np.stack([quarter] * 3, axis=1)
    )
    # up by 2 after the first quarter turn, back by 3 after the second
    np.testing.assert_allclose(positions[0], [[1, 0, 0], [1, 2, 0], [-2, 2, 0]], atol=1e-12)
    np.testing.assert_allclose(rotations[0, 2] @ [1, 0, 0], [0, -1, 0], atol=1e-12)


@pytest.mark.parametrize('field', ['1.2.3', 'nan', 'inf', 'abc'])
def test_parse_floats_names_file_line_and_field(field):
    with pytest.raises(MotionFileError, match=f"walk.bvh:7: '{field}' is not"):
        parse_floats(['1', field], 'walk.bvh', 7)
