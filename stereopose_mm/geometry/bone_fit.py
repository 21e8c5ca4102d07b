# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Bone lengths that do not change through a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .joint_rotations import bone_lengths
from .pose_sequence import PoseSequence
from .skeletons import H36M_17, H36M_COCO, mapping_matrix

#: ``(parent, child)`` of the 16 bones of H36M-17, in the order of lengths everywhere: joints 1 … 16.
BONES = H36M_17.bones
# The bone on the other side of each bone.
_MIRROR = [H36M_17.flip_indices[child] - 1 for _, child in BONES]
# Histogram of lengths: metres, by ratios of 1.01.
_SHORTEST, _LONGEST, _RATIO = 0.02, 1.5, 1.01
_NUM_BINS = int(np.ceil(np.log(_LONGEST / _SHORTEST) / np.log(_RATIO)))
# Uncertainty of a lifter that tells none, metres; and the least that is believed.
_DEFAULT_UNCERTAINTY, _LEAST_UNCERTAINTY = 0.05, 0.01
# Of the root's own depth, as a fraction of it.
_ROOT_UNCERTAINTY = 0.05
# Tolerance of bone lengths on the lines of sight, metres: with exact keypoints, and what a keypoint's score adds when
# it falls to 0. With the shipped lifter on recorded motion, the best of those tried for exact keypoints and for a
# detector's: MPJPE 26.9 to 24.3 and 76.6 to 76.0 mm, where 5 mm for all would take the latter to 86.6.
_LENGTH_SIGMA, _SIGMA_OF_SCORE = 0.005, 0.4
# Poses refined together: their (n, 17, 17) matrices stay in a core's cache.
_CHUNK = 1024


class BoneLengthEstimate:
    """Lengths of one person's bones, gathered from parts of a clip of any length.

    For every bone a weighted histogram of log lengths, left and right in one, of fixed size: 431 bins of 1 % from 2 cm
    to 1.5 m. The estimate is the mean of the bin that the median is in, exact where all lengths are equal. The order of
    the parts does not matter beyond rounding.
    """

    def __init__(self) -> None:
        # Sums of weights, and of weighted lengths: (16, bins).
        self._weight = np.zeros((len(BONES), _NUM_BINS))
        self._length = np.zeros((len(BONES), _NUM_BINS))

    def add(self, keypoints_cam: np.ndarray, uncertainty: np.ndarray | None = None) -> None:
        """Take in more poses.

        Args:
            keypoints_cam: ``(N, 17, 3)`` metres, H36M-17; rows that are not finite are left out.
            uncertainty: ``(N, 17)`` metres, standard deviation of the joints' depths; a bone weighs 1 / σ² of its two
                ends. Default, and where NaN: 5 cm.

        Raises:
            ValueError: For mismatched shapes.
        """
        poses = np.asarray(keypoints_cam, np.float64)
        if poses.ndim != 3 or poses.shape[1:] != (17, 3):
            raise ValueError(f'keypoints_cam: takes (N, 17, 3), got {poses.shape}')
        if uncertainty is None:
            uncertainty = np.full(poses.shape[:2], _DEFAULT_UNCERTAINTY)
        if np.shape(uncertainty) != poses.shape[:2]:
            raise ValueError(f'uncertainty: takes {poses.shape[:2]}, got {np.shape(uncertainty)}')
        parent, child = np.array(BONES).T
        variance = np.square(_believed(np.asarray(uncertainty, np.float64)))
        self._add(bone_lengths(poses), 1 / (variance[:, parent] + variance[:, child]))

    def _add(self, lengths: np.ndarray, weights: np.ndarray) -> None:
        """Take in ``(N, 16)`` lengths and weights."""
        good = np.isfinite(lengths) & (lengths > 0) & (weights > 0)
        clipped = np.where(good, lengths, 1).clip(_SHORTEST, _LONGEST)
        bins = (np.log(clipped / _SHORTEST) / np.log(_RATIO)).astype(int).clip(0, _NUM_BINS - 1)
        flat = (bins + np.arange(len(BONES)) * _NUM_BINS)[good]
        for sums, values in ((self._weight, weights[good]), (self._length, (weights * lengths)[good])):
            counted = np.bincount(flat, values, sums.size).reshape(sums.shape)
            sums += counted + counted[_MIRROR] * (np.array(_MIRROR) != np.arange(len(BONES)))[:, None]

    def merge(self, other: BoneLengthEstimate) -> None:
        """Take in what another estimate of the same person has gathered."""
        self._weight += other._weight
        self._length += other._length

    def lengths(self) -> np.ndarray:
        """``(16,)`` metres, joints 1 … 16, the same for both sides; NaN before any pose."""
        total = self._weight.cumsum(1)
        middle = (total < total[:, -1:] / 2).sum(1).clip(max=_NUM_BINS - 1)
        rows = np.arange(len(BONES))
        with np.errstate(invalid='ignore'):
            return self._length[rows, middle] / self._weight[rows, middle]

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that was gathered, as arrays."""
        return {'weight': self._weight.copy(), 'length': self._length.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned; its arrays may have become lists.

        Raises:
            ValueError: If it is not such a state; names the entry.
        """
        arrays = {}
        for name in ('weight', 'length'):
            if name not in state or np.shape(state[name]) != self._weight.shape:
                got = np.shape(state[name]) if name in state else 'none'
                raise ValueError(f'the state of the lengths: {name} takes {self._weight.shape}, got {got}')
            arrays[name] = np.array(state[name], np.float64)
        self._weight, self._length = arrays['weight'], arrays['length']


def estimate_bone_lengths(keypoints_cam: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Bone lengths of one person, the weighted median over the poses, left and right together.

    Args:
        keypoints_cam: ``(N, 17, 3)`` metres, H36M-17.
        weights: ``(N, 17)`` non-negative, of the joints, for example 1 / uncertainty²; a bone has the smaller of its
            two ends. Default: all 1.

    Returns:
        ``(16,)`` metres, joints 1 … 16; NaN where no pose has a weight.

    Raises:
        ValueError: For mismatched shapes.
    """
    estimate = BoneLengthEstimate()
    if weights is None:
        estimate.add(keypoints_cam)
        return estimate.lengths()
    poses, weights = np.asarray(keypoints_cam, np.float64), np.asarray(weights, np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (17, 3) or weights.shape != poses.shape[:2]:
        raise ValueError(f'takes keypoints_cam (N, 17, 3) and weights (N, 17), got {poses.shape} and {weights.shape}')
    parent, child = np.array(BONES).T
    estimate._add(bone_lengths(poses), np.minimum(weights[:, parent], weights[:, child]))
    return estimate.lengths()


def refine_depths(
    rays: Tensor,
    depths: Tensor,
    bone_pairs: Sequence[tuple[int, int]],
    target_lengths: Tensor,
    length_sigma: float | Tensor,
    depth_sigma: Tensor,
    num_steps: int = 5,
    root_index: int = 0,
    min_depth: float = 0.1,
) -> Tensor:
    r"""Move joints along their lines of sight until bones are about as long as they should be.

    With joints :math:`X_k = z_k (r_k, 1)` the depths minimise

    .. math:: \sum_b \left(\frac{\lVert X_{c_b} - X_{p_b} \rVert - L_b}{\sigma_b}\right)^2
              + \sum_{k \ne 0} \left(\frac{(z_k - z_0) - (\bar z_k - \bar z_0)}{\sigma_k}\right)^2
              + \left(\frac{z_0 - \bar z_0}{\sigma_0}\right)^2,

    where bars mark the depths given and 0 is the root: a common error of all depths costs what the root's does. What
    projects onto the image stays where it is. Levenberg's damped Gauss–Newton steps from the depths given lead to the
    minimum next to them; a step that makes it worse is not taken.

    Args:
        rays: ``(N, K, 2)`` at z = 1.
        depths: ``(N, K)`` metres, positive: the start, and the mean of the prior.
        bone_pairs: B ``(parent, child)`` index pairs.
        target_lengths: ``(B,)`` or ``(N, B)`` metres.
        length_sigma: Metres, tolerance of the lengths; a number, ``(B,)`` or ``(N, B)``.
        depth_sigma: ``(N, K)`` metres, positive, tolerance of each depth relative to the root's; the root's of its own.
        num_steps: Most steps.
        root_index: The root.
        min_depth: Metres, least depth.

    Returns:
        ``(N, K)`` metres.

    Raises:
        ValueError: For mismatched shapes.
    """
    num, count = depths.shape
    lengths = torch.as_tensor(target_lengths).to(depths)
    sigma = torch.as_tensor(length_sigma).to(depths)
    if rays.shape != (num, count, 2) or depth_sigma.shape != depths.shape:
        raise ValueError(
            f'takes rays (N, K, 2), depths and depth_sigma (N, K), got {tuple(rays.shape)}, {tuple(depths.shape)}, '
            f'{tuple(depth_sigma.shape)}'
        )
    for name, value, shapes in (('target_lengths', lengths, (1, 2)), ('length_sigma', sigma, (0, 1, 2))):
        if value.ndim not in shapes or tuple(value.shape) != (num, len(bone_pairs))[2 - value.ndim :]:
            raise ValueError(
                f'{name}: takes ({len(bone_pairs)},) or {(num, len(bone_pairs))}, got {tuple(value.shape)}'
            )
    problem = _DepthProblem(rays, depths, bone_pairs, lengths, sigma, depth_sigma, root_index)
    z, cost = depths, problem.cost(depths)
    damping = torch.full_like(cost, 1e-3)
    for _ in range(num_steps):
        step = problem.step(z, damping)
        proposal = (z + step).clamp(min=min_depth)
        new_cost = problem.cost(proposal)
        better = new_cost < cost
        z = torch.where(better[:, None], proposal, z)
        cost = torch.where(better, new_cost, cost)
        damping = torch.where(better, damping / 5, damping * 10)
    return z


class _DepthProblem:
    """The sum of squares of :func:`refine_depths`."""

    def __init__(self, rays, depths, bone_pairs, lengths, length_sigma, depth_sigma, root_index):
        self.lines = torch.cat([rays, torch.ones_like(rays[..., :1])], -1)
        self.parent, self.child = torch.tensor(bone_pairs, device=rays.device).T
        self.given, self.lengths, self.length_sigma, self.depth_sigma = depths, lengths, length_sigma, depth_sigma
        self.root = root_index
        # Rows of the prior's residuals: depths relative to the root's, and the root's own.
        relative = torch.eye(depths.shape[1]).to(depths)
        relative[:, root_index] -= 1
        relative[root_index, root_index] = 1
        self.relative = relative
        scaled = relative / depth_sigma[..., None]
        self.prior = scaled.mT @ scaled

    def _bones(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors ``(N, B, 3)`` and lengths ``(N, B)``."""
        joints = self.lines * z[..., None]
        bones = joints[:, self.child] - joints[:, self.parent]
        return bones, bones.norm(dim=-1).clamp(min=1e-9)

    def cost(self, z: Tensor) -> Tensor:
        """``(N,)``."""
        miss = (self._bones(z)[1] - self.lengths) / self.length_sigma
        off = (z - self.given) @ self.relative.mT / self.depth_sigma
        return miss.square().sum(-1) + off.square().sum(-1)

    def step(self, z: Tensor, damping: Tensor) -> Tensor:
        """Damped Gauss–Newton step ``(N, K)``."""
        bones, lengths = self._bones(z)
        unit = bones / lengths[..., None]
        # d|X_c - X_p| / dz_c = u . l_c, and -u . l_p for the parent.
        at_child = (unit * self.lines[:, self.child]).sum(-1) / self.length_sigma
        at_parent = -(unit * self.lines[:, self.parent]).sum(-1) / self.length_sigma
        jacobian = z.new_zeros(*lengths.shape, z.shape[1])
        rows = torch.arange(lengths.shape[1], device=z.device)
        jacobian[:, rows, self.child] = at_child
        jacobian[:, rows, self.parent] = at_parent
        miss = ((lengths - self.lengths) / self.length_sigma)[..., None]
        normal = jacobian.mT @ jacobian + self.prior
        gradient = jacobian.mT @ miss + self.prior @ (z - self.given)[..., None]
        damped = normal + torch.diag_embed(damping[:, None] * normal.diagonal(dim1=-2, dim2=-1))
        return -torch.cholesky_solve(gradient, torch.linalg.cholesky(damped))[..., 0]


def fit_bone_lengths(
    keypoints_cam: Tensor,
    lengths: Tensor,
    uncertainty: Tensor | None = None,
    used: Tensor | None = None,
    rays: Tensor | None = None,
    exact: bool = True,
    length_sigma: float | Tensor = _LENGTH_SIGMA,
    num_steps: int = 5,
) -> Tensor:
    """Give poses the bone lengths of their person.

    First joints move along their lines of sight, so that nothing moves in the picture (:func:`refine_depths`). With
    ``exact`` bones then get their lengths to the last bit, their directions kept, from the pelvis outwards, and the
    body is put where its used joints reproject best. That costs what of the lengths the lines of sight do not allow, in
    pixels.

    Args:
        keypoints_cam: ``(N, 17, 3)`` metres, H36M-17 in the camera frame, finite, before the camera.
        lengths: ``(16,)`` or ``(N, 16)`` metres, joints 1 … 16.
        uncertainty: ``(N, 17)`` metres, standard deviation of depths relative to the root's. Default, and where NaN:
            5 cm.
        used: ``(N, 17)`` bool, joints whose reprojection counts. Default: all.
        rays: ``(N, 17, 2)`` at z = 1, where the used joints were seen. Default: where they are.
        exact: Make the lengths exact.
        length_sigma: Metres, tolerance of the lengths on the lines of sight; a number, or ``(N, 16)``: large where 2D
            keypoints may be wrong, which no depth makes good.
        num_steps: Of the refinement.

    Returns:
        ``(N, 17, 3)`` metres, of the dtype and device of ``keypoints_cam``.

    Raises:
        ValueError: For mismatched shapes, or a joint that is not before the camera.
    """
    num = len(keypoints_cam)
    if keypoints_cam.shape[1:] != (17, 3):
        raise ValueError(f'keypoints_cam: takes (N, 17, 3), got {tuple(keypoints_cam.shape)}')
    if not bool((keypoints_cam[..., 2] > 0).all() & keypoints_cam.isfinite().all()):
        raise ValueError('keypoints_cam: takes finite joints before the camera')
    poses = keypoints_cam.double()
    lengths = torch.as_tensor(lengths).to(poses).expand(num, len(BONES))
    own = poses[..., :2] / poses[..., 2:]
    if uncertainty is None:
        uncertainty = torch.full_like(poses[..., 0], _DEFAULT_UNCERTAINTY)
    sigma = _believed(uncertainty.to(poses))
    sigma[:, 0] = _ROOT_UNCERTAINTY * poses[:, 0, 2]
    weights = torch.ones_like(poses[..., 0]) if used is None else used.to(poses)
    seen = own if rays is None else rays.to(poses)
    length_sigma = torch.as_tensor(length_sigma).to(poses).expand(num, len(BONES))
    fitted = []
    for part in torch.arange(num).split(_CHUNK):
        z = refine_depths(
            own[part], poses[part, :, 2], BONES, lengths[part], length_sigma[part], sigma[part], num_steps
        )
        moved = torch.cat([own[part] * z[..., None], z[..., None]], -1)
        if exact:
            moved = place_on_rays(set_bone_lengths(moved, lengths[part]), seen[part], weights[part], moved[:, 0])
        fitted.append(moved)
    return torch.cat(fitted).to(keypoints_cam.dtype) if fitted else keypoints_cam


def set_bone_lengths(joints: Tensor, lengths: Tensor) -> Tensor:
    """Poses with other bone lengths and the same bone directions.

    Args:
        joints: ``(N, 17, 3)``, H36M-17.
        lengths: ``(16,)`` or ``(N, 16)``, joints 1 … 16.

    Returns:
        ``(N, 17, 3)`` relative to the root.
    """
    parent, child = torch.tensor(BONES, device=joints.device).T
    bones = joints[:, child] - joints[:, parent]
    bones = bones / bones.norm(dim=-1, keepdim=True).clamp(min=1e-9) * torch.as_tensor(lengths).to(joints)[..., None]
    return H36M_17.path_matrix[:, 1:].to(joints) @ bones


def place_on_rays(pose_rel: Tensor, rays: Tensor, weights: Tensor, root: Tensor, root_sigma: float = 0.1) -> Tensor:
    r"""Put rigid poses where they reproject best.

    For a body :math:`B_k` moved by t, the joint at :math:`B_k + t` is seen on ray :math:`r_k` where
    :math:`(B_k + t)_{xy} = r_k (B_k + t)_z`: linear in t. Divided by the depths of the solution before, its least
    squares are those of the picture; three rounds are enough. A weak prior keeps t near ``root`` where too few joints
    are used.

    Args:
        pose_rel: ``(N, K, 3)`` metres, relative to the root.
        rays: ``(N, K, 2)`` at z = 1.
        weights: ``(N, K)`` non-negative.
        root: ``(N, 3)`` metres, where the root is about.
        root_sigma: Metres, tolerance of that; that of the rays is a thousandth.

    Returns:
        ``(N, K, 3)`` metres, absolute.
    """
    one, zero = torch.ones_like(weights), torch.zeros_like(weights)
    rows = torch.stack([one, zero, -rays[..., 0]], -1), torch.stack([zero, one, -rays[..., 1]], -1)
    rows = torch.cat(rows, 1)
    miss = rays * pose_rel[..., 2:] - pose_rel[..., :2]
    target = torch.cat([miss[..., 0], miss[..., 1]], 1)
    place = root
    for _ in range(3):
        depth = (pose_rel[..., 2] + place[:, 2:]).clamp(min=0.1)
        weight = (weights.clamp(min=0) / (1e-3 * depth).square()).repeat(1, 2)[..., None]
        normal = (rows * weight).mT @ rows + torch.eye(3).to(rows) / root_sigma**2
        right = (rows * weight).mT @ target[..., None] + (root / root_sigma**2)[..., None]
        place = torch.linalg.solve(normal, right)[..., 0]
    return pose_rel + place[:, None]


def fit_sequence(
    sequence: PoseSequence, lengths: Mapping[int, np.ndarray] | None = None, exact: bool = True
) -> PoseSequence:
    """A clip, or part of one, whose people keep their bone lengths.

    Args:
        sequence: The clip. Its 2D keypoints' own joints move with the H36M-17 joints next to them, and
            ``reprojection_error`` becomes that of where they are then.
        lengths: ``(16,)`` metres by track, from :class:`BoneLengthEstimate`. Default: estimated from this clip. Tracks
            that have none keep their poses.
        exact: See :func:`fit_bone_lengths`.
    """
    if lengths is None:
        lengths = sequence_bone_lengths(sequence)
    lengths = {track: value for track, value in lengths.items() if np.isfinite(value).all()}
    rows = np.flatnonzero(sequence.valid & np.isin(sequence.track, list(lengths)))
    if not len(rows):
        return sequence
    before = sequence.keypoints_cam[rows]
    seen = sequence.input_keypoints_cam[rows]
    # A lifter of H36M-17 keypoints returns the same joints twice; else they are COCO's.
    same = np.allclose(seen, before, rtol=0, atol=1e-5)
    target = np.stack([lengths[track] for track in sequence.track[rows].tolist()])
    used = torch.from_numpy(sequence.used[rows])
    after = fit_bone_lengths(
        torch.from_numpy(before),
        torch.from_numpy(target),
        torch.from_numpy(sequence.uncertainty[rows]),
        used if same else None,
        exact=exact,
        length_sigma=_length_sigma(sequence, rows),
    ).numpy()
    inputs = after if same else seen + (after - before)[:, list(H36M_COCO.parents[17:])]
    keypoints_cam, input_keypoints_cam = sequence.keypoints_cam.copy(), sequence.input_keypoints_cam.copy()
    keypoints_cam[rows], input_keypoints_cam[rows] = after, inputs
    cameras = sequence.cameras[sequence.frame[rows]]
    old, new = (cameras.project(torch.from_numpy(points).double()).numpy() for points in (seen, inputs))
    # Used joints were on their rays before: that is where they were seen.
    error = sequence.reprojection_error.copy()
    distance = np.where(sequence.used[rows], np.linalg.norm(new - old, axis=-1), 0)
    error[rows] = distance.sum(1) / sequence.used[rows].sum(1).clip(1)
    return replace(
        sequence, keypoints_cam=keypoints_cam, input_keypoints_cam=input_keypoints_cam, reprojection_error=error
    )


def sequence_bone_lengths(sequence: PoseSequence) -> dict[int, np.ndarray]:
    """Bone lengths ``(16,)`` in metres of every track of a clip."""
    found = {}
    for track in sequence.tracks.tolist():
        rows = sequence.valid & (sequence.track == track)
        estimate = BoneLengthEstimate()
        estimate.add(sequence.keypoints_cam[rows], sequence.uncertainty[rows])
        found[track] = estimate.lengths()
    return found


def _length_sigma(sequence: PoseSequence, rows: np.ndarray) -> Tensor:
    """``(M, 16)`` metres: how far to trust bones on lines of sight, by the scores of the keypoints at their ends."""
    matrix, known = mapping_matrix(sequence.skeleton)
    scores = torch.from_numpy(sequence.scores_2d[rows]).double()
    joints = scores @ matrix.double().T
    # COCO has no keypoint for the spine and the head top.
    joints = torch.where(known, joints, scores.mean(1, keepdim=True)).clamp(0, 1)
    parent, child = torch.tensor(BONES).T
    doubt = (_SIGMA_OF_SCORE * (1 - joints)).square()
    return (_LENGTH_SIGMA**2 + doubt[:, parent] + doubt[:, child]).sqrt()


def _believed(uncertainty):
    """Uncertainty, numpy or torch, without NaN and without what is too good to be true."""
    if isinstance(uncertainty, Tensor):
        return uncertainty.nan_to_num(_DEFAULT_UNCERTAINTY).clamp(min=_LEAST_UNCERTAINTY)
    return np.nan_to_num(uncertainty, nan=_DEFAULT_UNCERTAINTY).clip(_LEAST_UNCERTAINTY)
