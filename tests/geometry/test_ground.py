# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of the ground's estimate."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stereopose_mm.geometry.ground import ANKLE_HEIGHT, estimate_ground

from ..made_sequence import make_sequence

CAMERA_HEIGHT = 1.5


def tilted(pitch, roll, poses):
    """Poses of a level camera as seen by one that is turned, and up there."""
    cp, sp, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    turn = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]) @ tilt
    return poses @ turn.T, turn @ [0, -1, 0]


def angle(a, b):
    return np.degrees(np.arccos(np.clip(a @ b, -1, 1)))


def walkers(num_people=5, num_frames=40, noise=0.0):
    """Poses whose lower ankle is on the ground, as that of :func:`make_sequence` is."""
    return make_sequence(num_people, num_frames, noise).keypoints_cam.astype(np.float64)


@settings(max_examples=8)
@given(st.floats(-0.3, 0.7), st.floats(-0.4, 0.4))
def test_exact_feet_give_the_exact_ground(pitch, roll):
    poses, up = tilted(pitch, roll, walkers())
    ground = estimate_ground(poses, ankle_height=0.0)
    assert angle(ground.up, up) < 0.3
    assert ground.camera_height == pytest.approx(CAMERA_HEIGHT, abs=0.02)
    assert ground.inliers > 0.99 and ground.residual < 0.005


@settings(max_examples=8)
@given(st.floats(-0.5, 0.8), st.floats(-0.5, 0.5), st.integers(0, 99))
def test_world_axes(pitch, roll, seed):
    poses, _ = tilted(pitch, roll, walkers(3, 10, 0.02))
    ground = estimate_ground(poses)
    np.testing.assert_allclose(ground.rotation @ ground.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(ground.rotation) == pytest.approx(1)
    forward = ground.rotation @ [0, 0, 1]
    assert abs(forward[0]) < 1e-9 and forward[1] > 0
    # The origin is on the ground below the camera.
    np.testing.assert_allclose(ground.translation, [0, 0, ground.camera_height])


def test_ankles_are_above_the_ground():
    poses = walkers()
    low, high = (estimate_ground(poses, ankle_height=h).camera_height for h in (0.0, ANKLE_HEIGHT))
    assert high - low == pytest.approx(ANKLE_HEIGHT, abs=1e-6)


@given(st.integers(0, 2**31))
@settings(max_examples=5)
def test_order_does_not_matter(seed):
    poses = walkers(3, 20, 0.02)
    one, other = estimate_ground(poses), estimate_ground(np.random.default_rng(seed).permutation(poses))
    np.testing.assert_allclose(one.rotation, other.rotation, atol=1e-7)


def test_people_in_the_air_and_broken_poses_do_not_move_it():
    poses, up = tilted(0.3, 0.1, walkers(5, 40))
    rng = np.random.default_rng(0)
    jumps = poses[rng.choice(len(poses), 40, replace=False)] + up * rng.uniform(0.4, 1.0, (40, 1, 1))
    broken = np.full((5, 17, 3), np.nan)
    ground = estimate_ground(np.concatenate([poses, jumps, broken]), ankle_height=0.0)
    assert angle(ground.up, up) < 0.5
    assert ground.camera_height == pytest.approx(CAMERA_HEIGHT, abs=0.03)
    assert 0.8 < ground.inliers < 0.9


def test_somebody_who_stands_still_tells_up_by_their_body():
    poses, up = tilted(0.4, 0.0, np.repeat(walkers(1, 1), 30, 0))
    ground = estimate_ground(poses, ankle_height=0.0)
    # They stand in mid-stride.
    assert angle(ground.up, up) < 7
    # The plane is below the person, whatever its tilt.
    lowest = (poses[:, [3, 6]] @ ground.up).min() + ground.camera_height
    assert lowest == pytest.approx(0, abs=0.01)
    assert np.degrees(ground.spanned) > 1.5
    assert ground.spanned > estimate_ground(tilted(0.4, 0.0, walkers())[0]).spanned


def test_noise_of_a_lifter_is_averaged():
    rng = np.random.default_rng(1)
    poses, up = tilted(0.25, -0.05, walkers(5, 60))
    far = poses * rng.normal(1, 0.02, (len(poses), 1, 1)) + rng.normal(0, 0.02, poses.shape)
    ground = estimate_ground(far, ankle_height=0.0)
    assert angle(ground.up, up) < 2.5
    assert abs(ground.camera_height - CAMERA_HEIGHT) < 0.2


def test_weights_leave_poses_out():
    poses = walkers(2, 20)
    wrong = poses + [0, -0.5, 0]
    both = np.concatenate([poses, wrong])
    kept = np.repeat([1.0, 0.0], len(poses))
    expected = estimate_ground(poses)
    for weights in (kept, np.repeat(kept[:, None], 17, 1)):
        np.testing.assert_allclose(estimate_ground(both, weights).rotation, expected.rotation, atol=1e-9)


def test_limit_holds():
    poses, _ = tilted(1.2, 0.0, walkers())
    ground = estimate_ground(poses, max_tilt=0.5)
    assert angle(ground.up, np.array([0, -1, 0])) <= np.degrees(0.5) + 1e-6


def test_many_poses_are_thinned_out():
    poses = np.tile(walkers(5, 40), (150, 1, 1))
    assert estimate_ground(poses).camera_height == pytest.approx(estimate_ground(poses[:200]).camera_height, abs=0.01)


def test_sequence_stands_on_the_ground():
    clip = make_sequence(4, 40)
    ground = estimate_ground(clip.keypoints_cam, ankle_height=0.0)
    grounded = replace(
        clip, world_rotation=ground.rotation, world_translation=ground.translation, grounded=True
    ).keypoints_world
    lower = grounded[:, [3, 6], 2].min(1)
    assert np.abs(lower).max() < 0.02
    assert (grounded[:, 10, 2] > 1.45).all()


@given(st.floats(0.0, 0.6), st.floats(-2, 2))
@settings(max_examples=5)
def test_moving_the_camera_up_moves_only_its_height(pitch, by):
    assume(abs(by) > 1e-3)
    poses, up = tilted(pitch, 0.0, walkers(4, 15))
    one = estimate_ground(poses, ankle_height=0.0)
    other = estimate_ground(poses - by * up, ankle_height=0.0)
    assert angle(one.up, other.up) < 0.5
    assert other.camera_height - one.camera_height == pytest.approx(by, abs=0.06)


@pytest.mark.parametrize(
    ('poses', 'weights', 'message'),
    [
        (np.zeros((0, 17, 3)), None, 'no pose'),
        (np.full((3, 17, 3), np.nan), None, 'no pose'),
        (np.ones((3, 17, 3)), np.zeros(3), 'no pose'),
        (np.ones((3, 16, 3)), None, r'\(N, 17, 3\), got \(3, 16, 3\)'),
        (np.ones((3, 17, 3)), np.ones(4), r'weights: takes \(3,\) or \(3, 17\), got \(4,\)'),
    ],
)
def test_nothing_to_estimate_from(poses, weights, message):
    with pytest.raises(ValueError, match=message):
        estimate_ground(poses, weights)


def test_feet_on_no_common_plane_are_an_error():
    """Two people, one high up on the other side: each is too far from the plane between them."""
    poses = walkers(1, 1) + np.array([[[-4.0, 3, 0]], [[3.0, -4, 0]]])
    with pytest.raises(ValueError, match='the feet are on no common plane'):
        estimate_ground(poses)
