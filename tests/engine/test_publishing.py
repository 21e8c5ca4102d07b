# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpose.registry import DATASETS

from stereopose_mm.apis import init_lifter, lift_keypoints
from stereopose_mm.engine import calibrate_uncertainty, publish
from stereopose_mm.engine.calibration import COVERAGE, error_ratios
from stereopose_mm.geometry import Camera

from .conftest import CONFIG, EPOCHS

SCALE = 'head.uncertainty_scale'


@pytest.fixture(scope='module')
def published(trained, tmp_path_factory):
    """A checkpoint of training, and what was published of it."""
    (config,) = trained.glob('*.py')
    checkpoint, out = trained / f'epoch_{EPOCHS}.pth', tmp_path_factory.mktemp('published') / 'lifter.pth'
    assert publish(str(config), str(checkpoint), str(out)) == out.stat().st_size
    return checkpoint, out


def test_a_published_lifter_needs_nothing_else(published):
    """What training wrote, made small, lifts; and holds only what weights_only allows."""
    checkpoint, out = published
    assert out.stat().st_size < checkpoint.stat().st_size / 2
    saved = torch.load(out, weights_only=True)
    assert saved.keys() == {'state_dict', 'meta'}
    trained_state = torch.load(checkpoint, weights_only=True)['state_dict']
    assert saved['state_dict'].keys() == trained_state.keys()
    for key in trained_state.keys() - {SCALE}:
        assert torch.equal(saved['state_dict'][key], trained_state[key])
    assert Config.fromfile(out.with_suffix('.py')).model.head.width == 16
    lifter = init_lifter(out.with_suffix('.py'), out)
    keypoints = 500 + 100 * np.random.default_rng(0).normal(size=(4, 17, 2))
    result = lift_keypoints(lifter, keypoints, camera=Camera.from_fov(55, 1000, 1000))
    assert result.keypoints_cam.shape == (4, 17, 3)


def test_what_is_published_is_calibrated(published):
    """On pairs that were drawn for neither training nor calibration."""
    checkpoint, out = published
    scale = torch.load(out, weights_only=True)['state_dict'][SCALE]
    assert torch.load(checkpoint, weights_only=True)['state_dict'][SCALE] == 1
    assert scale.ndim == 0 and 0.1 < scale < 10 and scale != 1
    config = Config.fromfile(out.with_suffix('.py'))
    lifter = init_lifter(config, out)
    assert lifter.head.uncertainty_scale == scale
    dataset = DATASETS.build(dict(config.calibration_dataset, seed=5))
    (packed,) = dataset.__getitems__(range(20000))
    labels = packed['data_samples'][0].gt_instance_labels
    with torch.no_grad():
        pose, deviation = lifter.head.forward_uncertain(lifter.backbone(packed['inputs']))
    ratios = error_ratios(pose[..., 2], labels.lifting_target_label[..., 2], deviation)
    for width, share in COVERAGE:
        assert (ratios < width).float().mean().item() == pytest.approx(share, abs=0.05)


def test_calibration_does_not_depend_on_the_scale_before(published):
    _, out = published
    config = Config.fromfile(out.with_suffix('.py'))
    lifter = init_lifter(config, out)
    scales = []
    for before in (1.0, 7.0):
        lifter.head.uncertainty_scale.fill_(before)
        scales.append(calibrate_uncertainty(lifter, config, num_pairs=8192))
        assert lifter.head.uncertainty_scale.item() == pytest.approx(scales[-1])
    assert scales[0] == scales[1], 'the same seed, the same pairs'
    other = calibrate_uncertainty(lifter, config, num_pairs=8192, seed=1)
    assert other == pytest.approx(scales[0], rel=0.1)


def test_the_name_has_to_be_a_checkpoints(project_root, tmp_path):
    with pytest.raises(ValueError, match='out takes a file name that ends in .pth, got lifter'):
        publish(str(project_root / CONFIG), 'any.pth', 'lifter')
    with pytest.raises(ValueError, match='no checkpoint in this folder'):
        publish(str(project_root / CONFIG), str(tmp_path), 'lifter.pth')
