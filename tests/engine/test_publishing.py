# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from mmengine.config import Config

from stereopose_mm.apis import init_lifter, lift_keypoints
from stereopose_mm.engine import publish
from stereopose_mm.geometry import Camera

from .conftest import CONFIG, EPOCHS


def test_a_published_lifter_needs_nothing_else(trained, overrides, project_root, tmp_path):
    """What training wrote, made small, lifts; and holds only what weights_only allows."""
    (config,) = trained.glob('*.py')
    checkpoint = trained / f'epoch_{EPOCHS}.pth'
    size = publish(str(config), str(checkpoint), str(tmp_path / 'lifter.pth'))
    assert size == (tmp_path / 'lifter.pth').stat().st_size < checkpoint.stat().st_size / 2
    published = torch.load(tmp_path / 'lifter.pth', weights_only=True)
    assert published.keys() == {'state_dict', 'meta'}
    for key, value in torch.load(checkpoint, weights_only=True)['state_dict'].items():
        assert torch.equal(published['state_dict'][key], value)
    assert Config.fromfile(tmp_path / 'lifter.py').model.head.width == 16
    lifter = init_lifter(tmp_path / 'lifter.py', tmp_path / 'lifter.pth')
    keypoints = 500 + 100 * np.random.default_rng(0).normal(size=(4, 17, 2))
    result = lift_keypoints(lifter, keypoints, camera=Camera.from_fov(55, 1000, 1000))
    assert result.keypoints_cam.shape == (4, 17, 3)


def test_the_name_has_to_be_a_checkpoints(project_root, tmp_path):
    with pytest.raises(ValueError, match='out takes a file name that ends in .pth, got lifter'):
        publish(str(project_root / CONFIG), 'any.pth', 'lifter')
