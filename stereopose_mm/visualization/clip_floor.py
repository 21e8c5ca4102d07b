# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What stands still in the 3D views of a clip: the ground's grid, arcs of equal distance, and the camera."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from ..geometry import Camera, PoseSequence
from .canvas import mix
from .clip_bounds import SceneBounds
from .clip_pen import Pen, text_sprite
from .clip_view import PerspectiveView, PlanView
from .lift_picture import GRID, GROUND, MUTED, PANEL
from .scene_view import grid_step

_ARC = np.linspace(0, 1, 33)
# The camera's pyramid is this long, as a share of the distance to the people, within metres.
_PYRAMID, _PYRAMID_RANGE = 0.11, (0.3, 2.0)


class Floor(NamedTuple):
    """The ground and the camera, in the world; shares say how much of each part shows."""

    cells: np.ndarray
    cell_shares: np.ndarray
    lines: np.ndarray
    line_shares: np.ndarray
    arcs: np.ndarray
    arc_metres: list[float]
    pyramid: np.ndarray
    foot: np.ndarray

    @classmethod
    def around(cls, bounds: SceneBounds, people: PoseSequence, camera: Camera, reach: float) -> Floor:
        """The ground around all people of a clip, below the camera of a frame of it.

        Args:
            bounds: Of the people of the clip.
            people: A frame of it.
            camera: The frame's.
            reach: Metres on which it fades outwards, at least.
        """
        (x0, y0), (x1, y1) = low, high = bounds.box[:, :2]
        step = grid_step(max(x1 - x0, y1 - y0, reach))
        fade = max(2 * step + 0.5, reach)
        xs, ys = (
            np.arange(math.floor((a - fade) / step), math.ceil((b + fade) / step) + 1) * step
            for a, b in ((x0, x1), (y0, y1))
        )
        at = np.stack(np.meshgrid(xs, ys, indexing='ij'), -1)
        cells = np.stack([at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]], -2).reshape(-1, 4, 2)
        lines = [np.stack(ends, -2).reshape(-1, 2, 2) for ends in ((at[:-1], at[1:]), (at[:, :-1], at[:, 1:]))]
        lines = np.concatenate(lines)

        def shares(points: np.ndarray) -> np.ndarray:
            outside = np.maximum(np.maximum(low - points, points - high), 0)
            return np.clip(1 - np.linalg.norm(outside, axis=-1) / fade, 0, 1)

        position = people.world_translation
        corners = _image_corners(camera) @ people.world_rotation.T
        foot = np.array([*position[:2], bounds.floor])
        arcs, metres = _distance_arcs(corners, foot, bounds.box, max(1.0, step))
        length = float(np.clip(_PYRAMID * np.linalg.norm(bounds.box.mean(0) - position), *_PYRAMID_RANGE))
        pyramid = np.concatenate([position[None], position + length * corners])
        cells_at, lines_at = shares(cells.mean(1)), shares(lines.mean(1))
        return cls(
            _raised(cells, bounds.floor), cells_at, _raised(lines, bounds.floor), lines_at, arcs, metres, pyramid, foot
        )

    def draw(self, pen: Pen, view: PerspectiveView | PlanView, text_size: int) -> None:
        """Draw the ground, the distances and the camera."""
        shown = self.cell_shares > 0
        colours = [mix(PANEL, GROUND, share) for share in self.cell_shares[shown]]
        pen.polygons(view.project(self.cells[shown])[..., :2], colours)
        shown = self.line_shares > 0
        colours = [mix(PANEL, mix(GROUND, GRID, 0.75), share) for share in self.line_shares[shown]]
        pen.lines(view.project(self.lines[shown])[..., :2], colours)
        arcs = view.project(self.arcs)[..., :2]
        pen.paths(arcs, [mix(GRID, MUTED, 0.35)] * len(arcs))
        for arc, metres in zip(arcs, self.arc_metres, strict=True):
            # At the right end nothing stands in front of it.
            sprite = text_sprite(f'{metres:g} m', MUTED, text_size, False)
            end, before = arc[0], arc[1]
            pen.label([(*(end + (end - before) * 0.5 + [4, 2]), 'lm'), (*end, 'mt')], sprite)
        self._draw_camera(pen, view)

    def _draw_camera(self, pen: Pen, view: PerspectiveView | PlanView) -> None:
        peak, *corners = points = view.project(self.pyramid)[..., :2]
        stem = np.stack([points[0], view.project(self.foot)[:2]])
        pen.lines(stem[None], [GRID])
        pen.discs(stem[1:], 2.0, GRID)
        pen.polygons(np.stack([corners]), [mix(PANEL, MUTED, 0.3)])
        edges = [(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
        pen.lines(np.array(edges + [(peak, corner) for corner in corners]), [MUTED] * 8)
        pen.discs(points[:1], 2.5, MUTED)


def _image_corners(camera: Camera) -> np.ndarray:
    """The image's corners in the camera frame, ``(4, 3)``, one metre ahead, in turn from the upper left."""
    width, height = float(camera.width), float(camera.height)
    corners = torch.tensor([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]], dtype=torch.float64)
    rays = camera.unproject(corners).numpy()
    if not np.isfinite(rays).all():
        # No ray reaches some corner of a strong lens: as without the lens.
        centre, focal = (np.array([float(v) for v in p]) for p in ((camera.cx, camera.cy), (camera.fx, camera.fy)))
        rays = (corners.numpy() - centre) / focal
    return np.concatenate([rays, np.ones((4, 1))], -1)


def _distance_arcs(corners: np.ndarray, foot: np.ndarray, box: np.ndarray, step: float):
    """Arcs of whole metres around the camera's foot, right to left through what it sees: ``(A, 33, 3)`` and metres."""
    ahead = corners.mean(0)[:2]
    middle = math.atan2(ahead[1], ahead[0])
    offsets = [(math.atan2(y, x) - middle + math.pi) % (2 * math.pi) - math.pi for x, y in corners[:, :2]]
    # A camera that looks steeply down sees all around.
    first, last = (min(offsets), max(offsets)) if np.linalg.norm(ahead) > 0.2 else (-math.pi, math.pi)
    angles = middle + first + (last - first) * _ARC
    nearest = np.linalg.norm(np.clip(foot[:2], *box[:, :2]) - foot[:2])
    farthest = np.linalg.norm(np.maximum(abs(box[0, :2] - foot[:2]), abs(box[1, :2] - foot[:2])))
    metres = [k * step for k in range(max(1, math.floor(nearest / step)), math.floor(farthest / step) + 1)]
    # More would be a haze.
    metres = metres[:: max(1, math.ceil(len(metres) / 9))]
    circle = np.stack([np.cos(angles), np.sin(angles)], -1)
    arcs = foot[:2] + np.array(metres)[:, None, None] * circle
    return _raised(arcs.reshape(-1, len(_ARC), 2), float(foot[2])), metres


def _raised(points: np.ndarray, height: float) -> np.ndarray:
    return np.concatenate([points, np.full((*points.shape[:-1], 1), height)], -1)
