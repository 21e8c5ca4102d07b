# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Acclaim AMC: frames that name the bones of an ASF skeleton and give their angles."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

import numpy as np

from .asf import AsfSkeleton
from .kinematics import MotionFileError, euler_rotation, forward_kinematics, parse_floats

# The bones at whose ends H36M-17 joints 1..16 stand. The thorax joint is the end of 'lowerneck', not
# of 'thorax': there the shoulders lie below it as they do in Human3.6M and in the BVH skeletons, while
# from the end of 'thorax' they would lie above it (thorax-shoulder directions off by 35-45 degrees).
BONES = (
    'rhipjoint rfemur rtibia lhipjoint lfemur ltibia upperback lowerneck upperneck head '
    'lclavicle lhumerus lradius rclavicle rhumerus rradius'
).split()


@dataclass
class AmcMotion:
    """An AMC file on its skeleton.

    Attributes:
        file: Name of the AMC file.
        skeleton: Its skeleton.
        frames: ``(F, D)`` values of the bones' degrees of freedom, bone after bone in the
            skeleton's order; angles in radians, the root's translation in ASF units.
        fps: Frames a second.
    """

    file: str
    skeleton: AsfSkeleton
    frames: np.ndarray
    fps: float

    def placed(self, frames: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Place the bones' ends in the world.

        A bone b with axis frame C and motion M turns by ``L = C M C^-1`` against its parent, and
        its vector turns with it: ``R_b = R_p L``, ``end_b = end_p + R_b v``.

        Args:
            frames: Which frames.

        Returns:
            Ends ``(F, B, 3)`` in metres, in the order of the skeleton's bones (the root's is its
            place), and the bones' turns from the skeleton at rest ``(F, B, 3, 3)``.
        """
        bones = self.skeleton.bones
        values = self.frames[frames]
        rotations = np.empty((len(values), len(bones), 3, 3))
        starts = np.zeros((len(values), len(bones), 3))
        starts[:, 0] = self.skeleton.position
        first = 0
        for index, bone in enumerate(bones):
            block = values[:, first : first + len(bone.dofs)]
            first += len(bone.dofs)
            turning = [column for column, dof in enumerate(bone.dofs) if dof[0] == 'r']
            # The first angle turns first, so it stands last in the product.
            axes = ''.join(bone.dofs[column][1] for column in turning[::-1])
            motion = euler_rotation(axes, block[:, turning[::-1]])
            rotations[:, index] = bone.axis @ motion @ bone.axis.T
            for column, dof in enumerate(bone.dofs):
                if dof[0] == 't':
                    starts[:, 0, 'xyz'.index(dof[1])] += block[:, column]
            if bone.parent >= 0:
                starts[:, index] = bones[bone.parent].vector
        places, world = forward_kinematics([b.parent for b in bones], starts, rotations)
        vectors = np.stack([bone.vector for bone in bones])
        return (places + np.einsum('fbij,bj->fbi', world, vectors)) * self.skeleton.unit, world

    def ends(self, frames: slice = slice(None)) -> np.ndarray:
        """Give the bones' ends: ``(F, B, 3)`` metres, in the order of the skeleton's bones."""
        return self.placed(frames)[0]

    def h36m(self, frames: slice = slice(None)) -> np.ndarray:
        """Give the poses in H36M-17.

        Args:
            frames: Which frames.

        Returns:
            ``(F, 17, 3)`` metres in the file's axes (y up).

        Raises:
            MotionFileError: If the skeleton lacks a bone that H36M-17 needs.
        """
        index = {bone.name: i for i, bone in enumerate(self.skeleton.bones)}
        missing = [name for name in BONES if name not in index]
        if missing:
            raise MotionFileError(self.skeleton.file, 0, f'the skeleton lacks the bone(s) {", ".join(missing)}')
        ends = self.ends(frames)
        poses = np.empty((len(ends), 17, 3))
        poses[:, 1:] = ends[:, [index[name] for name in BONES]]
        poses[:, 0] = (poses[:, 1] + poses[:, 4]) / 2
        return poses


def parse_amc(text: str, skeleton: AsfSkeleton, file: str = '<amc>', fps: float = 120.0) -> AmcMotion:
    """Parse an AMC motion.

    Args:
        text: The file's text.
        skeleton: The skeleton that it moves.
        file: Its name, for error messages.
        fps: Frames a second; AMC does not say, CMU's are 120.

    Returns:
        The motion.

    Raises:
        MotionFileError: If the text is not a whole, well-formed AMC file of this skeleton; names
            the line.
    """
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith('#')
    ]
    degrees, numbered = _read_directives(numbered, skeleton.degrees, file)
    layout = _Layout(skeleton, numbered, file)
    frames = layout.read(numbered)
    if degrees:
        turning = [dof[0] == 'r' for bone in skeleton.bones for dof in bone.dofs]
        frames[:, turning] = np.deg2rad(frames[:, turning])
    return AmcMotion(file, skeleton, frames, fps)


def _read_directives(numbered: list, degrees: bool, file: str) -> tuple[bool, list]:
    for index, (number, line) in enumerate(numbered):
        directive = line.strip().upper()
        if not directive.startswith(':'):
            return degrees, numbered[index:]
        if directive in (':DEGREES', ':RADIANS'):
            degrees = directive == ':DEGREES'
        elif directive != ':FULLY-SPECIFIED':
            raise MotionFileError(file, number, f'unknown keyword {line.strip()!r}')
    raise MotionFileError(file, numbered[-1][0] if numbered else 1, 'the file has no frames')


class _Layout:
    """The order of bones that every frame of an AMC file follows, taken from its first frame."""

    def __init__(self, skeleton: AsfSkeleton, numbered: list, file: str) -> None:
        self.file = file
        self.width = {bone.name: len(bone.dofs) for bone in skeleton.bones if bone.dofs}
        self.names: list[str] = []
        number, line = numbered[0]
        if not line.strip().isdigit():
            raise MotionFileError(file, number, f'expected a frame number, got {line.strip()[:40]!r}')
        self.first = int(line)
        for number, line in numbered[1:]:
            fields = line.split()
            if len(fields) == 1 and fields[0].isdigit():
                break
            self.check_line(number, fields, fields[0])
            self.names.append(fields[0])
        missing = [name for name in self.width if name not in self.names]
        if missing or len(set(self.names)) != len(self.names):
            what = f'lacks bone(s) {", ".join(missing)}' if missing else 'has a bone twice'
            raise MotionFileError(file, numbered[0][0], f'the first frame {what}')

    def check_line(self, number: int, fields: list[str], name: str) -> None:
        """Raise the error of one bone's line, if it has one."""
        if fields[0] not in self.width:
            raise MotionFileError(self.file, number, f'unknown bone {fields[0]!r}')
        if fields[0] != name:
            raise MotionFileError(self.file, number, f'expected bone {name}, got {fields[0]}')
        parse_floats(fields[1:], self.file, number)
        if len(fields) - 1 != self.width[name]:
            raise MotionFileError(self.file, number, f'{name} has {self.width[name]} values, got {len(fields) - 1}')

    def read(self, numbered: list) -> np.ndarray:
        """Read all frames: ``(F, D)`` values in the skeleton's order of bones."""
        is_value = [0]
        for name in self.names:
            is_value += [0] + [1] * self.width[name]
        is_name = [not value for value in is_value]
        lines = [line for _, line in numbered]
        size = len(self.names) + 1
        rows = []
        for first in range(0, len(lines), size):
            fields = ' '.join(lines[first : first + size]).split()
            expected = [str(self.first + len(rows)), *self.names]
            # One split and one comparison a frame: a line at a time would take many times as long.
            if len(fields) != len(is_value) or list(compress(fields, is_name)) != expected:
                self.fail(numbered[first : first + size], expected)
            try:
                rows.append([float(value) for value in compress(fields, is_value)])
            except ValueError:
                self.fail(numbered[first : first + size], expected)
        frames = np.array(rows)
        bad = np.flatnonzero(~np.isfinite(frames).all(axis=1))
        if bad.size:
            first = int(bad[0]) * size
            expected = [str(self.first + int(bad[0])), *self.names]
            self.fail(numbered[first : first + size], expected)
        columns, start = {}, 0
        for name in self.names:
            columns[name] = range(start, start + self.width[name])
            start += self.width[name]
        return frames[:, [column for name in self.width for column in columns[name]]]

    def fail(self, numbered: list, expected: list[str]) -> None:
        """Raise the error of a frame that is known to be wrong, at its line."""
        number, line = numbered[0]
        if line.split() != [expected[0]]:
            raise MotionFileError(self.file, number, f'expected frame {expected[0]}, got {line.strip()[:40]!r}')
        for (number, line), name in zip(numbered[1:], expected[1:], strict=False):
            self.check_line(number, line.split(), name)
        raise MotionFileError(
            self.file,
            numbered[-1][0],
            f'frame {expected[0]} ends before bone {expected[len(numbered)]}',
        )
