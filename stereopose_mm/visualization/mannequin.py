# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The body of a posed figure as a signed distance field of rounded cones that melt into each other.

A field needs no mesh: distance to the body is all that sphere tracing, soft shadows and ambient occlusion ask for
(J. C. Hart, "Sphere tracing", The Visual Computer 1996).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .example_scene import Body, Figure, pose_body, turn

SKIN, HAIR, SHIRT, TROUSERS, SHOES, SOLES, EYES = range(7)
# Where the toes hang on the foot, from the ankle in the foot's frame, metres: up, ahead.
TOE_JOINT = (-0.060, 0.100)
# How sharply parts melt into each other, 1/metre.
_MELT = 62.0


@dataclass(frozen=True)
class Parts:
    """P rounded cones.

    Attributes:
        start: ``(P, 3)`` metres, world frame.
        end: ``(P, 3)``.
        radius: ``(P, 2)`` metres, at start and end.
        material: ``(P,)``.
    """

    start: np.ndarray
    end: np.ndarray
    radius: np.ndarray
    material: np.ndarray

    def distances(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points ``(M, 3)`` to each part, ``(M, P)`` metres."""
        return self._apart(points, slice(None)).T

    def field(self, points: np.ndarray, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Signed distance of points ``(M, 3)`` to the melted whole, or to some of the parts, ``(M,)`` metres."""
        apart = self._apart(points, which)
        nearest = apart.min(0)
        # Summed point by point: the order of a sum is part of the pictures that are shipped.
        melted = np.ascontiguousarray(np.exp(-_MELT * (apart - nearest)).T).sum(1)
        return nearest - np.log(melted) / _MELT

    def _apart(self, points: np.ndarray, which: np.ndarray | slice) -> np.ndarray:
        """As :meth:`distances`, but ``(P, M)``: long rows are what numpy is quick with."""
        origin, start, axis, columns = self._constants
        points, (length2, start_on_axis, start2, thick, taper) = (points - origin).astype(np.float32), columns[:, which]
        along = axis[which] @ points.T - start_on_axis
        share = np.minimum(np.maximum(along / length2, 0), 1)
        from_start2 = (points**2).sum(1) - 2 * start[which] @ points.T + start2
        apart2 = from_start2 + share * (share * length2 - 2 * along)
        # An S-shaped taper leaves no crease where a cone ends.
        radius = thick + taper * (share * share * (3 - 2 * share))
        return np.sqrt(np.maximum(apart2, 0)) - radius

    @cached_property
    def _constants(self) -> tuple[np.ndarray, ...]:
        # Near the parts float32 holds squares of distances to a hundredth of a millimetre.
        origin = self.start.mean(0)
        start, axis = (self.start - origin).astype(np.float32), (self.end - self.start).astype(np.float32)
        length2 = np.maximum((axis**2).sum(1), 1e-9)
        thick, taper = self.radius[:, 0], self.radius[:, 1] - self.radius[:, 0]
        columns = np.array([length2, (start * axis).sum(1), (start**2).sum(1), thick, taper], np.float32)[..., None]
        return origin, start, axis, columns


class _Sculptor:
    """Collects parts given in a figure's own frame."""

    def __init__(self, girth: float, rows: list | None = None):
        self.rows = [] if rows is None else rows
        self.girth = girth

    def add(self, material, start, end, radius_start, radius_end=None):
        radii = (radius_start, radius_start if radius_end is None else radius_end)
        self.rows.append((start, end, tuple(self.girth * radius for radius in radii), material))

    def parts(self, figure: Figure) -> Parts:
        facing = turn(0, 0, figure.facing_deg)
        ground = np.array([figure.ground[0], 0, figure.ground[1]])
        start, end = (np.array([row[k] for row in self.rows]) @ facing.T + ground for k in (0, 1))
        return Parts(start, end, np.array([r[2] for r in self.rows]), np.array([r[3] for r in self.rows]))


def sculpt(figure: Figure) -> Parts:
    """Body parts of a figure, in the world frame."""
    body, sculptor = pose_body(figure.posture, figure.bones), _Sculptor(figure.girth)
    _add_torso(sculptor, body)
    # Heads are much of a size.
    _add_head(_Sculptor(1.0, sculptor.rows), body)
    for side, outwards in (('left', 1), ('right', -1)):
        _add_leg(sculptor, body, side, outwards)
        _add_arm(sculptor, body, side, outwards)
    return sculptor.parts(figure)


def _add_torso(sculptor: _Sculptor, body: Body) -> None:
    pelvis, spine, thorax = body.joints[[0, 7, 8]]
    low, middle, high = (body.frames[k] for k in ('pelvis', 'spine', 'chest'))
    for x in (-sculptor.girth, sculptor.girth):
        hip_side = pelvis + low @ [0.072 * x, 0.02, 0]
        waist = spine + middle @ [0.050 * x, -0.03, 0.005]
        ribs = thorax + high @ [0.066 * x, -0.13, 0.010]
        shoulder_blade = thorax + high @ [0.088 * x, -0.035, -0.005]
        sculptor.add(TROUSERS, hip_side, pelvis + low @ [0.056 * x, 0.10, 0], 0.096, 0.086)
        sculptor.add(SHIRT, pelvis + low @ [0.056 * x, 0.11, 0], waist, 0.086, 0.080)
        sculptor.add(SHIRT, waist, ribs, 0.080, 0.088)
        sculptor.add(SHIRT, ribs, shoulder_blade, 0.088, 0.062)
    sculptor.add(SHIRT, spine, thorax + high @ [0, -0.06, 0.01], 0.085, 0.080)
    sculptor.add(SHIRT, thorax + high @ [-0.06, 0.005, -0.01], thorax + high @ [0.06, 0.005, -0.01], 0.052)


def _add_head(sculptor: _Sculptor, body: Body) -> None:
    thorax, chest, head = body.joints[8], body.frames['chest'], body.frames['head']

    def at(x, y, z):
        return thorax + head @ [x, y, z]

    sculptor.add(SKIN, thorax + chest @ [0, 0.02, -0.005], at(0, 0.12, 0.03), 0.054, 0.050)
    sculptor.add(SKIN, at(0, 0.205, 0.045), at(0, 0.118, 0.075), 0.083, 0.044)
    sculptor.add(HAIR, at(0, 0.230, 0.030), at(0, 0.180, 0.004), 0.091, 0.080)
    sculptor.add(SKIN, at(0, 0.185, 0.118), at(0, 0.160, 0.134), 0.008, 0.012)
    for x in (-1, 1):
        sculptor.add(EYES, at(0.031 * x, 0.196, 0.121), at(0.031 * x, 0.194, 0.121), -0.0015)
        sculptor.add(SKIN, at(0.078 * x, 0.193, 0.028), at(0.076 * x, 0.162, 0.036), 0.013, 0.010)


def _add_leg(sculptor: _Sculptor, body: Body, side: str, outwards: int) -> None:
    hip, knee, ankle = body.joints[[4, 5, 6] if outwards > 0 else [1, 2, 3]]
    pelvis, foot = body.joints[0], body.frames[f'{side}_foot']
    back = np.cross(knee - hip, body.frames['pelvis'][:, 0])
    back = back / max(np.linalg.norm(back), 1e-6) * (1 if back @ body.frames['pelvis'][:, 2] < 0 else -1)
    # Flesh of the hip lies inside of the joint, the calf behind the shin.
    sculptor.add(TROUSERS, hip + 0.22 * (pelvis - hip), hip + 0.45 * (knee - hip), 0.090, 0.078)
    sculptor.add(TROUSERS, hip + 0.45 * (knee - hip), knee, 0.078, 0.056)
    calf = knee + 0.30 * (ankle - knee) + 0.014 * back
    sculptor.add(TROUSERS, knee, calf, 0.055, 0.056)
    sculptor.add(TROUSERS, calf, knee + 0.93 * (ankle - knee), 0.056, 0.041)
    sculptor.add(SKIN, knee + 0.9 * (ankle - knee), ankle + foot @ [0, -0.02, 0], 0.033, 0.034)

    def at(y, z, x=0.0):
        place = np.array([x * outwards, y, z])
        toes = body.frames.get(f'{side}_toes')
        if toes is None or z <= TOE_JOINT[1]:
            return ankle + foot @ place
        joint = np.array([0, *TOE_JOINT])
        return ankle + foot @ joint + toes @ (place - joint)

    sculptor.add(SHOES, at(-0.030, -0.03), at(-0.046, 0.085), 0.040, 0.034)
    sculptor.add(SHOES, at(-0.050, 0.06, 0.012), at(-0.056, 0.155, 0.010), 0.033, 0.026)
    sculptor.add(SHOES, at(-0.050, 0.06, -0.012), at(-0.056, 0.165, -0.012), 0.033, 0.026)
    sculptor.add(SOLES, at(-0.070, -0.045), at(-0.070, 0.10), 0.016)
    sculptor.add(SOLES, at(-0.070, 0.10, 0.012), at(-0.069, 0.165, 0.008), 0.016)


def _add_arm(sculptor: _Sculptor, body: Body, side: str, outwards: int) -> None:
    shoulder, elbow, wrist = body.joints[[11, 12, 13] if outwards > 0 else [14, 15, 16]]
    thorax, chest = body.joints[8], body.frames['chest']
    sculptor.add(SHIRT, thorax + chest @ [0.07 * outwards, 0, -0.008], shoulder, 0.060, 0.060)
    sculptor.add(SHIRT, shoulder, shoulder + 0.58 * (elbow - shoulder), 0.060, 0.053)
    sculptor.add(SKIN, shoulder + 0.5 * (elbow - shoulder), elbow, 0.042, 0.038)
    sculptor.add(SKIN, elbow, elbow + 0.3 * (wrist - elbow), 0.038, 0.040)
    sculptor.add(SKIN, elbow + 0.3 * (wrist - elbow), wrist, 0.040, 0.026)
    ahead = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    across = np.cross(ahead, elbow - shoulder)
    across = across / np.linalg.norm(across) if np.linalg.norm(across) > 1e-3 else chest[:, 0]
    for spread in (-1, 1):
        palm = wrist + 0.085 * ahead + 0.016 * spread * across
        sculptor.add(SKIN, wrist + 0.012 * ahead, palm, 0.022, 0.020)
        sculptor.add(SKIN, palm, wrist + 0.165 * ahead + 0.020 * spread * across, 0.018, 0.010)
    sculptor.add(SKIN, wrist + 0.03 * ahead + 0.02 * across, wrist + 0.10 * ahead + 0.055 * across, 0.017, 0.011)
