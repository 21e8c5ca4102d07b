# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Export of one person's movement as Biovision BVH."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files import whole_file
from ..geometry import PoseSequence
from ..geometry.joint_rotations import REST_DIRECTIONS, RIG, euler_angles, rest_offsets
from .joint_rotations import ExportedPerson, PersonMotion

# The middle axis is the one about which a joint hardly ever turns by a right angle. Arms go down and to the front
# about z and y; thighs go up about x; x and y are their bones' own axes.
_ORDER, _LEG_ORDER = 'ZXY', 'XZY'
# Metres from the last joints to the tips that BVH demands; no keypoint marks those.
_TIP, _FRONT = 0.08, np.array([0.0, 0.0, 1.0])
_DECIMALS = 6


def write_bvh(path: str | Path, sequence: PoseSequence, track: int) -> ExportedPerson:
    """Write one person's movement as a BVH file.

    It opens in Blender at its true size and place with the importer's own settings: the unit is the metre, the frame
    is the world of the clip turned y up. The rig is :data:`~..geometry.joint_rotations.RIG` in a T-pose with the
    person's median bone lengths, facing z; the method for rotations stands there. Feet, hands and the top of the head
    have no rotation of their own. Euler orders: XZY for legs, ZXY for the rest.

    BVH has one frame time. Frames are at the clip's frame rate from the person's first to the last; where the clip has
    no pose at such a time (the person was not seen, or the frame rate varies), the movement is interpolated.

    Args:
        path: The file.
        sequence: The clip.
        track: Number of the person.

    Returns:
        What was written; ``first_frame`` tells where in the clip it starts.

    Raises:
        ValueError: If the clip has no such person, or no valid pose of them.
    """
    motion = PersonMotion.from_sequence(sequence, track)
    rate = sequence.frame_rate
    times = motion.times[0] + np.arange(round((motion.times[-1] - motion.times[0]) * rate) + 1) / rate
    root, rotations = motion.at(times)
    angles = [euler_angles(rotations[:, j], _order(j)) for j in range(len(RIG))]
    channels = np.concatenate([root, np.rad2deg(np.concatenate(angles, 1))], 1)
    with whole_file(path) as temporary, open(temporary, 'w', encoding='ascii', newline='\n') as file:
        file.write('HIERARCHY\n' + ''.join(f'{line}\n' for line in _hierarchy(rest_offsets(motion.lengths), 0, 0)))
        file.write(f'MOTION\nFrames: {len(times)}\nFrame Time: {1 / rate:.8f}\n')
        np.savetxt(file, channels, fmt=f'%.{_DECIMALS}f')
    apart = np.abs(times - motion.times[_nearest(motion.times, times)])
    return motion.report(sequence, len(times), int((apart > 0.01 / rate).sum()))


def _order(index: int) -> str:
    return _LEG_ORDER if RIG[index].name.endswith(('Leg', 'Foot')) else _ORDER


def _hierarchy(offsets: np.ndarray, index: int, depth: int) -> list[str]:
    """Lines of a node and all below it."""
    node, space = RIG[index], '\t' * depth
    rotations = ' '.join(f'{axis}rotation' for axis in _order(index))
    channels = f'3 {rotations}' if depth else f'6 Xposition Yposition Zposition {rotations}'
    lines = [
        f'{space}{"JOINT" if depth else "ROOT"} {node.name}', f'{space}{{', f'{space}\t{_offset(offsets[index])}',
        f'{space}\tCHANNELS {channels}',
    ]  # fmt: skip
    children = [child for child, other in enumerate(RIG) if other.parent == index]
    for child in children:
        lines += _hierarchy(offsets, child, depth + 1)
    if not children:
        tip = _TIP * (_FRONT if node.name.endswith('Foot') else REST_DIRECTIONS[node.joint])
        lines += [f'{space}\tEnd Site', f'{space}\t{{', f'{space}\t\t{_offset(tip)}', f'{space}\t}}']
    return [*lines, f'{space}}}']


def _offset(values: np.ndarray) -> str:
    # Adding 0 turns -0 into 0.
    return 'OFFSET ' + ' '.join(f'{value + 0:.{_DECIMALS}f}' for value in values)


def _nearest(known: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Index of the known time nearest to each time; known times ascend."""
    after = np.searchsorted(known, times).clip(1, max(len(known) - 1, 1))
    after = np.minimum(after, len(known) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(times - known[before] <= known[after] - times, before, after)
