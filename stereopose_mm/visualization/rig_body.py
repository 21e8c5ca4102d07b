# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""A jointed doll around the animation rig's rest pose: one rounded, tapering part a bone, as a mesh to be skinned."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..geometry.joint_rotations import REST_DIRECTIONS, RIG, rest_pose


class Mesh(NamedTuple):
    """Triangles whose vertices each follow one node of the rig.

    Attributes:
        points: ``(V, 3)`` float32 metres, in the rest pose.
        normals: ``(V, 3)`` float32, of length 1.
        nodes: ``(V,)`` uint8, index in ``RIG``.
        triangles: ``(T, 3)`` uint16, counter-clockwise from outside.
    """

    points: np.ndarray
    normals: np.ndarray
    nodes: np.ndarray
    triangles: np.ndarray


class _Part(NamedTuple):
    """Shape around a bone.

    Attributes:
        start: Half width at its start, metres.
        end: Half width at its end.
        depth: Share of the width that it has from front to back.
        bulge: Length of the rounded ends, by half width.
        beyond: Share of the end's rounding that lies beyond the keypoint.
    """

    start: float
    end: float
    depth: float = 1.0
    bulge: float = 1.0
    beyond: float = 1.0


# By the keypoint where the bone ends; for an adult, whose bones are `_ADULT` metres in sum.
_THIGH, _SHIN, _ARM, _FOREARM = _Part(0.080, 0.053), _Part(0.055, 0.036), _Part(0.048, 0.039), _Part(0.040, 0.027)
_HIP, _SHOULDER = _Part(0.086, 0.076, 1.05, 0.55), _Part(0.066, 0.052, 1.0, 0.9)
_PARTS = {
    1: _HIP, 2: _THIGH, 3: _SHIN, 4: _HIP, 5: _THIGH, 6: _SHIN,
    7: _Part(0.148, 0.118, 0.68, 0.55), 8: _Part(0.120, 0.152, 0.66, 0.42), 9: _Part(0.054, 0.048),
    10: _Part(0.074, 0.080, 1.1, 1.0, 0.0), 11: _SHOULDER, 12: _ARM, 13: _FOREARM, 14: _SHOULDER, 15: _ARM,
    16: _FOREARM,
}  # fmt: skip
_ADULT = 4.14
_AROUND, _CAP = 20, 6


def rig_body(lengths: np.ndarray) -> Mesh:
    """The doll for a person of these bone lengths.

    Args:
        lengths: ``(16,)`` metres, in the order of ``H36M_17.bones``.
    """
    size = lengths.sum() / _ADULT
    joints = rest_pose(lengths)
    parts = []
    for index, node in enumerate(RIG):
        if node.end >= 0:
            points, normals = _part(REST_DIRECTIONS[node.end], lengths[node.end - 1], size, _PARTS[node.end])
            parts.append((points + joints[node.joint], normals, np.full(len(points), index)))
    points, normals, nodes = (np.concatenate(column) for column in zip(*parts, strict=True))
    triangles = _triangles()
    starts = np.arange(len(parts))[:, None, None] * (triangles.max() + 1)
    triangles = (triangles + starts).reshape(-1, 3)
    return Mesh(points.astype(np.float32), normals.astype(np.float32), nodes.astype(np.uint8), triangles.astype('<u2'))


def _part(direction: np.ndarray, length: float, size: float, part: _Part) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals ``(rings * _AROUND, 3)`` of a part that starts at the origin."""
    cap = np.linspace(0, np.pi / 2, _CAP)
    angle = np.concatenate([-cap[::-1], cap])[:, None]
    width = size * np.repeat([part.start, part.end], _CAP)[:, None]
    ends = [0.0, length - (1 - part.beyond) * size * part.end * part.bulge]
    along = np.repeat(ends, _CAP)[:, None] + width * part.bulge * np.sin(angle)
    around = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    across, front = np.cos(angle) * np.cos(around), np.cos(angle) * np.sin(around)
    # Bones at rest point up, down or sideways: z is always at a right angle to them.
    axes = np.stack([np.cross([0, 0, 1], direction), [0, 0, 1], direction])
    along = np.broadcast_to(along, across.shape)
    points = np.stack([width * across, width * part.depth * front, along], -1) @ axes
    bulge = np.broadcast_to(np.sin(angle) / part.bulge, across.shape)
    normals = np.stack([across, front / part.depth, bulge], -1) @ axes
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return points.reshape(-1, 3), normals.reshape(-1, 3)


def _triangles() -> np.ndarray:
    """``(T, 3)`` triangles between the rings of one part."""
    ring, place = np.meshgrid(np.arange(2 * _CAP - 1), np.arange(_AROUND), indexing='ij')
    corner, beside = ring * _AROUND + place, ring * _AROUND + (place + 1) % _AROUND
    above, across = corner + _AROUND, beside + _AROUND
    # The rings at the two ends are points: half of each of their squares has no area.
    lower = np.stack([corner, beside, across], -1)[1:]
    upper = np.stack([corner, across, above], -1)[:-1]
    return np.concatenate([lower.reshape(-1, 3), upper.reshape(-1, 3)])
