# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Biovision BVH: a joint tree with its channels, then one line of channel values a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .kinematics import (
    MotionFileError,
    euler_rotation,
    forward_kinematics,
    parse_floats,
)

CHANNELS = tuple(f'{axis}{kind}' for kind in ('position', 'rotation') for axis in 'xyz')

# Where H36M-17 joints 1..9 and 11..16 stand, under the names that studios give to the same joints:
# right hip, knee, ankle, left ones, spine, thorax, head, left shoulder, elbow, wrist, right ones.
NAMINGS = {
    'daz': 'rthigh rshin rfoot lthigh lshin lfoot chest neck head lshldr lforearm lhand rshldr rforearm rhand',
    'motionbuilder': 'rightupleg rightleg rightfoot leftupleg leftleg leftfoot spine1 neck head '
    'leftarm leftforearm lefthand rightarm rightforearm righthand',
    'biovision': 'righthip rightknee rightankle lefthip leftknee leftankle chest2 neck head '
    'leftshoulder leftelbow leftwrist rightshoulder rightelbow rightwrist',
    'unity': 'upperleg_r lowerleg_r foot_r upperleg_l lowerleg_l foot_l chest neck head '
    'upperarm_l lowerarm_l hand_l upperarm_r lowerarm_r hand_r',
}
H36M_INDICES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16]
HEAD_TOP = 2.4  # the top of the head lies this many neck-to-head lengths beyond the head joint


@dataclass
class BvhMotion:
    """One BVH file, parsed.

    Attributes:
        file: Name of the file.
        names: Names of the J joints, end sites left out; parents come before children.
        parents: Parent of each joint, -1 for the root.
        offsets: ``(J, 3)`` in the file's unit.
        channels: Lower-case channel names of each joint, in the file's order.
        frames: ``(F, C)`` channel values; rotations in degrees.
        frame_time: Seconds a frame.
    """

    file: str
    names: list[str]
    parents: list[int]
    offsets: np.ndarray
    channels: list[list[str]]
    frames: np.ndarray
    frame_time: float

    @property
    def fps(self) -> float:
        """Frames a second."""
        return 1.0 / self.frame_time

    def placed(self, frames: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Place the joints in the world.

        A joint's position channels replace its offset, axis by axis; its rotation channels
        multiply in the order in which the file lists them.

        Args:
            frames: Which frames.

        Returns:
            Positions ``(F, J, 3)`` in the file's unit and axes, and world rotations ``(F, J, 3, 3)``.
        """
        values = self.frames[frames]
        translations = np.tile(self.offsets, (len(values), 1, 1))
        rotations = np.empty((len(values), len(self.names), 3, 3))
        first = 0
        for joint, channels in enumerate(self.channels):
            block = values[:, first : first + len(channels)]
            first += len(channels)
            for column, channel in enumerate(channels):
                if channel.endswith('position'):
                    translations[:, joint, 'xyz'.index(channel[0])] = block[:, column]
            turning = [c for c, channel in enumerate(channels) if channel.endswith('rotation')]
            axes = ''.join(channels[c][0] for c in turning)
            rotations[:, joint] = euler_rotation(axes, np.deg2rad(block[:, turning]))
        return forward_kinematics(self.parents, translations, rotations)

    def positions(self, frames: slice = slice(None)) -> np.ndarray:
        """Give the joints' places: ``(F, J, 3)`` in the file's unit and axes."""
        return self.placed(frames)[0]

    def h36m(self, frames: slice = slice(None), unit: float = 0.01) -> np.ndarray:
        """Give the poses in H36M-17.

        Args:
            frames: Which frames.
            unit: Metres per unit of the file; BVH does not say, centimetres are usual.

        Returns:
            ``(F, 17, 3)`` metres in the file's axes (y up).

        Raises:
            MotionFileError: If the skeleton lacks a joint that H36M-17 needs.
        """
        joints = self.h36m_joints()
        source = self.positions(frames)[:, joints] * unit
        poses = np.empty((len(source), 17, 3))
        poses[:, H36M_INDICES] = source
        poses[:, 0] = (poses[:, 1] + poses[:, 4]) / 2
        poses[:, 10] = poses[:, 9] + HEAD_TOP * (poses[:, 9] - poses[:, 8])
        return poses

    def plain_names(self) -> dict[str, int]:
        """Give each joint's index under its name in lower case, without name space."""
        # Some exporters put a name space before the name: 'mixamorig:Hips'.
        return {name.lower().rsplit(':', 1)[-1]: i for i, name in enumerate(self.names)}

    def h36m_joints(self) -> list[int]:
        """Give the joints at which H36M-17 joints 1..9 and 11..16 stand.

        Raises:
            MotionFileError: If the skeleton lacks a joint that H36M-17 needs.
        """
        index = self.plain_names()
        missing = {}
        for naming, text in NAMINGS.items():
            wanted = text.split()
            missing[naming] = [name for name in wanted if name not in index]
            if not missing[naming]:
                return [index[name] for name in wanted]
        nearest = min(missing, key=lambda naming: len(missing[naming]))
        raise MotionFileError(
            self.file,
            0,
            f'the skeleton lacks the joint(s) {", ".join(missing[nearest])} '
            f'(of the {nearest} naming, the nearest of {", ".join(NAMINGS)})',
        )


def parse_bvh(text: str, file: str = '<bvh>') -> BvhMotion:
    """Parse a BVH file.

    Args:
        text: The file's text.
        file: Its name, for error messages.

    Returns:
        The skeleton and every frame.

    Raises:
        MotionFileError: If the text is not a whole, well-formed BVH file; names the line.
    """
    lines = text.splitlines()
    skeleton = _Hierarchy(file)
    start = skeleton.read(lines)
    count, frame_time, start = _parse_motion_header(lines, start, file)
    width = sum(len(channels) for channels in skeleton.channels)
    frames = _parse_frames(lines, start, count, width, file)
    return BvhMotion(
        file,
        skeleton.names,
        skeleton.parents,
        np.array(skeleton.offsets, dtype=np.float64),
        skeleton.channels,
        frames,
        frame_time,
    )


class _Hierarchy:
    """The HIERARCHY section, read line by line."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.names: list[str] = []
        self.parents: list[int] = []
        self.offsets: list[list[float] | None] = []
        self.channels: list[list[str]] = []
        self._open: list[int | None] = []  # the joints whose braces are open, None for an end site
        self._pending: int | None = None  # the joint named last, whose brace has not opened yet

    def read(self, lines: list[str]) -> int:
        """Read up to MOTION; returns the index of the line after it."""
        for number, line in enumerate(lines, 1):
            # A brace may stand on the line of its joint.
            fields = line.replace('{', ' { ').replace('}', ' } ').split()
            if fields and fields[0].upper() == 'MOTION':
                self._check_whole(number)
                return number
            while fields:
                fields = self._read_statement(fields, number)
        raise MotionFileError(self.file, len(lines), 'the file ends before its MOTION section')

    def _read_statement(self, fields: list[str], line: int) -> list[str]:
        keyword = fields[0].upper()
        if keyword == 'HIERARCHY':
            return fields[1:]
        if keyword == '{':
            self._open.append(self._pending)
            self._pending = None
            return fields[1:]
        if keyword == '}':
            if not self._open:
                raise MotionFileError(self.file, line, "'}' closes nothing")
            self._open.pop()
            return fields[1:]
        end = next((i for i, field in enumerate(fields) if field in '{}'), len(fields))
        arguments = fields[1:end]
        if keyword in ('ROOT', 'JOINT'):
            self._add_joint(keyword, ' '.join(arguments), line)
        elif keyword == 'END':
            self._pending = None
        elif keyword == 'OFFSET':
            self._set_offset(arguments, line)
        elif keyword == 'CHANNELS':
            self._set_channels(arguments, line)
        else:
            raise MotionFileError(self.file, line, f'unknown keyword {fields[0]!r}')
        return fields[end:]

    def _add_joint(self, keyword: str, name: str, line: int) -> None:
        if not name:
            raise MotionFileError(self.file, line, f'{keyword} without a name')
        parent = self._open[-1] if self._open else None
        if (keyword == 'ROOT') != (not self.names) or (self.names and parent is None):
            raise MotionFileError(self.file, line, f'{keyword} {name} is out of place: one ROOT, its JOINTs inside it')
        self._pending = len(self.names)
        self.names.append(name)
        self.parents.append(-1 if parent is None else parent)
        self.offsets.append(None)
        self.channels.append([])

    def _set_offset(self, arguments: list[str], line: int) -> None:
        values = parse_floats(arguments, self.file, line)
        if len(values) != 3 or not self._open:
            raise MotionFileError(self.file, line, f'OFFSET takes 3 numbers inside a joint, got {len(values)}')
        if self._open[-1] is not None:
            self.offsets[self._open[-1]] = values

    def _set_channels(self, arguments: list[str], line: int) -> None:
        names = [name.lower() for name in arguments[1:]]
        unknown = [name for name in arguments[1:] if name.lower() not in CHANNELS]
        if unknown:
            raise MotionFileError(self.file, line, f'unknown channel {unknown[0]!r}')
        if not arguments or arguments[0] != str(len(names)):
            raise MotionFileError(self.file, line, f'CHANNELS says {arguments[:1]} and lists {len(names)}')
        if not self._open or self._open[-1] is None:
            raise MotionFileError(self.file, line, 'CHANNELS outside a joint')
        self.channels[self._open[-1]] = names

    def _check_whole(self, line: int) -> None:
        if not self.names:
            raise MotionFileError(self.file, line, 'no ROOT before MOTION')
        if self._open:
            raise MotionFileError(self.file, line, f"{len(self._open)} '}}' missing before MOTION")
        for name, offset in zip(self.names, self.offsets, strict=True):
            if offset is None:
                raise MotionFileError(self.file, line, f'joint {name} has no OFFSET')


def _parse_motion_header(lines: list[str], start: int, file: str) -> tuple[int, float, int]:
    """Read 'Frames:' and 'Frame Time:'; returns them and the index of the first frame's line."""
    found = {}
    for index in range(start, len(lines)):
        key, colon, value = lines[index].partition(':')
        key = ' '.join(key.lower().split())
        if not key and not colon:
            continue
        if key not in ('frames', 'frame time') or not colon:
            raise MotionFileError(file, index + 1, f"expected 'Frames:' and 'Frame Time:', got {lines[index][:40]!r}")
        numbers = parse_floats(value.split(), file, index + 1)
        if len(numbers) != 1 or numbers[0] <= 0 or (key == 'frames' and numbers[0] % 1):
            raise MotionFileError(file, index + 1, f'{key} takes a positive number, got {value!r}')
        found[key] = numbers[0]
        if len(found) == 2:
            return int(found['frames']), found['frame time'], index + 1
    raise MotionFileError(file, len(lines), "the file ends before 'Frames:' and 'Frame Time:'")


def _parse_frames(lines: list[str], start: int, count: int, width: int, file: str) -> np.ndarray:
    rows, numbers = [], []
    for number, line in enumerate(lines[start:], start + 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != width:
            raise MotionFileError(file, number, f'a frame has {width} values here, this line has {len(fields)}')
        try:
            rows.append([float(field) for field in fields])
        except ValueError:
            parse_floats(fields, file, number)
        numbers.append(number)
    if len(rows) != count:
        raise MotionFileError(file, len(lines), f'the file says {count} frames and has {len(rows)}')
    frames = np.array(rows)
    bad = np.flatnonzero(~np.isfinite(frames).all(axis=1))
    if bad.size:
        parse_floats(lines[numbers[bad[0]] - 1].split(), file, numbers[bad[0]])
    return frames
