# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""New poses from those of the clips."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from .sampling import check_fraction


@dataclass(frozen=True)
class PoseAugmentation:
    """New poses from the clips' own.

    Attributes:
        mix_prob: Probability that a pose's legs are replaced by another's, and independently its arms. They keep
            their place relative to the pelvis and to the shoulders.
        limb_turn_deg: Standard deviation, degrees, of a turn of each whole arm and leg; elbows and knees keep their
            angles.
        limb_jitter_deg: Standard deviation, degrees, of a turn of each limb bone.
        tilt_deg: Standard deviation, degrees, of a lean of the whole body.
    """

    mix_prob: float = 0.0
    limb_turn_deg: float = 0.0
    limb_jitter_deg: float = 0.0
    tilt_deg: float = 0.0

    def __post_init__(self):
        check_fraction('mix_prob', self.mix_prob)
        check_fraction('limb_turn_deg', self.limb_turn_deg, 60.0)
        check_fraction('limb_jitter_deg', self.limb_jitter_deg, 45.0)
        check_fraction('tilt_deg', self.tilt_deg, 45.0)


# Bones of each limb, as indices into directions, with what fixes COCO's keypoints to it: right and left leg, left and
# right arm; and the lines across the body that they hang from.
_LIMBS = (([1, 2], [30, 32]), ([4, 5], [29, 31]), ([11, 12], [23, 25]), ([14, 15], [24, 26]))
_HIP_LINE, _SHOULDER_LINE = (0, 3), (10, 13)
_LOWER_SPINE, _UPPER_SPINE = 6, 7


def _body_frame(directions: Tensor, line: tuple[int, int], spine: int) -> Tensor:
    """``(N, 3, 3)`` frames whose columns are across the body, up the spine, and their normal."""
    across = directions[:, line[0]] - directions[:, line[1]]
    normal = torch.linalg.cross(across, directions[:, spine])
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    across = across / across.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return torch.stack([across, torch.linalg.cross(normal, across), normal], -1)


def _limbs(num_bones: int) -> list[list[int]]:
    return [bones + offsets * (num_bones > 16) for bones, offsets in _LIMBS]


def rotation_from_vector(vector: Tensor) -> Tensor:
    """Rotation matrices ``(..., 3, 3)`` from axis times angle ``(..., 3)``, radians: Rodrigues' formula."""
    angle = vector.norm(dim=-1, keepdim=True)[..., None]
    x, y, z = (vector / angle[..., 0].clamp(min=1e-12)).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.eye(3).to(vector) + angle.sin() * cross + (1 - angle.cos()) * (cross @ cross)


def augment_poses(directions: Tensor, others: Tensor, augmentation: PoseAugmentation, generator: Generator) -> Tensor:
    """Make new poses: limbs of one body on another, turned a little, leaning a little.

    Args:
        directions: ``(N, 16, 3)`` unit bone directions, or ``(N, 33, 3)`` with those to COCO-17's keypoints.
        others: Of the same shape, the poses that limbs are taken from.
        augmentation: What to do.
        generator: Source of randomness, on the same device.

    Returns:
        Unit bone directions of the same shape.
    """
    num, device = len(directions), directions.device
    if augmentation.mix_prob > 0:
        mixed = torch.rand(num, 2, generator=generator, device=device) < augmentation.mix_prob
        right_leg, left_leg, left_arm, right_arm = _limbs(directions.shape[1])
        parts = ((right_leg + left_leg, _HIP_LINE, _LOWER_SPINE), (left_arm + right_arm, _SHOULDER_LINE, _UPPER_SPINE))
        result = directions.clone()
        for part, (limbs, line, spine) in enumerate(parts):
            turn = _body_frame(directions, line, spine) @ _body_frame(others, line, spine).mT
            moved = others[:, limbs] @ turn.mT
            result[:, limbs] = torch.where(mixed[:, part, None, None], moved, directions[:, limbs])
        directions = result
    if augmentation.limb_turn_deg > 0:
        turn = torch.randn(num, len(_LIMBS), 3, generator=generator, device=device)
        turn = rotation_from_vector(turn * (math.radians(augmentation.limb_turn_deg) / math.sqrt(3)))
        directions = directions.clone()
        for limb, bones in enumerate(_limbs(directions.shape[1])):
            directions[:, bones] = directions[:, bones] @ turn[:, limb].mT
    if augmentation.limb_jitter_deg > 0:
        # A small turn about a random axis moves a unit vector by about its angle.
        limbs = [bone for bones, _ in _LIMBS for bone in bones]
        step = torch.randn(num, len(limbs), 3, generator=generator, device=device)
        step = step * math.radians(augmentation.limb_jitter_deg)
        turned = directions[:, limbs] + step
        directions = directions.clone()
        directions[:, limbs] = turned
    directions = directions / directions.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    if augmentation.tilt_deg > 0:
        angle = torch.randn(num, 2, generator=generator, device=device) * math.radians(augmentation.tilt_deg)
        (ca, cb), (sa, sb) = angle.cos().unbind(-1), angle.sin().unbind(-1)
        zero, one = torch.zeros_like(ca), torch.ones_like(ca)
        about_x = torch.stack([one, zero, zero, zero, ca, -sa, zero, sa, ca], -1).unflatten(-1, (3, 3))
        about_z = torch.stack([cb, -sb, zero, sb, cb, zero, zero, zero, one], -1).unflatten(-1, (3, 3))
        directions = directions @ (about_x @ about_z).mT
    return directions
