# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures of the example's mannequins: sphere tracing with a soft sun, sky light and contact shadows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .example_scene import Figure, example_camera, turn, world_to_camera
from .mannequin import Parts, sculpt

_CHUNK = 16384
_FAR = 40.0
_TO_SUN = np.array([-0.52, 0.80, 0.42]) / np.linalg.norm([-0.52, 0.80, 0.42])
_SUN, _SKY, _BOUNCE = np.array([1.06, 1.0, 0.90]), np.array([0.40, 0.45, 0.54]), np.array([0.22, 0.20, 0.17])


def _rgb(code: str) -> np.ndarray:
    """Linear light of an sRGB hex colour."""
    return (np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255) ** 2.2


_WALL_TOP, _WALL_LOW, _FLOOR, _SEAT_COLOUR = _rgb('8fa3b4'), _rgb('dde3e6'), _rgb('cfcac2'), _rgb('c9a978')
# In the order of the mannequin's materials: skin, hair, shirt, trousers, shoes, soles, eyes.
_OUTFITS = (
    ('d9a384', '3a2a22', '1f8a83', '2c3547', 'e9e6df', 'f7f5f0', '2b2320'),
    ('8d5a3f', '1d1a1a', 'e0a32e', '3d4a63', '7a3b32', 'efe9e0', '2b2320'),
    ('e2b596', '8a5a2f', 'c4513f', '46505a', '2d333b', 'f2efe9', '2b2320'),
    ('b97f5d', '2a2020', '6d5aa8', '2f4a4d', 'dfe3e6', 'f4f4f2', '2b2320'),
)


@dataclass(frozen=True)
class _Solid:
    """A figure with its seat, as one distance field."""

    figure: Figure
    parts: Parts

    def seat(self, points: np.ndarray) -> np.ndarray:
        if self.figure.seat is None:
            return np.full(len(points), _FAR, np.float32)
        rounding, half = 0.02, np.array(self.figure.seat)
        x, z = self.figure.ground
        local = np.abs((points - [x, half[1], z]) @ turn(0, 0, self.figure.facing_deg)) - half + rounding
        outside = np.linalg.norm(np.maximum(local, 0), axis=1)
        return (outside + np.minimum(local.max(1), 0) - rounding).astype(np.float32)

    def field(self, points: np.ndarray, within: np.ndarray | float = _FAR) -> np.ndarray:
        """Signed distances ``(M,)`` of points ``(M, 3)``; they need hold only where they are ``within``."""
        return np.minimum(self.parts.field(points), self.seat(points))

    def colours(self, points: np.ndarray) -> np.ndarray:
        table = np.array([_rgb(code) for code in _OUTFITS[self.figure.outfit]])
        apart = self.parts.distances(points)
        colour = table[self.parts.material[apart.argmin(1)]]
        return np.where((self.seat(points) < apart.min(1) - 0.004)[:, None], _SEAT_COLOUR, colour)

    def corners(self) -> np.ndarray:
        ends = np.concatenate([self.parts.start, self.parts.end])
        low, high = ends.min(0) - 0.15, ends.max(0) + 0.15
        if self.figure.seat is not None:
            x, z = self.figure.ground
            reach = np.linalg.norm(self.figure.seat)
            low, high = np.minimum(low, [x - reach, 0, z - reach]), np.maximum(high, [x + reach, 0, z + reach])
        return np.stack(np.meshgrid(*zip(low, high, strict=True)), -1).reshape(-1, 3)


def _in_chunks(function: Callable, *arrays: np.ndarray) -> np.ndarray:
    parts = [function(*(a[i : i + _CHUNK] for a in arrays)) for i in range(0, len(arrays[0]), _CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _march(solid: _Solid, origin: np.ndarray, rays: np.ndarray, start: float) -> np.ndarray:
    """Distance along unit ``rays`` ``(M, 3)`` to the solid; infinite where they miss it."""

    def chunk(rays):
        travelled, found = np.full(len(rays), start), np.full(len(rays), np.inf)
        active = np.arange(len(rays))
        for _ in range(90):
            apart = solid.field(origin + travelled[active, None] * rays[active])
            hit = apart < 6e-4
            found[active[hit]] = travelled[active[hit]]
            # Blends bend the field a little: full steps could pass through thin parts.
            travelled[active] += 0.9 * apart
            active = active[~hit & (travelled[active] < start + 6)]
            if not len(active):
                break
        return found

    return _in_chunks(chunk, rays)


def _sunlight(solids: Sequence[_Solid], points: np.ndarray) -> np.ndarray:
    """Share of the sun that reaches ``points`` ``(M, 3)``, with a penumbra that grows with distance."""

    def chunk(points):
        light, travelled, active = np.ones(len(points)), np.full(len(points), 0.03), np.arange(len(points))
        for _ in range(34):
            reach = travelled[active]
            at = points[active] + reach[:, None] * _TO_SUN
            apart = np.min([s.field(at, np.maximum(0.2, reach / 9)) for s in solids], axis=0)
            light[active] = np.minimum(light[active], np.clip(0.5 + 4.5 * apart / reach, 0, 1))
            travelled[active] = reach + np.clip(apart, 0.02, 0.2)
            active = active[light[active] > 0]
        return light * light * (3 - 2 * light)

    return _in_chunks(chunk, points)


def _openness(solids: Sequence[_Solid], points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Ambient occlusion: 1 in the open, towards 0 where surfaces meet."""

    def chunk(points, normals):
        closed = np.zeros(len(points))
        for reach, weight in ((0.04, 1.0), (0.10, 0.6), (0.20, 0.35), (0.36, 0.2)):
            at = points + reach * normals
            apart = np.min([s.field(at, reach) for s in solids] + [at[:, 1]], axis=0)
            closed += weight * np.clip(reach - apart, 0, None) / reach
        return np.clip(1 - 0.55 * closed, 0.12, 1)

    return _in_chunks(chunk, points, normals)


def _normals(solid: _Solid, points: np.ndarray) -> np.ndarray:
    corners = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]]) * 1.5e-3
    slope = sum(_in_chunks(solid.field, points + c)[:, None] * c for c in corners)
    return slope / np.linalg.norm(slope, axis=1, keepdims=True)


def _shade(solids: Sequence[_Solid], solid: _Solid, points: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Linear light that leaves the surface points, ``(M, 3)``."""
    normals = _normals(solid, points)
    open_sky = _openness(solids, points + 2e-3 * normals, normals)[:, None]
    sun = np.clip(normals @ _TO_SUN, 0, None)
    lit = sun > 0
    sun[lit] *= _sunlight(solids, (points + 6e-3 * normals)[lit])
    sun = sun[:, None]
    up = 0.5 + 0.5 * normals[:, 1:2]
    light = _SUN * sun + open_sky * (_SKY * up + _BOUNCE * (1 - up))
    halfway = _TO_SUN - rays
    halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
    gloss = 0.07 * np.clip((normals * halfway).sum(1), 0, None)[:, None] ** 28 * sun
    edge = 0.10 * (1 + (normals * rays).sum(1)[:, None]).clip(0, 1) ** 3 * open_sky
    return _in_chunks(solid.colours, points) * light + gloss + edge


def _backdrop(origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Empty studio ``(H, W, 3)``, and the distance ``(H, W)`` to its floor (infinite on the wall)."""
    rise = rays[..., 1]
    to_floor = np.where(rise < -1e-4, -origin[1] / np.minimum(rise, -1e-4), np.inf)
    near = np.where(np.isfinite(to_floor), to_floor, _FAR).clip(0, _FAR)
    floor_at = origin + near[..., None] * rays
    # Lines of 1 m tiles, about a centimetre wide, fading out before they would flicker.
    to_line = np.abs(floor_at[..., [0, 2]] + 0.5 - np.round(floor_at[..., [0, 2]] + 0.5)).min(-1)
    blur = 0.006 + 0.0011 * near
    lines = np.clip(1.4 - to_line / blur, 0, 1) * np.exp(-near / 6)
    floor = _FLOOR * (1 - 0.20 * lines[..., None])
    wall = _WALL_LOW + (_WALL_TOP - _WALL_LOW) * np.clip(rise / 0.42, 0, 1)[..., None] ** 0.8
    haze = (1 - np.exp(-((near / 13) ** 2)))[..., None]
    return np.where(np.isfinite(to_floor)[..., None], floor + (_WALL_LOW - floor) * haze, wall), to_floor


def _floor_light(solids, origin: np.ndarray, rays: np.ndarray, to_floor: np.ndarray) -> np.ndarray:
    """Share of its light that the floor keeps beside figures, ``(H, W, 1)``."""
    small = (rays.shape[1] // 2, rays.shape[0] // 2)
    rays, reach = (
        cv2.resize(rays, small),
        cv2.resize(np.minimum(to_floor, _FAR), small, interpolation=cv2.INTER_NEAREST),
    )
    points = origin + reach[..., None] * rays
    near = np.zeros(points.shape[:2], bool)
    for solid in solids:
        x, z = solid.figure.ground
        near |= np.hypot(points[..., 0] - x - 0.4, points[..., 2] - z + 0.4) < 2.6
    near &= np.abs(points[..., 1]) < 0.02
    light = np.ones(points.shape[:2], np.float32)
    at = points[near] * [1, 0, 1]
    up = np.tile([0.0, 1.0, 0.0], (len(at), 1))
    share = 0.55 + 0.45 * _sunlight(solids, at + [0, 2e-3, 0])
    light[near] = share * (0.35 + 0.65 * _openness(solids, at, up))
    return cv2.resize(light, (to_floor.shape[1], to_floor.shape[0]))[..., None]


def render_scene(figures: Sequence[Figure], supersample: int = 2, size_divisor: int = 1) -> np.ndarray:
    """Draw figures in a studio, as the example's camera sees them.

    Args:
        figures: Who stands where.
        supersample: Rays a pixel, per side.
        size_divisor: Draw the picture this many times smaller; for a quick look.

    Returns:
        ``(720, 1280, 3)`` BGR, uint8.
    """
    camera, (rotation, origin) = example_camera(), world_to_camera()
    width, height = int(camera.width) // size_divisor, int(camera.height) // size_divisor
    fine = supersample / size_divisor
    u, v = np.meshgrid((np.arange(width * supersample) + 0.5) / fine, (np.arange(height * supersample) + 0.5) / fine)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], -1) @ rotation
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    solids = [_Solid(figure, sculpt(figure)) for figure in figures]
    picture, nearest = _backdrop(origin, rays)
    picture = picture * np.where(np.isfinite(nearest)[..., None], _floor_light(solids, origin, rays, nearest), 1)
    for solid in solids:
        corners = (solid.corners() - origin) @ rotation.T
        pixels = corners[:, :2] / corners[:, 2:] * camera.fx + [camera.cx, camera.cy]
        low = np.maximum((pixels.min(0) * fine).astype(int), 0)
        high = (pixels.max(0) * fine).astype(int) + 1
        window = slice(low[1], high[1]), slice(low[0], high[0])
        seen = rays[window].reshape(-1, 3)
        travelled = _march(solid, origin, seen, start=max(0.1, corners[:, 2].min() - 0.3))
        in_front = travelled < nearest[window].ravel()
        points = origin + travelled[in_front, None] * seen[in_front]
        inside = np.zeros(nearest.shape, bool)
        inside[window] = in_front.reshape(nearest[window].shape)
        picture[inside] = _shade(solids, solid, points, seen[in_front])
        nearest[inside] = travelled[in_front]
    return _develop(picture, width, height)


def _develop(light: np.ndarray, width: int, height: int) -> np.ndarray:
    """Linear light as an 8-bit BGR picture of the given size."""
    y, x = np.mgrid[-1 : 1 : light.shape[0] * 1j, -1 : 1 : light.shape[1] * 1j]
    light = light * (1 - 0.10 * (x**2 + y**2) / 2)[..., None]
    srgb = np.clip(light, 0, 1) ** (1 / 2.2)
    small = cv2.resize(srgb, (width, height), interpolation=cv2.INTER_AREA)
    return np.round(small[..., ::-1] * 255).astype(np.uint8)
