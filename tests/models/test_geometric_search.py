# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from mmpose.registry import MODELS

import stereopose_mm  # noqa: F401
from stereopose_mm.geometry import (
    COCO_17,
    H36M_17,
    H36M_COCO,
    root_centring_rotation,
    rotate_points,
    search_root_depth,
)

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
    for field in found[:-2]:
        bad = field.flatten(1).isnan().all(1) if field.ndim > 1 else field.isnan()
        assert bad.nonzero()[:, 0].tolist() == [3, 5, 7]
        assert field[found.valid].isfinite().all()


def test_no_gradient_and_same_dtype(poses):
    body, rays, scores, focal, _ = (p.float() for p in poses)
    found = build()(body.requires_grad_(), rays, scores, focal)
    assert not found.keypoints_cam.requires_grad
    assert all(part.dtype == torch.float32 for part in found[:-2])


@pytest.mark.parametrize('power', [0.0, 0.5, 2.0])
def test_uncertain_joints_weigh_less(poses, power):
    body, rays, scores, focal, _ = poses
    body = body + 0.05 * torch.randn(body.shape, generator=torch.Generator().manual_seed(1))
    body[:, 0] = 0
    uncertainty = 0.02 + 0.2 * torch.rand(20, K, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = build(uncertainty_power=power)(body, rays, scores, focal, uncertainty=uncertainty)
    depth, _ = search_root_depth(body, rays, scores / uncertainty**power)
    torch.testing.assert_close(found.root_depth, depth)
    # They still lie on their rays.
    assert found.reprojection_error.max() < 1e-9
    unknown = build(uncertainty_power=power)(body, rays, scores, focal)
    torch.testing.assert_close(unknown.root_depth, search_root_depth(body, rays, scores)[0])


def test_the_keypoints_of_h36m_are_its_joints(poses):
    body, rays, scores, focal, _ = poses
    scores[:, 5] = 0
    found = build()(body + 0.02, rays, scores, focal)
    assert torch.equal(found.input_keypoints_cam, found.keypoints_cam)


@pytest.fixture
def coco_poses(poses):
    """Exact poses of both sets relative to the root, of COCO-17 rays and scores, focal lengths, absolute poses."""
    body, _, scores, focal, points = poses
    g = torch.Generator().manual_seed(3)
    offset = 0.05 * torch.randn(20, K, 3, generator=g, dtype=torch.float64)
    points = torch.cat([points, points[:, list(H36M_COCO.parents[K:])] + offset], 1)
    seen = points[:, K:]
    return points - points[:, :1], seen[..., :2] / seen[..., 2:], scores, focal, points


def centring(rays):
    return root_centring_rotation(rays[:, 11])


@pytest.mark.parametrize('turn', [False, True])
def test_exact_coco_poses_come_back_absolute(coco_poses, turn):
    body, rays, scores, focal, points = coco_poses
    found = build()(body, rays, scores, focal, centring(rays) if turn else None)
    torch.testing.assert_close(found.keypoints_cam, points[:, :K], rtol=0, atol=1e-9)
    torch.testing.assert_close(found.input_keypoints_cam, points[:, K:], rtol=0, atol=1e-9)
    torch.testing.assert_close(found.root_depth, points[:, 0, 2])
    assert found.valid.all()
    assert found.reprojection_error.max() < 1e-9 and found.search_residual.max() < 1e-9


def disturb(body, size=0.05):
    noisy = body + size * torch.randn(body.shape, generator=torch.Generator().manual_seed(1), dtype=body.dtype)
    noisy[:, 0] = 0
    return noisy


@pytest.mark.parametrize('turn', [False, True])
def test_used_coco_keypoints_lie_on_their_rays_and_others_keep_their_place(coco_poses, turn):
    body, rays, scores, focal, _ = coco_poses
    body = disturb(body)
    missing = torch.rand(20, K, generator=torch.Generator().manual_seed(4)) < 0.4
    scores = torch.where(missing, 0.0, scores)
    wild = torch.where(missing[..., None], 77.0, rays)
    rotation = centring(rays) if turn else None
    found = build()(body, wild, scores, focal, rotation)
    assert found.valid.all()
    pixels = (found.input_keypoints_cam[..., :2] / found.input_keypoints_cam[..., 2:] - rays) * focal[:, None]
    assert pixels[~missing].abs().max() < 1e-9 and found.reprojection_error.max() < 1e-9
    # What is not seen keeps its place relative to the root, which the pose was moved by as a whole.
    body_root = found.input_keypoints_cam[missing] - body[:, K:][missing]
    for i in range(20):
        roots = (found.input_keypoints_cam[i] - body[i, K:])[missing[i]]
        torch.testing.assert_close(roots, roots[:1].expand_as(roots), rtol=0, atol=1e-9)
    assert len(body_root) > 50
    other = build()(body, torch.where(missing[..., None], -3.0, rays), scores, focal, rotation)
    for one, two in zip(found, other, strict=True):
        assert torch.equal(one, two)


NEIGHBOURS = {
    'root': ('left_hip', 'right_hip'), 'right_hip': ('right_hip',), 'right_knee': ('right_knee',),
    'right_foot': ('right_ankle',), 'left_hip': ('left_hip',), 'left_knee': ('left_knee',),
    'left_foot': ('left_ankle',), 'spine': ('left_hip', 'right_hip', 'left_shoulder', 'right_shoulder'),
    'thorax': ('left_shoulder', 'right_shoulder'),
    'neck_base': ('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear'),
    'head': ('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear'), 'left_shoulder': ('left_shoulder',),
    'left_elbow': ('left_elbow',), 'left_wrist': ('left_wrist',), 'right_shoulder': ('right_shoulder',),
    'right_elbow': ('right_elbow',), 'right_wrist': ('right_wrist',),
}  # fmt: skip


@pytest.mark.parametrize('missing', [(), ('left_hip', 'nose', 'left_ear'), ('left_wrist', 'left_hip', 'right_hip')])
def test_joints_move_with_the_keypoints_near_them(coco_poses, missing):
    body, rays, scores, focal, _ = coco_poses
    body = disturb(body)
    scores[:, [COCO_17.index(name) for name in missing]] = 0
    found = build()(body, rays, scores, focal)
    depth, placed = search_root_depth(body[:, K:], rays, scores, root_index=None)
    shift = placed - body[:, K:]
    root = (shift * scores[..., None]).sum(1) / scores.sum(1, keepdim=True)
    torch.testing.assert_close(root[:, 2], depth)
    assert list(NEIGHBOURS) == list(H36M_17.joint_names)
    for joint, (name, near) in enumerate(NEIGHBOURS.items()):
        # Those missing do not count; without any the joint keeps its place.
        near = [COCO_17.index(n) for n in near if n not in missing]
        moved = shift[:, near].mean(1) if near else root
        torch.testing.assert_close(found.keypoints_cam[:, joint], body[:, joint] + moved, msg=name)
    moved = (shift - root[:, None])[..., :2].norm(dim=-1)
    torch.testing.assert_close(found.search_residual, (moved * scores).sum(-1) / scores.sum(-1))
    torch.testing.assert_close(found.root_depth, found.keypoints_cam[:, 0, 2])


def test_coco_is_searched_in_the_frame_that_is_asked_for(coco_poses):
    body, rays, scores, focal, _ = coco_poses
    body, rotation = disturb(body), centring(rays)
    found = build()(body, rays, scores, focal, rotation)
    turned = rotate_points(body, rotation)
    seen = torch.cat([rays, torch.ones_like(rays[..., :1])], -1) @ rotation.mT
    alone = build()(turned, seen[..., :2] / seen[..., 2:], scores, focal)
    for key in ('keypoints_cam', 'input_keypoints_cam'):
        torch.testing.assert_close(rotate_points(getattr(found, key), rotation), getattr(alone, key))
    torch.testing.assert_close(found.search_residual, alone.search_residual)
    assert (found.root_depth - alone.root_depth).abs().max() > 1e-3, 'depth is along the camera axis'


def test_uncertain_coco_keypoints_weigh_less(coco_poses):
    body, rays, scores, focal, _ = coco_poses
    body = disturb(body)
    uncertainty = 0.02 + 0.2 * torch.rand(20, 2 * K, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = build(uncertainty_power=1.0)(body, rays, scores, focal, uncertainty=uncertainty)
    depth, _ = search_root_depth(body[:, K:], rays, scores / uncertainty[:, K:], root_index=None)
    near = found.input_keypoints_cam[..., 2] - body[:, K:, 2]
    torch.testing.assert_close(near, depth[:, None].expand(-1, K))
    plain = build()(body, rays, scores, focal, uncertainty=uncertainty)
    assert (plain.root_depth - found.root_depth).abs().max() > 1e-3


def test_unsearchable_coco_poses_are_nan(coco_poses):
    body, rays, scores, focal, _ = coco_poses
    scores[3, 2:] = 0
    rays[5] = rays[5, :1].clone()
    body[7, K + 4, 1] = float('nan')
    found = build()(body, rays, scores, focal)
    assert found.valid.logical_not().nonzero()[:, 0].tolist() == [3, 5, 7]
    for field in found[:-2]:
        bad = field.flatten(1).isnan().all(1) if field.ndim > 1 else field.isnan()
        assert bad.nonzero()[:, 0].tolist() == [3, 5, 7]
        assert field[found.valid].isfinite().all()


def test_the_state_of_a_lifter_does_not_hold_the_neighbours():
    assert not build().state_dict()


def test_which_keypoints_were_used(coco_poses):
    body, rays, scores, focal, _ = coco_poses
    scores[2, 4], scores[3, 5] = 0, 0.15
    used = build(min_score=0.2)(body, rays, scores, focal).used
    assert used.dtype == torch.bool and torch.equal(used, scores >= 0.2)


@pytest.mark.parametrize('keypoint_set', ['h36m', 'coco'])
def test_an_error_of_the_detector_takes_no_part(poses, coco_poses, keypoint_set):
    body, rays, scores, focal, points = poses if keypoint_set == 'h36m' else coco_poses
    wrong = rays.clone()
    wrong[::2, 9] += 0.1
    # Half a metre off to either side, as all others agree.
    found = build(max_miss=0.3)(body, wrong, scores, focal)
    expected = torch.ones(20, K, dtype=torch.bool)
    expected[::2, 9] = False
    assert torch.equal(found.used, expected) and found.valid.all()
    torch.testing.assert_close(found.keypoints_cam, points[:, :K], rtol=0, atol=1e-9)
    torch.testing.assert_close(found.input_keypoints_cam, points[:, -K:], rtol=0, atol=1e-9)
    assert found.reprojection_error.max() < 1e-9 and found.search_residual.max() < 1e-9
    # Without the bound, or where the keypoints are said to be exact, it does.
    for other in (
        build()(body, wrong, scores, focal),
        build(max_miss=0.3)(body, wrong, torch.ones_like(scores), focal),
    ):
        assert other.used.all()
        assert (other.input_keypoints_cam[::2, 9] - points[::2, -K:][:, 9]).norm(dim=-1).min() > 0.3


def test_the_second_search_is_one_without_the_outliers(coco_poses):
    body, rays, scores, focal, _ = coco_poses
    body = disturb(body, 0.1)
    first = build()(body, rays, scores, focal)
    found = build(max_miss=0.15)(body, rays, scores, focal)
    left_out = ~found.used
    assert left_out.any() and found.used.sum(1).min() >= 3
    again = build()(body, rays, torch.where(left_out, 0.0, scores), focal)
    for name in ('keypoints_cam', 'input_keypoints_cam', 'root_depth', 'reprojection_error', 'search_residual'):
        torch.testing.assert_close(getattr(found, name), getattr(again, name))
    kept = ~left_out.any(1)
    if kept.any():
        assert torch.equal(found.keypoints_cam[kept], first.keypoints_cam[kept])


def test_the_root_and_three_keypoints_always_take_part(poses):
    body, rays, scores, focal, _ = poses
    found = build(max_miss=1e-6)(disturb(body, 0.3), rays, scores, focal)
    assert found.used[:, 0].all() and found.used.sum(1).min() >= 3 and found.valid.all()
    scores[:, 4:] = 0
    scores[:, 1:4] = 0.5
    few = build(max_miss=1e-6)(disturb(body, 0.3), rays, scores, focal)
    assert (few.used.sum(1) >= 3).all()


@pytest.mark.parametrize('max_miss', [0.0, -1.0, float('nan')])
def test_bad_bound(max_miss):
    with pytest.raises(ValueError, match='max_miss takes a positive number of metres or None, got'):
        build(max_miss=max_miss)
