# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stereopose_mm.datasets.pair_synthesis import MEAN_BONE_LENGTHS
from stereopose_mm.engine.accuracy import analyses
from stereopose_mm.engine.accuracy.conditions import CONDITIONS, make_test_set
from stereopose_mm.engine.accuracy.evaluating import Lifted
from stereopose_mm.geometry import H36M_17

from .conftest import STANDING


def poses(num, seed=0):
    generator = torch.Generator().manual_seed(seed)
    body = torch.tensor(STANDING, dtype=torch.float32) + 0.1 * torch.randn(num, 17, 3, generator=generator)
    return body - body[:, :1]


def turned(pose, degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return pose @ torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]])


@given(st.floats(-180, 180))
def test_facing_forward_undoes_every_turn_about_the_vertical(degrees):
    pose = poses(3)
    first, second = analyses.facing_forward(pose), analyses.facing_forward(turned(pose, degrees))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)
    torch.testing.assert_close(first.norm(dim=-1), pose.norm(dim=-1))
    hips = first[:, 4] - first[:, 1]
    assert float(hips[:, 2].abs().max()) < 1e-5 and (hips[:, 0] > 0).all()


def test_the_nearest_pose_is_the_nearest():
    some, training = poses(20, 1), poses(300, 2)
    found = analyses.nearest_distance(some, training)
    brute = (some[:, None] - training[None]).norm(dim=-1).mean(-1).amin(1)
    torch.testing.assert_close(found, brute, atol=1e-6, rtol=1e-5)
    assert float(analyses.nearest_distance(training[7:9], training).max()) == 0


def test_training_poses_and_their_mirror_images_are_near_themselves(test_config):
    config = {k: v for k, v in test_config.items() if k != 'test_mode'} | dict(noise=dict(clean_prob=0.5))
    training = analyses.training_poses(config)
    assert training.shape == (2 * 36, 17, 3)
    test_set = make_test_set(CONDITIONS['exact'], test_config, 50)
    assert analyses.pose_distances(test_set, training).max() < 1e-6
    other = analyses.training_poses(dict(config, subjects=['cmu01']))
    distance = analyses.pose_distances(test_set, other)
    same_frame = test_set.file_frames[:, None] == test_set.file_frames
    assert distance.min() > 0.01 and (np.abs(distance[:, None] - distance)[same_frame] == 0).all()
    bones = training[:, 1:] - training[:, list(H36M_17.parents[1:])]
    assert bones[:, 1].norm(dim=-1).numpy() == pytest.approx(MEAN_BONE_LENGTHS['thigh'], rel=1e-5)


def test_postures(test_config):
    test_set = make_test_set(CONDITIONS['exact'], test_config, 50)
    assert analyses.posture_shares(test_set) == dict(lying=0.0, sitting=0.0)
    lying = turned_up(test_set.directions)
    assert analyses.posture_shares(replaced(test_set, lying)) == dict(lying=1.0, sitting=0.0)
    sitting = test_set.directions.clone()
    sitting[:, [1, 4]] = torch.tensor([0.0, 0.0, 1.0])
    assert analyses.posture_shares(replaced(test_set, sitting)) == dict(lying=0.0, sitting=1.0)


def turned_up(directions):
    return directions @ torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])


def replaced(test_set, directions):
    return type(test_set)(test_set.condition, test_set.pairs, directions, test_set.file_frames)


def test_measures_of_a_body():
    measures = analyses.body_measures(torch.tensor(STANDING, dtype=torch.float32)[None])
    leg = math.hypot(0.44, 0.02) + math.hypot(0.45, 0.02)
    arm = math.hypot(0.03, 0.27) + math.hypot(0.25, 0.05)
    assert measures['leg_to_trunk'][0] == pytest.approx(leg / 0.49, rel=1e-5)
    assert measures['arm_to_leg'][0] == pytest.approx(arm / leg, rel=1e-5)
    assert measures['stature'][0] == pytest.approx(
        leg + 0.49 + math.hypot(0.11, 0.05) + math.hypot(0.12, 0.05), rel=1e-5
    )


def test_who_bodies_are(mocap_files):
    frames = np.array([0, 7, 13, 20, 25, 31, 47])  # bodies 0 … 7, six frames each
    groups = analyses.body_groups(mocap_files[1], frames)
    assert groups['men'].tolist() == [True, False, False, False, True, False, False]
    assert groups['women'].tolist() == [False, True, False, False, False, True, False]
    assert groups['children'].tolist() == [False, False, False, True, False, False, True]
    assert analyses.body_groups(mocap_files[0], frames) == {}


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.integers(1, 8))
def test_bins_hold_every_value_within_their_edges(values, count):
    values = np.array(values)
    edges, bins = analyses.quantile_bins(values, count)
    assert 1 <= len(edges) - 1 <= count and bins.min() >= 0 and bins.max() <= len(edges) - 2
    assert (edges[bins] <= values).all() and (values <= edges[bins + 1]).all()
    means = analyses.bin_means(values, bins, len(edges) - 1)
    counts = np.bincount(bins, minlength=len(edges) - 1)
    filled = counts > 0
    assert np.sum(np.array(means)[filled] * counts[filled]) == pytest.approx(values.sum(), abs=1e-6)
    assert np.isnan(np.array(means)[~filled]).all()


def test_bins_hold_as_many_values_each():
    _, bins = analyses.quantile_bins(np.random.default_rng(0).random(800), 8)
    assert np.bincount(bins).tolist() == [100] * 8


def test_coverage_of_normal_errors():
    ratio = torch.randn(20000, 16, generator=torch.Generator().manual_seed(0)).abs()
    ratio[:, :6] *= 2  # the legs are told to be twice as sure as they are
    zero = torch.zeros(20000, 17, 3)
    shares = analyses.coverage(Lifted(zero, zero, zero, torch.zeros(20000, dtype=torch.bool), ratio))
    arms = shares['shoulders, elbows, wrists']
    assert arms['within_1'] == pytest.approx(0.6827, abs=0.005) and arms['within_2'] == pytest.approx(0.95, abs=0.005)
    assert shares['hips, knees, feet']['within_1'] == pytest.approx(0.3829, abs=0.005)
    assert sum(shares[group]['count'] for group in analyses.JOINT_GROUPS) == shares['all']['count'] == 20000 * 16
