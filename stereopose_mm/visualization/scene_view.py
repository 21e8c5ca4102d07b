# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The people of one image as a 3D scene in metres, and parallel views of it.

Scene frame: x right, height up, distance away from the camera; the camera is at the origin. Up is the camera's up: a
camera that looks down sees a level floor rise with distance, and so does the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Room around the people: on the ground, and above their heads for a label; metres.
_MARGIN, _HEADROOM = 0.25, 0.25


def grid_step(span: float) -> float:
    """Width of the cells of a grid below people spread over ``span``, both in metres."""
    step = next((s for s, reach in ((0.5, 6), (1, 14), (2, 30), (5, 80)) if span < reach), None)
    # Beyond that, a round number that keeps about 16 cells.
    return float(step or 10.0 ** math.ceil(math.log10(span / 16)))


@dataclass(frozen=True)
class Scene:
    """People above a grid at the height of the lowest foot.

    Attributes:
        joints: ``(V, 17, 3)`` metres, scene frame.
        ground: Height of the grid, metres.
        low: x and distance at the grid's near left corner, metres.
        high: x and distance at its far right corner.
        step: Width of a grid cell, metres.
    """

    joints: np.ndarray
    ground: float
    low: tuple[float, float]
    high: tuple[float, float]
    step: float

    @classmethod
    def from_camera_frame(cls, keypoints_cam: np.ndarray) -> Scene:
        """Scene of poses ``(V, 17, 3)`` in the camera frame (V ≥ 1)."""
        joints = keypoints_cam * [1.0, -1.0, 1.0]
        flat = joints.reshape(-1, 3)
        span = max(np.ptp(flat[:, 0]), np.ptp(flat[:, 2]))
        step = grid_step(span)
        low = np.floor((flat[:, [0, 2]].min(0) - _MARGIN) / step) * step
        high = np.ceil((flat[:, [0, 2]].max(0) + _MARGIN) / step) * step
        return cls(joints, float(flat[:, 1].min()), tuple(low), (high[0], high[1]), step)

    def grid_lines(self) -> np.ndarray:
        """Lines of the grid, ``(L, 2, 3)``."""
        (x0, z0), (x1, z1) = self.low, self.high
        across = [((x0, z), (x1, z)) for z in np.arange(z0, z1 + self.step / 2, self.step)]
        along = [((x, z0), (x, z1)) for x in np.arange(x0, x1 + self.step / 2, self.step)]
        return self.on_ground(np.array(across + along))

    def corners(self) -> np.ndarray:
        """Corners of the grid, ``(4, 3)``, in turn."""
        (x0, z0), (x1, z1) = self.low, self.high
        return self.on_ground(np.array([(x0, z0), (x1, z0), (x1, z1), (x0, z1)]))

    def distance_ticks(self) -> list[float]:
        """Distances to mark, metres."""
        step = max(1.0, self.step)
        first = math.ceil(self.low[1] / step - 1e-6)
        return [k * step for k in range(first, math.floor(self.high[1] / step + 1e-6) + 1)]

    def on_ground(self, x_and_distance: np.ndarray) -> np.ndarray:
        """Points of the grid's plane: ``(..., 2)`` to ``(..., 3)``."""
        x, distance = x_and_distance[..., 0], x_and_distance[..., 1]
        return np.stack([x, np.full_like(x, self.ground, dtype=float), distance], -1)

    def extent(self) -> np.ndarray:
        """Points that a view has to show, ``(M, 3)``."""
        heads = self.joints.max(1) * [0, 1, 0] + self.joints[:, 10] * [1, 0, 1] + [0, _HEADROOM, 0]
        return np.concatenate([self.joints.reshape(-1, 3), heads, self.corners()])


@dataclass(frozen=True)
class View:
    """A parallel projection of a scene, all axes to one scale.

    Attributes:
        axes: ``(3, 3)``: the directions right, down and away of the view, as rows, in the scene frame.
        scale: Pixels a metre.
        origin: ``(2,)`` pixels, where the camera is seen.
    """

    axes: np.ndarray
    scale: float
    origin: np.ndarray

    @classmethod
    def fit(cls, points: np.ndarray, azimuth_deg: float, raised_deg: float, size, padding) -> View:
        """The largest view that shows all points.

        Args:
            points: ``(M, 3)`` metres, scene frame.
            azimuth_deg: Where it is seen from: 0 is the camera's side, 90 the right.
            raised_deg: How far from above.
            size: Width and height of the panel, pixels.
            padding: Pixels to keep free at left, top, right and bottom.
        """
        axes = _view_axes(math.radians(azimuth_deg), math.radians(raised_deg))
        flat = points @ axes[:2].T
        low, high = flat.min(0), flat.max(0)
        room = np.array([size[0] - padding[0] - padding[2], size[1] - padding[1] - padding[3]])
        scale = float((room / np.maximum(high - low, 1e-3)).min())
        centre = np.array(padding[:2]) + room / 2
        return cls(axes, scale, centre - scale * (low + high) / 2)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels of points: ``(..., 3)`` to ``(..., 2)``."""
        return points @ self.axes[:2].T * self.scale + self.origin

    def depth(self, points: np.ndarray) -> np.ndarray:
        """How far away points are from the viewer, up to a constant: ``(..., 3)`` to ``(...)`` metres."""
        return points @ self.axes[2]


def _view_axes(azimuth: float, raised: float) -> np.ndarray:
    (ca, sa), (cr, sr) = (math.cos(azimuth), math.sin(azimuth)), (math.cos(raised), math.sin(raised))
    level_away = np.array([-sa, 0, ca])
    up = np.array([0.0, 1, 0])
    return np.stack([[ca, 0, sa], -(cr * up + sr * level_away), cr * level_away - sr * up])
