# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of constant bone lengths."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.geometry import H36M_17, PoseSequence, mpjpe, root_relative
from stereopose_mm.geometry.bone_fit import (
    BONES,
    BoneLengthEstimate,
    estimate_bone_lengths,
    fit_bone_lengths,
    fit_sequence,
    place_on_rays,
    refine_depths,
    sequence_bone_lengths,
    set_bone_lengths,
)

from ..made_sequence import make_sequence

SEEDS = st.integers(0, 2**31)


def bone_lengths(poses):
    parent, child = np.array(BONES).T
    return np.linalg.norm(np.asarray(poses)[:, child] - np.asarray(poses)[:, parent], axis=-1)


def bodies(num, seed):
    """People before the camera: joints, and their rays and depths, in float64."""
    clip = make_sequence(3, 8).keypoints_cam.astype(np.float64)
    rng = np.random.default_rng(seed)
    poses = torch.from_numpy(clip[rng.choice(len(clip), num)])
    return poses, poses[..., :2] / poses[..., 2:], poses[..., 2]


# Lengths


@settings(max_examples=20)
@given(SEEDS)
def test_lengths_of_equal_bodies_are_exact(seed):
    poses, _, _ = bodies(20, seed)
    lengths = torch.linspace(0.1, 0.5, 16, dtype=torch.float64)
    lengths = (lengths + lengths[[H36M_17.flip_indices[c] - 1 for _, c in BONES]]) / 2
    body = set_bone_lengths(poses, lengths)
    np.testing.assert_allclose(estimate_bone_lengths(body.numpy()), lengths, rtol=1e-12)


@settings(max_examples=20)
@given(SEEDS, st.floats(0.5, 2))
def test_lengths_turn_with_nothing_and_grow_with_the_body(seed, factor):
    rng = np.random.default_rng(seed)
    # One body, seen with errors: between lengths that are far apart the median jumps.
    body = set_bone_lengths(bodies(101, seed)[0], torch.full((16,), 0.3, dtype=torch.float64)).numpy()
    poses = body + rng.normal(0, 0.01, body.shape)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    lengths = estimate_bone_lengths(poses)
    np.testing.assert_allclose(estimate_bone_lengths(poses @ turn + 3), lengths, rtol=1e-6)
    # Bins are 1 % wide.
    np.testing.assert_allclose(estimate_bone_lengths(factor * poses), factor * lengths, rtol=0.03)
    flipped = poses[:, list(H36M_17.flip_indices)]
    np.testing.assert_allclose(estimate_bone_lengths(flipped), lengths, rtol=1e-9)


@settings(max_examples=20)
@given(SEEDS)
def test_lengths_are_near_the_median_of_both_sides(seed):
    rng = np.random.default_rng(seed)
    poses = rng.normal(0, 0.3, (101, 17, 3))
    found, each = estimate_bone_lengths(poses), bone_lengths(poses)
    mirror = [H36M_17.flip_indices[c] - 1 for _, c in BONES]
    np.testing.assert_array_equal(found, found[mirror])
    for bone in range(16):
        both = np.sort(np.concatenate([each[:, bone], each[:, mirror[bone]]]))
        median = np.median(both)
        assert abs(found[bone] - median) < 0.011 * median + np.ptp(both[99:103])


def test_gross_errors_do_not_move_lengths():
    clip = make_sequence(1, 60).keypoints_cam.copy()
    expected = estimate_bone_lengths(clip)
    clip[::3, 13] += 2
    clip[1] = np.nan
    np.testing.assert_allclose(estimate_bone_lengths(clip), expected, rtol=1e-6)


def test_uncertain_poses_weigh_less():
    clip = make_sequence(1, 20).keypoints_cam
    both = np.concatenate([clip, 1.5 * clip, 1.5 * clip])
    uncertainty = np.repeat([0.02, 0.2, 0.2], 20)[:, None].repeat(17, 1)
    estimate = BoneLengthEstimate()
    estimate.add(both, uncertainty)
    np.testing.assert_allclose(estimate.lengths(), estimate_bone_lengths(clip), rtol=1e-6)
    np.testing.assert_allclose(estimate_bone_lengths(both, uncertainty**-2.0), estimate.lengths(), rtol=1e-6)


@settings(max_examples=10)
@given(SEEDS, st.integers(1, 39))
def test_parts_and_merged_estimates_are_the_whole(seed, cut):
    poses = np.random.default_rng(seed).normal(0, 0.3, (40, 17, 3))
    whole, first, second = BoneLengthEstimate(), BoneLengthEstimate(), BoneLengthEstimate()
    whole.add(poses)
    first.add(poses[:cut])
    stored = json.loads(json.dumps({name: array.tolist() for name, array in first.state_dict().items()}))
    second.add(poses[cut:])
    again = BoneLengthEstimate()
    again.load_state_dict(stored)
    again.merge(second)
    np.testing.assert_allclose(again.lengths(), whole.lengths(), rtol=1e-9)


def test_nobody_has_no_lengths():
    assert np.isnan(BoneLengthEstimate().lengths()).all()


# Depths


@settings(max_examples=10)
@given(SEEDS)
def test_exact_depths_stay(seed):
    poses, rays, depths = bodies(6, seed)
    sigma = torch.full_like(depths, 0.05)
    found = refine_depths(rays, depths, BONES, torch.from_numpy(bone_lengths(poses)), 0.005, sigma)
    torch.testing.assert_close(found, depths, rtol=0, atol=1e-9)


def cost_of(z, rays, depths, lengths, length_sigma, sigma):
    joints = torch.cat([rays, torch.ones_like(rays[..., :1])], -1) * z[..., None]
    parent, child = torch.tensor(BONES).T
    cost = (((joints[:, child] - joints[:, parent]).norm(dim=-1) - lengths) / length_sigma).square().sum(-1)
    off = z - depths
    relative = (off[:, 1:] - off[:, :1]) / sigma[:, 1:]
    return cost + relative.square().sum(-1) + (off[:, 0] / sigma[:, 0]).square()


@settings(max_examples=10)
@given(SEEDS)
def test_depths_are_a_minimum_of_what_is_stated(seed):
    poses, rays, exact = bodies(6, seed)
    g = torch.Generator().manual_seed(seed)
    depths = exact + 0.05 * torch.randn(exact.shape, generator=g, dtype=exact.dtype)
    problem = rays, depths, torch.from_numpy(bone_lengths(poses)), 0.02, torch.full_like(depths, 0.05)
    found = refine_depths(rays, depths, BONES, *problem[2:], num_steps=60).requires_grad_()
    cost = cost_of(found, *problem)
    assert (cost < cost_of(depths, *problem)).all()
    # At the start the slope is of the order of 1e3.
    (slope,) = torch.autograd.grad(cost.sum(), found)
    assert slope.abs().max() < 2


@settings(max_examples=10)
@given(SEEDS)
def test_known_lengths_make_depths_better(seed):
    poses, rays, exact = bodies(40, seed)
    g = torch.Generator().manual_seed(seed)
    off = 0.06 * torch.randn(exact.shape, generator=g, dtype=exact.dtype)
    off[:, 0] = 0
    sigma = torch.full_like(exact, 0.06)
    found = refine_depths(rays, exact + off, BONES, torch.from_numpy(bone_lengths(poses)), 0.005, sigma)
    left = (found - exact) - (found - exact)[:, :1]
    assert left.abs().mean() < 0.9 * off.abs().mean()


def test_single_images_take_tolerances_of_their_own():
    poses, rays, depths = bodies(4, 0)
    lengths = torch.from_numpy(bone_lengths(poses)) * 1.1
    sigma = torch.full_like(depths, 0.3)
    loose = refine_depths(rays, depths, BONES, lengths, torch.full((4, 16), 10.0), sigma)
    tight = refine_depths(rays, depths, BONES, lengths, torch.full((16,), 0.003), sigma, num_steps=20)
    torch.testing.assert_close(loose, depths, rtol=0, atol=1e-3)
    joints = torch.cat([rays, torch.ones_like(rays[..., :1])], -1)
    miss = [(bone_lengths(joints * z[..., None]) - lengths.numpy()) for z in (loose, tight)]
    assert np.abs(miss[1]).mean() < 0.2 * np.abs(miss[0]).mean()


# Poses


@settings(max_examples=10)
@given(SEEDS, st.floats(0.8, 1.25))
def test_lengths_become_exact_and_joints_stay_on_their_lines(seed, factor):
    poses, rays, _ = bodies(5, seed)
    lengths = torch.from_numpy(factor * bone_lengths(poses))
    on_lines = fit_bone_lengths(poses, lengths, exact=False)
    torch.testing.assert_close(on_lines[..., :2] / on_lines[..., 2:], rays, rtol=0, atol=1e-9)
    exact = fit_bone_lengths(poses, lengths)
    np.testing.assert_allclose(bone_lengths(exact), lengths, rtol=1e-9)


@settings(max_examples=10)
@given(SEEDS)
def test_a_rigid_body_is_put_back_where_it_was(seed):
    poses, rays, _ = bodies(5, seed)
    g = torch.Generator().manual_seed(seed)
    weights = (torch.rand(5, 17, generator=g, dtype=torch.float64) > 0.3).double()
    wrong = poses[:, 0] * torch.tensor([0.9, 1.1, 1.1], dtype=torch.float64)
    placed = place_on_rays(poses - poses[:, :1], rays, weights, wrong, root_sigma=10)
    torch.testing.assert_close(placed, poses, rtol=0, atol=2e-3)


def test_dtype_and_empty():
    poses, _, _ = bodies(3, 0)
    assert fit_bone_lengths(poses.float(), torch.full((16,), 0.3)).dtype == torch.float32
    assert fit_bone_lengths(poses[:0], torch.full((16,), 0.3)).shape == (0, 17, 3)


# Clips


def noisy_clip(frames=40):
    """Depths off by 3 cm on the lines of sight: what a lifter gives for exact 2D keypoints."""
    clip = make_sequence(2, frames)
    rng = np.random.default_rng(0)
    z = clip.keypoints_cam[..., 2:]
    off = ((z + rng.normal(0, 0.03, z.shape)) / z).astype(np.float32)
    poses = clip.keypoints_cam * off
    scores = np.ones_like(clip.scores_2d)
    return clip, replace(clip, keypoints_cam=poses, input_keypoints_cam=poses, scores_2d=scores)


def test_people_of_a_clip_keep_their_lengths_and_get_better():
    truth, clip = noisy_clip()
    fitted = fit_sequence(clip)
    for track in (0, 1):
        lengths = bone_lengths(fitted.keypoints_cam[fitted.track == track])
        assert np.ptp(lengths, axis=0).max() < 1e-5
    errors = [
        mpjpe(*(root_relative(torch.from_numpy(s.keypoints_cam)) for s in (sequence, truth))).mean()
        for sequence in (clip, fitted)
    ]
    assert errors[1] < 0.95 * errors[0]
    pixels = clip.cameras[clip.frame].project(torch.from_numpy(fitted.keypoints_cam)).numpy()
    np.testing.assert_allclose(
        fitted.reprojection_error, np.linalg.norm(pixels - clip.keypoints_2d, axis=-1).mean(1), atol=0.05
    )
    assert fitted.reprojection_error.mean() < 3
    np.testing.assert_array_equal(fitted.input_keypoints_cam, fitted.keypoints_cam)


def test_lines_of_sight_alone_cost_no_pixel():
    _, clip = noisy_clip(10)
    assert fit_sequence(clip, exact=False).reprojection_error.max() < 0.01


def test_parts_with_given_lengths_are_the_whole():
    _, clip = noisy_clip(20)
    lengths = sequence_bone_lengths(clip)
    parts = [fit_sequence(clip.select_frames(slice(a, b)), lengths) for a, b in ((0, 7), (7, 20))]
    joined = PoseSequence.concatenate(parts)
    np.testing.assert_allclose(joined.keypoints_cam, fit_sequence(clip).keypoints_cam, atol=1e-5)


def test_invalid_poses_and_unknown_people_stay():
    _, clip = noisy_clip(10)
    keypoints = clip.keypoints_cam.copy()
    keypoints[4] = np.nan
    clip = replace(clip, keypoints_cam=keypoints, input_keypoints_cam=keypoints, valid=np.arange(20) != 4)
    fitted = fit_sequence(clip, {0: sequence_bone_lengths(clip)[0]})
    assert np.isnan(fitted.keypoints_cam[4]).all()
    np.testing.assert_array_equal(fitted.keypoints_cam[1::2], clip.keypoints_cam[1::2])
    assert not np.allclose(fitted.keypoints_cam[0], clip.keypoints_cam[0])
    assert fit_sequence(clip, {}) is clip


def test_coco_keypoints_move_with_the_joints_beside_them():
    _, clip = noisy_clip(10)
    # COCO's limbs are joints of H36M-17 here, the head's five keypoints its neck joint.
    of_coco = [9, 9, 9, 9, 9, 11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3]
    seen = clip.keypoints_cam[:, of_coco] + np.float32(0.01)
    clip = replace(clip, skeleton='coco', input_keypoints_cam=seen)
    fitted = fit_sequence(clip)
    moved = fitted.keypoints_cam - clip.keypoints_cam
    np.testing.assert_allclose(fitted.input_keypoints_cam - seen, moved[:, of_coco], atol=1e-5)
    assert 0 < fitted.reprojection_error.mean() < 10


def test_bad_input_is_named():
    poses, rays, depths = bodies(2, 0)
    with pytest.raises(ValueError, match='before the camera'):
        fit_bone_lengths(-poses, torch.ones(16))
    with pytest.raises(ValueError, match='target_lengths'):
        refine_depths(rays, depths, BONES, torch.ones(15), 0.01, torch.ones_like(depths))
    with pytest.raises(ValueError, match='depth_sigma'):
        refine_depths(rays, depths, BONES, torch.ones(16), 0.01, torch.ones(17))
    with pytest.raises(ValueError, match=r'\(N, 17, 3\)'):
        BoneLengthEstimate().add(np.zeros((3, 16, 3)))
    with pytest.raises(ValueError, match='uncertainty'):
        BoneLengthEstimate().add(np.zeros((3, 17, 3)), np.zeros((3, 16)))
    with pytest.raises(ValueError, match='weight takes'):
        BoneLengthEstimate().load_state_dict({'weight': [1.0]})
