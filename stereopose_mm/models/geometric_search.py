# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import NamedTuple

import torch
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..geometry import rotate_points, rotate_rays, search_root_depth


class SearchResult(NamedTuple):
    """What :class:`GeometricSearch` finds; a pose that cannot be searched has NaN in every field.

    Attributes:
        keypoints_cam: ``(N, K, 3)`` metres, camera frame, absolute.
        root_depth: ``(N,)`` metres.
        reprojection_error: ``(N,)`` pixels, mean over the weighted keypoints between the result's projection and
            the 2D input (both undistorted).
        search_residual: ``(N,)`` metres, weighted mean distance that back-projection moved the coarse keypoints
            sideways: how well pose and picture agreed before.
        valid: ``(N,)`` bool.
    """

    keypoints_cam: Tensor
    root_depth: Tensor
    reprojection_error: Tensor
    search_residual: Tensor
    valid: Tensor


@MODELS.register_module()
class GeometricSearch(nn.Module):
    """Post-processor that puts a root-relative pose back onto the image rays.

    Source: the geometric search of Wang et al., ICCVW 2019; see :func:`search_root_depth`.

    Args:
        objective: ``'norm'`` or ``'squared'``.
        min_depth: Smallest root depth, metres.
        min_score: Keypoints scored below it do not take part: they keep their place in the coarse pose.
        root_index: Index of the root joint.
    """

    def __init__(self, objective: str = 'norm', min_depth: float = 0.1, min_score: float = 0.0, root_index: int = 0):
        super().__init__()
        self.objective, self.min_depth = objective, min_depth
        self.min_score, self.root_index = min_score, root_index

    @torch.no_grad()
    def forward(
        self, pose_rel: Tensor, rays: Tensor, scores: Tensor, focal: Tensor, view_rotation: Tensor | None = None
    ) -> SearchResult:
        """Search the root depth of N poses.

        The objective measures across the optical axis. Turned to the root, that is across the line of sight, which
        is more accurate off the image centre than the paper's camera frame.

        Args:
            pose_rel: ``(N, K, 3)`` metres, camera frame, root at 0.
            rays: ``(N, K, 2)`` at z = 1.
            scores: ``(N, K)`` keypoint scores: the weights.
            focal: ``(N, 2)`` pixels.
            view_rotation: ``(N, 3, 3)``, from the camera to the frame to search in. Default: the camera's.

        Returns:
            :class:`SearchResult`, in the camera frame.
        """
        turn = view_rotation is not None
        weights = torch.where(scores >= self.min_score, scores, 0.0)
        view_pose = rotate_points(pose_rel, view_rotation) if turn else pose_rel
        _, placed, valid = search_root_depth(
            view_pose, rotate_rays(rays, view_rotation) if turn else rays, weights, root_index=self.root_index,
            objective=self.objective, min_depth=self.min_depth, on_invalid='nan',
        )  # fmt: skip
        used = weights > 0
        root = placed[:, self.root_index, None]
        moved = (placed - root - view_pose)[..., :2].norm(dim=-1)
        keypoints_cam = torch.where(used[..., None], placed, root + view_pose)
        if turn:
            keypoints_cam = rotate_points(keypoints_cam, view_rotation.mT)
        miss = ((keypoints_cam[..., :2] / keypoints_cam[..., 2:] - rays) * focal[:, None]).norm(dim=-1)
        total = weights.sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)
        return SearchResult(
            keypoints_cam,
            keypoints_cam[:, self.root_index, 2],
            torch.where(valid, torch.where(used, miss, 0.0).sum(-1) / used.sum(-1).clamp(min=1), torch.nan),
            (moved * weights).sum(-1) / total,
            valid,
        )
