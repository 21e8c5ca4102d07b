# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The COCO config through MMEngine's Runner: trained, tested, published, and used."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

import stereopose_mm  # noqa: F401
from stereopose_mm.apis import init_lifter, lift_keypoints
from stereopose_mm.engine import publish
from stereopose_mm.geometry import H36M_COCO, Camera

K, BATCH, ITERS = 17, 32, 40


@pytest.fixture(scope='module')
def bodies_file(mocap_file, tmp_path_factory):
    """The mocap file's two subjects with COCO's keypoints a few centimetres from their joints."""
    with np.load(mocap_file) as file:
        arrays = dict(file)
    offset = np.random.default_rng(1).uniform(0.02, 0.05, (len(arrays['joints']), K, 3))
    coco = arrays['joints'][:, list(H36M_COCO.parents[K:])] + offset
    arrays['joints'] = np.concatenate([arrays['joints'], coco], 1).astype(np.float32)
    path = tmp_path_factory.mktemp('bodies') / 'bodies.npz'
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope='module')
def config(project_root, bodies_file, tmp_path_factory):
    """The config with networks, data and schedule made small."""
    (path,) = project_root.glob('configs/stereo_lift/stereo-lift_coco-res512_1xb512-*_mocap.py')
    config = Config.fromfile(path)
    for part in (config.model.backbone, config.model.head):
        part.update(width=32, num_blocks=1)
    config.train_dataloader.batch_size = BATCH
    config.train_dataloader.dataset.update(ann_file=str(bodies_file), num_pairs=BATCH * ITERS, exclude=['tested'])
    config.calibration_dataset.update(ann_file=str(bodies_file), exclude=['tested'])
    for part in ('val', 'test'):
        config[f'{part}_dataloader'].dataset.update(
            ann_file=str(bodies_file), num_pairs=101, subjects=['tested'], exclude=[]
        )
    config.train_cfg.update(max_epochs=2, val_interval=1)
    config.param_scheduler[0].total_steps = 2 * ITERS
    config.default_hooks.logger.interval = 10
    config.work_dir = str(tmp_path_factory.mktemp('coco'))
    config.experiment_name = 'coco'
    return config


@pytest.fixture(scope='module')
def runner(config):
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def test_it_trains_and_tests(runner):
    losses = [runner.message_hub.get_scalar(f'train/{name}').data[0] for name in ('loss_pose3d', 'loss_uncertainty')]
    for history in losses:
        assert len(history) == 2 * ITERS and np.isfinite(history).all()
        assert history[-10:].mean() < history[:10].mean()
    metrics = runner.test()
    assert metrics['poses'] == 101 and metrics['invalid'] == 0
    # The keypoints that were used lie on their rays.
    assert metrics['reprojection-error-px'] < 0.1
    assert 0 < metrics['P-MPJPE'] < metrics['MPJPE'] < 1000


def test_it_is_published_calibrated_and_lifts(runner, config, tmp_path):
    config.dump(tmp_path / 'config.py')
    publish(str(tmp_path / 'config.py'), config.work_dir, str(tmp_path / 'lifter.pth'))
    saved = torch.load(tmp_path / 'lifter.pth', weights_only=True)['state_dict']
    assert saved['head.uncertainty_scale'] != 1
    lifter = init_lifter(tmp_path / 'lifter.py', tmp_path / 'lifter.pth')
    (batch,) = runner.test_dataloader.dataset.__getitems__(range(50))
    truth = batch['data_samples'][0].gt_instances.lifting_target.numpy()
    rays = batch['data_samples'][0].gt_instance_labels.rays
    camera = Camera(1000.0, 1000.0, 500.0, 500.0, 1000.0, 1000.0)
    keypoints = camera.project(torch.cat([rays, torch.ones_like(rays[..., :1])], -1)).numpy()
    result = lift_keypoints(lifter, keypoints, skeleton='coco', camera=camera)
    assert result.valid.all() and result.used.all()
    assert np.linalg.norm(result.keypoints - (truth - truth[:, :1]), axis=-1).mean() < 1
    projected = camera.project(torch.from_numpy(result.input_keypoints_cam)).numpy()
    np.testing.assert_allclose(projected, keypoints, atol=0.05)
    assert (result.uncertainty > 0).all()
