# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch

from stereopose_mm.datasets import load_mocap, pair_checks
from stereopose_mm.datasets.mocap_files import ConvertOptions, convert_mocap
from stereopose_mm.geometry import H36M_17
from stereopose_mm.geometry.skeletons import get_skeleton

from .conftest import STANDING
from .made_dataset import MadeDataset

MIRROR = list(H36M_17.flip_indices)


@pytest.fixture
def batch():
    return MadeDataset(num=20)._batch(range(20))


def test_exact_pairs_have_no_residual(batch):
    residual = pair_checks.reprojection_residuals(batch)
    assert residual.shape == (20, 17) and residual.max() < 1e-3


def test_residual_is_the_distance_in_pixels(batch):
    moved = replace(batch, keypoints=batch.keypoints + torch.tensor([3.0, -4.0]))
    torch.testing.assert_close(pair_checks.reprojection_residuals(moved), torch.full((20, 17), 5.0), rtol=0, atol=1e-3)


def test_what_is_not_known_has_no_residual(batch):
    batch.keypoints_visible[0, 3] = 0
    batch.pose_visible[1, 4] = 0
    batch.pose_cam[2, 5, 2] = -1
    residual = pair_checks.reprojection_residuals(batch)
    assert residual.isnan().nonzero().tolist() == [[0, 3], [1, 4], [2, 5]]


def test_exchanged_labels_of_one_side_show(batch):
    as_labelled, exchanged = pair_checks.swapped_residuals(batch, H36M_17)
    assert as_labelled.max() < 1e-3 and exchanged.min() > 10
    wrong = replace(batch, keypoints=batch.keypoints[:, MIRROR])
    as_labelled, exchanged = pair_checks.swapped_residuals(wrong, H36M_17)
    assert as_labelled.min() > 10 and exchanged.max() < 1e-3


def test_bones_are_as_long_as_they_are(batch):
    batch.pose_visible[0, 3] = 0
    bones = pair_checks.bone_lengths(batch.pose_cam, batch.pose_visible, H36M_17)
    assert bones.shape == (20, 16)
    for number, (start, end) in enumerate(H36M_17.bones):
        expected = np.linalg.norm((batch.pose_cam[1, start] - batch.pose_cam[1, end]).numpy())
        assert bones[1, number].item() == pytest.approx(expected, rel=1e-5)
    assert bones[0].isnan().nonzero().flatten().tolist() == [H36M_17.bones.index((2, 3))]


def squat(skeleton=H36M_17):
    """A person who faces the camera with bent knees, camera frame."""
    pose = STANDING * [1, -1, -1] + [0, 0, 4]
    pose[[2, 5], 2] -= 0.25
    pose[[2, 5], 1] -= 0.1
    pose[[3, 6], 1] -= 0.25
    if skeleton is not H36M_17:
        joints = dict(enumerate([10, 8, 14, 15, 16, 11, 12, 13, 1, 2, 3, 4, 5, 6, 0, 7, 9]))
        pose = pose[[joints[k] for k in range(17)]]
    return torch.from_numpy(pose)[None]


@pytest.mark.parametrize('name', ['h36m', 'mpi_inf_3dhp'])
@pytest.mark.parametrize('turn', [0.0, 1.0, 2.5, 4.0])
def test_knees_tell_front_from_back(name, turn):
    skeleton = get_skeleton(name)
    pose = squat(skeleton)
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    pose = pose @ rotation.T
    ones = torch.ones(1, 17)
    assert pair_checks.knees_bend_backward(pose, ones, skeleton).tolist() == [0]
    # Exchanged labels and a mirrored pose are the two ways to be wrong.
    exchanged = pose[:, list(skeleton.flip_indices)]
    assert pair_checks.knees_bend_backward(exchanged, ones, skeleton).tolist() == [1]
    mirrored = pose * torch.tensor([-1.0, 1, 1])
    assert pair_checks.knees_bend_backward(mirrored, ones, skeleton).tolist() == [1]
    both = mirrored[:, list(skeleton.flip_indices)]
    assert pair_checks.knees_bend_backward(both, ones, skeleton).tolist() == [0]


def test_straight_or_unknown_knees_tell_nothing():
    straight = torch.from_numpy(STANDING * [1, -1, -1] + [0, 0, 4])[None]
    assert pair_checks.knees_bend_backward(straight, torch.ones(1, 17), H36M_17).isnan().all()
    unknown = torch.ones(1, 17)
    unknown[:, [2, 5]] = 0
    assert pair_checks.knees_bend_backward(squat(), unknown, H36M_17).isnan().all()


def test_real_mocap_bends_its_knees_forward(shared_data, tmp_path):
    convert_mocap([shared_data / 'cmu_asfamc.tar.xz'], tmp_path / 'mocap.npz', ConvertOptions(fps=2))
    # From y up to y down.
    poses = torch.from_numpy(load_mocap(str(tmp_path / 'mocap.npz'))['joints']) * torch.tensor([1.0, -1, -1])
    backward = pair_checks.knees_bend_backward(poses, torch.ones(len(poses), 17), H36M_17)
    assert (~backward.isnan()).float().mean() > 0.1
    assert backward.nanmean() < 0.02


def test_exchange_between_frames_is_found_where_it_happens():
    pose = squat().repeat(8, 1, 1) + torch.randn(8, 17, 3, generator=torch.Generator().manual_seed(0)) * 0.005
    pose[3:5] = pose[3:5][:, MIRROR]
    frame = torch.tensor([0, 1, 2, 3, 4, 5, 6, 20])
    pose[7] = pose[7][MIRROR]  # after a long pause: the person may have turned round
    sequence = torch.zeros(8, dtype=torch.long)
    ones = torch.ones(8, 17)
    shuffle = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    found = pair_checks.exchanged_between_frames(pose[shuffle], ones, sequence, frame[shuffle], H36M_17)
    assert sorted(frame[shuffle][found].tolist()) == [3, 5]
    # Another sequence's frames are not compared.
    apart = pair_checks.exchanged_between_frames(pose, ones, torch.arange(8), frame, H36M_17)
    assert not apart.any()
