# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.geometry import H36M_17, H36M_COCO
from stereopose_mm.labeling.refine import KINDS, BodyPrior, bone_lengths, bone_misfit, joint_scores, refine_labels

from ..engine.accuracy.conftest import STANDING

FLIP = [H36M_17.flip_indices[child] - 1 for child in range(1, 17)]
LENGTHS = bone_lengths(torch.from_numpy(STANDING)[None])[0].numpy()
KIND_LENGTHS = LENGTHS[[0, 1, 2, 6, 7, 8, 9, 10, 11, 12]]


def make_body(spread=0.03, size=0.1):
    covariance = spread**2 * np.eye(10) + size**2 * np.ones((10, 10))
    return BodyPrior(np.log(KIND_LENGTHS), covariance, np.eye(16))


def true_poses(num, rng, scale=1.0):
    """People who stand before the camera, turned at random."""
    turn = rng.uniform(0, 2 * np.pi, num)
    cos, sin, zero, one = np.cos(turn), np.sin(turn), np.zeros(num), np.ones(num)
    rotation = np.stack([cos, zero, sin, zero, -one, zero, sin, zero, -cos], -1).reshape(num, 3, 3)
    return scale * STANDING @ rotation.transpose(0, 2, 1) + [0.3, 0.1, 4.0]


def wrong_depths(poses, rng, sigma=0.06):
    error = sigma * rng.standard_normal(poses.shape[:2])
    error[:, 0] = 0
    return poses * (1 + error / poses[..., 2])[..., None]


def refine(poses, body=None, inputs=None, scores=None, keypoint_set='h36m', **options):
    ones = np.ones(poses.shape[:2])
    return refine_labels(
        poses, poses if inputs is None else inputs, 0.06 * ones, ones > 0, ones if scores is None else scores,
        body or make_body(), keypoint_set, **options,
    )  # fmt: skip


def project(poses):
    return poses[..., :2] / poses[..., 2:]


def test_wrong_depths_get_nearer_to_the_truth_and_bones_alike_on_both_sides():
    rng = np.random.default_rng(0)
    true = true_poses(300, rng)
    before = wrong_depths(true, rng)
    after = refine(before).keypoints_cam

    def errors(poses):
        relative = (poses - poses[:, :1]) - (true - true[:, :1])
        lengths = bone_lengths(torch.from_numpy(poses)).numpy()
        return (
            np.linalg.norm(relative, axis=-1).mean(),
            np.abs(lengths - LENGTHS).mean(),
            np.abs(lengths - lengths[:, FLIP]).mean(),
        )

    error, bones, asymmetry = (a / b for a, b in zip(errors(after), errors(before), strict=True))
    assert error < 0.97 and bones < 0.5 and asymmetry < 0.5
    scores = torch.ones(300, 17)
    misfits = [bone_misfit(torch.from_numpy(poses), scores, make_body()).mean() for poses in (true, after, before)]
    assert misfits[0] < misfits[1] < misfits[2]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), coco=st.booleans(), sigma=st.floats(0, 0.4), steps=st.integers(0, 6))
def test_nothing_moves_in_the_picture(seed, coco, sigma, steps):
    rng = np.random.default_rng(seed)
    poses = wrong_depths(true_poses(5, rng), rng, sigma)
    keypoint_set = 'coco' if coco else 'h36m'
    inputs = poses[:, list(H36M_COCO.parents[17:])] + 0.02 * rng.standard_normal((5, 17, 3)) if coco else poses
    got = refine(poses, inputs=inputs, keypoint_set=keypoint_set, num_steps=steps)
    assert np.abs(project(got.keypoints_cam) - project(poses)).max() < 1e-12
    assert np.abs(project(got.input_keypoints_cam) - project(inputs)).max() < 1e-12
    assert (got.keypoints_cam[..., 2] > 0).all() and (got.input_keypoints_cam[..., 2] > 0).all()
    if coco:
        near = list(H36M_COCO.parents[17:])
        way = (got.keypoints_cam - poses)[:, near, 2]
        assert np.allclose((got.input_keypoints_cam - inputs)[..., 2], way, atol=1e-9)
    else:
        assert np.array_equal(got.input_keypoints_cam, got.keypoints_cam)


@pytest.mark.parametrize('scale', [0.7, 1.0, 1.2])
def test_a_probable_body_of_any_size_stays(scale):
    poses = true_poses(20, np.random.default_rng(1), scale)
    # The size of people is all but free, the proportions are not.
    moved = refine(poses, make_body(0.02, 1.0)).moved
    assert moved.max() < 5e-3
    assert refine(poses, make_body(), num_steps=0).moved.max() == 0


def test_badly_scored_keypoints_do_not_bend_the_body():
    rng = np.random.default_rng(2)
    poses = wrong_depths(true_poses(100, rng), rng)
    sure, unsure = (refine(poses, scores=np.full((100, 17), score)).moved for score in (1.0, 0.2))
    assert unsure.mean() < 0.5 * sure.mean()


def test_a_pose_does_not_depend_on_the_others_and_keeps_its_dtype():
    rng = np.random.default_rng(3)
    poses = wrong_depths(true_poses(7, rng), rng).astype(np.float32)
    poses[2] = np.nan
    poses[4, 3, 2] = -1
    got = refine(poses)
    assert got.keypoints_cam.dtype == got.input_keypoints_cam.dtype == np.float32
    assert np.isnan(got.keypoints_cam[2]).all() and np.isnan(got.moved[[2, 4]]).all()
    assert np.array_equal(got.keypoints_cam[4], poses[4])
    for row in (0, 6):
        alone = refine(poses[row : row + 1])
        assert np.allclose(alone.keypoints_cam[0], got.keypoints_cam[row], rtol=0, atol=1e-6)
    assert refine(poses[:0]).keypoints_cam.shape == (0, 17, 3)


def test_scores_of_joints():
    scores = torch.linspace(0, 1, 17)[None]
    assert torch.equal(joint_scores(scores, 'h36m'), scores)
    coco = joint_scores(scores, 'coco')[0]
    assert coco[1] == scores[0, 12] and coco[13] == scores[0, 9]
    assert coco[7] == pytest.approx(0.5) and coco[10] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(scores=np.ones((3, 16))), r'scores: takes \(3, 17\), got \(3, 16\)'),
        (dict(inputs=np.ones((3, 17, 2))), r'input_keypoints_cam: takes \(3, 17, 3\), got \(3, 17, 2\)'),
        (dict(keypoint_set='mpii'), "keypoint_set: takes one of .*'mpii'"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        refine(true_poses(3, np.random.default_rng(0)), **change)


def test_a_prior_is_checked():
    with pytest.raises(ValueError, match=r'log_mean: takes \(10,\)'):
        BodyPrior(np.zeros(9), np.eye(10), np.eye(16))
    with pytest.raises(ValueError, match='log_covariance: takes a positive definite'):
        BodyPrior(np.zeros(10), np.zeros((10, 10)), np.eye(16))
    assert len(KINDS) == 10
