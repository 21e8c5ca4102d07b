# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tiny motion files of every kind, written by the tests themselves."""

import json

import pytest

DAZ_CHILDREN = {
    'hip': ['chest', 'rThigh', 'lThigh'],
    'chest': ['neck', 'lShldr', 'rShldr'],
    'neck': ['head'],
    'rThigh': ['rShin'],
    'rShin': ['rFoot'],
    'lThigh': ['lShin'],
    'lShin': ['lFoot'],
    'lShldr': ['lForeArm'],
    'lForeArm': ['lHand'],
    'rShldr': ['rForeArm'],
    'rForeArm': ['rHand'],
}
DAZ_OFFSETS = {
    'hip': '0 0 0',
    'chest': '0 30 0',
    'neck': '0 22 0',
    'head': '0 10 2',
    'rThigh': '-9 0 0',
    'rShin': '0 -40 0',
    'rFoot': '0 -41 0',
    'lThigh': '9 0 0',
    'lShin': '0 -40 0',
    'lFoot': '0 -41 0',
    'lShldr': '15 18 0',
    'lForeArm': '28 0 0',
    'lHand': '25 0 0',
    'rShldr': '-15 18 0',
    'rForeArm': '-28 0 0',
    'rHand': '-25 0 0',
}


def _bvh_joint(name, rename, depth=0):
    pad = '  ' * depth
    channels = '3 Zrotation Xrotation Yrotation'
    if name == 'hip':
        channels = '6 Xposition Yposition Zposition Zrotation Yrotation Xrotation'
    lines = [
        f'{pad}{"JOINT" if depth else "ROOT"} {rename(name)}',
        f'{pad}{{',
        f'{pad}  OFFSET {DAZ_OFFSETS[name]}',
        f'{pad}  CHANNELS {channels}',
    ]
    for child in DAZ_CHILDREN.get(name, []):
        lines += _bvh_joint(child, rename, depth + 1)
    if name not in DAZ_CHILDREN:
        lines += [f'{pad}  End Site', f'{pad}  {{', f'{pad}    OFFSET 0 0 5', f'{pad}  }}']
    return [*lines, f'{pad}}}']


def bvh_joint_order(name='hip'):
    """The joints in the order of the file."""
    return [name] + [n for child in DAZ_CHILDREN.get(name, []) for n in bvh_joint_order(child)]


@pytest.fixture(scope='session')
def make_bvh():
    """Text of a person in BVH; `angles` sets (z, x, y) degrees of joints, alike in all frames."""

    def make(frames=5, angles=None, frame_time=1 / 120, rename=str):
        values = []
        for name in bvh_joint_order():
            values += ['{root}', '100', '0'] if name == 'hip' else []
            values += [str(v) for v in (angles or {}).get(name, (0, 0, 0))]
        rows = [' '.join(values).format(root=float(frame)) for frame in range(frames)]
        head = ['MOTION', f'Frames: {frames}', f'Frame Time: {frame_time}']
        return '\n'.join(['HIERARCHY', *_bvh_joint('hip', rename), *head, *rows]) + '\n'

    return make


ASF_BONES = {  # parent, direction, length, axis, degrees of freedom
    'lhipjoint': ('root', '1 -1 0', 2.0, '0 0 0', ''),
    'lfemur': ('lhipjoint', '0 -1 0', 7.0, '0 0 20', 'rx ry rz'),
    'ltibia': ('lfemur', '0 -1 0', 7.5, '0 0 20', 'rx'),
    'rhipjoint': ('root', '-1 -1 0', 2.0, '0 0 0', ''),
    'rfemur': ('rhipjoint', '0 -1 0', 7.0, '0 0 -20', 'rx ry rz'),
    'rtibia': ('rfemur', '0 -1 0', 7.5, '0 0 0', 'rx'),
    'lowerback': ('root', '0 1 0', 2.0, '0 0 0', 'rx ry rz'),
    'upperback': ('lowerback', '0 1 0', 2.0, '0 0 0', 'rx ry rz'),
    'thorax': ('upperback', '0 1 0', 2.0, '0 0 0', 'rx ry rz'),
    'lowerneck': ('thorax', '0 1 0', 1.75, '0 0 0', 'rx ry rz'),
    'upperneck': ('lowerneck', '0 1 0', 1.75, '0 0 0', 'rx ry rz'),
    'head': ('upperneck', '0 1 0', 1.75, '0 0 0', 'rx ry rz'),
    'lclavicle': ('thorax', '3 1 0', 3.5, '0 0 0', 'ry rz'),
    'lhumerus': ('lclavicle', '1 0 0', 5.0, '180 -30 -90', 'rx ry rz'),
    'lradius': ('lhumerus', '1 0 0', 3.5, '180 -30 -90', 'rx'),
    'rclavicle': ('thorax', '-3 1 0', 3.5, '0 0 0', 'ry rz'),
    'rhumerus': ('rclavicle', '-1 0 0', 5.0, '180 30 90', 'rx ry rz'),
    'rradius': ('rhumerus', '-1 0 0', 3.5, '180 30 90', 'rx'),
}


@pytest.fixture(scope='session')
def make_asf():
    """Text of a person in ASF."""

    def make(axes=None, length_unit=0.45, angle='deg'):
        lines = [
            '# made by a test',
            ':version 1.10',
            ':name TEST',
            ':units',
            '  mass 1.0',
            f'  length {length_unit}',
            f'  angle {angle}',
            ':documentation',
            '  any words',
            ':root',
            '  order TX TY TZ RX RY RZ',
            '  axis XYZ',
            '  position 0 0 0',
            '  orientation 0 0 0',
            ':bonedata',
        ]
        for number, (name, (_, direction, length, axis, dof)) in enumerate(ASF_BONES.items(), 1):
            axis = (axes or {}).get(name, axis)
            lines += ['  begin', f'    id {number}', f'    name {name}']
            lines += [f'    direction {direction}', f'    length {length}', f'    axis {axis} XYZ']
            lines += [f'    dof {dof}', '    limits (-10 10)'] if dof else []
            lines += ['  end']
        lines += [':hierarchy', '  begin']
        for parent in ['root', *ASF_BONES]:
            children = [name for name, bone in ASF_BONES.items() if bone[0] == parent]
            lines += [f'    {parent} {" ".join(children)}'] if children else []
        return '\n'.join([*lines, '  end']) + '\n'

    return make


@pytest.fixture(scope='session')
def make_amc():
    """Text of frames in AMC; `values` sets a bone's numbers, alike in all frames."""

    def make(frames=5, values=None, units=':DEGREES'):
        lines = ['#!OML:ASF made by a test', ':FULLY-SPECIFIED', units]
        for frame in range(1, frames + 1):
            lines += [str(frame)]
            for name, dof in [('root', 'a b c d e f')] + [(n, b[4]) for n, b in ASF_BONES.items()]:
                if dof:
                    numbers = (values or {}).get(name, [0] * len(dof.split()))
                    lines += [' '.join(map(str, [name, *numbers]))]
        return '\n'.join(lines) + '\n'

    return make


DEEPMIMIC_JOINTS = [  # name, type, parent, offset
    ('root', 'none', -1, (0, 0, 0)),
    ('chest', 'spherical', 0, (0, 0.236, 0)),
    ('neck', 'spherical', 1, (0, 0.224, 0)),
    ('right_hip', 'spherical', 0, (0, 0, 0.085)),
    ('right_knee', 'revolute', 3, (0, -0.42, 0)),
    ('right_ankle', 'spherical', 4, (0, -0.41, 0)),
    ('right_shoulder', 'spherical', 1, (-0.024, 0.243, 0.183)),
    ('right_elbow', 'revolute', 6, (0, -0.275, 0)),
    ('right_wrist', 'fixed', 7, (0, -0.259, 0)),
    ('left_hip', 'spherical', 0, (0, 0, -0.085)),
    ('left_knee', 'revolute', 9, (0, -0.42, 0)),
    ('left_ankle', 'spherical', 10, (0, -0.41, 0)),
    ('left_shoulder', 'spherical', 1, (-0.024, 0.243, -0.183)),
    ('left_elbow', 'revolute', 12, (0, -0.275, 0)),
    ('left_wrist', 'fixed', 13, (0, -0.259, 0)),
]


@pytest.fixture(scope='session')
def deepmimic_skeleton():
    """Text of DeepMimic's character file."""
    joints = [
        {'ID': i, 'Name': name, 'Type': kind, 'Parent': parent}
        | {f'Attach{axis}': value for axis, value in zip('XYZ', offset, strict=True)}
        for i, (name, kind, parent, offset) in enumerate(DEEPMIMIC_JOINTS)
    ]
    return json.dumps({'Skeleton': {'Joints': joints}}, indent=1)


@pytest.fixture(scope='session')
def make_deepmimic():
    """Text of a DeepMimic motion; `rotations` sets joints' numbers, alike in all frames."""

    def make(frames=5, rotations=None, duration=1 / 60):
        widths = {'none': 4, 'spherical': 4, 'revolute': 1, 'fixed': 0}
        row = [duration, 0.0, 0.9, 0.0]
        for name, kind, _, _ in DEEPMIMIC_JOINTS:
            row += (rotations or {}).get(name, [1.0, 0.0, 0.0, 0.0][4 - widths[kind] :])
            if widths[kind] == 1 and name not in (rotations or {}):
                row[-1] = 0.0
        if frames == 0:
            return '{"Loop": "none", "Frames": []}'
        rows = ',\n'.join(json.dumps(row) for _ in range(frames))
        return '{\n"Loop": "none",\n"Frames":\n[\n' + rows + '\n]\n}\n'

    return make
