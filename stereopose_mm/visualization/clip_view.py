# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Views of the world for video, placed so that a part of it fills a panel: in perspective, and a plan."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

# Of the larger side of a panel; wide enough to see depth, narrow enough not to distort people.
_FIELD_OF_VIEW = math.radians(42)
# Nearer than this share of the distance to the centre, nothing is drawn: it would hide all else.
_NEAR = 0.15


@dataclass(frozen=True, eq=False)
class PerspectiveView:
    """A pinhole view of the world, z up.

    Attributes:
        axes: ``(3, 3)``: the directions right, down and away of the view, as rows.
        eye: ``(3,)`` metres.
        centre: ``(3,)`` metres, what it turns about.
        focal: Pixels.
        origin: ``(2,)`` pixels, where the line of sight meets the panel.
    """

    axes: np.ndarray
    eye: np.ndarray
    centre: np.ndarray
    focal: float
    origin: np.ndarray

    @classmethod
    def fit(cls, points: np.ndarray, azimuth: float, raised: float, size, padding) -> PerspectiveView:
        """The nearest view that shows all points.

        Args:
            points: ``(M, 3)`` metres.
            azimuth: Radians, counter-clockwise from above, where it looks: 0 along y.
            raised: Radians, how far from above it looks.
            size: Width and height of the panel, pixels.
            padding: Pixels to keep free at left, top, right and bottom.
        """
        axes = _axes(azimuth, raised)
        focal = 0.5 * max(size) / math.tan(_FIELD_OF_VIEW / 2)
        low = np.array(padding[:2], float)
        room = np.maximum(np.array(size, float) - padding[2:] - low, 8)
        slopes = room / 2 / focal
        flat = points @ axes.T
        # Each side of the panel bounds where the eye may be: ±(x − eye) ≤ slope · (z − eye_z) for all points.
        first = (flat[:, :2] - slopes * flat[:, 2:]).max(0)
        second = (-flat[:, :2] - slopes * flat[:, 2:]).max(0)
        away = (-(first + second) / (2 * slopes)).min()
        eye = np.array([*((first - second) / 2), away]) @ axes
        centre = (points.min(0) + points.max(0)) / 2
        view = cls(axes, eye, centre, focal, low + room / 2)
        # One direction is tight; in the other, near and far points leave unequal room.
        shown = view.project(points)[:, :2]
        return replace(view, origin=view.origin + low + room / 2 - (shown.min(0) + shown.max(0)) / 2)

    @property
    def distance(self) -> float:
        """Metres from the eye to the centre, along the line of sight."""
        return float((self.centre - self.eye) @ self.axes[2])

    def turned(self, angle: float) -> PerspectiveView:
        """The view from elsewhere around the centre: radians, counter-clockwise from above."""
        if angle == 0:
            return self
        c, s = math.cos(angle), math.sin(angle)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        return replace(self, axes=self.axes @ turn.T, eye=turn @ (self.eye - self.centre) + self.centre)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels of points ``(..., 3)`` and how far away they are: ``(..., 3)``; NaN for those too near to draw."""
        seen = (points - self.eye) @ self.axes.T
        away = np.where(seen[..., 2:] > _NEAR * self.distance, seen[..., 2:], np.nan)
        return np.concatenate([seen[..., :2] / away * self.focal + self.origin, away], -1)

    def pixels_a_metre(self, away: np.ndarray) -> np.ndarray:
        """Scale at points that :meth:`project` says to be this far ``away``."""
        return self.focal / away


def _axes(azimuth: float, raised: float) -> np.ndarray:
    (ca, sa), (cr, sr) = (math.cos(azimuth), math.sin(azimuth)), (math.cos(raised), math.sin(raised))
    level, up = np.array([-sa, ca, 0.0]), np.array([0.0, 0.0, 1.0])
    return np.stack([[ca, sa, 0.0], -(cr * up + sr * level), cr * level - sr * up])


@dataclass(frozen=True, eq=False)
class PlanView:
    """A parallel view of the world from straight above.

    Attributes:
        axes: ``(2, 2)``: the directions right and down of the view, as rows of x and y.
        scale: Pixels a metre.
        origin: ``(2,)`` pixels, where the world's origin is seen.
    """

    axes: np.ndarray
    scale: float
    origin: np.ndarray

    @classmethod
    def fit(cls, points: np.ndarray, azimuth: float, size, padding) -> PlanView:
        """The largest view that shows all points.

        Args:
            points: ``(M, 3)`` metres.
            azimuth: Radians, counter-clockwise from above, which direction is shown rightwards: 0 is y.
            size: Width and height of the panel, pixels.
            padding: Pixels to keep free at left, top, right and bottom.
        """
        c, s = math.cos(azimuth), math.sin(azimuth)
        axes = np.array([[-s, c], [c, s]])
        flat = points[:, :2] @ axes.T
        low, high = flat.min(0), flat.max(0)
        room = np.maximum(np.array(size, float) - padding[2:] - padding[:2], 8)
        scale = float((room / np.maximum(high - low, 1e-3)).min())
        return cls(axes, scale, np.array(padding[:2]) + room / 2 - scale * (low + high) / 2)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels of points ``(..., 3)`` and how far below they are: ``(..., 3)``."""
        return np.concatenate([points[..., :2] @ self.axes.T * self.scale + self.origin, -points[..., 2:]], -1)

    def pixels_a_metre(self, away: np.ndarray) -> np.ndarray:
        """Scale at points that :meth:`project` says to be this far ``away``: the same at all."""
        return np.where(np.isfinite(away), self.scale, np.nan)
