# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.geometry import back_project, search_objective, search_root_depth

K = 17
GRID = torch.arange(2.8, 7.2, 0.001, dtype=torch.float64)


def make_poses(num, seed, noise='none', dtype=torch.float64):
    """Coarse poses, rays, weights and the depths that the bodies stand at."""
    g = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    def rand(*shape):
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    body = randn(num, K, 3) * torch.tensor([0.3, 0.5, 0.3])
    body[:, 0] = 0
    depth = 2.5 + 5 * rand(num)
    root = torch.cat([(rand(num, 2) - 0.5) * depth[:, None], depth[:, None]], -1)
    points = body + root[:, None]
    rays = points[..., :2] / points[..., 2:]
    coarse = body.clone()
    if noise in ('small', 'outliers', 'kinks'):
        coarse += 0.05 * randn(num, K, 3)
    if noise == 'outliers':
        coarse += (rand(num, K, 1) < 0.3) * 3 * randn(num, K, 3)
    if noise == 'kinks':
        # Every other joint is hit exactly, each at a depth of its own: the objective has kinks there.
        own = 2.5 + 5 * rand(num, K, 1)
        exact = (rays - rays[:, :1]) * own + rays * coarse[..., 2:]
        coarse[:, 1::2, :2] = exact[:, 1::2]
    coarse[:, 0] = 0
    return coarse.to(dtype), rays.to(dtype), rand(num, K).to(dtype), depth.to(dtype)


def grid_minimum(coarse, rays, weights, root_index=0):
    """Smallest objective on the release's 1 mm grid, ``(N,)``, in float64."""
    coarse, rays, weights = coarse.double(), rays.double(), weights.double()
    best = torch.full((len(coarse),), float('inf'), dtype=torch.float64)
    for depths in GRID.split(440):
        value = search_objective(
            depths.repeat(len(coarse)),
            *(t.repeat_interleave(len(depths), 0) for t in (coarse, rays, weights)),
            root_index,
        )
        best = torch.minimum(best, value.view(len(coarse), -1).amin(1))
    return best


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from(['small', 'outliers', 'kinks']),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_never_worse_than_the_millimetre_grid(seed, noise, dtype):
    coarse, rays, weights, _ = make_poses(8, seed, noise, dtype)
    depth, _ = search_root_depth(coarse, rays, weights)
    assert depth.dtype == dtype
    value = search_objective(depth.double(), coarse.double(), rays.double(), weights.double())
    # What rounding a depth to float32 costs: no more than the objective's greatest slope.
    slope = (weights * (rays - rays[:, :1]).norm(dim=-1)).sum(-1).double()
    rounding = slope * depth.double() * torch.finfo(dtype).eps
    assert (value <= grid_minimum(coarse, rays, weights) * (1 + 1e-6) + rounding).all()


@pytest.mark.parametrize('noise', ['small', 'outliers', 'kinks'])
def test_is_the_minimum_of_a_large_batch(noise):
    coarse, rays, weights, _ = make_poses(5000, 0, noise)
    depth, _ = search_root_depth(coarse, rays, weights)
    value = search_objective(depth, coarse, rays, weights)
    for step in (1e-4, 1e-2, 1.0):
        for sign in (-1, 1):
            other = (depth + sign * step * depth).clamp(min=0.1)
            assert (value <= search_objective(other, coarse, rays, weights) * (1 + 1e-6)).all()


def test_one_dominant_kink_is_the_answer():
    coarse, rays, _, _ = make_poses(64, 3, 'small')
    own = torch.linspace(2, 9, 64, dtype=torch.float64)
    coarse[:, 5, :2] = (rays[:, 5] - rays[:, 0]) * own[:, None] + rays[:, 5] * coarse[:, 5, 2:]
    weights = torch.full((64, K), 1e-3, dtype=torch.float64)
    # No pull of the others can move the optimum off the kink.
    spread = (rays - rays[:, :1]).norm(dim=-1)
    weights[:, 5] = 1.1e-3 * spread.sum(1) / spread[:, 5]
    depth, _ = search_root_depth(coarse, rays, weights)
    torch.testing.assert_close(depth, own, rtol=1e-6, atol=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(['norm', 'squared']))
def test_recovers_the_depth_of_an_exact_pose(seed, objective):
    coarse, rays, weights, true_depth = make_poses(16, seed)
    depth, pose_abs = search_root_depth(coarse, rays, weights, objective=objective)
    assert (depth - true_depth).abs().max() < 1e-6
    torch.testing.assert_close(pose_abs[:, 0, 2], depth)
    torch.testing.assert_close(pose_abs - pose_abs[:, :1], coarse, rtol=0, atol=1e-6)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_reprojects_onto_the_rays(dtype):
    coarse, rays, weights, _ = make_poses(100, 1, 'outliers', dtype)
    coarse[..., 2] = coarse[..., 2].clamp(-1, 1)
    depth, pose_abs = search_root_depth(coarse, rays, weights, min_depth=1.5)
    assert pose_abs.dtype == dtype
    projected = pose_abs[..., :2] / pose_abs[..., 2:]
    assert ((projected - rays) * 1500).abs().max() < (1e-2 if dtype == torch.float32 else 1e-9)  # pixels
    torch.testing.assert_close(pose_abs[..., 2] - depth[:, None], coarse[..., 2], rtol=0, atol=2e-6)


def test_squared_objective_is_weighted_least_squares():
    coarse, rays, weights, _ = make_poses(20, 2, 'small')
    depth, _ = search_root_depth(coarse, rays, weights, objective='squared')
    for i in range(20):
        p, r, w = (t[i].numpy() for t in (coarse, rays, weights))
        a, b = (r - r[0]).ravel(), (p[:, :2] - r * p[:, 2:]).ravel()
        root_w = np.repeat(np.sqrt(w), 2)
        expected = np.linalg.lstsq((root_w * a)[:, None], root_w * b, rcond=None)[0][0]
        assert depth[i].item() == pytest.approx(expected, rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(['small', 'outliers', 'kinks']))
def test_each_pose_is_solved_on_its_own(seed, noise):
    coarse, rays, weights, _ = make_poses(12, seed, noise)
    depth, pose_abs = search_root_depth(coarse, rays, weights)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    permuted, _ = search_root_depth(coarse[order], rays[order], weights[order])
    torch.testing.assert_close(permuted, depth[order], rtol=0, atol=0)
    for i in range(12):
        one, one_abs = search_root_depth(coarse[i : i + 1], rays[i : i + 1], weights[i : i + 1])
        torch.testing.assert_close(one[0], depth[i], rtol=1e-12, atol=0)
        torch.testing.assert_close(one_abs[0], pose_abs[i], rtol=1e-12, atol=1e-12)


def test_more_poses_than_a_chunk():
    coarse, rays, weights, _ = make_poses(4100, 4, 'outliers')
    depth, _ = search_root_depth(coarse, rays, weights)
    tail, _ = search_root_depth(coarse[4090:], rays[4090:], weights[4090:])
    torch.testing.assert_close(depth[4090:], tail, rtol=1e-12, atol=0)
    unweighted, _ = search_root_depth(coarse, rays)
    ones, _ = search_root_depth(coarse, rays, torch.ones_like(weights))
    torch.testing.assert_close(unweighted, ones, rtol=0, atol=0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.permutations(range(K)))
def test_joint_order_does_not_matter(seed, order):
    coarse, rays, weights, _ = make_poses(6, seed, 'outliers')
    depth, _ = search_root_depth(coarse, rays, weights)
    permuted, _ = search_root_depth(coarse[:, order], rays[:, order], weights[:, order], root_index=order.index(0))
    # Equal values, not equal depths: an objective that is flat at its minimum has many.
    torch.testing.assert_close(
        search_objective(permuted, coarse, rays, weights),
        search_objective(depth, coarse, rays, weights),
        rtol=1e-8,
        atol=0,
    )


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**31), st.sets(st.integers(1, K - 1), min_size=1, max_size=12), st.sampled_from(['norm', 'squared'])
)
def test_weight_zero_leaves_a_joint_out(seed, out, objective):
    coarse, rays, weights, _ = make_poses(6, seed, 'outliers')
    weights[:, list(out)] = 0
    depth, pose_abs = search_root_depth(coarse, rays, weights, objective=objective)
    kept = [k for k in range(K) if k not in out]
    alone, _ = search_root_depth(coarse[:, kept], rays[:, kept], weights[:, kept], objective=objective)
    torch.testing.assert_close(depth, alone, rtol=1e-7, atol=0)
    assert pose_abs.shape == (6, K, 3)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**31), st.floats(0.1, 9), st.floats(0.1, 9), st.floats(0, 1), st.sampled_from(['norm', 'squared'])
)
def test_objective_is_convex(seed, one, other, share, objective):
    coarse, rays, weights, _ = make_poses(4, seed, 'outliers')

    def value(depth):
        depth = torch.full((4,), depth, dtype=torch.float64)
        return search_objective(depth, coarse, rays, weights, objective=objective)

    between = value(share * one + (1 - share) * other)
    assert (between <= share * value(one) + (1 - share) * value(other) + 1e-9).all()


@pytest.mark.parametrize('objective', ['norm', 'squared'])
def test_depth_is_bounded_below(objective):
    coarse, rays, _, true_depth = make_poses(32, 5)
    depth, _ = search_root_depth(coarse, rays, min_depth=5.0, objective=objective)
    torch.testing.assert_close(depth, true_depth.clamp(min=5.0), rtol=1e-9, atol=0)
    # A pose turned inside out would lie behind the camera.
    depth, _ = search_root_depth(-coarse, rays, objective=objective)
    assert (depth >= 0.1).all()
    assert (search_objective(depth, -coarse, rays, objective=objective)
            <= search_objective(depth + 0.01, -coarse, rays, objective=objective)).all()  # fmt: skip


def test_weights_change_only_by_their_ratio():
    coarse, rays, weights, _ = make_poses(32, 6, 'small')
    depth, _ = search_root_depth(coarse, rays, weights)
    for factor in (1e-6, 1e6):
        scaled, _ = search_root_depth(coarse, rays, weights * factor)
        torch.testing.assert_close(scaled, depth, rtol=1e-5, atol=0)


def test_no_poses():
    depth, pose_abs, valid = search_root_depth(torch.zeros(0, K, 3), torch.zeros(0, K, 2), on_invalid='nan')
    assert depth.shape == (0,) and pose_abs.shape == (0, K, 3) and valid.shape == (0,)
    assert depth.dtype == torch.float32 and valid.dtype == torch.bool
    depth, _ = search_root_depth(torch.zeros(0, K, 3), torch.zeros(0, K, 2), torch.zeros(0, K))
    assert len(depth) == 0


def spoil(kind, coarse, rays, weights, pose):
    """Make one pose unsolvable; gives what the error says of it."""
    if kind == 'nan pose':
        coarse[pose, 3, 1] = float('nan')
    elif kind == 'inf ray':
        rays[pose, 4, 0] = float('inf')
    elif kind == 'nan weight':
        weights[pose, 2] = float('nan')
    elif kind == 'negative weight':
        weights[pose, 2] = -0.5
        return 'negative weight'
    elif kind == 'two joints':
        weights[pose, 2:] = 0
        return 'fewer than 3 usable joints'
    elif kind == 'one point':
        rays[pose] = rays[pose, 0].clone()
        return "at the root's image point"
    return 'non-finite'


KINDS = ['nan pose', 'inf ray', 'nan weight', 'negative weight', 'two joints', 'one point']


@pytest.mark.parametrize('kind', KINDS)
def test_an_unsolvable_pose_is_named(kind):
    coarse, rays, weights, _ = make_poses(9, 7, 'small')
    reason = spoil(kind, coarse, rays, weights, 6)
    with pytest.raises(ValueError, match=rf'pose 6 .*{reason}'):
        search_root_depth(coarse, rays, weights)


@pytest.mark.parametrize('objective', ['norm', 'squared'])
def test_unsolvable_poses_give_nan_and_leave_the_others_alone(objective):
    coarse, rays, weights, _ = make_poses(12, 8, 'outliers')
    expected, expected_abs = search_root_depth(coarse, rays, weights, objective=objective)
    for pose, kind in enumerate(KINDS):
        spoil(kind, coarse, rays, weights, 2 * pose)
    depth, pose_abs, valid = search_root_depth(coarse, rays, weights, objective=objective, on_invalid='nan')
    assert valid.tolist() == [False, True] * 6
    assert depth[~valid].isnan().all() and pose_abs[~valid].isnan().all()
    torch.testing.assert_close(depth[valid], expected[valid], rtol=1e-12, atol=0)
    torch.testing.assert_close(pose_abs[valid], expected_abs[valid], rtol=1e-12, atol=1e-12)


def test_fewer_than_three_keypoints():
    for k in (1, 2):
        with pytest.raises(ValueError, match='pose 0 .*fewer than 3'):
            search_root_depth(torch.zeros(2, k, 3), torch.zeros(2, k, 2))
    with pytest.raises(ValueError, match='pose_rel takes'):
        search_root_depth(torch.zeros(2, 0, 3), torch.zeros(2, 0, 2))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(pose_rel=torch.zeros(K, 3)), r'pose_rel takes \(N, K, 3\), got \(17, 3\)'),
        (dict(pose_rel=torch.zeros(2, K, 2)), r'pose_rel takes .* got \(2, 17, 2\)'),
        (dict(rays=torch.zeros(2, K, 3)), r'rays takes \(2, 17, 2\) .*got \(2, 17, 3\)'),
        (dict(rays=torch.zeros(3, K, 2)), r'rays takes'),
        (dict(weights=torch.zeros(2, 5)), r'weights takes \(2, 17\), got \(2, 5\)'),
        (dict(root_index=17), 'root_index takes 0 … 16, got 17'),
        (dict(root_index=-1), 'root_index'),
        (dict(objective='huber'), "objective takes .* got 'huber'"),
        (dict(min_depth=0.0), 'min_depth takes .* got 0.0'),
        (dict(min_depth=float('nan')), 'min_depth'),
        (dict(on_invalid='skip'), "on_invalid takes .* got 'skip'"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = dict(pose_rel=torch.rand(2, K, 3), rays=torch.rand(2, K, 2), weights=torch.ones(2, K)) | change
    with pytest.raises(ValueError, match=message):
        search_root_depth(arguments.pop('pose_rel'), arguments.pop('rays'), **arguments)


def test_back_project_puts_points_on_their_rays():
    rays = torch.tensor([[[0.0, 0.0], [0.5, -0.25]]])
    points = back_project(rays, torch.tensor([4.0]), torch.tensor([[0.0, 2.0]]))
    assert points.tolist() == [[[0.0, 0.0, 4.0], [3.0, -1.5, 6.0]]]


def test_objective_by_hand():
    # One joint half a metre right of the root's ray, 2 m away in depth, whose coarse place is the root's.
    rays = torch.tensor([[[0.0, 0.0], [0.1, 0.0]]])
    pose = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]])
    assert search_objective(torch.tensor([3.0]), pose, rays).item() == pytest.approx(0.5)
    assert search_objective(torch.tensor([3.0]), pose, rays, objective='squared').item() == pytest.approx(0.25)
    weights = torch.tensor([[1.0, 3.0]])
    assert search_objective(torch.tensor([3.0]), pose, rays, weights).item() == pytest.approx(1.5)


def without_root(coarse, rays, weights):
    """The same poses, still relative to their root, which is not among the joints: COCO's case."""
    return coarse[:, 1:], rays[:, 1:], weights[:, 1:]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(['norm', 'squared']))
def test_without_a_root_an_exact_pose_is_found_exactly(seed, objective):
    *pose, true_depth = make_poses(16, seed)
    coarse, rays, weights = without_root(*pose)
    depth, pose_abs = search_root_depth(coarse, rays, weights, root_index=None, objective=objective)
    torch.testing.assert_close(depth, true_depth, rtol=0, atol=1e-6)
    true_root = pose_abs - coarse
    torch.testing.assert_close(true_root, true_root[:, :1].expand_as(true_root), rtol=0, atol=1e-6)
    torch.testing.assert_close(true_root[:, 0, 2], true_depth, rtol=0, atol=1e-6)
    unweighted, _ = search_root_depth(coarse, rays, root_index=None, objective=objective)
    torch.testing.assert_close(unweighted, true_depth, rtol=0, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(['small', 'outliers', 'kinks']))
def test_without_a_root_never_worse_than_the_millimetre_grid(seed, noise):
    coarse, rays, weights = without_root(*make_poses(4, seed, noise)[:3])
    depth, _ = search_root_depth(coarse, rays, weights, root_index=None)
    value = search_objective(depth, coarse, rays, weights, None)
    assert (value <= grid_minimum(coarse, rays, weights, None) * (1 + 1e-6)).all()


@pytest.mark.parametrize('noise', ['small', 'outliers', 'kinks'])
def test_without_a_root_it_is_the_minimum_of_a_large_batch(noise):
    coarse, rays, weights = without_root(*make_poses(5000, 0, noise)[:3])
    depth, _ = search_root_depth(coarse, rays, weights, root_index=None)
    value = search_objective(depth, coarse, rays, weights, None)
    for step in (1e-4, 1e-2, 1.0):
        for sign in (-1, 1):
            other = (depth + sign * step * depth).clamp(min=0.1)
            assert (value <= search_objective(other, coarse, rays, weights, None) * (1 + 1e-6)).all()


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(-3, 3),
    st.floats(-3, 3),
    st.sampled_from(['small', 'outliers']),
    st.sampled_from(['norm', 'squared']),
)
def test_without_a_root_it_does_not_matter_where_the_pose_is_thought_to_stand(seed, x, y, noise, objective):
    coarse, rays, weights = without_root(*make_poses(6, seed, noise)[:3])
    moved = coarse + torch.tensor([x, y, 0.0])
    depths = [search_root_depth(p, rays, weights, root_index=None, objective=objective)[0] for p in (coarse, moved)]
    # Equal values, not equal depths: an objective that is flat at its minimum has many.
    values = [search_objective(d, coarse, rays, weights, None, objective) for d in depths]
    torch.testing.assert_close(values[1], values[0], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(search_objective(depths[0], moved, rays, weights, None, objective), values[0])
    # With a root among the joints it does.
    if abs(x) > 0.5:
        value = search_objective(depths[0], moved.index_fill(1, torch.tensor([0]), 0.0), rays, weights, 0, objective)
        assert not torch.isclose(value, values[0]).any()


def test_without_a_root_weights_change_only_by_their_ratio():
    coarse, rays, weights = without_root(*make_poses(32, 6, 'small')[:3])
    depth, _ = search_root_depth(coarse, rays, weights, root_index=None)
    for factor in (1e-6, 1e6):
        scaled, _ = search_root_depth(coarse, rays, weights * factor, root_index=None)
        torch.testing.assert_close(scaled, depth, rtol=1e-5, atol=0)


def test_without_a_root_squares_are_fitted_over_depth_and_place_at_once():
    coarse, rays, weights = without_root(*make_poses(20, 2, 'small')[:3])
    depth, _ = search_root_depth(coarse, rays, weights, root_index=None, objective='squared')
    for i in range(20):
        p, r, w = (t[i].numpy() for t in (coarse, rays, weights))
        # Back-projected, joint i lies at r (D + dz); the coarse one at p + t, wherever t is.
        unknowns = np.concatenate([r.reshape(-1, 1), -np.tile(np.eye(2), (K - 1, 1))], 1)
        known = (p[:, :2] - r * p[:, 2:]).ravel()
        root_w = np.repeat(np.sqrt(w), 2)
        solution = np.linalg.lstsq(root_w[:, None] * unknowns, root_w * known, rcond=None)[0]
        assert depth[i].item() == pytest.approx(solution[0], rel=1e-9)
        lateral = (depth[i] * rays[i] + rays[i] * coarse[i, :, 2:] - coarse[i, :, :2]).numpy()
        np.testing.assert_allclose((lateral * w[:, None]).sum(0) / w.sum(), solution[1:], rtol=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, K - 2))
def test_a_joint_of_all_the_weight_is_as_good_as_a_root(seed, joint):
    coarse, rays, weights = without_root(*make_poses(6, seed, 'small')[:3])
    # Relative to that joint, which a root is at.
    moved = torch.cat([coarse[..., :2] - coarse[:, joint : joint + 1, :2], coarse[..., 2:]], -1)
    depth_rel = coarse[:, joint, 2]
    expected, _ = search_root_depth(
        torch.cat([moved[..., :2], moved[..., 2:] - depth_rel[:, None, None]], -1), rays, weights,
        root_index=joint, objective='squared', min_depth=1e-3,
    )  # fmt: skip
    weights = weights.clone()
    weights[:, joint] = 1e7
    depth, _ = search_root_depth(coarse, rays, weights, root_index=None, objective='squared', min_depth=1e-3)
    torch.testing.assert_close((depth + depth_rel).clamp(min=1), expected.clamp(min=1), rtol=1e-4, atol=0)


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sets(st.integers(0, K - 2), min_size=1, max_size=12),
    st.sampled_from(['norm', 'squared']),
    st.permutations(range(K - 1)),
)
def test_without_a_root_weight_zero_leaves_a_joint_out_and_order_does_not_matter(seed, out, objective, order):
    coarse, rays, weights = without_root(*make_poses(6, seed, 'outliers')[:3])
    weights = weights.clone()
    weights[:, list(out)] = 0
    moved = coarse.clone()
    moved[:, list(out)] += 7
    options = dict(root_index=None, objective=objective)
    kept = [k for k in range(K - 1) if k not in out]
    values = [
        search_objective(search_root_depth(p, r, w, **options)[0], coarse, rays, weights, None, objective)
        for p, r, w in (
            (coarse, rays, weights),
            (moved, rays, weights),
            (coarse[:, kept], rays[:, kept], weights[:, kept]),
            (coarse[:, order], rays[:, order], weights[:, order]),
        )
    ]
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-8, atol=0)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('kind', KINDS)
def test_without_a_root_an_unsolvable_pose_is_named(kind, dtype):
    coarse, rays, weights, _ = make_poses(9, 7, 'small', dtype)
    reason = spoil(kind, coarse, rays, weights, 6)
    reason = 'all at one point' if kind == 'one point' else reason
    if kind == 'two joints':
        weights[6, 2] = 0.5  # joint 1 and this one are left of the rootless pose
    coarse, rays, weights = without_root(coarse, rays, weights)
    with pytest.raises(ValueError, match=rf'pose 6 .*{reason}'):
        search_root_depth(coarse, rays, weights, root_index=None)
    depth, pose_abs, valid = search_root_depth(coarse, rays, weights, root_index=None, on_invalid='nan')
    assert valid.tolist() == [pose != 6 for pose in range(9)]
    assert depth[6].isnan() and pose_abs[6].isnan().all() and depth[valid].isfinite().all()


def test_objective_without_a_root_by_hand():
    # Two joints, a tenth apart at z = 1, told to be 0.2 m apart: at 2 m they agree, at 3 m each is 0.05 m off.
    rays = torch.tensor([[[0.0, 0.0], [0.1, 0.0]]])
    pose = torch.tensor([[[5.0, -1.0, 0.0], [5.2, -1.0, 0.0]]])
    for depth, miss in ((2.0, 0.0), (3.0, 0.05)):
        value = search_objective(torch.tensor([depth]), pose, rays, root_index=None)
        assert value.item() == pytest.approx(2 * miss, abs=1e-6)
    # Of a joint of three times the weight the mean is three times nearer.
    weights = torch.tensor([[1.0, 3.0]])
    value = search_objective(torch.tensor([3.0]), pose, rays, weights, None)
    assert value.item() == pytest.approx(1 * 0.075 + 3 * 0.025, abs=1e-6)
    value = search_objective(torch.tensor([3.0]), pose, rays, weights, None, 'squared')
    assert value.item() == pytest.approx(1 * 0.075**2 + 3 * 0.025**2, abs=1e-6)
