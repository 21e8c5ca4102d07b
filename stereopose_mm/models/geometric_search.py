# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import NamedTuple

import torch
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..geometry import COCO_17, H36M_17, mapping_matrix, rotate_points, rotate_rays, search_root_depth


class SearchResult(NamedTuple):
    """What :class:`GeometricSearch` finds; a pose that cannot be searched has NaN in every field.

    Attributes:
        keypoints_cam: ``(N, 17, 3)`` metres, H36M-17, camera frame, absolute.
        input_keypoints_cam: ``(N, K, 3)`` metres, the keypoints of the input; those used lie on their rays.
        root_depth: ``(N,)`` metres.
        reprojection_error: ``(N,)`` pixels, mean over the used keypoints between the projection of
            ``input_keypoints_cam`` and the 2D input (both undistorted).
        search_residual: ``(N,)`` metres, weighted mean distance that back-projection moved the coarse keypoints
            sideways: how well pose and picture agreed before.
        used: ``(N, K)`` bool, the keypoints that were put on their rays.
        valid: ``(N,)`` bool.
    """

    keypoints_cam: Tensor
    input_keypoints_cam: Tensor
    root_depth: Tensor
    reprojection_error: Tensor
    search_residual: Tensor
    used: Tensor
    valid: Tensor


@MODELS.register_module()
class GeometricSearch(nn.Module):
    """Post-processor that puts a root-relative pose back onto the image rays.

    Source: the geometric search of Wang et al., ICCVW 2019; see :func:`search_root_depth`.

    Note:
        - keypoint number: K
        - joint number: J (K, or 34 for COCO-17: the joints of H36M-17, then COCO's)

    The joints of H36M-17 that are no keypoints of COCO's have no ray: each is moved as the keypoints near it are.

    Args:
        objective: ``'norm'`` or ``'squared'``.
        min_depth: Smallest root depth, metres.
        min_score: Keypoints scored below it do not take part: they keep their place in the coarse pose.
        root_index: Index of the root joint.
        max_miss: Metres. A keypoint scored below 1 whose ray passes its coarse joint at more than this, when the depth
            is found, is taken for the detector's error: it does not take part in a second search. At least three do,
            and the root does. Default: none is.
        uncertainty_power: Scores are multiplied by the joint's depth uncertainty to minus this power; 0 ignores it.
    """

    def __init__(
        self,
        objective: str = 'norm',
        min_depth: float = 0.1,
        min_score: float = 0.0,
        root_index: int = 0,
        max_miss: float | None = None,
        uncertainty_power: float = 0.0,
    ):
        super().__init__()
        if max_miss is not None and not max_miss > 0:
            raise ValueError(f'max_miss takes a positive number of metres or None, got {max_miss}')
        self.max_miss = max_miss
        self.objective, self.min_depth = objective, min_depth
        self.min_score, self.root_index = min_score, root_index
        self.uncertainty_power = uncertainty_power
        self.register_buffer('neighbours', _coco_neighbours(), persistent=False)

    @torch.no_grad()
    def forward(
        self,
        pose_rel: Tensor,
        rays: Tensor,
        scores: Tensor,
        focal: Tensor,
        view_rotation: Tensor | None = None,
        uncertainty: Tensor | None = None,
    ) -> SearchResult:
        """Search the root depth of N poses.

        The objective measures across the optical axis. Turned to the root, that is across the line of sight, which
        is more accurate off the image centre than the paper's camera frame.

        Args:
            pose_rel: ``(N, J, 3)`` metres, camera frame, root at 0.
            rays: ``(N, K, 2)`` at z = 1.
            scores: ``(N, K)`` keypoint scores: the weights.
            focal: ``(N, 2)`` pixels.
            view_rotation: ``(N, 3, 3)``, from the camera to the frame to search in. Default: the camera's.
            uncertainty: ``(N, J)`` metres, of the joints' depths. Default: not known.

        Returns:
            :class:`SearchResult`, in the camera frame.
        """
        turn = view_rotation is not None
        num_keypoints = rays.shape[1]
        has_root = num_keypoints == pose_rel.shape[1]
        used = (scores >= self.min_score) & (scores > 0)
        weights = torch.where(used, scores, 0.0)
        if uncertainty is not None and self.uncertainty_power:
            weights = weights * uncertainty[:, -num_keypoints:] ** -self.uncertainty_power
        view_pose = rotate_points(pose_rel, view_rotation) if turn else pose_rel
        coarse = view_pose[:, -num_keypoints:]
        view_rays = rotate_rays(rays, view_rotation) if turn else rays
        placed, root, valid = self._place(coarse, view_rays, weights, has_root)
        if self.max_miss is not None:
            # About their median, which one gross error does not move.
            offset = torch.where(used[..., None], placed - coarse, torch.nan)[..., :2]
            miss = (offset - offset.nanmedian(1, keepdim=True).values).norm(dim=-1)
            outlier = used & (miss > self.max_miss) & (scores < 1)
            if has_root:
                # All is relative to it.
                outlier[:, self.root_index] = False
            outlier &= ((used & ~outlier).sum(1) >= 3)[:, None]
            again = outlier.any(1).nonzero()[:, 0]
            if len(again):
                used = used & ~outlier
                weights = torch.where(used, weights, 0.0)
                second = self._place(coarse[again], view_rays[again], weights[again], has_root)
                for result, new in zip((placed, root, valid), second, strict=True):
                    result[again] = new
        moved = torch.where(used[..., None], placed - root - coarse, 0.0)
        observed = torch.where(used[..., None], placed, root + coarse)
        keypoints_cam = observed
        if not has_root:
            body = view_pose[:, :-num_keypoints]
            near = self.neighbours.to(moved) * used[:, None].to(moved)
            near = near / near.sum(-1, keepdim=True).clamp(min=1e-6)
            keypoints_cam = root + body + near @ moved
        total = weights.sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)
        if turn:
            keypoints_cam = rotate_points(keypoints_cam, view_rotation.mT)
            observed = rotate_points(observed, view_rotation.mT) if not has_root else keypoints_cam
        miss = ((observed[..., :2] / observed[..., 2:] - rays) * focal[:, None]).norm(dim=-1)
        nan = torch.tensor(torch.nan, dtype=miss.dtype, device=miss.device)
        return SearchResult(
            torch.where(valid[:, None, None], keypoints_cam, nan),
            torch.where(valid[:, None, None], observed, nan),
            torch.where(valid, keypoints_cam[:, self.root_index, 2], nan),
            torch.where(valid, torch.where(used, miss, 0.0).sum(-1) / used.sum(-1).clamp(min=1), nan),
            torch.where(valid, (moved[..., :2].norm(dim=-1) * weights).sum(-1) / total, nan),
            used,
            valid,
        )

    def _place(self, coarse: Tensor, rays: Tensor, weights: Tensor, has_root: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Keypoints back-projected at the depth that is found ``(N, K, 3)``, root ``(N, 1, 3)``, valid ``(N,)``."""
        root_index = self.root_index if has_root else None
        _, placed, valid = search_root_depth(
            coarse, rays, weights, root_index=root_index, objective=self.objective, min_depth=self.min_depth,
            on_invalid='nan',
        )  # fmt: skip
        if has_root:
            return placed, placed[:, self.root_index, None], valid
        share = weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        return placed, ((placed - coarse) * share[..., None]).sum(1, keepdim=True), valid


def _coco_neighbours() -> Tensor:
    """``(17, 17)``: which of COCO-17's keypoints each joint of H36M-17 moves with."""
    near, _ = mapping_matrix('coco')
    head = [COCO_17.index(name) for name in ('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear')]
    trunk = [COCO_17.index(f'{side}_{part}') for part in ('hip', 'shoulder') for side in ('left', 'right')]
    for joint, keypoints in dict(spine=trunk, neck_base=head, head=head).items():
        near[H36M_17.index(joint)] = 0
        near[H36M_17.index(joint), keypoints] = 1
    return near
