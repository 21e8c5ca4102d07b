# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of pose sequences: parts, selections, files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stereopose_mm.geometry import H36M_17, Camera, PoseSequence

from ..made_sequence import make_sequence


@pytest.fixture(scope='module')
def sequence() -> PoseSequence:
    return make_sequence(num_people=3, num_frames=10)


def assert_same(one: PoseSequence, other: PoseSequence) -> None:
    left, right = one.to_arrays(), other.to_arrays()
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


def test_parts_make_the_whole(sequence):
    parts = [sequence.select_frames(slice(a, b)) for a, b in ((0, 3), (3, 3), (3, 10))]
    assert [p.num_frames for p in parts] == [3, 0, 7]
    assert [len(p) for p in parts] == [9, 0, 21]
    assert_same(PoseSequence.concatenate(parts), sequence)


def test_selection_keeps_the_frames(sequence):
    one = sequence.select(sequence.track == 1)
    assert len(one) == one.num_frames == 10
    np.testing.assert_array_equal(one.tracks, [1])
    np.testing.assert_array_equal(one.keypoints_cam, sequence.keypoints_cam[1::3])
    assert one.rows_of_frame(4) == slice(4, 5)
    assert sequence.rows_of_frame(4) == slice(12, 15)


def test_arrays_survive_a_file(sequence, tmp_path):
    lens = replace(sequence, cameras=replace(sequence.cameras, distortion=torch.tensor([0.1, -0.02, 0.0, 0.0])))
    for clip in (sequence, lens, sequence.select(slice(0, 0))):
        np.savez(tmp_path / 'clip.npz', **clip.to_arrays())
        with np.load(tmp_path / 'clip.npz', allow_pickle=False) as file:
            assert_same(PoseSequence.from_arrays(file), clip)


def test_world_is_upright_and_keeps_distances(sequence):
    world = sequence.keypoints_world
    assert (world[:, 10, 2] - world[:, 3, 2] > 1.2).all()
    bones = np.array(H36M_17.bones)
    lengths = [np.linalg.norm(p[:, bones[:, 0]] - p[:, bones[:, 1]], axis=-1) for p in (world, sequence.keypoints_cam)]
    np.testing.assert_allclose(*lengths, atol=1e-5)


def test_frame_rate_is_the_median_step(sequence):
    assert sequence.frame_rate == pytest.approx(25)
    assert sequence.select_frames(slice(0, 1)).frame_rate == 1


def test_wrong_rows_are_refused(sequence):
    with pytest.raises(ValueError, match='track: 3 rows for 30 poses'):
        replace(sequence, track=np.arange(3))
    with pytest.raises(ValueError, match='frame_numbers: 10 rows for 2 cameras'):
        replace(sequence, cameras=Camera.from_fov(60, 640, 480).expand(2))
    with pytest.raises(ValueError, match='slice without a step'):
        sequence.select_frames(slice(0, 10, 2))
    with pytest.raises(ValueError, match='of one skeleton'):
        PoseSequence.concatenate([sequence, replace(sequence, skeleton='coco')])
    arrays = sequence.to_arrays()
    del arrays['valid']
    with pytest.raises(ValueError, match='has no valid'):
        PoseSequence.from_arrays(arrays)


def test_made_clip_is_one_body_each(sequence):
    bones = np.array(H36M_17.bones)
    joints = sequence.keypoints_cam.astype(np.float64).reshape(10, 3, 17, 3)
    lengths = np.linalg.norm(joints[:, :, bones[:, 0]] - joints[:, :, bones[:, 1]], axis=-1)
    assert np.ptp(lengths, axis=0).max() < 1e-5
    feet = joints[:, :, [3, 6], 1].max(2)
    np.testing.assert_allclose(feet, 1.5, atol=1e-5)  # a foot is on the ground, 1.5 m below the camera
