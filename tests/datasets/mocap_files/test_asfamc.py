# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stereopose_mm.datasets.mocap_files import MotionFileError, parse_amc, parse_asf

UNIT = 0.0254 / 0.45


def ends(asf, amc):
    motion = parse_amc(amc, parse_asf(asf))
    names = [bone.name for bone in motion.skeleton.bones]
    return dict(zip(names, motion.ends()[0] / UNIT, strict=True))


def test_rest_pose_by_hand(make_asf, make_amc):
    end = ends(make_asf(), make_amc(values={'root': [10, 20, 30, 0, 0, 0]}))
    s = 2 / np.sqrt(2)  # directions are normalised, then scaled by the length
    np.testing.assert_allclose(end['root'], [10, 20, 30], atol=1e-6)
    np.testing.assert_allclose(end['lhipjoint'], [10 + s, 20 - s, 30], atol=1e-6)
    np.testing.assert_allclose(end['ltibia'], [10 + s, 20 - s - 14.5, 30], atol=1e-6)
    np.testing.assert_allclose(end['thorax'], [10, 26, 30], atol=1e-6)


def test_unit_is_inches_over_length(make_asf):
    assert parse_asf(make_asf()).unit == pytest.approx(0.0254 / 0.45)
    assert parse_asf(make_asf(length_unit=1.0)).unit == pytest.approx(0.0254)


def test_root_turns_about_x_first_then_y_then_z(make_asf, make_amc):
    end = ends(make_asf(), make_amc(values={'root': [0, 0, 0, 90, 90, 0]}))
    # The spine points up; Rx(90) lays it to +z, Ry(90) from there to +x.
    np.testing.assert_allclose(end['thorax'], [6, 0, 0], atol=1e-6)


def test_angles_are_about_the_axes_of_the_bone(make_asf, make_amc):
    knee = {'ltibia': [90]}
    upright = ends(make_asf(axes={'ltibia': '0 0 0'}), make_amc(values=knee))
    # Rx(90) takes the shin from -y to -z: back.
    np.testing.assert_allclose(upright['ltibia'] - upright['lfemur'], [0, 0, -7.5], atol=1e-6)
    turned = ends(make_asf(axes={'ltibia': '0 0 90'}), make_amc(values=knee))
    # With its x axis along the body's y the bone turns about itself and stays.
    np.testing.assert_allclose(turned['ltibia'] - turned['lfemur'], [0, -7.5, 0], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-180, 180), min_size=7, max_size=7))
def test_agrees_with_scipy(make_asf, make_amc, angles):
    root, femur, tibia = angles[:3], angles[3:6], angles[6:]
    values = {'root': [0, 0, 0, *root], 'rfemur': femur, 'rtibia': tibia}
    end = ends(make_asf(), make_amc(values=values))
    world = Rotation.from_euler('xyz', root, degrees=True)  # lower case: extrinsic, x first
    axis = Rotation.from_euler('xyz', [0, 0, -20], degrees=True)
    world_femur = world * axis * Rotation.from_euler('xyz', femur, degrees=True) * axis.inv()
    world_tibia = world_femur * Rotation.from_euler('x', tibia[0], degrees=True)
    s = 2 / np.sqrt(2)
    expected = world.apply([-s, -s, 0])
    np.testing.assert_allclose(end['rhipjoint'], expected, atol=1e-6)
    expected = expected + world_femur.apply([0, -7, 0])
    np.testing.assert_allclose(end['rfemur'], expected, atol=1e-6)
    expected = expected + world_tibia.apply([0, -7.5, 0])
    np.testing.assert_allclose(end['rtibia'], expected, atol=1e-6)


def test_radians_equal_degrees(make_asf, make_amc):
    degrees = make_amc(values={'rfemur': [30, 40, 50]})
    radians = make_amc(values={'rfemur': np.deg2rad([30, 40, 50])}, units=':RADIANS')
    skeleton = parse_asf(make_asf())
    np.testing.assert_allclose(parse_amc(radians, skeleton).h36m(), parse_amc(degrees, skeleton).h36m(), atol=1e-9)


def test_bones_in_any_order(make_asf, make_amc):
    text = make_amc(values={'rfemur': [30, 40, 50], 'lradius': [60]})
    lines = text.splitlines()
    size = (len(lines) - 3) // 5
    frames = [lines[i : i + size] for i in range(3, len(lines), size)]
    shuffled = lines[:3] + [line for f in frames for line in [f[0], *f[:0:-1]]]
    skeleton = parse_asf(make_asf())
    np.testing.assert_array_equal(parse_amc('\n'.join(shuffled), skeleton).h36m(), parse_amc(text, skeleton).h36m())


def test_h36m_sides_and_bends(make_asf, make_amc):
    bent = {'rtibia': [60], 'ltibia': [60]}
    pose = parse_amc(make_amc(values=bent), parse_asf(make_asf())).h36m()[0]
    assert pose.shape == (17, 3)
    forward = np.cross(pose[8] - pose[0], pose[1] - pose[4])
    assert forward[2] > 0
    assert (pose[3] - pose[2]) @ forward < 0 and (pose[6] - pose[5]) @ forward < 0
    assert pose[4, 0] > 0 > pose[1, 0] and pose[13, 0] > 0 > pose[16, 0]
    s = 2 / np.sqrt(2)
    np.testing.assert_allclose(pose[0], [0, -s * UNIT, 0], atol=1e-6)
    np.testing.assert_allclose(pose[7], [0, 4 * UNIT, 0], atol=1e-6)
    np.testing.assert_allclose(pose[8], [0, 7.75 * UNIT, 0], atol=1e-6)
    np.testing.assert_allclose(pose[10], [0, 11.25 * UNIT, 0], atol=1e-6)


def test_missing_bones_are_named(make_asf, make_amc):
    skeleton = parse_asf(make_asf().replace('lclavicle', 'lcollar'), '01.asf')
    motion = parse_amc(make_amc().replace('lclavicle', 'lcollar'), skeleton)
    with pytest.raises(MotionFileError, match=r'01.asf: .*lacks the bone\(s\) lclavicle'):
        motion.h36m()


def edit(text, old, new):
    """Replace once, and give the line where it happened."""
    assert old in text
    return text.replace(old, new, 1), text[: text.index(old)].count('\n') + 1


@pytest.mark.parametrize(
    'old, new, message',
    [
        ('length 7.0', 'length x', "'x' is not a number"),
        ('direction 0 -1 0', 'direction 0 -1', 'direction takes 3 number'),
        ('axis 0 0 20 XYZ', 'axis 0 0 20 XYY', 'axis order takes'),
        ('dof rx ry rz', 'dof rx ry rw', "degree of freedom 'rw'"),
        ('    limits (-10 10)', '    limit (-10 10)', "unknown keyword 'limit'"),
        (':bonedata', ':bonesdata', "unknown keyword ':bonesdata'"),
        ('length 0.45', 'length -1', 'positive number'),
        ('angle deg', 'angle grad', "'deg' or 'rad'"),
        ('lfemur ltibia', 'lfemur lshin', "unknown bone 'lshin'"),
    ],
)
def test_broken_asf_is_refused_at_its_line(make_asf, old, new, message):
    text, line = edit(make_asf(), old, new)
    with pytest.raises(MotionFileError) as caught:
        parse_asf(text, '01.asf')
    assert message in str(caught.value)
    assert caught.value.line == line


@pytest.mark.parametrize(
    'old, new, message',
    [
        ('\n2\nroot 0 0 0 0 0 0', '\n2\nroot 0 0 0 0 0', 'root has 6 values, got 5'),
        ('\n2\nroot 0 0 0 0 0 0', '\n2\nroot 0 0 0 0 0 nan', "'nan' is not a finite number"),
        ('\n2\nroot 0 0 0 0 0 0', '\n2\nroot 0 0 0 0 0 1.x', "'1.x' is not a number"),
        ('\n2\nroot 0 0 0 0 0 0', '\n2\ntail 0 0 0 0 0 0', "unknown bone 'tail'"),
        ('\n2\nroot 0 0 0 0 0 0\nlfemur', '\n2\nlfemur', 'expected bone root, got lfemur'),
    ],
)
def test_broken_amc_is_refused_at_its_line(make_asf, make_amc, old, new, message):
    text, line = edit(make_amc(), old, new)
    with pytest.raises(MotionFileError) as caught:
        parse_amc(text, parse_asf(make_asf()), '01_01.amc')
    assert message in str(caught.value)
    assert caught.value.line == line + 2


def test_amc_frames_must_follow_each_other(make_asf, make_amc):
    text, line = edit(make_amc(), '\n3\n', '\n4\n')
    with pytest.raises(MotionFileError, match=f'01.amc:{line + 1}: expected frame 3'):
        parse_amc(text, parse_asf(make_asf()), '01.amc')


def test_truncated_amc_is_refused(make_asf, make_amc):
    lines = make_amc().splitlines()
    with pytest.raises(MotionFileError, match=f'x.amc:{len(lines) - 1}: frame 5 ends before'):
        parse_amc('\n'.join(lines[:-1]), parse_asf(make_asf()), 'x.amc')
    for text in ('', ':DEGREES\n', '1\n', 'root 0 0 0 0 0 0\n', ':FULLY\n1\n'):
        with pytest.raises(MotionFileError, match='^x.amc'):
            parse_amc(text, parse_asf(make_asf()), 'x.amc')


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_asf_cut_anywhere_is_refused(make_asf, data):
    whole = make_asf()
    last = whole.index('rhumerus rradius')  # what follows the last bone can be missed
    with pytest.raises(MotionFileError):
        parse_asf(whole[: data.draw(st.integers(0, last))])
