# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Measures by which wrong 2D-3D pairs show: residuals, bone lengths, left and right.

Note:
    - number of people: N
    - number of keypoints: K
    - number of bones: B
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..geometry.skeletons import Skeleton
from .lifting_dataset import LiftingBatch

# A knee bent less is too straight to tell front from back.
_BENT_KNEE = np.deg2rad(25.0)


def reprojection_residuals(batch: LiftingBatch) -> Tensor:
    """Distance between each 2D keypoint and the projection of its joint, through the lens.

    Args:
        batch: N people.

    Returns:
        ``(N, K)`` pixels; NaN where the keypoint or the joint is not known, or the joint is not before the camera.
    """
    known = (batch.keypoints_visible > 0) & (batch.pose_visible > 0) & (batch.pose_cam[..., 2] > 0)
    safe = torch.where(known[..., None], batch.pose_cam, batch.pose_cam.new_tensor([0.0, 0.0, 1.0]))
    residual = torch.linalg.vector_norm(batch.camera.project(safe) - batch.keypoints, dim=-1)
    return torch.where(known, residual, torch.nan)


def swapped_residuals(batch: LiftingBatch, skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """Mean reprojection residual as labelled, and with left and right of the 3D pose exchanged.

    Args:
        batch: N people.
        skeleton: Their keypoint set.

    Returns:
        Two ``(N,)`` tensors, pixels, over the joints of the sides; NaN where none is known. A pair whose second is
        far below its first has its labels the wrong way round in 2D or in 3D.
    """
    sides = [*skeleton.left, *skeleton.right]
    mirror = list(skeleton.flip_indices)
    swapped = replace(batch, pose_cam=batch.pose_cam[:, mirror], pose_visible=batch.pose_visible[:, mirror])
    return tuple(reprojection_residuals(b)[:, sides].nanmean(1) for b in (batch, swapped))


def bone_lengths(pose: Tensor, visible: Tensor, skeleton: Skeleton) -> Tensor:
    """Lengths of the bones.

    Args:
        pose: ``(N, K, 3)`` metres.
        visible: ``(N, K)``, above 0 where a joint is known.
        skeleton: Their keypoint set.

    Returns:
        ``(N, B)`` metres; NaN where an end is not known.
    """
    start, end = torch.tensor(skeleton.bones).T
    length = torch.linalg.vector_norm(pose[:, start] - pose[:, end], dim=-1)
    return torch.where((visible[:, start] > 0) & (visible[:, end] > 0), length, torch.nan)


def knees_bend_backward(pose: Tensor, visible: Tensor, skeleton: Skeleton) -> Tensor:
    """Whether the knees bend against the side that the hips and the spine say is the front.

    Exchanging left and right everywhere leaves every distance as it is, but turns the front of the pelvis around: a
    person whose bent knees then point backward is labelled the wrong way round.

    Args:
        pose: ``(N, K, 3)`` metres, camera frame (x right, y down, z forward).
        visible: ``(N, K)``, above 0 where a joint is known.
        skeleton: Their keypoint set, with hips, knees and a neck or thorax.

    Returns:
        ``(N,)``: 1 where the bent knees point backward, 0 where they point forward, NaN where no knee is bent by 25
        degrees or more or a joint is not known.
    """
    names = skeleton.joint_names
    top = skeleton.index('thorax' if 'thorax' in names else 'neck')
    foot = 'foot' if 'left_foot' in names else 'ankle'
    hips = [skeleton.index(f'{side}_hip') for side in ('left', 'right')]
    across = pose[:, hips[0]] - pose[:, hips[1]]
    up = pose[:, top] - pose[:, hips].mean(1)
    forward = torch.linalg.cross(across, up)
    score = torch.zeros(len(pose), dtype=pose.dtype, device=pose.device)
    bent = torch.zeros(len(pose), dtype=torch.bool, device=pose.device)
    for side, hip in zip(('left', 'right'), hips, strict=True):
        knee, ankle = skeleton.index(f'{side}_knee'), skeleton.index(f'{side}_{foot}')
        thigh, shin = pose[:, knee] - pose[:, hip], pose[:, ankle] - pose[:, knee]
        angle = torch.acos(torch.nn.functional.cosine_similarity(thigh, shin, dim=-1).clamp(-1, 1))
        known = (visible[:, [*hips, top, knee, ankle]] > 0).all(1)
        usable = known & (angle > _BENT_KNEE)
        # Thigh minus shin points to where the knee points.
        points = torch.nn.functional.cosine_similarity(thigh - shin, forward, dim=-1)
        score += torch.where(usable, points, 0)
        bent |= usable
    return torch.where(bent, (score < 0).to(pose.dtype), torch.nan)


def exchanged_between_frames(
    pose: Tensor, visible: Tensor, sequence: Tensor, frame: Tensor, skeleton: Skeleton, max_gap: int = 5
) -> Tensor:
    """Whether left and right change places from one frame of a sequence to the next.

    Args:
        pose: ``(N, K, 3)`` metres.
        visible: ``(N, K)``, above 0 where a joint is known.
        sequence: Number of each pose's sequence, integer ``(N,)``.
        frame: Frame number within it, integer ``(N,)``.
        skeleton: Their keypoint set.
        max_gap: Frames farther apart are not compared: in a longer time a person can turn round.

    Returns:
        bool ``(N,)``: where the joints of the sides, root-centred, moved more than twice as far, and 10 cm or more
        on average, from the frame before than they would have with left and right exchanged.
    """
    sides, others = [*skeleton.left, *skeleton.right], [*skeleton.right, *skeleton.left]
    order = frame.argsort(stable=True)
    order = order[sequence[order].argsort(stable=True)]
    relative = (pose - pose[:, [skeleton.root]])[order]
    known = (visible[order] > 0).all(1)
    follows = (sequence[order].diff() == 0) & (frame[order].diff() <= max_gap) & known[1:] & known[:-1]
    moved = torch.linalg.vector_norm(relative[1:, sides] - relative[:-1, sides], dim=-1).mean(1)
    exchanged = torch.linalg.vector_norm(relative[1:, sides] - relative[:-1, others], dim=-1).mean(1)
    result = torch.zeros(len(pose), dtype=torch.bool)
    result[order[1:]] = follows & (moved > 0.1) & (moved > 2 * exchanged)
    return result
