# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from stereopose_mm.apis import init_lifter
from stereopose_mm.datasets import PoseAugmentation
from stereopose_mm.datasets.pair_synthesis import assemble_pose, split_bones
from stereopose_mm.datasets.pose_augmentation import augment_poses
from stereopose_mm.geometry import H36M_COCO
from stereopose_mm.labeling import LabelConfig, load_labellers
from stereopose_mm.labeling.calibration import lift_population, load_label_model, make_population, measure_labels

from ..engine.accuracy.conftest import STANDING

STANDING_BODY = torch.from_numpy(STANDING)


@pytest.fixture(scope='session')
def labellers():
    """The shipped lifters with their calibrations."""
    return load_labellers(LabelConfig(), ('coco', 'h36m'))


@pytest.fixture(scope='session')
def model():
    """The calibration of the shipped lifter of COCO-17."""
    return load_label_model('coco')


@pytest.fixture(scope='session')
def bodies_file(tmp_path_factory):
    """Bodies of the lifter's test subjects, who stand and stretch their limbs."""
    num = 300
    coco = STANDING_BODY[list(H36M_COCO.parents[17:])].clone()
    # Nose, eyes and ears about the neck's end.
    coco[:5] += torch.tensor([[0, 2, 8], [3, 5, 6], [-3, 5, 6], [7, 4, 0], [-7, 4, 0]]) / 100
    coco[5:] += 0.01
    directions, lengths = split_bones(torch.cat([STANDING_BODY, coco])[None].float().expand(num, -1, -1))
    changes = PoseAugmentation(limb_turn_deg=35.0, limb_jitter_deg=15.0, tilt_deg=10.0)
    generator = torch.Generator().manual_seed(0)
    joints = assemble_pose(augment_poses(directions, directions, changes, generator), lengths)
    file = tmp_path_factory.mktemp('bodies') / 'bodies.npz'
    np.savez(
        file, joints=joints.numpy(), clip_index=np.arange(num) % 2, clip_names=np.array(['02_01.amc', '12_02.bvh']),
        clip_subjects=np.array(['cmu02', 'cmu12']),
    )  # fmt: skip
    return str(file)


@pytest.fixture(scope='session')
def measured(bodies_file):
    """A lifter, people, what it makes of them, and their labels."""
    lifter = init_lifter(skeleton='coco')
    people = make_population(lifter.cfg, True, 600, 0, bodies_file)
    lifted = lift_population(lifter, people)
    return lifter, people, lifted, measure_labels(lifter, people, lifted, load_label_model('coco').body)
