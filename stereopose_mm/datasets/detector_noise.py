# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Errors of 2D detectors, imitated on exact keypoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor

from ..geometry import COCO_17, H36M_17
from ..geometry.skeletons import Skeleton
from .sampling import check_fraction

#: Joints that are measured together, left and right: COCO-17 indices.
COCO_GROUPS = {
    'nose': (0,), 'eyes': (1, 2), 'ears': (3, 4), 'shoulders': (5, 6), 'elbows': (7, 8), 'wrists': (9, 10),
    'hips': (11, 12), 'knees': (13, 14), 'ankles': (15, 16),
}  # fmt: skip
#: What detectors and annotators take for the other side together; :func:`swapped_indices` says which keypoints.
SWAPPED = ('legs', 'arms', 'all')
#: Error, in body sizes, below which scores tell nothing any more.
SCORE_FLOOR = 0.05

# Measured on MoveNet Lightning (docs/results/detector_noise.md): the core's deviation at each joint, of which the mean
# square over the limbs' joints is 1, and the share of gross errors there, of which the mean over the limbs is 1.
_FACTOR = {
    'nose': 0.88, 'eyes': 0.75, 'ears': 0.78, 'shoulders': 1.02, 'elbows': 0.89, 'wrists': 0.91, 'hips': 1.22,
    'knees': 0.95, 'ankles': 0.97,
}  # fmt: skip
_GROSS = {
    'nose': 0.30, 'eyes': 0.47, 'ears': 0.36, 'shoulders': 0.18, 'elbows': 0.93, 'wrists': 1.34, 'hips': 0.22,
    'knees': 1.60, 'ankles': 1.73,
}  # fmt: skip
# There, a score's logit falls along a line over the logarithm of the error, and scatters about it.
_SCORE_INTERCEPT, _SCORE_SLOPE, _SCORE_BLUR = -1.12, -0.64, 0.79
# Detectors are calibrated differently: a pair's odds are multiplied or divided by up to this.
_MOST_ODDS = 4.0
# No score of a detected joint is lower.
_LEAST_SCORE = 0.05
# What stands for the joints that COCO has not: the trunk's are as hard to tell as its corners, the head as its parts.
_H36M_GROUPS = (
    'hips', 'hips', 'knees', 'ankles', 'hips', 'knees', 'ankles', 'hips', 'shoulders', 'nose', 'ears', 'shoulders',
    'elbows', 'wrists', 'shoulders', 'elbows', 'wrists',
)  # fmt: skip
_NOT_IN_COCO = [H36M_17.index('spine'), H36M_17.index('head')]
_SKELETONS = {s.name: s for s in (H36M_17, COCO_17)}
# Legs and arms, right and left; what else has two sides changes them with the whole body only.
_LIMBS = {'h36m': ((1, 2, 3, 4, 5, 6), (11, 12, 13, 14, 15, 16)), 'coco': (range(11, 17), range(5, 11))}
# Outward directions in which a picture's edge cuts a body, and how often each does: below, right, left, above.
_EDGES = ((0.0, 1.0), (1.0, 0.0), (-1.0, 0.0), (0.0, -1.0))
_EDGE_SHARES = (0.7, 0.1, 0.1, 0.1)
# How much of the body's extent stays in the picture: on a standing one the least is down to the hips, the most all but
# the ankles.
_LEFT_BY_EDGE = (0.45, 0.95)
# Joints that an edge, or a count of missing joints, leaves at least.
_MIN_LEFT = 4


@dataclass(frozen=True)
class DetectorNoise:
    """Errors of 2D detectors, drawn per pair.

    A body's size is :func:`body_size`, and all probabilities are those in a noisy pair.

    Attributes:
        clean_prob: Share of pairs that keep their exact 2D, all joints with score 1.
        jitter: Largest standard deviation of a keypoint's error, as a fraction of the body's size; each noisy pair
            draws its own level below it. The measured factors of the joints are relative to it; their mean square
            over the limbs is 1.
        swap_prob: Probability that one left/right limb or the whole body is swapped.
        missing_prob: Probability, per joint, that it is not detected. The root of H36M-17 never goes missing.
        coco_prob: Probability that the joints which COCO detectors have no keypoint for (spine and head top) are
            missing; H36M-17 only.
        gross_prob: Probability, per joint, of a gross error: the joint was taken for something else. It is the mean
            of the limbs' joints, to which the measured shares of all joints are relative.
        gross_scale: Standard deviation of gross errors, as a fraction of the body's size.
        inversion_prob: Probability, per joint of a limb, that it is found where its mirror image is.
        missing_count: In place of ``missing_prob``, least and greatest number of missing joints; each noisy pair draws
            one and misses exactly as many.
        truncate_prob: Probability that the picture's edge cuts the body: all joints beyond a line, mostly from below,
            are missing. Four joints stay at least.
        scores: Give scores that fall with each joint's error, as measured; without, 1 for every joint detected.
        level: Multiplies jitter and the probabilities of gross errors, swaps, inversions and missing joints (not
            ``missing_count``).
    """

    clean_prob: float = 1.0
    jitter: float = 0.05
    swap_prob: float = 0.02
    missing_prob: float = 0.03
    coco_prob: float = 0.0
    gross_prob: float = 0.0
    gross_scale: float = 0.5
    inversion_prob: float = 0.0
    missing_count: tuple[int, int] | None = None
    truncate_prob: float = 0.0
    scores: bool = True
    level: float = 1.0

    def __post_init__(self):
        for name in (
            'clean_prob', 'jitter', 'swap_prob', 'missing_prob', 'coco_prob', 'gross_prob', 'inversion_prob',
            'truncate_prob',
        ):  # fmt: skip
            check_fraction(name, getattr(self, name))
        for name in ('gross_scale', 'level'):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f'{name} takes a finite number of at least 0, got {value}')
        if self.missing_count is not None:
            most = H36M_17.num_keypoints - _MIN_LEFT
            count = self.missing_count
            if not (
                isinstance(count, Sequence)
                and len(count) == 2
                and all(isinstance(v, int) for v in count)
                and 0 <= count[0] <= count[1] <= most
            ):
                raise ValueError(f'missing_count takes (low, high), whole numbers in 0 … {most}, got {count}')


#: What a good detector does in pictures in the wild: the errors measured on MoveNet Lightning, which is a small one, at
#: half their level, where the imitation has the average recall (OKS) that HRNet-W32 has on COCO. How these were found
#: stands in docs/results/detector_noise.md.
MEASURED = DetectorNoise(
    clean_prob=0.0,
    jitter=0.17,
    swap_prob=0.012,
    missing_prob=0.025,
    gross_prob=0.18,
    gross_scale=0.53,
    inversion_prob=0.038,
    level=0.5,
)


def body_size(keypoints: Tensor) -> Tensor:
    """Size of bodies in the picture: root mean square distance of the keypoints from their centre.

    Args:
        keypoints: ``(N, K, 2)`` pixels.

    Returns:
        ``(N,)`` pixels.
    """
    return _size(keypoints.permute(2, 0, 1))


def _size(planes: Tensor) -> Tensor:
    return (planes - planes.mean(-1, keepdim=True)).square_().sum(0).mean(-1).sqrt_()


def imitate_detector(
    keypoints: Tensor, noise: DetectorNoise, generator: Generator, skeleton: Skeleton = H36M_17
) -> tuple[Tensor, Tensor]:
    """Add a detector's errors to exact 2D keypoints.

    Args:
        keypoints: ``(N, K, 2)`` pixels.
        noise: What to add.
        generator: Source of randomness, on the keypoints' device.
        skeleton: What the keypoints are: H36M-17 or COCO-17.

    Returns:
        ``(N, K, 2)`` pixels and ``(N, K)`` scores: 1 in clean pairs, 0.05 … 1 where detected in noisy ones, 0 where
        missing. A missing joint lies at the root, or at the centre of the joints detected where the set has no root.

    Raises:
        ValueError: For another skeleton, or keypoints that are not its.
    """
    if skeleton.name not in _LIMBS:
        raise ValueError(f'skeleton takes H36M-17 or COCO-17, got {skeleton.name}')
    if keypoints.ndim != 3 or keypoints.shape[1:] != (skeleton.num_keypoints, 2):
        raise ValueError(f'keypoints takes (N, {skeleton.num_keypoints}, 2), got {tuple(keypoints.shape)}')
    num, count = keypoints.shape[:2]
    device, dtype = keypoints.device, keypoints.dtype
    if noise.clean_prob >= 1:
        return keypoints, keypoints.new_ones(keypoints.shape[:2])

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device, dtype=dtype)

    table = _table(skeleton.name, device, dtype)
    inversion_prob, gross_prob, swap_prob = (
        min(1.0, noise.level * prob) for prob in (noise.inversion_prob, noise.gross_prob, noise.swap_prob)
    )
    # With x and y apart, what is said of a joint is said of both at once, and several times faster.
    exact = keypoints.permute(2, 0, 1).contiguous()
    size = _size(exact)[:, None]
    draw = rand(4, num, 1)
    found = exact
    if inversion_prob > 0:
        inverted = (rand(num, count) < inversion_prob) & table.is_limb
        found = torch.where(inverted, exact.index_select(-1, table.mirror), exact)
    spread = draw[0] * (noise.level * noise.jitter * table.factor)
    if gross_prob > 0:
        spread = spread.masked_fill(rand(num, count) < gross_prob * table.gross, noise.gross_scale)
    found = torch.addcmul(found, torch.empty_like(exact).normal_(generator=generator), spread * size)
    if noise.scores:
        error = (found - exact).square_().sum(0).sqrt_() / size.clamp(min=1e-6)
        scores = _scores(error, generator)
    else:
        scores = torch.ones_like(spread)
    if swap_prob > 0:
        # Which limb is swapped: legs, arms, or all (the detector took front for back); its scores go with it.
        kind = torch.where(draw[1] < swap_prob, (draw[2] * 3).long(), 3)
        swapped = table.swaps[kind[:, 0]]
        found = torch.where(swapped, found.index_select(-1, table.mirror), found)
        scores = torch.where(swapped, scores.index_select(-1, table.mirror), scores)
    missing = _missing(exact, noise, table, skeleton, rand)
    if noise.clean_prob > 0:
        clean = draw[3] < noise.clean_prob
        found = torch.where(clean, exact, found)
        scores = scores.masked_fill(clean, 1.0)
        missing = None if missing is None else missing & ~clean
    if missing is not None:
        if skeleton.root is not None:
            place = found[..., skeleton.root, None]
        else:
            detected = (~missing).to(dtype)
            place = (found * detected).sum(-1, keepdim=True) / detected.sum(-1, keepdim=True).clamp(min=1)
        found = torch.where(missing, place, found)
        scores = scores.masked_fill(missing, 0.0)
    return found.permute(1, 2, 0).contiguous(), scores


@dataclass(frozen=True)
class _Table:
    """What is known of a set's K joints, on one device.

    Attributes:
        factor: ``(K,)`` deviation relative to the pair's level.
        gross: ``(K,)`` share of gross errors relative to the limbs' mean.
        mirror: ``(K,)`` index of each joint's mirror image.
        is_limb: ``(K,)`` bool.
        swaps: ``(4, K)`` bool, what is swapped of legs, arms, all or nothing.
        edges: ``(E, 2)`` directions of the picture's edges.
        edge_bounds: ``(E - 1,)`` what a uniform number is compared with to draw one of them.
    """

    factor: Tensor
    gross: Tensor
    mirror: Tensor
    is_limb: Tensor
    swaps: Tensor
    edges: Tensor
    edge_bounds: Tensor


def swapped_indices(name: str) -> Tensor:
    """Which keypoint stands in each one's place where left and right of some are confused.

    Args:
        name: ``'h36m'`` or ``'coco'``.

    Returns:
        ``(3, K)`` indices, by :data:`SWAPPED`.
    """
    skeleton = _SKELETONS[name]
    own = torch.arange(skeleton.num_keypoints)
    return torch.where(_swaps(name)[:3], torch.tensor(skeleton.flip_indices), own)


def _swaps(name: str) -> Tensor:
    """``(4, K)`` bool, what is swapped of :data:`SWAPPED`, and nothing."""
    count = _SKELETONS[name].num_keypoints
    return torch.tensor([[k in swapped for k in range(count)] for swapped in (*_LIMBS[name], range(count), ())])


@lru_cache(maxsize=16)
def _table(name: str, device: torch.device, dtype: torch.dtype) -> _Table:
    skeleton = _SKELETONS[name]
    coco_groups = {joint: group for group, joints in COCO_GROUPS.items() for joint in joints}
    groups = _H36M_GROUPS if name == 'h36m' else [coco_groups[k] for k in range(17)]
    count = skeleton.num_keypoints
    legs, arms = (set(limb) for limb in _LIMBS[name])
    return _Table(
        factor=torch.tensor([_FACTOR[g] for g in groups], device=device, dtype=dtype),
        gross=torch.tensor([_GROSS[g] for g in groups], device=device, dtype=dtype),
        mirror=torch.tensor(skeleton.flip_indices, device=device),
        is_limb=torch.tensor([k in legs | arms for k in range(count)], device=device),
        swaps=_swaps(name).to(device),
        edges=torch.tensor(_EDGES, device=device, dtype=dtype),
        edge_bounds=torch.tensor(_EDGE_SHARES, device=device, dtype=dtype).cumsum(0)[:-1],
    )


def _scores(error: Tensor, generator: Generator) -> Tensor:
    """Scores of joints with these errors, ``(N, K)`` in body sizes."""
    blur = torch.empty_like(error).normal_(_SCORE_INTERCEPT, _SCORE_BLUR, generator=generator)
    bound = math.log(_MOST_ODDS)
    blur += torch.empty_like(error[:, :1]).uniform_(-bound, bound, generator=generator)
    return (error + SCORE_FLOOR).log().mul(_SCORE_SLOPE).add(blur).sigmoid().clamp(min=_LEAST_SCORE)


def _missing(
    exact: Tensor, noise: DetectorNoise, table: _Table, skeleton: Skeleton, rand: Callable[..., Tensor]
) -> Tensor | None:
    """What is missing of ``(2, N, K)`` keypoints: ``(N, K)`` bool, or None where nothing can be."""
    num, count = exact.shape[1:]
    masks = []
    if noise.missing_count is not None:
        low, high = noise.missing_count
        wanted = low + (rand(num, 1) * (high - low + 1)).long()
        order = rand(num, count)
        if skeleton.root is not None:
            order[:, skeleton.root] = 2  # after all others
        masks.append(order.argsort(1).argsort(1) < wanted)
    elif noise.missing_prob * noise.level > 0:
        masks.append(rand(num, count) < noise.missing_prob * noise.level)
    if noise.coco_prob > 0 and skeleton.name == 'h36m':
        masks.append(torch.zeros(num, count, dtype=torch.bool, device=exact.device))
        masks[-1][:, _NOT_IN_COCO] = rand(num, 1) < noise.coco_prob
    if not masks and noise.truncate_prob == 0:
        return None
    missing = masks[0] if masks else torch.zeros(num, count, dtype=torch.bool, device=exact.device)
    for mask in masks[1:]:
        missing |= mask
    if noise.truncate_prob > 0:
        draw = rand(num, 3)
        edge = (draw[:, :1] > table.edge_bounds).sum(1)
        outward = (exact * table.edges[edge].T[..., None]).sum(0)
        low, high = outward.amin(1), outward.amax(1)
        share = _LEFT_BY_EDGE[0] + draw[:, 1] * (_LEFT_BY_EDGE[1] - _LEFT_BY_EDGE[0])
        # Of the joints that are there, the line leaves the innermost.
        least = outward.masked_fill(missing, math.inf).kthvalue(_MIN_LEFT, 1).values
        line = torch.maximum(low + share * (high - low), least)
        missing |= (outward > line[:, None]) & (draw[:, 2] < noise.truncate_prob)[:, None]
    if skeleton.root is not None:
        missing[:, skeleton.root] = False
    return missing
