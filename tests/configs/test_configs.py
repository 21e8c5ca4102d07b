# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Every config parses, builds and makes a training step and a prediction, on data made small."""

import json
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpose.registry import DATASETS, MODELS

import stereopose_mm  # noqa: F401

from ..conftest import PROJECT_ROOT
from ..datasets.human36m_files import write_human36m
from ..datasets.mpi_inf_3dhp_files import write_mpi_inf_3dhp
from ..datasets.wild3d_samples import write_wild3d

# Without the label generator's settings, which are of no model.
CONFIGS = sorted(p for p in (PROJECT_ROOT / 'configs').glob('[!_]*/*.py') if p.stem != 'label_generator')
K = 17


@pytest.fixture(autouse=True)
def mmpose_scope():
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Small files in the formats that the configs read: mocap, Human3.6M, statistics."""
    folder = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    subjects = ['cmu01', 'cmu02', 'cmu09', 'cmu12', 'deepmimic']
    np.savez(
        folder / 'mocap.npz',
        joints=rng.normal(size=(50, K, 3)).astype(np.float32),
        clip_index=np.repeat(np.arange(5), 10),
        clip_names=np.array([f'{s}_01.bvh' for s in subjects]),
        clip_subjects=np.array(subjects),
    )
    mocap = dict(np.load(folder / 'mocap.npz'))
    np.savez(folder / 'bodies.npz', **mocap | dict(joints=rng.normal(size=(50, 2 * K, 3)).astype(np.float32)))
    statistics = {}
    for name, dims in (('keypoints', 2), ('right', 2), ('target', 3)):
        statistics |= {f'{name}_mean': np.zeros((K, dims)).tolist(), f'{name}_std': np.full((K, dims), 90.0).tolist()}
    (folder / 'statistics.json').write_text(json.dumps(statistics))

    write_human36m(folder / 'h36m')
    write_mpi_inf_3dhp(folder / 'mpi_inf_3dhp')
    write_wild3d(folder / 'wild3d')
    return folder


def use_small_data(config, data):
    """Put the test's files and sizes into a config, wherever in it they stand."""

    def visit(node):
        if isinstance(node, dict):
            if 'statistics' in node:
                node['statistics'] = str(data / 'statistics.json')
            if node.get('type') == 'MocapDataset':
                file = 'mocap.npz' if node.get('keypoint_set', 'h36m') == 'h36m' else 'bodies.npz'
                node.update(ann_file=str(data / file), num_pairs=40)
            if node.get('type') == 'StereoHuman36mDataset':
                node.update(data_root=str(data / 'h36m'), indices=40)
            if node.get('type') == 'MpiInf3dhpDataset':
                node.update(data_root=str(data / 'mpi_inf_3dhp'), indices=40)
            if node.get('type') == 'Wild3dDataset':
                node.update(data_root=str(data / 'wild3d'))
            if 'width' in node and 'num_blocks' in node:
                node['width'] = 16
            node = node.values()
        if isinstance(node, dict | list | tuple) or hasattr(node, '__iter__') and not isinstance(node, str):
            for value in node:
                visit(value)

    visit(config._cfg_dict)
    for part in ('train', 'val', 'test'):
        loader = config[f'{part}_dataloader']
        loader.batch_size, loader.num_workers = min(loader.batch_size, 16), 0
        loader.pop('persistent_workers', None)
    return config


def test_there_are_configs():
    assert len(CONFIGS) >= 6


def test_name_follows_the_scheme_of_mmpose(path):
    # algorithm_network_resources-and-length_dataset
    assert re.fullmatch(r'[a-z0-9-]+_[a-z0-9-]+_\d+xb\d+-\d+e_[a-z0-9]+', path.stem)
    config = Config.fromfile(path)
    gpus_and_batch, epochs = re.search(r'(\d+xb\d+)-(\d+)e_', path.stem).groups()
    assert config.train_dataloader.batch_size == int(gpus_and_batch.split('b')[1])
    assert config.train_cfg.max_epochs == int(epochs)


def test_iterations_of_the_schedule_are_those_of_the_data(path):
    config = Config.fromfile(path)
    for scheduler in config.param_scheduler:
        if scheduler.type == 'OneCycleLR':
            pairs = config.train_dataloader.dataset.num_pairs
            batches = -(-pairs // config.train_dataloader.batch_size)
            assert scheduler.total_steps == batches * config.train_cfg.max_epochs


def test_full_size_model_fits_its_codec(path, data):
    config = Config.fromfile(path)
    codec = config.model.head.decoder
    if 'statistics' in codec:
        codec.statistics = str(data / 'statistics.json')
    model = MODELS.build(config.model)
    channels = model.head.decoder.input_channels
    assert model.backbone.in_channels == channels
    model.eval()
    with torch.no_grad():
        assert model(torch.rand(2, channels, 1), None, mode='tensor').shape[:2] == (2, model.head.num_joints)


def test_codecs_of_model_and_data_are_one(path):
    config = Config.fromfile(path)
    codecs = [config.model.head.decoder]
    for part in ('train', 'val', 'test'):
        dataset = config[f'{part}_dataloader'].dataset
        codecs += [t.encoder for t in dataset.get('pipeline') or [] if t.type == 'GenerateTarget']
        codecs += [dataset.codec] if dataset.get('codec') else []
    assert len(codecs) >= 4
    for codec in codecs:
        assert {k: v for k, v in codec.items() if k != 'baseline'} == {
            k: v for k, v in codecs[0].items() if k != 'baseline'
        }


def test_mmposes_inference_finds_its_pipeline(path):
    pipeline = Config.fromfile(path).test_dataloader.dataset.pipeline
    assert [transform.type for transform in pipeline] == ['GenerateTarget', 'PackPoseInputs']


def test_trains_and_predicts(path, data):
    config = use_small_data(Config.fromfile(path), data)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    batch = next(iter(Runner.build_dataloader(config.train_dataloader, seed=0)))
    batch = model.data_preprocessor(batch, training=True)
    losses = model(**batch, mode='loss')
    total, _ = model.parse_losses(losses)
    assert total.isfinite() and total > 0
    assert ('loss_view' in losses) == (config.model.head.get('loss_view') is not None)
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name

    model.eval()
    for part in ('val', 'test'):
        loader = Runner.build_dataloader(config[f'{part}_dataloader'], seed=0)
        evaluator = Runner.build_evaluator(None, config[f'{part}_evaluator'])
        evaluator.dataset_meta = loader.dataset.metainfo
        count = 0
        with torch.no_grad():
            for batch in loader:
                samples = model.test_step(batch)
                count += sum(len(s.pred_instances) for s in samples)
                evaluator.process(data_samples=samples, data_batch=batch)
        assert count == len(loader.dataset)
        metrics = evaluator.evaluate(count)
        assert metrics['poses'] == count and metrics['invalid'] == 0
        for key in ('MPJPE', 'P-MPJPE', 'N-MPJPE'):
            assert 0 < metrics[key] < 1e6
        if config.model.head.get('search'):
            assert metrics['MRPE'] > 0


def test_default_evaluation_never_saw_its_subjects():
    config = Config.fromfile(PROJECT_ROOT / 'configs/stereo_lift/stereo-lift_res512_1xb512-20e_mocap.py')
    train, test = config.train_dataloader.dataset, config.test_dataloader.dataset
    assert set(test.subjects) <= set(train.exclude)
    assert test.test_mode and config.val_dataloader.dataset.test_mode
    assert tuple(test.cameras.focal) == (600, 3000) and tuple(test.cameras.pitch_deg) == (-17, 40)
    assert (test.proportions.bone_spread, test.proportions.body_spread) == (0.04, 0.05)
    assert test.get('noise') is None and test.get('augmentation') is None
    assert DATASETS.get(train.type) is not None
