# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
r"""The geometric search of Wang et al. (ICCVW 2019), solved exactly instead of scanned.

A root-relative coarse pose :math:`p_i = (p_{i,xy}, dz_i)` and rays :math:`r_i` at z = 1 leave one unknown, the
root depth D. Put back along the rays, joint i lies at :math:`(D + dz_i)(r_i, 1)`, and it misses the coarse
pose, both taken relative to the root, by

.. math:: e_i(D) = r_i (D + dz_i) - r_0 D - p_{i,xy} = a_i D + b_i,
          \quad a_i = r_i - r_0, \quad b_i = r_i dz_i - p_{i,xy}.

Where the root is no keypoint (COCO), both are taken relative to their weighted means instead: a_i and b_i lose theirs.

The objective :math:`\sum_i w_i \lVert a_i D + b_i \rVert` is convex in D. Completing the square in each
term, :math:`\lVert a_i D + b_i \rVert = |a_i| \sqrt{(D - c_i)^2 + h_i^2}`, so that an iteration costs a handful of
scalar operations per joint.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Poses solved together: their (chunk, K) work arrays then stay in a core's cache.
_CHUNK = 4096
_MIN_USABLE_JOINTS = 3


def back_project(rays: Tensor, root_depth: Tensor, depth_rel: Tensor) -> Tensor:
    """Points on the image rays at given depths.

    Args:
        rays: ``(N, K, 2)`` at z = 1.
        root_depth: ``(N,)`` metres.
        depth_rel: ``(N, K)`` metres, depth of each joint minus that of the root.

    Returns:
        ``(N, K, 3)`` metres, camera frame; they reproject onto the rays exactly.
    """
    z = (root_depth[:, None] + depth_rel)[..., None]
    return torch.cat([rays * z, z], -1)


def search_objective(
    root_depth: Tensor,
    pose_rel: Tensor,
    rays: Tensor,
    weights: Tensor | None = None,
    root_index: int | None = 0,
    objective: str = 'norm',
) -> Tensor:
    """What :func:`search_root_depth` minimises, at given depths.

    Args:
        root_depth: ``(N,)`` metres.
        pose_rel: ``(N, K, 3)`` metres, relative to the root.
        rays: ``(N, K, 2)`` at z = 1.
        weights: ``(N, K)``; default all 1.
        root_index: Index of the root joint; ``None`` where it is not among the joints.
        objective: ``'norm'`` (sum of distances) or ``'squared'`` (sum of squared distances).

    Returns:
        ``(N,)`` metres, or square metres.
    """
    moved = (back_project(rays, root_depth, pose_rel[..., 2]) - pose_rel)[..., :2]
    square = (moved - _reference(moved, weights, root_index)).square().sum(-1)
    miss = square if objective == 'squared' else square.sqrt()
    return (miss if weights is None else miss * weights).sum(-1)


def _reference(values: Tensor, weights: Tensor | None, root_index: int | None) -> Tensor:
    """What ``(N, K, D)`` values are taken relative to, ``(N, 1, D)``: the root's, or the weighted mean."""
    if root_index is not None:
        return values[:, root_index : root_index + 1]
    if weights is None:
        return values.mean(1, keepdim=True)
    total = weights.sum(1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
    return (values * (weights / total)[..., None]).sum(1, keepdim=True)


def search_root_depth(
    pose_rel: Tensor,
    rays: Tensor,
    weights: Tensor | None = None,
    *,
    root_index: int | None = 0,
    objective: str = 'norm',
    min_depth: float = 0.1,
    num_iters: int = 64,
    on_invalid: str = 'raise',
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
    """Root depth at which back-projection along the image rays agrees best with the coarse pose.

    Weighted least squares in closed form gives the start (and is the whole answer for ``'squared'``); Newton steps
    inside a shrinking bracket lead to the optimum of the sum of norms, to 1e-9 of its value. Source: the geometric
    search of Wang et al., ICCVW 2019; their release scans 2.8–7.2 m at 1 mm.

    Args:
        pose_rel: ``(N, K, 3)`` metres, coarse pose relative to the root, camera frame.
        rays: ``(N, K, 2)`` image rays at z = 1 (undistorted normalised coordinates).
        weights: ``(N, K)`` non-negative, for example keypoint scores; 0 leaves a joint out. Default: all 1.
        root_index: Index of the root joint. ``None`` where it is not among the joints: the pose is then relative to a
            root whose ray is not known, and agreement is measured relative to the weighted mean of the joints.
        objective: ``'norm'`` minimises the weighted sum of distances, ``'squared'`` of squared distances.
        min_depth: Smallest root depth, metres, positive.
        num_iters: Upper bound on iterations, of which few poses need more than 20.
        on_invalid: ``'raise'``, or ``'nan'`` for NaN rows and a mask.

    Returns:
        ``(N,)`` root depths in metres and the ``(N, K, 3)`` pose back-projected along the rays, in metres in
        the camera frame. With ``on_invalid='nan'`` also an ``(N,)`` bool mask of the poses that could be solved.

    Raises:
        ValueError: For mismatched shapes or bad options; with ``on_invalid='raise'`` for the first pose with a
            non-finite value or a negative weight, fewer than 3 usable joints (weight > 0), or all of them at the root's
            image point.
    """
    _check_arguments(pose_rel, rays, weights, root_index, objective, min_depth, on_invalid)
    dtype = pose_rel.dtype
    valid = _check_poses(pose_rel, rays, weights, root_index, on_invalid)
    depths = [
        _solve(*chunk, root_index, objective, min_depth, num_iters)
        for chunk in zip(
            pose_rel.split(_CHUNK),
            rays.split(_CHUNK),
            [None] * len(pose_rel) if weights is None else weights.split(_CHUNK),
            strict=False,
        )
    ]
    depth = torch.cat(depths).to(dtype) if depths else pose_rel.new_zeros(0)
    pose_abs = back_project(rays.to(dtype), depth, pose_rel[..., 2])
    if on_invalid == 'raise':
        return depth, pose_abs
    nan = torch.tensor(float('nan'), dtype=dtype, device=depth.device)
    return (
        torch.where(valid, depth, nan),
        torch.where(valid[:, None, None], pose_abs, nan),
        valid,
    )


def _solve(
    pose_rel: Tensor,
    rays: Tensor,
    weights: Tensor | None,
    root_index: int | None,
    objective: str,
    min_depth: float,
    num_iters: int,
) -> Tensor:
    """Optimal root depths ``(n,)`` of one chunk, in float64."""
    pose_rel, rays = pose_rel.double(), rays.double()
    w = torch.ones_like(rays[..., 0]) if weights is None else weights.double()
    # The root's own b is 0.
    b = rays * pose_rel[..., 2:] - pose_rel[..., :2]
    if root_index is None:
        b = b - _reference(b, w, None)
    a = rays - _reference(rays, w, root_index)
    aa = a.square().sum(-1)
    ab = (a * b).sum(-1)
    tiny = torch.finfo(torch.float64).tiny
    least_squares = -(w * ab).sum(-1) / (w * aa).sum(-1).clamp(min=tiny)
    if objective == 'squared':
        return least_squares.clamp(min=min_depth)
    # Each term as u * sqrt((D - c)^2 + h2). Joints on the root's ray (a = 0) do not depend on D: u = 0.
    inverse = torch.where(aa > 0, 1 / aa.clamp(min=tiny), 0.0)
    c = -ab * inverse
    h2 = ((a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]) * inverse).square()
    return _minimise_sum_of_norms(w * aa.sqrt(), c, h2, least_squares, min_depth, num_iters)


def _minimise_sum_of_norms(u: Tensor, c: Tensor, h2: Tensor, start: Tensor, min_depth: float, num_iters: int) -> Tensor:
    """Minimise ``sum_i u_i sqrt((D - c_i)^2 + h2_i)`` over ``D >= min_depth``, per row.

    The sign of the derivative shrinks a bracket. Inside it a Newton step is taken where it is less than half the
    step before, else the bracket is split, at one of its kinks if it has any. Rows that have converged leave.
    """
    used = u > 0
    # The optimum of a sum of unimodal terms lies between their own optima.
    low = torch.where(used, c, float('inf')).amin(-1).clamp(min=min_depth)
    high = torch.where(used, c, -float('inf')).amax(-1).clamp(min=min_depth)
    depth = torch.minimum(torch.maximum(start, low), high)
    # A joint that is left out has no kink inside the bracket.
    c = torch.where(used, c, high[:, None])
    result = depth.clone()
    rows = torch.arange(len(u), device=u.device)
    step = high - low
    for _ in range(num_iters):
        value, slope, curvature = _derivatives(depth, u, c, h2)
        low = torch.where(slope < 0, depth, low)
        high = torch.where(slope > 0, depth, high)
        # By convexity the optimum is below the value by no more than |slope| times the bracket.
        going = slope.abs() * (high - low) > 1e-9 * value + 1e-14 * u.sum(-1)
        num_going = int(going.sum())
        if num_going == 0:
            break
        newton_step = slope / curvature.clamp(min=1e-12)
        newton = depth - newton_step
        trusted = (newton > low) & (newton < high) & (newton_step.abs() < 0.5 * step)
        proposal = torch.where(trusted, newton, depth)
        split = (going & ~trusted).nonzero()[:, 0]
        proposal[split] = _split_bracket(low[split], high[split], c[split])
        step = (proposal - depth).abs()
        depth = torch.where(going, proposal, depth)
        result[rows] = depth
        if 2 * num_going < len(depth):
            kept = going.nonzero()[:, 0]
            rows, depth, low, high, step, u, c, h2 = (t[kept] for t in (rows, depth, low, high, step, u, c, h2))
    return result


def _derivatives(depth: Tensor, u: Tensor, c: Tensor, h2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, derivative and second derivative of the sum of norms, ``(n,)`` each.

    At a kink the derivative is the subgradient of least size: 0 where the kink is the optimum.
    """
    offset = depth[:, None] - c
    square = offset * offset + h2
    rho = square.sqrt()
    hit = rho < 1e-12 * (1 + depth[:, None])
    pull = torch.where(hit, 0.0, u / rho)
    slope = (pull * offset).sum(-1)
    # A joint that is hit exactly can add anything from -u to u.
    slack = torch.where(hit, u, 0.0).sum(-1)
    slope = slope.sign() * (slope.abs() - slack).clamp(min=0)
    curvature = (pull * torch.where(hit, 0.0, h2 / square)).sum(-1)
    return (u * rho).sum(-1), slope, curvature


def _split_bracket(low: Tensor, high: Tensor, c: Tensor) -> Tensor:
    """The kink nearest to each bracket's middle, or the middle where no kink lies inside."""
    middle = 0.5 * (low + high)
    inside = (c > low[:, None]) & (c < high[:, None])
    distance, nearest = torch.where(inside, (c - middle[:, None]).abs(), float('inf')).min(-1)
    return torch.where(distance < float('inf'), c.gather(1, nearest[:, None])[:, 0], middle)


def _check_arguments(pose_rel, rays, weights, root_index, objective, min_depth, on_invalid):
    """Raise ValueError for arguments that no pose could be solved with."""
    if pose_rel.ndim != 3 or pose_rel.shape[-1] != 3 or pose_rel.shape[1] == 0:
        raise ValueError(f'pose_rel takes (N, K, 3), got {tuple(pose_rel.shape)}')
    if rays.shape != (*pose_rel.shape[:2], 2):
        raise ValueError(f'rays takes {(*pose_rel.shape[:2], 2)} to go with pose_rel, got {tuple(rays.shape)}')
    if weights is not None and weights.shape != pose_rel.shape[:2]:
        raise ValueError(f'weights takes {tuple(pose_rel.shape[:2])}, got {tuple(weights.shape)}')
    if root_index is not None and not 0 <= root_index < pose_rel.shape[1]:
        raise ValueError(f'root_index takes 0 … {pose_rel.shape[1] - 1}, got {root_index}')
    if objective not in ('norm', 'squared'):
        raise ValueError(f"objective takes 'norm' or 'squared', got {objective!r}")
    if not 0 < min_depth < float('inf'):
        raise ValueError(f'min_depth takes a positive number of metres, got {min_depth}')
    if on_invalid not in ('raise', 'nan'):
        raise ValueError(f"on_invalid takes 'raise' or 'nan', got {on_invalid!r}")


def _check_poses(pose_rel, rays, weights, root_index, on_invalid) -> Tensor:
    """``(N,)`` mask of solvable poses; raises for the first bad one where asked to."""
    finite = pose_rel.isfinite().flatten(1).all(1) & rays.isfinite().flatten(1).all(1)
    used = torch.ones_like(pose_rel[..., 0], dtype=torch.bool)
    if weights is not None:
        finite = finite & (weights.isfinite() & (weights >= 0)).all(1)
        used = weights > 0
    enough = used.sum(1) >= _MIN_USABLE_JOINTS
    offset = (rays - _reference(rays, weights, root_index)).abs().amax(-1)
    # A mean is rounded.
    rounding = 0.0 if root_index is not None else 1e-6 * (1 + rays.abs().amax((1, 2)))
    spread = torch.where(used, offset, 0.0).amax(1) > rounding
    if on_invalid == 'raise':
        reasons = (
            (finite, 'a non-finite value in the pose, rays or weights, or a negative weight'),
            (enough, f'fewer than {_MIN_USABLE_JOINTS} usable joints (weight > 0)'),
            (spread, "all usable joints at the root's image point" if root_index is not None else 'all at one point'),
        )
        for good, reason in reasons:
            if not bool(good.all()):
                index = int((~good).nonzero()[0])
                raise ValueError(f'pose {index} cannot be searched: {reason}')
    return finite & enough & spread
