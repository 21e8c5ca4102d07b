# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Acclaim ASF: the skeleton that AMC motion files move, as bones with lengths and axes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .kinematics import MotionFileError, euler_rotation, parse_floats

INCH = 0.0254
SECTIONS = ('version', 'name', 'units', 'documentation', 'root', 'bonedata', 'hierarchy', 'skin')
IGNORED = ('id', 'limits', 'bodymass', 'cofmass')


@dataclass
class AsfBone:
    """A bone of an ASF skeleton.

    Attributes:
        name: Its name; 'root' for the root, which has no length.
        line: Line at which it begins.
        vector: ``(3,)`` from its start to its end, at rest, in ASF units.
        axis: ``(3, 3)`` the frame in which its angles are given, C in the Acclaim papers.
        dofs: What an AMC line of this bone lists: 'rx', 'ry', 'rz' (and 'tx'... for the root).
        parent: Index of the bone it grows from.
    """

    name: str
    line: int = 0
    vector: np.ndarray = field(default_factory=lambda: np.zeros(3))
    axis: np.ndarray = field(default_factory=lambda: np.eye(3))
    dofs: list[str] = field(default_factory=list)
    parent: int = -1


@dataclass
class AsfSkeleton:
    """An ASF file, parsed.

    Attributes:
        file: Name of the file.
        bones: The root, then the others; parents come before children.
        position: ``(3,)`` the root's place at rest, in ASF units.
        unit: Metres per ASF unit. Acclaim's 'length' is inches^-1: 1 unit = 1 / length inch.
        degrees: Whether angles are degrees.
    """

    file: str
    bones: list[AsfBone]
    position: np.ndarray
    unit: float
    degrees: bool


def parse_asf(text: str, file: str = '<asf>') -> AsfSkeleton:
    """Parse an ASF skeleton.

    Args:
        text: The file's text.
        file: Its name, for error messages.

    Returns:
        The skeleton.

    Raises:
        MotionFileError: If the text is not a whole, well-formed ASF file; names the line.
    """
    return _AsfReader(file).read(text.splitlines())


class _AsfReader:
    """An ASF file, read line by line, section by section."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.section = ''
        self.bones = {'root': AsfBone('root')}
        self.bone: AsfBone | None = None
        self.unit = INCH
        self.degrees = True
        self.position = np.zeros(3)
        self.orientation = [0.0, 0.0, 0.0]
        self.root_axis = 'xyz'
        self.order = ['root']

    def read(self, lines: list[str]) -> AsfSkeleton:
        """Read the file's lines, section by section; an error names the file and the line."""
        for number, line in enumerate(lines, 1):
            fields = line.split('#')[0].split()
            if not fields:
                continue
            if fields[0].startswith(':'):
                self.section = fields[0][1:].lower()
                if self.section not in SECTIONS:
                    self.fail(number, f'unknown keyword {fields[0]!r}')
            elif hasattr(self, f'_read_{self.section}'):
                getattr(self, f'_read_{self.section}')(fields, number)
            elif not self.section:
                self.fail(number, f'unknown keyword {fields[0]!r}')
        if len(self.order) == 1 or set(self.order) != set(self.bones):
            lost = sorted(set(self.bones) - set(self.order)) or ['any bone']
            self.fail(len(lines), f'the file ends and its :hierarchy lacks {", ".join(lost)}')
        self.bones['root'].axis = self._axis(self.orientation, self.root_axis)
        bones = [self.bones[name] for name in self.order]
        return AsfSkeleton(self.file, bones, self.position, self.unit, self.degrees)

    def fail(self, line: int, message: str) -> None:
        raise MotionFileError(self.file, line, message)

    def numbers(self, fields: list[str], count: int, line: int) -> list[float]:
        values = parse_floats(fields[1 : 1 + count], self.file, line)
        if len(values) != count:
            self.fail(line, f'{fields[0]} takes {count} number(s), got {len(values)}')
        return values

    def _axis(self, angles: list[float], order: str) -> np.ndarray:
        turns = np.deg2rad(angles) if self.degrees else np.array(angles)
        # 'XYZ' turns about x first: C = Rz Ry Rx.
        return euler_rotation(order[::-1], turns[::-1])

    def _order(self, text: str, line: int) -> str:
        order = text.lower()
        if sorted(order) != ['x', 'y', 'z']:
            self.fail(line, f'axis order takes the letters XYZ in some order, got {text!r}')
        return order

    def _dofs(self, fields: list[str], allowed: str, line: int) -> list[str]:
        dofs = [name.lower() for name in fields]
        for name in dofs:
            if len(name) != 2 or name[0] not in allowed or name[1] not in 'xyz':
                self.fail(line, f'degree of freedom {name!r} is not supported')
        return dofs

    def _read_units(self, fields: list[str], line: int) -> None:
        if fields[0] == 'length':
            (length,) = self.numbers(fields, 1, line)
            if length <= 0:
                self.fail(line, f'length takes a positive number, got {length}')
            self.unit = INCH / length
        elif fields[0] == 'angle':
            if fields[1:2] not in (['deg'], ['rad']):
                self.fail(line, f"angle takes 'deg' or 'rad', got {fields[1:2]}")
            self.degrees = fields[1] == 'deg'

    def _read_root(self, fields: list[str], line: int) -> None:
        if fields[0] == 'order':
            self.bones['root'].dofs = self._dofs(fields[1:], 'tr', line)
        elif fields[0] == 'axis':
            self.root_axis = self._order(''.join(fields[1:]), line)
        elif fields[0] == 'position':
            self.position = np.array(self.numbers(fields, 3, line))
        elif fields[0] == 'orientation':
            self.orientation = self.numbers(fields, 3, line)
        else:
            self.fail(line, f'unknown keyword {fields[0]!r} in :root')

    def _read_bonedata(self, fields: list[str], line: int) -> None:
        keyword = fields[0].lower()
        if keyword == 'begin':
            if self.bone is not None:
                self.fail(line, f"'begin' before the 'end' of the bone at line {self.bone.line}")
            self.bone = AsfBone('', line)
            self.direction, self.length = None, None
        elif self.bone is None:
            self.fail(line, f'{fields[0]!r} outside a bone')
        elif keyword == 'end':
            self._close_bone(line)
        elif keyword == 'name' and len(fields) == 2:
            self.bone.name = fields[1]
        elif keyword == 'direction':
            self.direction = np.array(self.numbers(fields, 3, line))
        elif keyword == 'length':
            (self.length,) = self.numbers(fields, 1, line)
        elif keyword == 'axis':
            order = self._order(''.join(fields[4:]), line)
            self.bone.axis = self._axis(self.numbers(fields, 3, line), order)
        elif keyword == 'dof':
            self.bone.dofs = self._dofs(fields[1:], 'r', line)
        elif keyword not in IGNORED and not keyword.startswith('('):
            self.fail(line, f'unknown keyword {fields[0]!r} in :bonedata')

    def _close_bone(self, line: int) -> None:
        if not self.bone.name or self.direction is None or self.length is None:
            self.fail(line, f'the bone at line {self.bone.line} lacks name, direction or length')
        if self.bone.name in self.bones:
            self.fail(line, f'a second bone {self.bone.name}')
        norm = np.linalg.norm(self.direction)
        if norm == 0:
            self.fail(line, f'bone {self.bone.name} has direction 0 0 0')
        self.bone.vector = self.direction / norm * self.length
        self.bones[self.bone.name] = self.bone
        self.bone = None

    def _read_hierarchy(self, fields: list[str], line: int) -> None:
        if fields[0] in ('begin', 'end'):
            return
        for name in fields:
            if name not in self.bones:
                self.fail(line, f'unknown bone {name!r}')
        if fields[0] not in self.order:
            self.fail(line, f'bone {fields[0]} has children before it has a parent')
        for name in fields[1:]:
            if name in self.order:
                self.fail(line, f'bone {name} has a second parent')
            self.bones[name].parent = self.order.index(fields[0])
            self.order.append(name)
