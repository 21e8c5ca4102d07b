# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Errors of 2D detectors, imitated on exact keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..geometry import H36M_17
from .sampling import check_fraction


@dataclass(frozen=True)
class DetectorNoise:
    """Errors of 2D detectors, drawn per pair.

    Attributes:
        clean_prob: Share of pairs that keep their exact 2D.
        jitter: Largest standard deviation of a keypoint's error, as a fraction of the body's 2D size (root mean
            square distance from its centre); each noisy pair draws its own level below it. Ends of limbs err more.
        swap_prob: Probability, per noisy pair, that one left/right limb or the whole body is swapped.
        missing_prob: Probability, per joint of a noisy pair, that it is not detected. The root never goes missing.
        coco_prob: Probability, per noisy pair, that the joints which COCO detectors have no keypoint for (spine and
            head top) are missing.
    """

    clean_prob: float = 1.0
    jitter: float = 0.05
    swap_prob: float = 0.02
    missing_prob: float = 0.03
    coco_prob: float = 0.0

    def __post_init__(self):
        for name in ('clean_prob', 'jitter', 'swap_prob', 'missing_prob', 'coco_prob'):
            check_fraction(name, getattr(self, name))


# Typical error of a detector's keypoints relative to the hips' and shoulders': ends of limbs are found worst
# (COCO's per-keypoint constants have the same order).
_JOINT_NOISE = (0.8, 1.0, 1.0, 1.2, 1.0, 1.0, 1.2, 0.8, 0.7, 0.7, 0.8, 0.8, 1.0, 1.2, 0.8, 1.0, 1.2)
_NOT_IN_COCO = [H36M_17.index('spine'), H36M_17.index('head')]
_SWAP_GROUPS = ((1, 4), (2, 5), (3, 6)), ((11, 14), (12, 15), (13, 16))


def imitate_detector(keypoints: Tensor, noise: DetectorNoise, generator: Generator) -> tuple[Tensor, Tensor]:
    """Add a detector's errors to exact 2D keypoints.

    Args:
        keypoints: ``(N, 17, 2)`` pixels.
        noise: What to add.
        generator: Source of randomness, on the keypoints' device.

    Returns:
        ``(N, 17, 2)`` pixels and ``(N, 17)`` visibility: 1 where detected, else 0 (the coordinate is then the root's).
    """
    num, device = len(keypoints), keypoints.device
    visible = torch.ones(keypoints.shape[:2], device=device)
    if noise.clean_prob >= 1:
        return keypoints, visible
    rand = torch.rand(num, 4, generator=generator, device=device)
    noisy = rand[:, 0] >= noise.clean_prob
    size = (keypoints - keypoints.mean(1, keepdim=True)).square().sum(-1).mean(1).sqrt()
    level = torch.where(noisy, noise.jitter * rand[:, 1] * size, 0.0)
    jitter = torch.randn(keypoints.shape, generator=generator, device=device)
    jittered = keypoints + jitter * keypoints.new_tensor(_JOINT_NOISE)[:, None] * level[:, None, None]
    # Which limb is swapped: legs, arms, or both (the detector took front for back).
    kind = torch.where(noisy & (rand[:, 2] < noise.swap_prob), (rand[:, 3] * 3).long(), 3)
    index = torch.arange(17, device=device).repeat(num, 1)
    for group, pairs in enumerate(_SWAP_GROUPS):
        swapped = (kind == group) | (kind == 2)
        for a, b in pairs:
            index[:, a] = torch.where(swapped, b, index[:, a])
            index[:, b] = torch.where(swapped, a, index[:, b])
    jittered = jittered.gather(1, index[..., None].expand(-1, -1, 2))
    missing = torch.rand(visible.shape, generator=generator, device=device) < noise.missing_prob
    as_coco = torch.rand(num, generator=generator, device=device) < noise.coco_prob
    missing[:, _NOT_IN_COCO] |= as_coco[:, None]
    missing = missing & noisy[:, None]
    missing[:, H36M_17.root] = False
    root = jittered[:, H36M_17.root : H36M_17.root + 1]
    return torch.where(missing[..., None], root, jittered), visible.masked_fill(missing, 0.0)
