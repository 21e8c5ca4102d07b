# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The ground that people stand on, from their feet over a clip."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .skeletons import H36M_17

#: Height of H36M-17's foot joint, the ankle, above the ground, metres. Mocap recordings of standing and walking people
#: have their lower ankle at 0.06 to 0.11 m, half of them below 0.08; Drillis and Contini (1966) have 0.039 of a
#: person's height, without shoes.
ANKLE_HEIGHT = 0.08

_FEET = [H36M_17.index('right_foot'), H36M_17.index('left_foot')]
_PELVIS, _THORAX = H36M_17.index('root'), H36M_17.index('thorax')
_HIPS = [H36M_17.index('right_hip'), H36M_17.index('left_hip')]
_CAMERA_UP = np.array([0.0, -1.0, 0.0])
# Errors of a foot's place on its line of sight, as a fraction of its distance, and of its height above the ground in
# metres: steps lift the lower ankle too.
_DEPTH_ERROR, _HEIGHT_ERROR = 0.04, 0.03
# Least factor of the squares of these errors, where feet agree better; and the median of a normal error's square.
_LEAST_SCALE, _MEDIAN_OF_SQUARE = 1e-2, 0.455
# How far off the mean of the bodies' axes is as an estimate of up, radians.
_BODY_ERROR = math.radians(3.0)
# A torso further from the others' than this is not upright.
_UPRIGHT = math.radians(40.0)
# Feet that are worth as much as independent ones: those of neighbouring frames are wrong together. With the shipped
# lifter's poses of walking people 3 to 10 are best; many more follow the errors of depth and tilt the plane.
_MOST_INDEPENDENT = 6
_MAX_POSES = 20_000
_ITERATIONS = 20


@dataclass(frozen=True, eq=False)
class Ground:
    """The ground's plane, and the world that stands on it: z up, z = 0 the ground.

    The origin is the point of the ground below the camera; y is the horizontal viewing direction.

    Attributes:
        rotation: ``(3, 3)`` and
        translation: ``(3,)`` metres: world = rotation · camera + translation.
        inliers: Share of the poses with a foot on the plane, by weight.
        residual: Metres, median distance of these feet's ankles from where the plane has them.
        spanned: Radians, standard deviation of the plane's tilt: small where feet span the ground, and that of the
            body axes where only these tell.
    """

    rotation: np.ndarray
    translation: np.ndarray
    inliers: float
    residual: float
    spanned: float

    @property
    def up(self) -> np.ndarray:
        """``(3,)`` unit vector, in the camera frame."""
        return self.rotation[2]

    @property
    def camera_height(self) -> float:
        """Metres."""
        return float(self.translation[2])


def estimate_ground(
    keypoints_cam: np.ndarray,
    weights: np.ndarray | None = None,
    max_tilt: float = math.radians(60.0),
    ankle_height: float = ANKLE_HEIGHT,
) -> Ground:
    r"""Find the ground from poses of a clip whose camera does not move.

    Of each pose the lower ankle p is taken to be ``ankle_height`` above the plane, :math:`u^T p + h = a`, with u up and
    h the camera's height. Errors lie mostly along the line of sight, so that a foot's weight is that of
    :math:`\sigma^2 = \sigma_h^2 + (\sigma_z \, u^T p)^2`. The bodies' mean axis is a second measurement of up, which
    decides where the feet do not span a plane: one person on one spot, or one line. Both are fitted together by
    iteratively reweighted least squares with Tukey's weights, within ``max_tilt`` of the camera's up. Nothing is
    random.

    Args:
        keypoints_cam: ``(N, 17, 3)`` metres, H36M-17 in the camera frame; rows that are not finite are left out. More
            than 20,000 are thinned out evenly.
        weights: ``(N,)`` or ``(N, 17)`` non-negative, of the poses or their joints. Default: all 1.
        max_tilt: Radians, largest angle between the ground's up and the camera's (−y).
        ankle_height: Metres.

    Raises:
        ValueError: For wrong shapes, if no pose can be used, or if no foot is near the plane that fits best.
    """
    poses, weights = _checked(keypoints_cam, weights)
    body_up = _body_up(poses, weights, max_tilt)
    up, feet = body_up, None
    for _ in range(2):
        # Which ankle is the lower one depends on what is up.
        ankles = poses[:, _FEET]
        feet = np.take_along_axis(ankles, (ankles @ up).argmin(1)[:, None, None], 1)[:, 0]
        up, height, kept, spanned = _fit(feet, weights, up, body_up, max_tilt, ankle_height)
    distance = feet @ up + height - ankle_height
    on_plane = kept > 0
    if not on_plane.any():
        raise ValueError('keypoints_cam: the feet are on no common plane')
    share = float(weights[on_plane].sum() / weights.sum())
    rotation = _world_axes(up)
    return Ground(rotation, np.array([0, 0, height]), share, float(np.median(np.abs(distance[on_plane]))), spanned)


def _checked(keypoints: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Finite poses ``(M, 17, 3)`` and their weights ``(M,)``."""
    poses = np.asarray(keypoints, np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (17, 3):
        raise ValueError(f'keypoints_cam: takes (N, 17, 3), got {poses.shape}')
    weights = np.ones(len(poses)) if weights is None else np.asarray(weights, np.float64)
    if weights.shape not in (poses.shape[:1], poses.shape[:2]):
        raise ValueError(f'weights: takes {poses.shape[:1]} or {poses.shape[:2]}, got {weights.shape}')
    if weights.ndim == 2:
        weights = weights[:, _FEET].min(1)
    usable = np.isfinite(poses).all((1, 2)) & np.isfinite(weights) & (weights > 0)
    rows = np.flatnonzero(usable)
    if not len(rows):
        raise ValueError('keypoints_cam: no pose with finite joints and a weight above 0 to find the ground from')
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MAX_POSES)).astype(int)]
    return poses[rows], weights[rows]


def _body_up(poses: np.ndarray, weights: np.ndarray, max_tilt: float) -> np.ndarray:
    """``(3,)``: robust mean axis of upright bodies, from between the ankles to the thorax; else the camera's up."""
    axes = poses[:, _THORAX] - poses[:, _FEET].mean(1)
    # Somebody who sits or lies has legs that do not go on from the torso: only straight bodies tell what is up.
    torso = poses[:, _THORAX] - poses[:, _PELVIS]
    axes, torso = (v / np.linalg.norm(v, axis=-1, keepdims=True).clip(1e-6) for v in (axes, torso))
    straight = weights * (np.einsum('nd,nd->n', axes, torso) > math.cos(_UPRIGHT))
    up = _CAMERA_UP
    for limit in (max_tilt, _UPRIGHT, _UPRIGHT, _UPRIGHT / 2, _UPRIGHT / 2):
        near = straight * (axes @ up > math.cos(limit))
        total = near @ axes
        if np.linalg.norm(total) < 1e-9:
            break
        up = _limited(total, max_tilt)
    return up


def _fit(
    feet: np.ndarray, weights: np.ndarray, up: np.ndarray, body_up: np.ndarray, max_tilt: float, ankle_height: float
) -> tuple[np.ndarray, float, np.ndarray, float]:
    """Up, the camera's height, ``(M,)`` robust weights and the deviation of the tilt."""
    height = ankle_height - np.median(feet @ up)
    weights = weights * min(1.0, _MOST_INDEPENDENT / len(feet)) / weights.mean()
    # From wide to narrow, so that a wrong start does not throw out the feet that are right.
    for cut in np.geomspace(20, 3, _ITERATIONS):
        side = np.linalg.svd(up[None])[2][1:]
        along = feet @ up
        variance = _HEIGHT_ERROR**2 + np.square(_DEPTH_ERROR * along)
        residual = along + height - ankle_height
        # Feet that agree better than expected are better.
        scale = np.median(residual**2 / variance) / _MEDIAN_OF_SQUARE
        variance = variance * np.clip(scale, _LEAST_SCALE, 1.0)
        robust = np.square((1 - residual**2 / variance / cut**2).clip(0))
        weight = weights * robust / variance
        # Unknowns: the tilt about two axes, and the height.
        jacobian = np.concatenate([feet @ side.T, np.ones((len(feet), 1))], 1)
        normal = (jacobian * weight[:, None]).T @ jacobian
        gradient = (jacobian * weight[:, None]).T @ residual
        normal[[0, 1], [0, 1]] += 1 / _BODY_ERROR**2
        gradient[:2] += side @ (up - body_up) / _BODY_ERROR**2
        step = np.linalg.solve(normal + 1e-9 * np.eye(3), gradient)
        up = _limited(up - step[:2] @ side, max_tilt)
        height = height - step[2]
    # The limit turns the plane about the camera; it must still go through the feet.
    height = ankle_height - (weight @ (feet @ up)) / weight.sum().clip(1e-12) if weight.any() else height
    spread = np.linalg.inv(normal + 1e-9 * np.eye(3))[:2, :2]
    return up, float(height), robust, float(np.sqrt(np.linalg.eigvalsh(spread)[-1]))


def _limited(up: np.ndarray, max_tilt: float) -> np.ndarray:
    """Unit vector along ``up``, or the one nearest to it that is within ``max_tilt`` of the camera's up."""
    up = up / np.linalg.norm(up)
    cosine = up @ _CAMERA_UP
    if cosine >= math.cos(max_tilt):
        return up
    side = up - cosine * _CAMERA_UP
    length = np.linalg.norm(side)
    side = side / length if length > 1e-9 else np.array([0.0, 0.0, 1.0])
    return math.cos(max_tilt) * _CAMERA_UP + math.sin(max_tilt) * side


def _world_axes(up: np.ndarray) -> np.ndarray:
    """``(3, 3)`` rows x, y, z of the world in the camera frame."""
    forward = np.array([0.0, 0.0, 1.0]) - up[2] * up
    forward /= np.linalg.norm(forward)
    return np.stack([np.cross(forward, up), forward, up])
