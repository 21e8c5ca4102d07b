# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from mmpose.registry import MODELS

import stereopose_mm  # noqa: F401
from stereopose_mm.geometry import search_root_depth

K = 17


def build(**arguments):
    return MODELS.build(dict(type='GeometricSearch') | arguments)


@pytest.fixture
def poses():
    """Exact root-relative poses, rays, scores and focal lengths; and the absolute poses."""
    g = torch.Generator().manual_seed(0)
    body = torch.randn(20, K, 3, generator=g, dtype=torch.float64) * torch.tensor([0.3, 0.5, 0.3])
    body[:, 0] = 0
    points = body + torch.tensor([0.4, -0.2, 5.0])
    scores = 0.2 + 0.8 * torch.rand(20, K, generator=g, dtype=torch.float64)
    focal = torch.tensor([[1000.0, 1100.0]], dtype=torch.float64).expand(20, 2)
    return body, points[..., :2] / points[..., 2:], scores, focal, points


def test_exact_poses_come_back_absolute(poses):
    body, rays, scores, focal, points = poses
    found = build()(body, rays, scores, focal)
    torch.testing.assert_close(found.keypoints_cam, points, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.root_depth, points[:, 0, 2])
    assert found.valid.all()
    assert found.reprojection_error.max() < 1e-9 and found.search_residual.max() < 1e-9


@pytest.mark.parametrize('objective', ['norm', 'squared'])
def test_it_is_search_root_depth(poses, objective):
    body, rays, scores, focal, _ = poses
    body = body + 0.05 * torch.randn(body.shape, generator=torch.Generator().manual_seed(1))
    body[:, 0] = 0
    found = build(objective=objective)(body, rays, scores, focal)
    depth, pose = search_root_depth(body, rays, scores, objective=objective)
    torch.testing.assert_close(found.root_depth, depth)
    torch.testing.assert_close(found.keypoints_cam, pose)
    assert found.reprojection_error.max() < 1e-9
    moved = (pose - pose[:, :1] - body)[..., :2].norm(dim=-1)
    torch.testing.assert_close(found.search_residual, (moved * scores).sum(-1) / scores.sum(-1))
    assert found.search_residual.min() > 1e-3


def test_low_scores_take_no_part_and_keep_their_place(poses):
    body, rays, scores, focal, points = poses
    rays = rays.clone()
    rays[:, 5] += 0.3
    scores[:, 5] = 0.15
    assert (build()(body, rays, scores, focal).keypoints_cam[:, 5] - points[:, 5]).norm(dim=-1).min() > 0.1
    found = build(min_score=0.2)(body, rays, scores, focal)
    torch.testing.assert_close(found.keypoints_cam, points, rtol=0, atol=1e-9)
    # It is no part of the errors either.
    assert found.reprojection_error.max() < 1e-9 and found.search_residual.max() < 1e-9


def test_min_depth(poses):
    body, rays, scores, focal, _ = poses
    assert (build(min_depth=6.0)(body, rays, scores, focal).root_depth == 6).all()


def test_reprojection_error_is_in_pixels(poses):
    """Of a joint whose depth puts it behind the camera nothing reprojects: there the error shows."""
    body, rays, scores, focal, points = poses
    body = body.clone()
    found = build()(body, rays, scores, focal)
    by_hand = ((found.keypoints_cam[..., :2] / found.keypoints_cam[..., 2:] - rays) * focal[:, None]).norm(dim=-1)
    torch.testing.assert_close(found.reprojection_error, by_hand.mean(-1), rtol=0, atol=1e-9)


def test_unsearchable_poses_are_nan(poses):
    body, rays, scores, focal, points = poses
    scores[3, 2:] = 0
    scores[5] = 0
    body[7, 4, 1] = float('nan')
    found = build()(body, rays, scores, focal)
    assert found.valid.logical_not().nonzero()[:, 0].tolist() == [3, 5, 7]
    for field in (found.keypoints_cam, found.root_depth, found.reprojection_error, found.search_residual):
        bad = field.flatten(1).isnan().all(1) if field.ndim > 1 else field.isnan()
        assert bad.nonzero()[:, 0].tolist() == [3, 5, 7]
        assert field[found.valid].isfinite().all()


def test_no_gradient_and_same_dtype(poses):
    body, rays, scores, focal, _ = (p.float() for p in poses)
    found = build()(body.requires_grad_(), rays, scores, focal)
    assert not found.keypoints_cam.requires_grad
    assert all(part.dtype == torch.float32 for part in found[:4])
