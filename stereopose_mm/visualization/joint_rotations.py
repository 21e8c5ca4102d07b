# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""One person's movement through a clip as an animation rig's root and joint rotations, for BVH and glTF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ..geometry import H36M_17, PoseSequence
from ..geometry.joint_rotations import bone_lengths, chain_bones, continuous_signs, joint_rotations

#: World (z up) to the frame of BVH and glTF: x the same, y up, z = -y.
Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True)
class ExportedPerson:
    """What was written of one person.

    Attributes:
        track: Number of the person.
        first_frame: Frame number at which the person's movement starts.
        frames: Frames written.
        interpolated: How many of those have no pose in the clip at their time: the movement between the nearest two.
        error_mean: Metres between the rig's joints and the keypoints, mean; 0 up to rounding if the person's bones
            keep their lengths, else what the rig's median lengths cost.
        error_max: Metres, the largest.
    """

    track: int
    first_frame: int
    frames: int
    interpolated: int
    error_mean: float
    error_max: float


@dataclass(frozen=True, eq=False)
class PersonMotion:
    """Movement of one person, at the n frames where the person has a valid pose.

    Attributes:
        track: Number of the person.
        frame: ``(n,)`` rows of the frames, ascending.
        times: ``(n,)`` seconds, ascending.
        lengths: ``(16,)`` metres, median length of each bone, in the order of ``H36M_17.bones``.
        root: ``(n, 3)`` metres, the pelvis, y up.
        rotations: ``(n, J, 4)`` quaternions (x, y, z, w); see :func:`~..geometry.joint_rotations.joint_rotations`.
        error: ``(n, 17)`` metres between the rig's joints and the keypoints.
    """

    track: int
    frame: np.ndarray
    times: np.ndarray
    lengths: np.ndarray
    root: np.ndarray
    rotations: np.ndarray
    error: np.ndarray

    @classmethod
    def from_sequence(cls, sequence: PoseSequence, track: int) -> PersonMotion:
        """Movement of one of a clip's people.

        Args:
            sequence: The clip.
            track: Number of the person.

        Raises:
            ValueError: If the clip has no such person or no valid pose of them, or two poses on one frame.
        """
        chosen = sequence.select(sequence.track == track)
        if not len(chosen):
            known = ', '.join(map(str, sequence.tracks[:20])) or 'nobody'
            raise ValueError(f'track: the clip has no person {track}; it has {known}')
        chosen = chosen.select(chosen.valid)
        if not len(chosen):
            raise ValueError(f'track: no pose of person {track} could be lifted')
        twice = chosen.frame[1:][np.diff(chosen.frame) == 0]
        if len(twice):
            raise ValueError(f'track: person {track} has two poses on frame {sequence.frame_numbers[twice[0]]}')
        chosen = chosen.select(later_times(sequence.frame_times[chosen.frame]))
        poses = chosen.keypoints_world.astype(np.float64) @ Y_UP.T
        lengths = np.median(bone_lengths(poses), 0)
        times = sequence.frame_times[chosen.frame]
        error = _length_error(poses, lengths)
        return cls(int(track), chosen.frame, times, lengths, poses[:, 0], joint_rotations(poses), error)

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Root and rotations at other times.

        Args:
            times: ``(m,)`` seconds within the movement.

        Returns:
            Root ``(m, 3)`` in straight lines, and rotations ``(m, J, 4)`` by spherical interpolation.
        """
        if len(self.times) == 1:
            return np.repeat(self.root, len(times), 0), np.repeat(self.rotations, len(times), 0)
        times = np.clip(times, self.times[0], self.times[-1])
        root = np.stack([np.interp(times, self.times, column) for column in self.root.T], -1)
        turns = [Slerp(self.times, Rotation.from_quat(q))(times).as_quat() for q in self.rotations.swapaxes(0, 1)]
        return root, continuous_signs(np.stack(turns, 1))

    def report(self, sequence: PoseSequence, frames: int, interpolated: int) -> ExportedPerson:
        """What to tell of the person after writing so many frames.

        Args:
            sequence: The clip.
            frames: Frames written.
            interpolated: Those without a pose.
        """
        first = int(sequence.frame_numbers[self.frame[0]])
        error = self.error[:, 1:]
        return ExportedPerson(self.track, first, frames, interpolated, float(error.mean()), float(error.max()))


def later_times(times: np.ndarray) -> np.ndarray:
    """Which of the times ``(n,)`` are later than all before them: a broken video can repeat one."""
    # Single precision is what glTF holds.
    rounded = times.astype(np.float32)
    before = np.maximum.accumulate(np.concatenate([[-np.inf], rounded[:-1]]))
    return rounded > before


def _length_error(poses: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``(n, 17)`` metres by which keypoints move if the bones get these lengths and keep their directions."""
    bones = np.array(H36M_17.bones)
    vectors = poses[:, bones[:, 1]] - poses[:, bones[:, 0]]
    directions = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return np.linalg.norm(chain_bones(directions, lengths) + poses[:, :1] - poses, axis=-1)
