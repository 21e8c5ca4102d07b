# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""One plausible body for every label: depths move along the lines of sight, nothing moves in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..geometry import H36M_17, H36M_COCO, mapping_matrix

#: Kinds of bones of H36M-17, joints 1 … 16; left and right are of one kind.
BONE_KINDS = (
    'hip', 'thigh', 'shin', 'hip', 'thigh', 'shin', 'lower_spine', 'upper_spine', 'neck', 'head',
    'clavicle', 'upper_arm', 'forearm', 'clavicle', 'upper_arm', 'forearm',
)  # fmt: skip
KINDS = tuple(dict.fromkeys(BONE_KINDS))
_PARENT, _CHILD = torch.tensor(H36M_17.bones).T
_KIND = torch.tensor([KINDS.index(kind) for kind in BONE_KINDS])
# (16, 10): the kind of each bone.
_OF_KIND = one_hot(_KIND).double()
_KEYPOINT_NEIGHBOUR = {'h36m': list(range(17)), 'coco': list(H36M_COCO.parents[17:])}
# Poses refined together: their (n, 17, 17) matrices stay in a core's cache.
_CHUNK = 1024
# The most that a side may differ from the other, relative, and what a length is off by on exact keypoints, metres.
_ASYMMETRY, _LENGTH_SIGMA = 0.02, 0.01
# What it is off by besides when the score of an end falls to 0, metres: no depth makes a wrong keypoint good.
_SIGMA_OF_SCORE = 0.3
# Lifters' uncertainties times this hold a joint where it was found. These three were chosen on the subjects that
# lifters train on: others gain half a millimetre on exact keypoints, and make many more of the labels worse.
_DEPTH_FACTOR = 0.8
# Of the root's own depth, as a fraction of it.
_ROOT_UNCERTAINTY = 0.05
_DEFAULT_UNCERTAINTY, _LEAST_UNCERTAINTY = 0.05, 0.01
_MIN_DEPTH = 0.1


@dataclass(frozen=True, eq=False)
class BodyPrior:
    """What bodies are like, and how a lifter errs about them; see :func:`refine_labels`.

    Attributes:
        log_mean: ``(10,)`` mean logarithm of the length in metres of each of :data:`KINDS`.
        log_covariance: ``(10, 10)`` their covariance over people: the size of a body is most of it.
        depth_correlation: ``(16, 16)`` of the errors of the depths of joints 1 … 16 relative to the root's.
    """

    log_mean: np.ndarray
    log_covariance: np.ndarray
    depth_correlation: np.ndarray

    def __post_init__(self) -> None:
        for name, shape in (('log_mean', (10,)), ('log_covariance', (10, 10)), ('depth_correlation', (16, 16))):
            value = np.asarray(getattr(self, name), np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f'{name}: takes {shape}, finite, got {value.shape}')
            if len(shape) == 2 and np.linalg.eigvalsh(value).min() <= 0:
                raise ValueError(f'{name}: takes a positive definite matrix')
            object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class RefinedLabels:
    """What :func:`refine_labels` returns; NaN where the poses given are.

    Attributes:
        keypoints_cam: ``(N, 17, 3)`` metres, H36M-17.
        input_keypoints_cam: ``(N, 17, 3)`` metres, the keypoints of the input.
        moved: ``(N,)`` metres, root mean square of the joints' way.
    """

    keypoints_cam: np.ndarray
    input_keypoints_cam: np.ndarray
    moved: np.ndarray


def bone_lengths(keypoints_cam: Tensor) -> Tensor:
    """``(N, 16)`` lengths of H36M-17's bones, joints 1 … 16, of ``(N, 17, 3)`` poses."""
    return (keypoints_cam[:, _CHILD] - keypoints_cam[:, _PARENT]).norm(dim=-1)


def kind_means(per_bone: Tensor) -> Tensor:
    """``(N, 10)`` means over both sides of ``(N, 16)`` values, by :data:`KINDS`."""
    return per_bone @ (_OF_KIND / _OF_KIND.sum(0)).to(per_bone)


def joint_scores(scores: Tensor, keypoint_set: str) -> Tensor:
    """How far the places of joints are to be trusted.

    Args:
        scores: ``(N, 17)`` of the input keypoints, 0 for those that were not used.
        keypoint_set: ``'coco'`` or ``'h36m'``.

    Returns:
        ``(N, 17)`` in [0, 1], of H36M-17's joints; the mean of all where COCO has no keypoint (spine, head top).
    """
    matrix, known = mapping_matrix(keypoint_set)
    return torch.where(known, scores @ matrix.to(scores).T, scores.mean(1, keepdim=True)).clamp(0, 1)


def bone_misfit(keypoints_cam: Tensor, scores: Tensor, body: BodyPrior) -> Tensor:
    """How implausible a body is: squared Mahalanobis distance of its 16 log lengths, a bone.

    Args:
        keypoints_cam: ``(N, 17, 3)`` metres, H36M-17.
        scores: ``(N, 17)`` of the joints, :func:`joint_scores`.
        body: The population; sides are taken to differ by 2 %.

    Returns:
        ``(N,)``, about 1 for true bodies seen exactly.
    """
    poses = keypoints_cam.double()
    mean, covariance = _population(body)
    off = bone_lengths(poses).clamp(min=1e-6).log() - mean
    precision = _precision(covariance, mean, scores.double())
    return _square(off, precision) / len(BONE_KINDS)


def refine_labels(
    keypoints_cam: np.ndarray,
    input_keypoints_cam: np.ndarray,
    uncertainty: np.ndarray,
    used: np.ndarray,
    scores: np.ndarray,
    body: BodyPrior,
    keypoint_set: str = 'coco',
    num_steps: int = 4,
) -> RefinedLabels:
    r"""Move joints along their lines of sight towards the most probable body.

    With joints :math:`z_k (r_k, 1)` and logarithms of bone lengths :math:`\ell(z)` the depths minimise

    .. math:: (\ell(z) - \mu)^T (A C A^T + S)^{-1} (\ell(z) - \mu)
              + \Delta^T (D R D)^{-1} \Delta + \left(\frac{z_0 - \bar z_0}{\sigma_0}\right)^2

    where :math:`\mu` and C are the mean and covariance of people's bones, A gives both sides one length, S is what
    keypoints' errors add to a length, :math:`\Delta` are the changes of depths relative to the root's, D the lifter's
    uncertainties and R the correlation of its errors: the sum over all symmetric bodies, each as probable as people
    like it are, so that no lengths have to be decided on. Levenberg's damped Gauss–Newton steps; one that makes it
    worse is not taken. Every keypoint stays where it is in the picture, to rounding.

    Args:
        keypoints_cam: ``(N, 17, 3)`` metres, H36M-17 in the camera frame; rows that are not finite stay as they are.
        input_keypoints_cam: ``(N, 17, 3)`` metres, the keypoints of the input; each moves along its own line of sight
            as the H36M-17 joint next to it does.
        uncertainty: ``(N, 17)`` metres, standard deviation of depths relative to the root's; where NaN, 5 cm.
        used: ``(N, 17)`` bool, input keypoints that were put on their rays.
        scores: ``(N, 17)`` of the input keypoints.
        body: Bodies and errors.
        keypoint_set: What the input is: ``'coco'`` or ``'h36m'``.
        num_steps: Most steps.

    Returns:
        :class:`RefinedLabels` of the dtypes given.

    Raises:
        ValueError: For mismatched shapes, or an unknown keypoint set.
    """
    num = len(keypoints_cam)
    takes = dict(
        keypoints_cam=(keypoints_cam, (num, 17, 3)), input_keypoints_cam=(input_keypoints_cam, (num, 17, 3)),
        uncertainty=(uncertainty, (num, 17)), used=(used, (num, 17)), scores=(scores, (num, 17)),
    )  # fmt: skip
    for name, (value, shape) in takes.items():
        if np.shape(value) != shape:
            raise ValueError(f'{name}: takes {shape}, got {np.shape(value)}')
    if keypoint_set not in _KEYPOINT_NEIGHBOUR:
        raise ValueError(f'keypoint_set: takes one of {sorted(_KEYPOINT_NEIGHBOUR)}, got {keypoint_set!r}')
    poses, inputs = np.asarray(keypoints_cam), np.asarray(input_keypoints_cam)
    good = np.isfinite(poses).all((1, 2)) & np.isfinite(inputs).all((1, 2)) & (poses[..., 2] > 0).all(1)
    rows = np.flatnonzero(good)
    trust = joint_scores(torch.from_numpy(np.where(used, scores, 0)[rows]).double(), keypoint_set)
    before = torch.from_numpy(poses[rows]).double()
    deviation = torch.from_numpy(np.asarray(uncertainty)[rows]).double()
    parts = [
        _refine(before[part], deviation[part], trust[part], body, num_steps)
        for part in torch.arange(len(rows)).split(_CHUNK)
    ]
    factor = torch.cat(parts).numpy() if parts else np.zeros((0, 17))
    refined, refined_inputs, moved = poses.copy(), inputs.copy(), np.full(num, np.nan)
    refined[rows] = before.numpy() * factor[..., None]
    if keypoint_set == 'h36m':
        refined_inputs[rows] = inputs[rows] * factor[..., None]
    else:
        near = _KEYPOINT_NEIGHBOUR[keypoint_set]
        depth = inputs[rows, :, 2].astype(np.float64)
        step = (before[..., 2].numpy() * (factor - 1))[:, near]
        # A keypoint next to the lens stays before it.
        safe = np.maximum(depth + step, np.minimum(depth, _MIN_DEPTH))
        refined_inputs[rows] = inputs[rows] * (safe / depth)[..., None]
    way = before.numpy() * (factor - 1)[..., None]
    moved[rows] = np.sqrt(np.square(way).sum(-1).mean(-1))
    return RefinedLabels(refined, refined_inputs, moved)


def _population(body: BodyPrior) -> tuple[Tensor, Tensor]:
    """Mean ``(16,)`` and covariance ``(16, 16)`` of the log lengths of all bones, without the keypoints' errors."""
    covariance = _OF_KIND @ torch.from_numpy(body.log_covariance) @ _OF_KIND.T
    return torch.from_numpy(body.log_mean)[_KIND], covariance + _ASYMMETRY**2 * torch.eye(len(BONE_KINDS)).double()


def _square(vector: Tensor, matrix: Tensor) -> Tensor:
    """``(N,)`` squares of ``(N, K)`` vectors in metrics ``(N, K, K)``."""
    return (vector[:, None] @ matrix @ vector[..., None])[:, 0, 0]


def _precision(covariance: Tensor, mean: Tensor, scores: Tensor) -> Tensor:
    """Inverse covariances ``(N, 16, 16)`` of log lengths between joints of these scores."""
    doubt = (_SIGMA_OF_SCORE * (1 - scores)).square()
    variance = _LENGTH_SIGMA**2 + doubt[:, _PARENT] + doubt[:, _CHILD]
    full = covariance + torch.diag_embed(variance / (2 * mean).exp())
    return torch.cholesky_inverse(torch.linalg.cholesky(full))


def _depth_precision(deviation: Tensor, root_depth: Tensor, body: BodyPrior) -> Tensor:
    """Inverse covariances ``(N, 17, 17)`` of depths about those found."""
    inverse = torch.linalg.inv(torch.from_numpy(body.depth_correlation))
    scale = 1 / (_DEPTH_FACTOR * deviation.nan_to_num(_DEFAULT_UNCERTAINTY).clamp(min=_LEAST_UNCERTAINTY)[:, 1:])
    core = inverse * scale[:, :, None] * scale[:, None]
    precision = core.new_zeros(len(core), 17, 17)
    precision[:, 1:, 1:] = core
    # Relative to the root: what moves all joints alike costs what the root's own way does.
    precision[:, 0, 1:] = precision[:, 1:, 0] = -core.sum(-1)
    precision[:, 0, 0] = core.sum((1, 2)) + (_ROOT_UNCERTAINTY * root_depth) ** -2
    return precision


def _refine(poses: Tensor, deviation: Tensor, trust: Tensor, body: BodyPrior, num_steps: int) -> Tensor:
    """Factors ``(n, 17)`` on the joints' distances from the camera that lead to the minimum."""
    given = poses[..., 2]
    lines = poses / given[..., None]
    mean, covariance = _population(body)
    of_lengths = _precision(covariance, mean, trust)
    of_depths = _depth_precision(deviation, given[:, 0], body)
    bones_range = torch.arange(len(BONE_KINDS))

    def bones(depth: Tensor) -> tuple[Tensor, Tensor]:
        joints = lines * depth[..., None]
        vector = joints[:, _CHILD] - joints[:, _PARENT]
        return vector, vector.norm(dim=-1).clamp(min=1e-6)

    def cost(depth: Tensor) -> Tensor:
        off, way = bones(depth)[1].log() - mean, depth - given
        return _square(off, of_lengths) + _square(way, of_depths)

    depth, least = given, cost(given)
    damping = torch.full_like(least, 1e-2)
    for _ in range(num_steps):
        vector, length = bones(depth)
        # d log|X_c - X_p| / dz_c = u . l_c / |X_c - X_p|, and less u . l_p for the parent.
        unit = vector / length.square()[..., None]
        jacobian = depth.new_zeros(len(depth), len(BONE_KINDS), 17)
        jacobian[:, bones_range, _CHILD] = (unit * lines[:, _CHILD]).sum(-1)
        jacobian[:, bones_range, _PARENT] = -(unit * lines[:, _PARENT]).sum(-1)
        weighted = of_lengths @ jacobian
        off, way = length.log() - mean, depth - given
        gradient = weighted.mT @ off[..., None] + of_depths @ way[..., None]
        normal = jacobian.mT @ weighted + of_depths
        normal = normal + torch.diag_embed(damping[:, None] * normal.diagonal(dim1=-2, dim2=-1))
        step = torch.cholesky_solve(gradient, torch.linalg.cholesky(normal))[..., 0]
        proposal = (depth - step).clamp(min=_MIN_DEPTH)
        new = cost(proposal)
        better = new < least
        depth, least = torch.where(better[:, None], proposal, depth), torch.where(better, new, least)
        damping = torch.where(better, damping / 5, damping * 10)
    return depth / given
