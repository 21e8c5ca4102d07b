# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""DeepMimic motions: JSON frames of joint rotations, on a JSON skeleton (Peng et al. 2018)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np

from .kinematics import (
    MotionFileError,
    axis_rotation,
    forward_kinematics,
    quaternion_rotation,
)

WIDTHS = {'none': 7, 'spherical': 4, 'revolute': 1, 'fixed': 0}
# H36M-17 joints 1..8 and 11..16; the skeleton has no joint above the base of the neck.
JOINTS = (
    'right_hip right_knee right_ankle left_hip left_knee left_ankle chest neck '
    'left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist'
).split()
H36M_INDICES = [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16]
# Metres above the neck joint: of joint 8 along the chest's up, so that the shoulders lie below it as
# they do in Human3.6M (the skeleton has them 2 cm above the neck joint); of 9 and 10 along the head's.
THORAX_HEIGHT, NECK_HEIGHT, HEAD_HEIGHT = 0.05, 0.12, 0.235


@dataclass
class DeepMimicSkeleton:
    """A DeepMimic character file, parsed.

    Attributes:
        file: Name of the file.
        names: Names of the J joints; the first is the root.
        types: 'none' (the root), 'spherical', 'revolute' or 'fixed', for each joint.
        parents: Parent of each joint, -1 for the root.
        offsets: ``(J, 3)`` metres in the parent's frame: x forward, y up, z right.
    """

    file: str
    names: list[str]
    types: list[str]
    parents: list[int]
    offsets: np.ndarray


@dataclass
class DeepMimicMotion:
    """A DeepMimic motion on its skeleton.

    Attributes:
        file: Name of the motion file.
        skeleton: Its skeleton.
        frames: ``(F, D)``: root position (3, metres) and rotation (4), then each joint's rotation:
            a quaternion (w, x, y, z), or for a revolute joint the angle about z in radians.
        fps: Frames a second.
    """

    file: str
    skeleton: DeepMimicSkeleton
    frames: np.ndarray
    fps: float

    def positions(self, frames: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Place the joints in the world.

        Args:
            frames: Which frames.

        Returns:
            Positions ``(F, J, 3)`` in metres and world rotations ``(F, J, 3, 3)``.
        """
        values = self.frames[frames]
        translations = np.tile(self.skeleton.offsets, (len(values), 1, 1))
        translations[:, 0] = values[:, :3]
        rotations = np.tile(np.eye(3), (len(values), len(self.skeleton.names), 1, 1))
        first = 3
        for joint, kind in enumerate(self.skeleton.types):
            if kind == 'revolute':
                rotations[:, joint] = axis_rotation('z', values[:, first])
                first += 1
            elif kind != 'fixed':
                rotations[:, joint] = quaternion_rotation(values[:, first : first + 4])
                first += 4
        return forward_kinematics(self.skeleton.parents, translations, rotations)

    def h36m(self, frames: slice = slice(None)) -> np.ndarray:
        """Give the poses in H36M-17; joints 9 and 10 stand straight above the neck joint.

        Args:
            frames: Which frames.

        Returns:
            ``(F, 17, 3)`` metres, y up.

        Raises:
            MotionFileError: If the skeleton lacks a joint that H36M-17 needs.
        """
        names = self.skeleton.names
        missing = [name for name in JOINTS if name not in names]
        if missing:
            raise MotionFileError(self.skeleton.file, 0, f'the skeleton lacks the joint(s) {", ".join(missing)}')
        positions, rotations = self.positions(frames)
        poses = np.empty((len(positions), 17, 3))
        poses[:, H36M_INDICES] = positions[:, [names.index(name) for name in JOINTS]]
        poses[:, 0] = (poses[:, 1] + poses[:, 4]) / 2
        neck = poses[:, 8].copy()
        head_up = rotations[:, names.index('neck'), :, 1]
        poses[:, 8] = neck + THORAX_HEIGHT * rotations[:, names.index('chest'), :, 1]
        poses[:, 9] = neck + NECK_HEIGHT * head_up
        poses[:, 10] = neck + HEAD_HEIGHT * head_up
        return poses


def parse_deepmimic_skeleton(text: str, file: str = '<skeleton>') -> DeepMimicSkeleton:
    """Parse a DeepMimic character file.

    Args:
        text: The file's text.
        file: Its name, for error messages.

    Returns:
        The skeleton.

    Raises:
        MotionFileError: If the text is no such file.
    """
    try:
        joints = _load_json(text, file)['Skeleton']['Joints']
        names = [str(joint['Name']) for joint in joints]
        types = [str(joint['Type']) for joint in joints]
        parents = [int(joint['Parent']) for joint in joints]
        offsets = np.array([[joint[f'Attach{a}'] for a in 'XYZ'] for joint in joints], dtype=float)
        turns = [joint.get(f'AttachTheta{a}', 0) for joint in joints for a in 'XYZ']
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, MotionFileError):
            raise
        raise MotionFileError(file, 0, f'not a DeepMimic skeleton ({error!r})') from error
    for index, (name, kind, parent) in enumerate(zip(names, types, parents, strict=True)):
        line = _line_of(text, f'"{name}"')
        if kind not in WIDTHS or (kind == 'none') != (index == 0):
            raise MotionFileError(file, line, f'joint {name}: type {kind!r} is not supported')
        if not -1 <= parent < index or (parent == -1) != (index == 0):
            raise MotionFileError(file, line, f'joint {name}: parent {parent} is not before it')
    if not names or not np.isfinite(offsets).all() or any(turns):
        raise MotionFileError(file, 0, 'a joint is not finite, is turned at rest, or none is there')
    return DeepMimicSkeleton(file, names, types, parents, offsets)


def parse_deepmimic(text: str, skeleton: DeepMimicSkeleton, file: str = '<motion>') -> DeepMimicMotion:
    """Parse a DeepMimic motion file.

    Args:
        text: The file's text.
        skeleton: The skeleton that it moves.
        file: Its name, for error messages.

    Returns:
        The motion.

    Raises:
        MotionFileError: If the text is not a whole, well-formed motion of this skeleton; names the
            line.
    """
    data = _load_json(text, file)
    frames = data.get('Frames') if isinstance(data, dict) else None
    if not isinstance(frames, list) or not frames:
        raise MotionFileError(file, 0, "there is no list 'Frames' with frames in it")
    width = 1 + sum(WIDTHS[kind] for kind in skeleton.types)
    for index, frame in enumerate(frames):
        if not isinstance(frame, list) or len(frame) != width:
            size = len(frame) if isinstance(frame, list) else 0
            raise MotionFileError(
                file,
                _line_of_frame(text, index),
                f'a frame of this skeleton has {width} values, frame {index} has {size}',
            )
        if not all(type(v) in (int, float) for v in frame) or not np.isfinite(frame).all():
            raise MotionFileError(file, _line_of_frame(text, index), f'frame {index} has a value that is no number')
    values = np.array(frames, dtype=np.float64)
    _check_rotations(values, skeleton, text, file)
    # The last frame's duration says nothing: some files close with 0.
    duration = float(np.median(values[:-1, 0] if len(values) > 1 else values[:, 0]))
    if duration <= 0:
        raise MotionFileError(file, _line_of_frame(text, 0), f'a frame lasts {duration} s; positive is meant')
    return DeepMimicMotion(file, skeleton, values[:, 1:], 1.0 / duration)


def _check_rotations(values: np.ndarray, skeleton: DeepMimicSkeleton, text: str, file: str) -> None:
    first = 4
    for name, kind in zip(skeleton.names, skeleton.types, strict=True):
        width = 4 if kind == 'none' else WIDTHS[kind]
        if width == 4:
            norms = np.linalg.norm(values[:, first : first + 4], axis=1)
            # Files hold linear blends of quaternions, down to 0.8 long; a direction is all they need.
            bad = np.flatnonzero(norms < 0.1)
            if bad.size:
                raise MotionFileError(
                    file,
                    _line_of_frame(text, int(bad[0])),
                    f'frame {bad[0]}: the rotation of {name} has length {norms[bad[0]]:.3g}',
                )
        first += width


def _load_json(text: str, file: str) -> dict:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise MotionFileError(file, error.lineno, f'not JSON: {error.msg}') from error
    except RecursionError as error:
        raise MotionFileError(file, 0, 'nested too deeply') from error


def _line_of(text: str, word: str) -> int:
    return text.count('\n', 0, max(text.find(word), 0)) + 1


def _line_of_frame(text: str, index: int) -> int:
    """Find the line of a frame: JSON has lost it, so count the innermost lists after "Frames"."""
    start = max(text.find('"Frames"'), 0)
    for count, match in enumerate(re.finditer(r'\[[^\[\]]*\]', text[start:])):
        if count == index:
            return text.count('\n', 0, start + match.start()) + 1
    return 0
