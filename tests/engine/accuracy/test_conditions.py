# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from stereopose_mm.engine.accuracy.conditions import CONDITIONS, has_clips, make_test_set
from stereopose_mm.geometry import DEFAULT_FOV_DEG, H36M_17

N = 200


@pytest.fixture
def make(test_config, mocap_files):
    def make_set(name, **options):
        condition = CONDITIONS[name]
        config = dict(test_config, ann_file=mocap_files[1]) if condition.bodies else test_config
        return make_test_set(condition, config, N, **options)

    return make_set


def bone_lengths(pairs):
    pose = pairs.pose_cam[:, :17]
    return (pose[:, 1:] - pose[:, list(H36M_17.parents[1:])]).norm(dim=-1)


def test_the_reference_is_exact_and_always_the_same(make, test_config):
    first, second = make('exact'), make('exact')
    assert len(first) == N and (first.pairs.keypoints_visible == 1).all()
    torch.testing.assert_close(first.pairs.camera.project(first.pairs.pose_cam), first.pairs.keypoints)
    assert torch.equal(first.pairs.keypoints, second.pairs.keypoints)
    assert test_config['num_pairs'] == 1, 'the config is not changed'


def test_every_set_tells_where_its_poses_are_from(make, mocap_files):
    for name in ('exact', 'daz', 'anny'):
        test_set = make(name)
        joints = np.load(mocap_files[CONDITIONS[name].bodies])['joints'][test_set.file_frames, :17]
        bones = joints[:, 1:] - joints[:, list(H36M_17.parents[1:])]
        bones /= np.linalg.norm(bones, axis=-1, keepdims=True)
        np.testing.assert_allclose(test_set.directions, bones, atol=1e-5)


@pytest.mark.parametrize(('name', 'factor'), [('focal_half', 0.5), ('focal_double', 2.0)])
def test_the_focal_length_told_is_wrong_and_the_picture_is_not(make, name, factor):
    pairs = make(name).pairs
    as_told = pairs.camera.project(pairs.pose_cam)
    centre = torch.tensor([960.0, 540.0])
    torch.testing.assert_close(as_told - centre, factor * (pairs.keypoints - centre), rtol=1e-4, atol=1e-2)


def test_the_default_field_of_view_is_told_whatever_is_true(make):
    camera = make('focal_default').pairs.camera
    expected = 960 / math.tan(math.radians(DEFAULT_FOV_DEG / 2))
    torch.testing.assert_close(camera.fx, torch.full_like(camera.fx, expected))


def test_the_lab_camera(make):
    pairs = make('lab').pairs
    depth = pairs.pose_cam[:, 0, 2]
    assert 3 <= depth.min() < 3.5 < 6 < depth.max() <= 7
    assert (pairs.camera.fx == 1145).all() and (pairs.camera.width == 1000).all()


@pytest.mark.parametrize('count', range(1, 6))
def test_so_many_joints_are_missing_and_the_others_exact(make, count):
    pairs = make(f'missing_{count}').pairs
    seen = pairs.keypoints_visible
    assert ((seen == 0) | (seen == 1)).all() and ((seen == 0).sum(1) == count).all() and (seen[:, 0] == 1).all()
    exact = pairs.camera.project(pairs.pose_cam)
    torch.testing.assert_close(pairs.keypoints[seen > 0], exact[seen > 0])


def test_a_truncated_body_lacks_joints_and_a_detectors_has_scores(make):
    seen = make('truncated').pairs.keypoints_visible
    assert ((seen == 0) | (seen == 1)).all() and (seen == 0).any(1).all()
    scores = make('detector').pairs.keypoints_visible
    assert ((scores > 0) & (scores < 1)).float().mean() > 0.5


def test_limbs_and_bodies_have_the_lengths_that_the_table_says(make):
    reference = bone_lengths(make('exact').pairs)
    limbs = [H36M_17.index(name) - 1 for name in ('left_knee', 'right_foot', 'left_elbow', 'right_wrist')]
    trunk = [H36M_17.index(name) - 1 for name in ('left_hip', 'spine', 'thorax', 'head', 'left_shoulder')]
    for name, limb, rest in (('long_limbs', 1.1, 1), ('short_limbs', 0.9, 1), ('small', 0.7, 0.7)):
        ratio = bone_lengths(make(name).pairs) / reference  # the same draws
        torch.testing.assert_close(ratio[:, limbs], torch.full_like(ratio[:, limbs], limb))
        torch.testing.assert_close(ratio[:, trunk], torch.full_like(ratio[:, trunk], float(rest)))
    assert (bone_lengths(make('normal').pairs) / reference).std() > 0.01


@pytest.mark.parametrize('name', ['daz', 'asf', 'anny'])
def test_own_skeletons_are_kept(make, mocap_files, name):
    test_set = make(name)
    joints = np.load(mocap_files[CONDITIONS[name].bodies])['joints'][test_set.file_frames, :17]
    own = np.linalg.norm(joints[:, 1:] - joints[:, list(H36M_17.parents[1:])], axis=-1)
    ours = bone_lengths(test_set.pairs).numpy()
    # Mirrored poses have the lengths of the other side.
    sides = np.minimum(np.abs(ours - own), np.abs(ours - own[:, [f - 1 for f in H36M_17.flip_indices[1:]]]))
    assert sides.max() < 1e-4


def test_coco_is_the_same_pairs_for_both_kinds_of_lifters(make):
    native, converted = make('coco_detector', converted=False).pairs, make('coco_detector').pairs
    assert torch.equal(native.pose_cam[:, :17], converted.pose_cam) and native.pose_cam.shape[1] == 34
    hips = native.keypoints[:, [11, 12]].mean(1)
    torch.testing.assert_close(converted.keypoints[:, 0], hips)
    exact = make('coco_exact', converted=False).pairs
    torch.testing.assert_close(exact.camera.project(exact.pose_cam[:, 17:]), exact.keypoints)


def test_clips_that_a_file_lacks(test_config):
    assert has_clips(CONDITIONS['walking'], test_config) and has_clips(CONDITIONS['exact'], test_config)
    assert not has_clips(CONDITIONS['seen_floor'], test_config)
    assert not has_clips(CONDITIONS['asf'], dict(test_config, exclude=['cmu02/*.amc']))


def test_kinds_of_clips_held_aside_are_of_subjects_held_aside():
    kinds = [c for c in CONDITIONS.values() if c.group == 'Kinds of clips']
    for condition in kinds:
        subjects = {pattern.split('/')[0] for pattern in condition.overrides['subjects']}
        assert subjects.isdisjoint({'cmu02', 'cmu09', 'cmu12'}) == condition.name.startswith('seen_')
    assert len(kinds) == 8
