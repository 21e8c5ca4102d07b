# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The weights in the package, on the example in the package, whose truth is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stereopose_mm.apis import init_lifter, lift_keypoints, read_detections, shipped_lifter
from stereopose_mm.geometry import H36M_17, Camera, p_mpjpe, root_relative


@pytest.fixture(scope='module', params=['h36m', 'coco'])
def skeleton(request):
    """What the lifter takes; that of H36M-17 gets COCO's keypoints converted."""
    return request.param


@pytest.fixture(scope='module')
def example(project_root: Path, skeleton):
    folder = project_root / 'stereopose_mm/assets/example'
    people = read_detections(folder / 'detections.json')
    truth = np.load(folder / 'truth.npz')
    camera = Camera(*truth['camera'].tolist())
    lifter = init_lifter(skeleton=skeleton)
    assert lifter.head.decoder.keypoint_set == skeleton
    result = lift_keypoints(lifter, people.keypoints, people.scores, skeleton='coco', camera=camera)
    return people, truth, result


def test_the_weights_are_small_and_plain(skeleton):
    config, checkpoint = shipped_lifter(skeleton)
    assert config.is_file() and checkpoint.stat().st_size <= 20e6
    assert torch.load(checkpoint, weights_only=True).keys() == {'state_dict', 'meta'}


def test_poses_are_near_the_truth(example):
    _, truth, result = example
    assert result.valid.all()
    error = p_mpjpe(torch.from_numpy(result.keypoints_cam).double(), torch.from_numpy(truth['keypoints_cam']).double())
    assert error.mean() < 0.08
    assert error.max() < 0.13


def test_people_are_upright_and_not_mirrored(example):
    _, truth, result = example
    joint = {name: i for i, name in enumerate(H36M_17.joint_names)}
    pose, true = result.keypoints, root_relative(torch.from_numpy(truth['keypoints_cam'])).numpy()
    head = (pose[:, joint['head']] - pose[:, joint['root']])[:, 1]
    assert (head < -0.4).all()
    for left, right in (('left_shoulder', 'right_shoulder'), ('left_hip', 'right_hip')):
        across = pose[:, joint[left]] - pose[:, joint[right]]
        true_across = true[:, joint[left]] - true[:, joint[right]]
        assert ((across * true_across).sum(-1) > 0).all()


def test_depth_order_and_distance(example):
    people, truth, result = example
    true_depth = truth['keypoints_cam'][:, 0, 2]
    np.testing.assert_allclose(result.root_depth, true_depth, rtol=0.12)
    together = np.array(people.image_ids) == 2
    assert (np.argsort(result.root_depth[together]) == np.argsort(true_depth[together])).all()


def test_used_keypoints_reproject_onto_the_input(example, skeleton):
    people, truth, result = example
    assert result.reprojection_error.max() < 0.01
    if skeleton == 'coco':
        used = result.used
        assert (people.scores[used] >= 0.1).all() and used.mean() > 0.7
        projected = Camera(*truth['camera'].tolist()).project(torch.from_numpy(result.input_keypoints_cam)).numpy()
        assert np.linalg.norm(projected - people.keypoints, axis=-1)[used].max() < 0.05


def test_uncertainties_are_told_and_of_the_right_size(example):
    _, truth, result = example
    deviation = result.uncertainty[:, 1:]
    assert (deviation > 0.002).all() and (deviation < 0.5).all()
    true = root_relative(torch.from_numpy(truth['keypoints_cam'])).numpy()
    within = np.abs(result.keypoints - true)[:, 1:, 2] < 3 * deviation
    assert within.mean() > 0.8
