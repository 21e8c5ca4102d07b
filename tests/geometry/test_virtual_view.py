# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.geometry import (
    MIN_SCALE,
    from_virtual_view,
    right_view,
    root_centring_rotation,
    rotate_points,
    rotate_rays,
    to_virtual_view,
)

K = 17
seeds = st.integers(0, 2**31)


def randn(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make_body(seed, num=1):
    body = randn(seed, num, K, 3) * torch.tensor([0.3, 0.5, 0.3])
    return body - body[:, :1]


def rotation_about(axis, angle):
    """``(3, 3)`` rotation, by the matrix exponential: nothing of the code under test."""
    x, y, z = axis
    return torch.linalg.matrix_exp(angle * torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=4))
def test_rotation_takes_the_root_to_the_axis_and_nothing_else(roots):
    roots = torch.tensor(roots, dtype=torch.float64)
    rotation = root_centring_rotation(roots)
    identity = torch.eye(3, dtype=torch.float64).expand(len(roots), 3, 3)
    torch.testing.assert_close(rotation @ rotation.mT, identity, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(len(roots), dtype=torch.float64))
    ray = torch.cat([roots, torch.ones(len(roots), 1)], -1)
    turned = (rotation @ ray[..., None])[..., 0]
    torch.testing.assert_close(turned[:, :2], torch.zeros_like(roots), rtol=0, atol=1e-12)
    torch.testing.assert_close(turned[:, 2], ray.norm(dim=-1))
    # The smallest such rotation: by the angle between ray and axis.
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close((trace - 1) / 2, 1 / ray.norm(dim=-1), rtol=0, atol=1e-12)


def test_rotation_of_the_axis_itself_is_none():
    assert torch.equal(root_centring_rotation(torch.zeros(1, 2)), torch.eye(3)[None])


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from([torch.float32, torch.float64]))
def test_inverse_is_exact(seed, dtype):
    rays = (randn(seed, 5, K, 2) * 0.4).to(dtype)
    normalised, view = to_virtual_view(rays)
    back = from_virtual_view(normalised, view)
    assert back.dtype == normalised.dtype == view.scale.dtype == dtype
    torch.testing.assert_close(back, rays, rtol=0, atol=1e-12 if dtype == torch.float64 else 1e-5)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_root_is_at_zero_and_spread_is_one(seed):
    normalised, view = to_virtual_view(randn(seed, 4, K, 2) * 0.3, root_index=2)
    torch.testing.assert_close(normalised[:, 2], torch.zeros(4, 2, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(normalised.square().sum(-1).mean(-1), torch.ones(4, dtype=torch.float64))
    assert (view.scale > 0).all()


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(-0.8, 0.8), st.floats(-0.8, 0.8), st.floats(2, 15))
def test_a_pose_looks_the_same_wherever_the_camera_turns(seed, x, y, distance):
    """The same body at the same distance and from the same side, in the image's centre and at (x, y)."""
    points = make_body(seed) + torch.tensor([0.0, 0.0, distance])
    centre = points[..., :2] / points[..., 2:]
    # Turning the camera moves the picture; the body and the way it is seen stay as they are.
    turn = root_centring_rotation(torch.tensor([[x, y]], dtype=torch.float64)).mT
    turned = rotate_points(points, turn)
    edge = turned[..., :2] / turned[..., 2:]
    torch.testing.assert_close(edge[:, 0], torch.tensor([[x, y]], dtype=torch.float64))

    at_centre, centre_view = to_virtual_view(centre)
    at_edge, edge_view = to_virtual_view(edge)
    torch.testing.assert_close(at_edge, at_centre, rtol=0, atol=1e-9)
    torch.testing.assert_close(edge_view.scale, centre_view.scale)
    # A crop, which only shifts and scales, does not undo perspective.
    if math.hypot(x, y) > 0.3:
        crop = [r - r[:, :1] for r in (centre, edge)]
        crop = [c / c.square().sum(-1).mean().sqrt() for c in crop]
        assert (crop[0] - crop[1]).abs().max() > 1e-3


def test_camera_rotation_about_any_axis_only_turns_the_picture():
    """Turned about the root's ray, the normalised picture turns with the camera and keeps its size."""
    points = make_body(0) + torch.tensor([0.7, -0.4, 5.0])
    axis = points[0, 0] / points[0, 0].norm()
    spun = rotate_points(points, rotation_about(axis.tolist(), 0.6)[None])
    first, second = (to_virtual_view(p[..., :2] / p[..., 2:])[0] for p in (points, spun))
    cos, sin = math.cos(0.6), math.sin(0.6)
    in_plane = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    torch.testing.assert_close(second, first @ in_plane.T, rtol=0, atol=1e-12)


def test_scale_is_the_angular_size():
    body = make_body(1)
    rays = [(body + torch.tensor([0.0, 0.0, z]))[0] for z in (10.0, 1000.0, 2000.0)]
    scales = [to_virtual_view((p[:, :2] / p[:, 2:])[None])[1].scale.item() for p in rays]
    assert scales[1] / scales[2] == pytest.approx(2, rel=1e-2)
    size = body[..., :2].square().sum(-1).mean().sqrt().item()
    assert scales[1] == pytest.approx(size / 1000, rel=1e-2)


@settings(max_examples=20, deadline=None)
@given(seeds, st.sets(st.integers(1, K - 1), max_size=14))
def test_missing_keypoints_do_not_count_towards_the_scale(seed, missing):
    rays = randn(seed, 1, K, 2) * 0.2
    visible = torch.ones(1, K)
    visible[:, list(missing)] = 0
    seen = [k for k in range(K) if k not in missing]
    normalised, view = to_virtual_view(rays, visible)
    alone, alone_view = to_virtual_view(rays[:, seen])
    torch.testing.assert_close(view.scale, alone_view.scale)
    torch.testing.assert_close(normalised[:, seen], alone)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32), st.sampled_from([0.0, 0.4]))
def test_a_pose_without_extent_is_all_zeros(x, y, elsewhere):
    rays = torch.tensor([x, y]).expand(1, K, 2).clone()
    visible = torch.ones(1, K)
    # Where uncounted keypoints lie makes no difference.
    rays[:, 5:] += elsewhere
    visible[:, 5:] = 0
    normalised, view = to_virtual_view(rays, visible)
    assert torch.equal(normalised, torch.zeros(1, K, 2))
    assert view.scale.item() < MIN_SCALE


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_rays_turn_as_points_do(seed):
    points = make_body(seed, 3) + torch.tensor([0.5, 0.5, 6.0])
    rotation = root_centring_rotation(points[:, 0, :2] / points[:, 0, 2:])
    turned = rotate_points(points, rotation)
    torch.testing.assert_close(
        rotate_rays(points[..., :2] / points[..., 2:], rotation), turned[..., :2] / turned[..., 2:]
    )
    torch.testing.assert_close(rotate_points(turned, rotation.mT), points)
    torch.testing.assert_close(turned[:, 0, :2], torch.zeros(3, 2, dtype=torch.float64), rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(-1, 1))
def test_right_view_is_the_projection_of_shifted_points(seed, baseline):
    points = make_body(seed, 3) + torch.tensor([0.2, 0.1, 5.0])
    shifted = points - torch.tensor([baseline, 0.0, 0.0])
    expected = shifted[..., :2] / shifted[..., 2:]
    torch.testing.assert_close(right_view(points, baseline), expected)
    torch.testing.assert_close(right_view(points, torch.full((3,), baseline)), expected)


def test_a_baseline_for_each_pose():
    points = make_body(0, 2) + torch.tensor([0.0, 0.0, 5.0])
    both = right_view(points, torch.tensor([0.2, -0.4]))
    torch.testing.assert_close(both[:1], right_view(points[:1], 0.2))
    torch.testing.assert_close(both[1:], right_view(points[1:], -0.4))


def test_seen_from_the_right_near_joints_move_left_most():
    near_and_far = torch.tensor([[[0.0, 0.0, 2.0], [0.0, 0.0, 4.0]]])
    assert right_view(near_and_far, 0.5)[0, :, 0].tolist() == [-0.25, -0.125]
    assert right_view(near_and_far, 0.5)[0, :, 1].tolist() == [0, 0]
    # Relative to the farther root, a near joint lies to the left: disparity is depth.
    assert right_view(near_and_far, -0.5)[0, :, 0].tolist() == [0.25, 0.125]


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(-1, 1), st.floats(-1, 1))
def test_a_centre_serves_as_a_root_that_does_not_count(seed, x, y):
    rays = randn(seed, 3, K, 2) * 0.3
    centre = torch.tensor([[x, y]], dtype=torch.float64).expand(3, 2)
    normalised, view = to_virtual_view(rays, centre=centre)
    with_root = torch.cat([centre[:, None], rays], 1)
    counted = torch.ones(3, K + 1)
    counted[:, 0] = 0
    expected, expected_view = to_virtual_view(with_root, counted)
    torch.testing.assert_close(normalised, expected[:, 1:])
    torch.testing.assert_close(view.rotation, expected_view.rotation)
    torch.testing.assert_close(view.scale, expected_view.scale)
    torch.testing.assert_close(normalised.square().sum(-1).mean(-1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(from_virtual_view(normalised, view), rays, rtol=0, atol=1e-12)
    of_a_joint, _ = to_virtual_view(rays, centre=rays[:, 4])
    torch.testing.assert_close(of_a_joint, to_virtual_view(rays, root_index=4)[0], rtol=0, atol=0)


@pytest.mark.parametrize('garbage', [-7.0, 1e6, 1e25])
def test_what_does_not_count_may_lie_anywhere(garbage):
    rays = (randn(0, 2, K, 2) * 0.2).float()
    rays[0, 0] = 0
    visible = torch.ones(2, K)
    visible[:, 5] = 0
    moved = rays.clone()
    moved[:, 5] = garbage
    (one, view), (other, other_view) = (to_virtual_view(r, visible) for r in (rays, moved))
    assert torch.equal(view.scale, other_view.scale)
    seen = [k for k in range(K) if k != 5]
    assert torch.equal(one[:, seen], other[:, seen])
