# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stereopose_mm.datasets.mocap_files import MotionFileError, parse_bvh

CHAIN = """HIERARCHY
ROOT hip
{{
  OFFSET 5 5 5
  CHANNELS {root}
  JOINT knee {{
    OFFSET 0 10 0
    CHANNELS {knee}
    JOINT foot
    {{
      OFFSET 0 20 0
      CHANNELS 0
      End Site
      {{
        OFFSET 0 0 1
      }}
    }}
  }}
}}
MOTION
Frames:\t1
Frame Time:\t0.025
{values}
"""
ROOT = '6 Xposition Yposition Zposition '


def chain(root, knee, values):
    return parse_bvh(CHAIN.format(root=root, knee=knee, values=values))


def test_hand_computed_positions():
    motion = chain(ROOT + 'Zrotation Xrotation Yrotation', '1 Zrotation', '1 2 3 90 0 0 90')
    # Rz(90) lays the thigh along -x; the knee's own 90 degrees turn the shin to -y.
    np.testing.assert_allclose(motion.positions()[0], [[1, 2, 3], [-9, 2, 3], [-9, -18, 3]], atol=1e-6)
    assert motion.fps == pytest.approx(40)


@pytest.mark.parametrize(
    'order, knee',
    [('Zrotation Xrotation Yrotation', [0, 0, 10]), ('Xrotation Zrotation Yrotation', [-10, 0, 0])],
)
def test_channels_multiply_in_the_order_of_the_file(order, knee):
    motion = chain(ROOT + order, '0', '0 0 0 90 90 0')
    np.testing.assert_allclose(motion.positions()[0, 1], knee, atol=1e-6)


def test_position_channels_replace_the_offset_axis_by_axis():
    full = chain(ROOT + 'Zrotation Xrotation Yrotation', '3 Xposition Yposition Zposition', '0 0 0 90 0 0 1 2 3')
    np.testing.assert_allclose(full.positions()[0, 1], [-2, 1, 3], atol=1e-6)
    # Without channels for x and z the root keeps 5 of its offset there.
    part = chain('1 Yposition', '1 Xposition', '7 4')
    np.testing.assert_allclose(part.positions()[0, :2], [[5, 7, 5], [9, 17, 5]], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-180, 180), min_size=5, max_size=5))
def test_agrees_with_scipy(angles):
    motion = chain(
        ROOT + 'Zrotation Yrotation Xrotation',
        '2 Yrotation Xrotation',
        ' '.join(map(str, [1, 2, 3, *angles])),
    )
    root = Rotation.from_euler('ZYX', angles[:3], degrees=True)
    knee = root * Rotation.from_euler('YX', angles[3:], degrees=True)
    expected = np.cumsum([[1, 2, 3], root.apply([0, 10, 0]), knee.apply([0, 20, 0])], axis=0)
    np.testing.assert_allclose(motion.positions()[0], expected, atol=1e-6)


def test_h36m_pose(make_bvh):
    pose = parse_bvh(make_bvh(frames=3)).h36m(slice(2, None))[0]
    expected = {
        0: [2, 100, 0],
        1: [-7, 100, 0],
        2: [-7, 60, 0],
        3: [-7, 19, 0],
        4: [11, 100, 0],
        7: [2, 130, 0],
        8: [2, 152, 0],
        9: [2, 162, 2],
        10: [2, 186, 6.8],
        11: [17, 148, 0],
        12: [45, 148, 0],
        13: [70, 148, 0],
        14: [-13, 148, 0],
        16: [-66, 148, 0],
    }
    for joint, centimetres in expected.items():
        np.testing.assert_allclose(pose[joint], np.array(centimetres) / 100, atol=1e-6)


def test_knees_bend_back_and_elbows_forward(make_bvh):
    bent = {'rShin': (0, 60, 0), 'lShin': (0, 60, 0), 'lForeArm': (0, 0, -60)}
    pose = parse_bvh(make_bvh(angles=bent)).h36m()[0]
    forward = np.cross(pose[8] - pose[0], pose[1] - pose[4])  # up x (left to right)
    assert (pose[3] - pose[2]) @ forward < 0 and (pose[6] - pose[5]) @ forward < 0
    assert (pose[13] - pose[12]) @ forward > 0


MOTIONBUILDER = dict(
    hip='Hips',
    chest='Spine1',
    neck='Neck',
    head='Head',
    rThigh='RightUpLeg',
    rShin='RightLeg',
    rFoot='RightFoot',
    lThigh='LeftUpLeg',
    lShin='LeftLeg',
    lFoot='LeftFoot',
    lShldr='LeftArm',
    lForeArm='LeftForeArm',
    lHand='LeftHand',
    rShldr='RightArm',
    rForeArm='RightForeArm',
    rHand='RightHand',
)


@pytest.mark.parametrize('rename', [str.upper, MOTIONBUILDER.get, lambda n: f'actor:{n}'])
def test_other_studios_names_give_the_same_pose(make_bvh, rename):
    np.testing.assert_array_equal(parse_bvh(make_bvh(rename=rename)).h36m(), parse_bvh(make_bvh()).h36m())


def test_missing_joints_are_named(make_bvh):
    text = make_bvh(rename=lambda n: 'x' + n if n in ('rShin', 'lHand') else n)
    with pytest.raises(MotionFileError, match=r'walk.bvh: .*lacks the joint\(s\) rshin, lhand'):
        parse_bvh(text, 'walk.bvh').h36m()


BREAKAGES = {
    'short line': (lambda t: t[:-1].rsplit(' ', 1)[0], -1, 'has 51 values here, this line has 50'),
    'word': (lambda t: t[:-2] + 'x\n', -1, "'x' is not a number"),
    'nan': (lambda t: t[:-2] + 'nan\n', -1, "'nan' is not a finite number"),
    'truncated': (lambda t: t.rsplit('\n', 2)[0] + '\n', -2, 'says 5 frames and has 4'),
    'more frames': (lambda t: t + t.splitlines()[-1], 0, 'says 5 frames and has 6'),
    'keyword': (lambda t: t.replace('OFFSET 0 30 0', 'OFSET 0 30 0'), 8, "unknown keyword 'OFSET'"),
    'offset': (lambda t: t.replace('OFFSET 0 30 0', 'OFFSET 0 30'), 8, 'OFFSET takes 3 numbers'),
    'channel': (lambda t: t.replace('Xposition', 'Wposition'), 5, "unknown channel 'Wposition'"),
    'count': (lambda t: t.replace('CHANNELS 6', 'CHANNELS 7'), 5, 'CHANNELS says'),
    'time': (lambda t: t.replace('Frame Time: ', 'Frame Time: -'), -6, 'takes a positive number'),
    'no frames': (lambda t: t.replace('Frames: 5', 'Frames: 0'), -7, 'takes a positive number'),
    'brace': (lambda t: t.replace('}\nMOTION', 'MOTION'), -9, "1 '}' missing"),
}


@pytest.mark.parametrize('name', BREAKAGES)
def test_broken_files_are_refused_at_their_line(make_bvh, name):
    whole = make_bvh()
    breakage, line, message = BREAKAGES[name]
    line = line if line > 0 else len(whole.splitlines()) + 1 + line
    with pytest.raises(MotionFileError) as caught:
        parse_bvh(breakage(whole), 'walk.bvh')
    assert message in str(caught.value)
    assert str(caught.value).startswith('walk.bvh:')
    if not name == 'brace':
        assert caught.value.line == line


@pytest.mark.parametrize('text', ['', 'HIERARCHY', 'hello', '\x00\xff', 'MOTION\nFrames: 1\n'])
def test_what_is_no_bvh_is_refused(text):
    with pytest.raises(MotionFileError, match='^walk.bvh:'):
        parse_bvh(text, 'walk.bvh')


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_file_cut_anywhere_is_refused_or_whole(make_bvh, data):
    whole = make_bvh(frames=2)
    cut = data.draw(st.integers(0, len(whole) - 3))
    with pytest.raises(MotionFileError):
        parse_bvh(whole[:cut])
