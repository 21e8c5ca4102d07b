# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Many pictures of the example's mannequins: as ``scene_render`` draws one, a hundred times faster.

Neighbouring points ask only the few parts of the body near them, empty space is skipped by bounding boxes, and the
empty studio is drawn once. Surfaces differ from the exact ones by less than a millimetre.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import cv2
import numpy as np

from ..geometry import Camera
from .example_scene import FOV_DEG, Figure, world_to_camera
from .mannequin import sculpt
from .scene_render import _FAR, _backdrop, _develop, _floor_light, _march, _shade, _Solid

# Points that share their parts.
_GROUP = 384
# Parts farther than the nearest by this much melt into the surface by nothing that shows, metres.
_REACH = 0.08
# Flesh around the ends of parts, with what melting adds, metres.
_FLESH = 0.15
# Side of the squares of pixels that are drawn one after the other.
_BLOCK = 16


class _QuickSolid(_Solid):
    """A figure whose distance field holds where it is asked for, and is a lower bound elsewhere."""

    def field(self, points: np.ndarray, within: np.ndarray | float = _FAR) -> np.ndarray:
        """``(M,)`` metres from ``points`` ``(M, 3)``, exact up to ``within``."""
        low, high = self._box
        # To the box: a lower bound.
        x, y, z = (np.maximum(np.maximum(a - p, p - b), 0) for a, p, b in zip(low, points.T, high, strict=True))
        apart = np.sqrt(x * x + y * y + z * z)
        near = np.flatnonzero(apart <= within)
        if len(near):
            apart[near] = np.minimum(self._near_field(points[near])[: len(near)], self.seat(points[near]))
        return apart

    @cached_property
    def _box(self) -> tuple[np.ndarray, np.ndarray]:
        corners = self.corners()
        return corners.min(0), corners.max(0)

    def _near_field(self, points: np.ndarray) -> np.ndarray:
        # Whole groups at once; the last is filled up with its last point.
        count = -(-len(points) // _GROUP)
        points = np.concatenate([points, np.repeat(points[-1:], count * _GROUP - len(points), axis=0)])
        groups = points.reshape(count, _GROUP, 3)
        low, high = (np.stack([f(groups[..., k], axis=1) for k in range(3)], -1) for f in (np.min, np.max))
        apart = self.parts.distances((low + high) / 2)
        # A point of the group is up to half the diagonal from the centre, and so is the one nearest to the body.
        reach = np.linalg.norm(high - low, axis=1) + _REACH
        asked = apart < (apart.min(1) + reach)[:, None]
        return np.concatenate(
            [self.parts.field(group, np.flatnonzero(a)) for a, group in zip(asked, groups, strict=True)]
        )


class ClipRenderer:
    """Draws figures in a studio, as the example's camera sees them, at any size.

    Args:
        width: Of the pictures, pixels; they are 16:9.
        supersample: Rays a pixel, per side.
    """

    def __init__(self, width: int = 640, supersample: float = 1.25):
        self.camera = Camera.from_fov(FOV_DEG, width, width * 9 // 16)
        self.rotation, self.origin = world_to_camera()
        self.supersample = supersample
        self._size = int(self.camera.width), int(self.camera.height)
        u, v = ((np.arange(round(n * supersample)) + 0.5) / supersample for n in self._size)
        u, v = np.meshgrid(u, v)
        x, y = (u - self.camera.cx) / self.camera.fx, (v - self.camera.cy) / self.camera.fy
        rays = np.stack([x, y, np.ones_like(u)], -1) @ self.rotation
        self._rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
        self._studio, self._to_floor = _backdrop(self.origin, self._rays)

    def draw(self, figures: Sequence[Figure]) -> np.ndarray:
        """Draw figures; ``(height, width, 3)`` BGR, uint8."""
        solids = [_QuickSolid(figure, sculpt(figure)) for figure in figures]
        shadow = _floor_light(solids, self.origin, self._rays, self._to_floor)
        picture = self._studio * np.where(np.isfinite(self._to_floor)[..., None], shadow, 1)
        nearest = self._to_floor.copy()
        for solid in solids:
            where = self._pixels(solid)
            if not len(where):
                continue
            rays = self._rays.reshape(-1, 3)[where]
            start = max(0.1, ((solid.corners() - self.origin) @ self.rotation.T)[:, 2].min() - 0.3)
            travelled = _march(solid, self.origin, rays, start)
            front = travelled < nearest.ravel()[where]
            where, rays, travelled = where[front], rays[front], travelled[front]
            if len(where):
                points = self.origin + travelled[:, None] * rays
                picture.reshape(-1, 3)[where] = _shade(solids, solid, points, rays)
                nearest.reshape(-1)[where] = travelled
        return _develop(picture, *self._size)

    def _pixels(self, solid: _Solid) -> np.ndarray:
        """Indices ``(M,)`` of the rays that may meet a figure, square by square."""
        mask = np.zeros(self._to_floor.shape, np.uint8)
        scale = self.camera.fx * self.supersample
        ends = (np.stack([solid.parts.start, solid.parts.end]) - self.origin) @ self.rotation.T
        centre = np.array([self.camera.cx, self.camera.cy]) * self.supersample
        pixels = ends[..., :2] / ends[..., 2:] * scale + centre
        widths = 2 * (solid.parts.radius.max(1) + 0.03) / ends[..., 2].min(0) * scale
        for start, end, width in zip(*np.round(pixels).astype(int), widths, strict=True):
            cv2.line(mask, start.tolist(), end.tolist(), 1, int(width) + 2)
        if solid.figure.seat is not None:
            corners = (solid.corners() - self.origin) @ self.rotation.T
            corners = corners[:, :2] / corners[:, 2:] * scale + centre
            cv2.fillConvexPoly(mask, cv2.convexHull(np.round(corners).astype(np.int32)), 1)
        where = np.flatnonzero(mask)
        y, x = np.divmod(where, mask.shape[1])
        return where[np.lexsort((x // _BLOCK, y // _BLOCK))]
