# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Lens distortion on the normalised image plane (z = 1): the OpenCV model, forwards and exactly inverted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Lengths OpenCV gives a meaning: (k1, k2, p1, p2[, k3[, k4, k5, k6[, s1, s2, s3, s4[, tau_x, tau_y]]]]).
COEFFICIENT_COUNTS = (4, 5, 8, 12, 14)

# Kornia's fixed-point iteration gets near the answer. Newton's then doubles the digits with each step, also
# for wide lenses, where the fixed point converges slowly; a usual lens needs two steps.
_FIXED_POINT_STEPS = 5
_MAX_NEWTON_STEPS = 10


def distort(rays: Tensor, coefficients: Tensor) -> Tensor:
    """Where an ideal ray appears through the lens.

    Args:
        rays: ``(N, M, 2)`` at z = 1, or ``(M, 2)`` with one lens.
        coefficients: ``(D,)`` for one lens or ``(N, D)``, OpenCV order, D one of 4, 5, 8, 12, 14.

    Returns:
        Distorted normalised coordinates, the shape of ``rays``.
    """
    # Imported here: Kornia takes longer to import than most cameras take to use, and few are distorted.
    from kornia.geometry.calibration import distort_points

    return distort_points(rays, torch.eye(3).to(rays), coefficients)


def undistort(distorted: Tensor, coefficients: Tensor) -> Tensor:
    """The ideal ray that appears at a distorted position: the inverse of :func:`distort`.

    Args:
        distorted: ``(N, M, 2)`` normalised coordinates, or ``(M, 2)`` with one lens.
        coefficients: As for :func:`distort`.

    Returns:
        Rays at z = 1, the shape of ``distorted``. NaN where no ray goes: a strong lens model folds over at
        some radius, and positions outside have no inverse; nor, with some such lenses, have those of the
        last tenth or so of the radius before the fold, which the iteration does not find.
    """
    from kornia.geometry.calibration import undistort_points

    eye = torch.eye(3).to(distorted)
    rays = undistort_points(distorted, eye, coefficients, num_iters=_FIXED_POINT_STEPS)
    # From a residual this small, one more step reaches the rounding error.
    tolerance = torch.finfo(rays.dtype).eps ** 0.6
    for _ in range(_MAX_NEWTON_STEPS):
        residual, row_x, row_y = _residual_and_jacobian(rays, distorted, coefficients)
        determinant = row_x[..., 0] * row_y[..., 1] - row_x[..., 1] * row_y[..., 0]
        rays = rays - _solve_2x2(row_x, row_y, residual) / determinant[..., None]
        error = residual.abs().amax(-1)
        if not (error >= tolerance).any():  # keypoints given as NaN stay NaN
            break
    # Roots beyond the fold do not count: there the image is mirrored, or turned by 180 degrees.
    same_side = (rays * distorted).sum(-1) >= 0
    return rays.where(((error < tolerance) & (determinant > 0) & same_side)[..., None], torch.nan)


def h36m_to_opencv(radial: Sequence[float], tangential: Sequence[float]) -> list[float]:
    r"""Human3.6M's distortion coefficients in OpenCV's model, exactly.

    Human3.6M's own projection code and the 2D annotations made with it use

    .. math:: x' = x (1 + k_1 r^2 + k_2 r^4 + k_3 r^6 + p_1 y + p_2 x) + p_2 r^2

    (and likewise for y), where OpenCV has :math:`2 p_1 y + 2 p_2 x`. Halving :math:`p` leaves
    :math:`p_2 r^2 / 2` and :math:`p_1 r^2 / 2`, which are OpenCV's thin-prism terms :math:`s_1` and :math:`s_3`.

    Args:
        radial: k1, k2, k3 (k4, k5, k6 allowed).
        tangential: p1, p2.

    Returns:
        The 12 coefficients (k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4) of OpenCV.
    """
    k = [*radial, *[0.0] * (6 - len(radial))]
    p1, p2 = (0.5 * p for p in tangential)
    return [k[0], k[1], p1, p2, *k[2:], p2, 0.0, p1, 0.0]


def _residual_and_jacobian(rays: Tensor, distorted: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How far ``rays`` miss ``distorted``, and the gradients of its two components; all ``(..., 2)``."""
    residual, vjp = torch.func.vjp(lambda r: distort(r, coefficients) - distorted, rays)
    x, y = torch.eye(2).to(rays)
    return residual, vjp(x.expand_as(rays))[0], vjp(y.expand_as(rays))[0]


def _solve_2x2(row_x: Tensor, row_y: Tensor, rhs: Tensor) -> Tensor:
    """Cramer's rule, times the determinant."""
    x = row_y[..., 1] * rhs[..., 0] - row_x[..., 1] * rhs[..., 1]
    y = row_x[..., 0] * rhs[..., 1] - row_y[..., 0] * rhs[..., 0]
    return torch.stack([x, y], -1)
