# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of the BVH export: read back by bvhio and by the package's own motion-capture reader."""

from dataclasses import replace

import bvhio
import numpy as np
import pytest

from stereopose_mm.datasets.mocap_files.bvh import parse_bvh
from stereopose_mm.geometry.joint_rotations import RIG
from stereopose_mm.visualization.bvh import write_bvh
from stereopose_mm.visualization.joint_rotations import Y_UP

from ..made_sequence import make_sequence

MILLIMETRE = 1e-3


def poses_of(sequence, track):
    """Keypoints ``(n, 17, 3)`` metres, y up."""
    return sequence.select(sequence.track == track).keypoints_world.astype(float) @ Y_UP.T


def read_keypoints(path):
    """H36M-17 ``(F, 17, 3)`` by bvhio."""
    root = bvhio.readAsHierarchy(str(path))
    joint_of = {node.name: node.joint for node in RIG}
    frames = np.empty((bvhio.readAsBvh(str(path)).FrameCount, 17, 3))
    layout = [joint for joint, _, _ in root.layout() if joint.Name in joint_of]
    assert len(layout) == len(RIG)
    for index, frame in enumerate(frames):
        root.loadPose(index)
        for joint in layout:
            frame[joint_of[joint.Name]] = joint.PositionWorld
    return frames


@pytest.fixture(scope='module')
def sequence():
    return make_sequence(num_people=2, num_frames=30)


@pytest.mark.parametrize('track', [0, 1])
def test_joints_come_back_to_a_micrometre(sequence, tmp_path, track):
    report = write_bvh(tmp_path / 'one.bvh', sequence, track)
    assert (report.track, report.first_frame, report.frames, report.interpolated) == (track, 0, 30, 0)
    assert report.error_max < MILLIMETRE / 100
    wanted = poses_of(sequence, track)
    assert np.abs(read_keypoints(tmp_path / 'one.bvh') - wanted).max() < 1e-5
    motion = parse_bvh((tmp_path / 'one.bvh').read_text())
    assert motion.fps == pytest.approx(25)
    # The naming is one that the package's own reader knows; it derives the pelvis and the top of the head itself.
    joints = [k for k in range(17) if k not in (0, 10)]
    assert np.abs(motion.h36m(unit=1.0)[:, joints] - wanted[:, joints]).max() < 1e-5


def test_changing_bones_are_told(tmp_path):
    noisy = make_sequence(num_people=1, num_frames=20, noise=0.02)
    report = write_bvh(tmp_path / 'one.bvh', noisy, 0)
    error = np.linalg.norm(read_keypoints(tmp_path / 'one.bvh') - poses_of(noisy, 0), axis=-1)
    assert error.max() == pytest.approx(report.error_max, abs=1e-5)
    assert error[:, 1:].mean() == pytest.approx(report.error_mean, abs=1e-5)
    assert 0.005 < report.error_mean < 0.06


def test_gaps_are_crossed_and_late_starts_told(sequence, tmp_path):
    seen = np.isin(sequence.frame, [4, 5, 6, 7, 12, 13, 20])
    report = write_bvh(tmp_path / 'one.bvh', sequence.select((sequence.track == 1) & seen), 1)
    assert (report.first_frame, report.frames, report.interpolated) == (4, 17, 10)
    read, whole = read_keypoints(tmp_path / 'one.bvh'), poses_of(sequence, 1)
    rows = np.array([4, 5, 6, 7, 12, 13, 20])
    np.testing.assert_allclose(read[rows - 4], whole[rows], atol=1e-5)
    # In between, the pelvis moves straight on and bones keep their lengths.
    np.testing.assert_allclose(read[3:9, 0], np.linspace(whole[7, 0], whole[12, 0], 6), atol=1e-5)
    lengths = np.linalg.norm(read[:, [2, 3, 12]] - read[:, [1, 2, 11]], axis=-1)
    np.testing.assert_allclose(lengths, np.tile(lengths[:1], (17, 1)), atol=1e-5)


def test_poses_that_were_not_lifted_count_as_gaps(sequence, tmp_path):
    valid = ~((sequence.track == 0) & np.isin(sequence.frame, [0, 10]))
    keypoints = np.where(valid[:, None, None], sequence.keypoints_cam, np.nan)
    report = write_bvh(tmp_path / 'one.bvh', replace(sequence, valid=valid, keypoints_cam=keypoints), 0)
    assert (report.first_frame, report.frames, report.interpolated) == (1, 29, 1)
    assert np.isfinite(read_keypoints(tmp_path / 'one.bvh')).all()


def test_variable_frame_rate_is_made_even(sequence, tmp_path):
    kept = [*range(10), *range(10, 20, 2), *range(20, 30)]
    rows = np.isin(sequence.frame, kept)
    uneven = replace(
        sequence.select(rows),
        frame=np.searchsorted(kept, sequence.frame[rows]), frame_times=sequence.frame_times[kept],
        frame_numbers=np.arange(25), frame_names=sequence.frame_names[:25], cameras=sequence.cameras[:25],
    )  # fmt: skip
    report = write_bvh(tmp_path / 'one.bvh', uneven, 0)
    assert (report.frames, report.interpolated) == (30, 5)
    np.testing.assert_allclose(read_keypoints(tmp_path / 'one.bvh')[kept], poses_of(sequence, 0)[kept], atol=1e-5)


def test_repeated_times_and_single_poses_are_taken(sequence, tmp_path):
    times = sequence.frame_times.copy()
    times[8] = times[7]
    assert write_bvh(tmp_path / 'one.bvh', replace(sequence, frame_times=times), 0).frames == 30
    assert write_bvh(tmp_path / 'two.bvh', sequence.select(slice(11, 12)), 1).frames == 1
    np.testing.assert_allclose(read_keypoints(tmp_path / 'two.bvh')[0], poses_of(sequence, 1)[5], atol=1e-5)


def test_angles_do_not_jump_when_people_turn_round(sequence, tmp_path):
    turn = 4 * np.pi * sequence.frame / 30
    x, y, z = np.moveaxis(sequence.keypoints_cam, -1, 0)
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    turning = replace(sequence, keypoints_cam=np.stack([cos * x + sin * z, y, cos * z - sin * x], -1))
    write_bvh(tmp_path / 'one.bvh', turning, 0)
    angles = parse_bvh((tmp_path / 'one.bvh').read_text()).frames[:, 3:]
    assert np.abs(np.diff(angles, axis=0)).max() < 60
    assert np.ptp(angles[:, 2]) > 600


def test_unusable_people_leave_the_file_as_it_was(sequence, tmp_path):
    path = tmp_path / 'one.bvh'
    path.write_text('old')
    with pytest.raises(ValueError, match=r'no person 7; it has 0, 1'):
        write_bvh(path, sequence, 7)
    with pytest.raises(ValueError, match=r'no pose of person 1'):
        write_bvh(path, replace(sequence, valid=sequence.track != 1), 1)
    with pytest.raises(ValueError, match=r'two poses on frame 0'):
        write_bvh(path, replace(sequence, track=np.zeros_like(sequence.track)), 0)
    assert path.read_text() == 'old'
    assert [file.name for file in tmp_path.iterdir()] == ['one.bvh']
