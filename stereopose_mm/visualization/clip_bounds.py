# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Where the people of a clip are, from parts of it, so that one fixed view shows them all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..geometry import PoseSequence

# Points kept of a clip of any length.
_SAMPLE = 8192
# What lies outside these percentiles does not widen the view: wild poses are few.
_LOW, _HIGH = 1.0, 99.0
# Room around the people, metres; and above their heads, for a label.
_AROUND, _ABOVE = 0.3, 0.2
# Where people are expected while there are none: x, y, z in metres.
_EXPECTED = np.array([[-1.5, 3.0, -1.5], [1.5, 6.0, 0.3]])


@dataclass(frozen=True, eq=False)
class SceneBounds:
    """The part of the world (z up, metres) where people were, robust to a few wild poses.

    Attributes:
        sample: ``(n, 3)`` float32, some of the points.
        count: Of all points that the sample stands for.
        camera: ``(3,)`` position of the camera.
        grounded: Whether z = 0 is the ground.
    """

    sample: np.ndarray
    count: int
    camera: np.ndarray
    grounded: bool

    @classmethod
    def of(cls, points_world: np.ndarray, camera=(0.0, 0.0, 0.0), grounded: bool = False) -> SceneBounds:
        """Bounds of points.

        Args:
            points_world: ``(M, 3)`` metres; those that are not finite do not count. M may be 0.
            camera: ``(3,)`` position of the camera in the world, metres.
            grounded: Whether z = 0 is the ground; else it is taken to be as high as the lowest points.

        Raises:
            ValueError: For points of another shape.
        """
        points = np.asarray(points_world, np.float32)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(f'points_world takes (M, 3), got {points.shape}')
        points = points[np.isfinite(points).all(1)]
        return cls(_thinned(points, _SAMPLE), len(points), np.array(camera, np.float64), grounded)

    @classmethod
    def of_clip(cls, clip: PoseSequence) -> SceneBounds:
        """Bounds of the lifted people of a clip, or of a part of one."""
        points = clip.keypoints_world[clip.valid].reshape(-1, 3)
        return cls.of(points, clip.world_translation, clip.grounded)

    def merge(self, other: SceneBounds) -> SceneBounds:
        """Bounds of this part of a clip and the next; the camera and the ground are the first part's."""
        total = self.count + other.count
        if not self.count or not other.count:
            sample = self.sample if self.count else other.sample
        elif len(self.sample) + len(other.sample) <= _SAMPLE and total <= _SAMPLE:
            sample = np.concatenate([self.sample, other.sample])
        else:
            # Each part keeps its share of the points that it stands for.
            room = min(_SAMPLE, int(total * min(len(b.sample) / b.count for b in (self, other))))
            mine = round(room * self.count / total)
            sample = np.concatenate([_thinned(self.sample, mine), _thinned(other.sample, room - mine)])
        return SceneBounds(sample, total, self.camera, self.grounded)

    @cached_property
    def box(self) -> np.ndarray:
        """``(2, 3)`` metres, the lowest and the highest corner, with room around the people."""
        if not len(self.sample):
            return _EXPECTED + self.camera if not self.grounded else _EXPECTED - _EXPECTED[0] * [0, 0, 1]
        low, high = np.percentile(self.sample.astype(np.float64), [_LOW, _HIGH], axis=0)
        floor = 0.0 if self.grounded else low[2]
        return np.array([[*(low[:2] - _AROUND), floor], [*(high[:2] + _AROUND), max(high[2], floor + 1) + _ABOVE]])

    @property
    def floor(self) -> float:
        """Height of the ground, metres."""
        return float(self.box[0, 2])


def _thinned(points: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the points, evenly from all of them."""
    if len(points) <= most:
        return points
    return points[((np.arange(most) + 0.5) * len(points) / most).astype(np.int64)]
