# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import shutil

import pytest

from stereopose_mm.engine.accuracy import COMPETITORS
from stereopose_mm.engine.accuracy.training import (
    Run,
    find_config,
    fingerprint,
    load_config,
    prepare,
    train_all,
    with_budget,
)


@pytest.fixture
def config(project_root, mocap_files):
    path = find_config(project_root / COMPETITORS['ours'].config)
    return load_config(path, {'data/mocap/mocap.npz': mocap_files[0]})


def num_steps(config):
    loader = config.train_dataloader
    return config.train_cfg.max_epochs * -(-loader.dataset.num_pairs // loader.batch_size)


@pytest.mark.parametrize(('pairs', 'batch'), [(640, 32), (524288, 512), (3_000_000, 1024)])
def test_a_budget_scales_the_schedule_with_the_training(config, pairs, batch):
    config.train_dataloader.batch_size = batch
    with_budget(config, pairs, seed=7)
    dataset = config.train_dataloader.dataset
    assert pairs <= dataset.num_pairs * config.train_cfg.max_epochs < pairs + config.train_cfg.max_epochs
    (schedule,) = [s for s in config.param_scheduler if s['type'] == 'OneCycleLR']
    assert schedule.total_steps == num_steps(config)
    assert dataset.seed == config.randomness.seed == 7


def test_a_budget_too_small_for_the_schedule_is_named(config):
    config.train_dataloader.batch_size = 64
    with pytest.raises(ValueError, match='pairs takes more: 640 are 10 steps'):
        with_budget(config, 640, seed=0)


def test_a_budget_scales_every_kind_of_schedule(config):
    config.param_scheduler = [
        dict(type='StepLR', step_size=100, by_epoch=False),
        dict(type='MultiStepLR', milestones=[10, 20], by_epoch=True),
        dict(type='LinearLR', begin=0, end=50, by_epoch=False),
    ]
    config.train_cfg.max_epochs, config.train_dataloader.dataset.num_pairs = 40, 10240
    config.train_dataloader.batch_size = 1024
    with_budget(config, 10240 * 20, seed=0)
    step, milestones, linear = config.param_scheduler
    assert (step['step_size'], milestones['milestones'], linear['begin'], linear['end']) == (50, [5, 10], 0, 25)


def test_files_take_the_place_of_the_configs(config, mocap_files):
    assert config.train_dataloader.dataset.ann_file == config.test_dataloader.dataset.ann_file == mocap_files[0]


def test_the_fingerprint_is_of_what_training_depends_on(config, mocap_files, tmp_path):
    first = fingerprint(config)
    config.test_dataloader.batch_size = 7
    config.work_dir = 'elsewhere'
    copy = tmp_path / 'the_same.npz'
    shutil.copy(mocap_files[0], copy)
    config.train_dataloader.dataset.ann_file = str(copy)
    assert fingerprint(config) == first
    shutil.copy(mocap_files[1], copy)
    other_data = fingerprint(config)
    config.optim_wrapper.optimizer.lr = 1.0
    assert len({first, other_data, fingerprint(config)}) == 3


def test_statistics_are_of_the_configs_own_pairs(project_root, mocap_files, tmp_path, monkeypatch):
    monkeypatch.chdir(project_root)
    files = {'data/mocap/mocap.npz': mocap_files[0]}
    options = {'train_dataloader.dataset.exclude': [], 'train_dataloader.batch_size': 64}
    said = []
    run = prepare(COMPETITORS['pixel'], 0, 4096, tmp_path, files, options, said.append)
    config = load_config(run.folder / 'config.py', {})
    (statistics,) = (tmp_path / 'pixel').glob('statistics-*.json')
    assert config.train_dataloader.dataset.codec.statistics == config.model.head.decoder.statistics == str(statistics)
    assert len(json.loads(statistics.read_text())['target_std']) == 17
    again = prepare(COMPETITORS['pixel'], 0, 4096, tmp_path, files, options, said.append)
    assert again == run and not said and not run.done
    (run.folder / 'weights.pth').touch()
    options['optim_wrapper.optimizer.lr'] = 1.0
    other = prepare(COMPETITORS['pixel'], 0, 4096, tmp_path, files, options, said.append)
    assert other.folder != run.folder and run.folder.name in said[0] and 'another config' in said[0]


def test_a_failed_training_tells_the_end_of_its_log(tmp_path):
    (tmp_path / 'config.py').write_text('nothing = 1\n')
    run = Run(COMPETITORS['ours'], 0, 1, tmp_path)
    with pytest.raises(RuntimeError, match='(?s)ours, seed 0: training failed .*log.txt.*env_cfg'):
        train_all([run], 1, lambda text: None)
    assert not run.done


def test_patterns_name_one_config(tmp_path):
    with pytest.raises(ValueError, match='there are 0'):
        find_config(tmp_path / '*.py')
    for name in ('a.py', 'b.py'):
        (tmp_path / name).write_text('')
    with pytest.raises(ValueError, match='there are 2'):
        find_config(tmp_path / '*.py')
