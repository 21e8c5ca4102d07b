# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What only the whole clip tells: each person's bone lengths, the ground, and where people are."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property, reduce

import numpy as np

from ...geometry import PoseSequence
from ...geometry.bone_fit import BoneLengthEstimate, fit_sequence
from ...geometry.ground import estimate_ground
from ...geometry.one_euro import OneEuroFilter, smooth_sequence
from ...visualization import SceneBounds
from .store import Stage

# Poses of the whole clip that the ground is estimated from.
_SAMPLE = 20000


class ClipFinisher:
    """Finishes the parts of a clip one after the other; making it goes through all parts once.

    Args:
        lifted: The lifted parts.
        constant_bones: Whether each person keeps the same bone lengths.
        smooth: Whether to smooth joints over time.
        ground: Whether to estimate the ground.

    Attributes:
        notes: Lines on what is done.
        warnings: Lines on what could not be done.
    """

    def __init__(self, lifted: Stage, constant_bones: bool, smooth: bool, ground: bool):
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self._filter = OneEuroFilter() if smooth else None
        self._lengths = None
        lengths, sample, steps = _TrackLengths(), _PoseSample(), []
        for part in lifted:
            steps += np.diff(part.frame_times).tolist()
            if constant_bones:
                lengths.add(part)
            if ground:
                sample.add(part)
        if constant_bones:
            self._lengths = lengths.finish()
            self.notes.append('bone lengths of each person are the same on all frames')
        step = float(np.median(steps or [0]))
        if smooth and step > self._filter.max_gap:
            # Each pose would begin anew.
            self._filter = None
            self.warnings.append(f'joints are not smoothed: frames are {step:.1f} s apart')
        elif smooth:
            self.notes.append('joints are smoothed over time, and lag a little behind (One-Euro filter)')
        self._world = self._estimate_ground(sample) if ground else {}
        self._lifted = lifted

    @cached_property
    def bounds(self) -> SceneBounds:
        """Where the people are; goes through all parts once more."""
        return reduce(SceneBounds.merge, (SceneBounds.of_clip(replace(part, **self._world)) for part in self._lifted))

    def _estimate_ground(self, sample: _PoseSample) -> dict:
        try:
            ground = estimate_ground(sample.poses, sample.weights)
        except ValueError as error:
            self.warnings.append(f'no ground: {error}')
            return {}
        tilt = math.degrees(math.acos(np.clip(-ground.up[1], -1, 1)))
        self.notes.append(
            f'ground: the camera is {ground.camera_height:.2f} m above it and tilted by {tilt:.0f} degrees; '
            f'{ground.inliers:.0%} of the people stand on it'
        )
        return {'world_rotation': ground.rotation, 'world_translation': ground.translation, 'grounded': True}

    def finish(self, part: PoseSequence) -> PoseSequence:
        """The next part, finished."""
        if self._lengths is not None:
            part = fit_sequence(part, self._lengths)
        if self._filter is not None:
            part = smooth_sequence(part, self._filter)
        return replace(part, **self._world)

    def state_dict(self) -> dict:
        """What it needs to know of the parts before."""
        return {} if self._filter is None else {'filter': self._filter.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Go on from what :meth:`state_dict` returned."""
        if self._filter is not None:
            self._filter.load_state_dict(state['filter'])


class _TrackLengths:
    """Bone lengths by track; of those long gone only the result is kept."""

    def __init__(self):
        self._estimates: dict[int, BoneLengthEstimate] = {}
        self._lengths: dict[int, np.ndarray] = {}

    def add(self, part: PoseSequence) -> None:
        """Take in the next part."""
        tracks = part.tracks.tolist()
        for track in [t for t in self._estimates if t not in tracks]:
            self._lengths[track] = self._estimates.pop(track).lengths()
        for track in tracks:
            if track not in self._lengths:
                rows = part.valid & (part.track == track)
                estimate = self._estimates.setdefault(track, BoneLengthEstimate())
                estimate.add(part.keypoints_cam[rows], part.uncertainty[rows])

    def finish(self) -> dict[int, np.ndarray]:
        """``(16,)`` metres by track."""
        return self._lengths | {track: estimate.lengths() for track, estimate in self._estimates.items()}


class _PoseSample:
    """Poses evenly from all of a clip of unknown length: every second one is dropped when it is full."""

    def __init__(self):
        self.poses, self.weights = np.zeros((0, 17, 3), np.float32), np.zeros(0)
        self._step, self._phase = 1, 0

    def add(self, part: PoseSequence) -> None:
        """Take in the next part."""
        poses = part.keypoints_cam[part.valid]
        weights = part.scores_2d[part.valid].mean(1)
        kept = slice(self._phase, None, self._step)
        self._phase = (self._phase - len(poses)) % self._step
        self.poses = np.concatenate([self.poses, poses[kept]])
        self.weights = np.concatenate([self.weights, weights[kept]])
        while len(self.poses) > _SAMPLE:
            self.poses, self.weights = self.poses[::2], self.weights[::2]
            self._step *= 2
            self._phase %= self._step
