# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import NamedTuple

import torch
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..geometry import search_root_depth


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
    def forward(self, pose_rel: Tensor, rays: Tensor, scores: Tensor, focal: Tensor) -> SearchResult:
        """Search the root depth of N poses.

        Args:
            pose_rel: ``(N, K, 3)`` metres, camera frame, root at 0.
            rays: ``(N, K, 2)`` at z = 1.
            scores: ``(N, K)`` keypoint scores: the weights.
            focal: ``(N, 2)`` pixels.

        Returns:
            :class:`SearchResult`.
        """
        weights = torch.where(scores >= self.min_score, scores, 0.0)
        depth, on_rays, valid = search_root_depth(
            pose_rel, rays, weights, root_index=self.root_index, objective=self.objective,
            min_depth=self.min_depth, on_invalid='nan',
        )  # fmt: skip
        used = (weights > 0)[..., None]
        root = on_rays[:, self.root_index : self.root_index + 1]
        keypoints_cam = torch.where(used, on_rays, root + pose_rel)
        total = weights.sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)
        moved = (keypoints_cam - root - pose_rel)[..., :2].norm(dim=-1)
        miss = ((keypoints_cam[..., :2] / keypoints_cam[..., 2:] - rays) * focal[:, None]).norm(dim=-1)
        count = used[..., 0].sum(-1).clamp(min=1)
        return SearchResult(
            keypoints_cam,
            depth,
            torch.where(used[..., 0], miss, 0.0).sum(-1) / count,
            (moved * weights).sum(-1) / total,
            valid,
        )
