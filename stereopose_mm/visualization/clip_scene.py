# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The 3D side of a video frame: all people in perspective on the ground, and a plan of where they stand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..geometry import H36M_17, Camera, PoseSequence
from .canvas import Colour, mix
from .clip_bounds import SceneBounds
from .clip_floor import Floor
from .clip_pen import Pen, limb_shapes, mixed, stacked_places, text_sprite
from .clip_view import PerspectiveView, PlanView
from .lift_picture import (
    FEW,
    GRID,
    GROUND,
    HEAD_RADIUS,
    LEFT,
    LIMB_WIDTH,
    OUTLINE,
    PANEL,
    PILL,
    RIGHT,
    person_colour,
)

# From the front right and above, radians; whichever of these shows the people largest.
_AZIMUTHS = tuple(math.radians(v) for v in (20, 30, 40))
_RAISED = tuple(math.radians(v) for v in (14, 20, 26, 32))
# The camera is shown where people keep this share of their size.
_CAMERA_WORTH = 0.7
# Share of the panel's colour in what is farthest away.
_HAZE = 0.4
# A head stands for the last bone of the neck.
_NECK, _TOP = 9, 10
_BONES = np.array([bone for bone in H36M_17.bones if bone[1] != _TOP])
_SIDES = [LEFT if c in H36M_17.left else RIGHT if c in H36M_17.right else None for _, c in _BONES]
_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 19)) for f in (np.cos, np.sin, np.zeros_like)], -1)
# Radius of the ring under a person, metres.
_RING = 0.26
_TRAIL_POINTS = 15
_ORBIT_STEPS = 24
# Frames scaled by less have short labels.
SMALL = 0.5

Trails = Mapping[int, np.ndarray]


class LiftedPeople(NamedTuple):
    """The V people of a frame that have a pose.

    Attributes:
        rows: ``(P,)`` bool, which of the frame's people they are.
        joints: ``(V, 17, 3)`` metres, in the world.
        distances: ``(V,)`` metres from the camera to the pelvis.
        tracks: V numbers.
        colours: V colours.
        camera: The frame's.
    """

    rows: np.ndarray
    joints: np.ndarray
    distances: np.ndarray
    tracks: list[int]
    colours: list[Colour]
    camera: Camera

    @classmethod
    def of(cls, frame: PoseSequence) -> LiftedPeople:
        """Those of a frame whose pose is ``valid``, finite and in front of the camera."""
        poses = frame.keypoints_cam
        rows = frame.valid & np.isfinite(poses).all((1, 2)) & (poses[..., 2] > 0).all(1)
        joints = poses[rows].astype(np.float64) @ frame.world_rotation.T + frame.world_translation
        tracks = frame.track[rows].tolist()
        distances, colours = np.linalg.norm(poses[rows, 0], axis=-1), [person_colour(track) for track in tracks]
        return cls(rows, joints, distances, tracks, colours, frame.cameras[0])


class TrailSteps(NamedTuple):
    """Short steps by which people came.

    Attributes:
        ends: ``(S, 2, 3)`` metres, in the world.
        colours: S colours, fading backwards in time.
    """

    ends: np.ndarray
    colours: list[Colour]

    @classmethod
    def of(cls, people: LiftedPeople, trails: Trails) -> TrailSteps:
        """Those of the trails of people that are drawn."""
        ends, hues, shares = [np.zeros((0, 2, 3))], [], [np.zeros(0)]
        for track, colour in zip(people.tracks, people.colours, strict=True):
            trail = np.asarray(trails.get(track, np.zeros((0, 3))), np.float64)
            # Every so many from this frame back: short steps do not show.
            trail = trail[:: -max(1, len(trail) // _TRAIL_POINTS)][::-1]
            ends.append(np.stack([trail[:-1], trail[1:]], 1))
            hues += [colour] * len(ends[-1])
            shares.append(0.08 + 0.67 * np.arange(len(ends[-1])) / max(1, len(ends[-1]) - 1))
        # The ground's colour shows through.
        return cls(np.concatenate(ends), mixed(np.array(hues).reshape(-1, 3), GROUND, 1 - np.concatenate(shares)))


class SceneDrawer:
    """Draws the people of a clip in one view that does not move, or turns evenly.

    Args:
        bounds: Of the people of the clip.
        size: Width and height of the panel, pixels.
        scale: Of texts and widths.
        plan: Whether it looks from straight above.
        orbit: Radians a second.
    """

    def __init__(self, bounds: SceneBounds, size: tuple[int, int], scale: float, plan: bool, orbit: float = 0.0):
        self._bounds, self._size, self._scale, self._plan, self._orbit = bounds, size, scale, plan, orbit
        self._view = _plan_view(bounds, size, scale) if plan else _front_view(bounds, size, scale, orbit != 0)
        # Metres from a head to its label; from above, shoulders stand out around it.
        self._above = 0.3 if plan else HEAD_RADIUS + 0.04
        self._stands: bytes | None = None

    def draw(self, pixels: np.ndarray, people: LiftedPeople, time: float, trails: TrailSteps) -> None:
        """Draw people on a panel.

        Args:
            pixels: ``(height, width, 3)`` of the panel, with what stands still.
            people: Who is drawn.
            time: Seconds.
            trails: Where they came from.
        """
        pen, view = Pen(pixels), self._view_at(time)
        self._draw_on_ground(pen, view, people, trails)
        seen = view.project(people.joints)
        self._draw_bodies(pen, view, people, seen)
        self._draw_labels(pen, view, people, seen)

    def draw_still(self, pixels: np.ndarray, frame: PoseSequence, camera: Camera, time: float) -> None:
        """Draw the ground and the camera on a panel, or leave it as it is where they have not changed since.

        Args:
            pixels: ``(height, width, 3)``, the same panel each time.
            frame: A frame.
            camera: The frame's.
            time: Seconds.
        """
        view = self._view_at(time)
        lens = [float(v) for v in (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)]
        key = np.concatenate([np.ravel(v) for v in (view.axes, frame.world_rotation, frame.world_translation, lens)])
        if self._stands != key.tobytes():
            pixels[:] = PANEL
            # The plan's ground fills its panel.
            reach = 0.4 * max(self._size) / view.scale if self._plan else 0.0
            text_size = max(8, round(11 * self._scale))
            Floor.around(self._bounds, frame, camera, reach).draw(Pen(pixels), view, text_size)
            self._stands = key.tobytes()

    def _view_at(self, time: float) -> PerspectiveView | PlanView:
        return self._view if self._plan else self._view.turned(self._orbit * time)

    def _draw_on_ground(
        self, pen: Pen, view: PerspectiveView | PlanView, people: LiftedPeople, trails: TrailSteps
    ) -> None:
        level, height = np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.0, self._bounds.floor])
        pen.lines(view.project(trails.ends * level + height)[..., :2], trails.colours, 2 * self._scale)
        if not len(people.joints):
            return
        if not self._plan:
            bones = view.project(people.joints[:, _BONES] * level + height)
            pen.shadows(bones[..., :2], 0.13 * view.pixels_a_metre(bones[..., 2].mean((1, 2))), 0.6)
            lowest = people.joints[np.arange(len(people.joints)), people.joints[..., 2].argmin(1)]
            stems = view.project(np.stack([lowest, lowest * level + height], 1))[..., :2]
            pen.lines(stems, [GRID] * len(stems))
        rings = view.project(people.joints[:, :1] * level + height + _RING * _CIRCLE)[..., :2]
        pen.paths(rings, [mix(GROUND, colour, 0.6) for colour in people.colours], self._scale)

    def _draw_bodies(self, pen: Pen, view: PerspectiveView | PlanView, people: LiftedPeople, seen: np.ndarray) -> None:
        """All bones of all people from far to near, with rims that show which of two is in front."""
        count = len(people.joints)
        neck, top = seen[:, _NECK], seen[:, _TOP]
        start = np.concatenate([seen[:, _BONES[:, 0]], (0.6 * neck + 0.4 * top)[:, None]], 1).reshape(-1, 3)
        end = np.concatenate([seen[:, _BONES[:, 1]], (0.4 * neck + 0.6 * top)[:, None]], 1).reshape(-1, 3)
        metres = np.tile([LIMB_WIDTH / 2] * len(_BONES) + [HEAD_RADIUS], count)
        least = np.tile([0.9] * len(_BONES) + [2.0], count) * self._scale
        radii = [np.maximum(metres * view.pixels_a_metre(p[:, 2]), least) for p in (start, end)]
        colours = [side or colour for colour in people.colours for side in (*_SIDES, None)]
        # A head hides what is inside it.
        away = (start[:, 2] + end[:, 2]) / 2 - np.tile([0.0] * len(_BONES) + [HEAD_RADIUS], count)
        draw_limbs(pen, start[:, :2], end[:, :2], *radii, colours, away, self._haze(view, away), PANEL)

    def _haze(self, view: PerspectiveView | PlanView, away: np.ndarray) -> np.ndarray:
        if self._plan:
            return np.zeros(len(away))
        corners = _away(view, _box_corners(self._bounds.box))
        near, far = corners.min(), corners.max()
        return _HAZE * np.clip((away - near) / max(far - near, 1e-6), 0, 1)

    def _draw_labels(self, pen: Pen, view: PerspectiveView | PlanView, people: LiftedPeople, seen: np.ndarray) -> None:
        few = len(people.joints) <= FEW and self._scale >= SMALL
        size = max(8, round((12 if few else 10) * self._scale))
        above = self._above * view.pixels_a_metre(seen[:, _TOP, 2]) + 4 * self._scale
        if few:
            pen.keep_free(seen[:, [_NECK, _TOP], :2], HEAD_RADIUS * view.pixels_a_metre(seen[:, _TOP, 2]))
        for k in np.argsort(seen[:, 0, 2], kind='stable'):
            if not np.isfinite(seen[k]).all():
                continue
            words = f'#{people.tracks[k]}' + f'  {people.distances[k]:.1f} m' * (few and not self._plan)
            sprite = text_sprite(words, people.colours[k], size, pill=PILL if few else None)
            places = stacked_places(seen[k, :, :2], float(above[k]), float(seen[k, _TOP, 0]), 1.8 * size)
            pen.label(places if few else places[:3], sprite)


def draw_limbs(
    pen: Pen, start: np.ndarray, end: np.ndarray, start_radius: np.ndarray, end_radius: np.ndarray,
    colours: list[Colour], away: np.ndarray, faint: np.ndarray, into: Colour,
) -> None:  # fmt: skip
    """Limbs from far to near, each with a dark rim.

    Args:
        pen: What to draw with.
        start: ``(n, 2)`` pixels.
        end: ``(n, 2)`` pixels.
        start_radius: ``(n,)`` pixels.
        end_radius: ``(n,)`` pixels.
        colours: n colours.
        away: ``(n,)`` distance from the viewer; limbs where it is not finite are left out.
        faint: ``(n,)`` share of ``into`` in the colours.
        into: A colour.
    """
    order = np.argsort(-away, kind='stable')
    order = order[np.isfinite(away[order])]
    start, end, start_radius, end_radius = (v[order] for v in (start, end, start_radius, end_radius))
    # First the rim, which ends short of the joints, or it would cut into the neighbouring bones; then the limb.
    inset = np.array([[0.12], [0.0]]) * (end - start)[:, None]
    radii = (np.stack([r + np.maximum(1.0, 0.25 * r), r], 1) for r in (start_radius, end_radius))
    shapes = limb_shapes(start[:, None] + inset, end[:, None] - inset, *radii)
    paints = [OUTLINE] * (2 * len(order))
    paints[1::2] = mixed(np.array(colours).reshape(-1, 3)[order], into, faint[order])
    pen.polygons(shapes.reshape(-1, *shapes.shape[2:]), paints)


def _front_view(bounds: SceneBounds, size: tuple[int, int], scale: float, turning: bool) -> PerspectiveView:
    corners = _box_corners(bounds.box)
    foot = np.array([*bounds.camera[:2], bounds.floor])
    around_camera = bounds.camera + 0.3 * _box_corners(np.array([[-1.0, -1, -1], [1, 1, 1]]))
    with_camera = np.concatenate([corners, around_camera, foot[None]])
    padding = tuple(v * scale for v in (20, 34, 20, 18))

    def nearest(points: np.ndarray) -> PerspectiveView:
        points = _all_around(points) if turning else points
        views = (
            PerspectiveView.fit(points, _ahead(bounds) + azimuth, raised, size, padding)
            for azimuth in _AZIMUTHS
            for raised in _RAISED
        )
        return max(views, key=lambda view: np.ptp(view.project(corners)[:, :2], axis=0).prod())

    alone, both = nearest(corners), nearest(with_camera)
    return both if _away(alone, corners).mean() > _CAMERA_WORTH * _away(both, corners).mean() else alone


def _all_around(points: np.ndarray) -> np.ndarray:
    """The upright cylinder that the points sweep when they turn about their middle."""
    low, high = points.min(0), points.max(0)
    middle = (low + high) / 2
    radius = np.linalg.norm((points - middle)[:, :2], axis=1).max()
    turns = np.linspace(0, 2 * np.pi, _ORBIT_STEPS, endpoint=False)
    circle = middle[:2] + radius * np.stack([np.cos(turns), np.sin(turns)], -1)
    return np.concatenate([np.insert(circle, 2, height, axis=1) for height in (low[2], high[2])])


def _plan_view(bounds: SceneBounds, size: tuple[int, int], scale: float) -> PlanView:
    corners, padding = _box_corners(bounds.box), tuple(v * scale for v in (30, 24, 30, 14))
    # The camera looks to the right or upwards.
    azimuths = _ahead(bounds), _ahead(bounds) - math.pi / 2
    view, azimuth = max(((PlanView.fit(corners, a, size, padding), a) for a in azimuths), key=lambda v: v[0].scale)
    wide = PlanView.fit(np.concatenate([corners, bounds.camera[None]]), azimuth, size, padding)
    return wide if wide.scale > _CAMERA_WORTH * view.scale else view


def _ahead(bounds: SceneBounds) -> float:
    """Azimuth from the camera to the people, radians, as the views have it."""
    x, y = (bounds.box.mean(0) - bounds.camera)[:2]
    return math.atan2(-x, y) if math.hypot(x, y) > 0.5 else 0.0


def _box_corners(box: np.ndarray) -> np.ndarray:
    return np.array([[x, y, z] for x in box[:, 0] for y in box[:, 1] for z in box[:, 2]])


def _away(view: PerspectiveView, points: np.ndarray) -> np.ndarray:
    return (points - view.eye) @ view.axes[2]
