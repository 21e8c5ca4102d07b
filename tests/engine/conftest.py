# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys

import numpy as np
import pytest

CONFIG = 'configs/stereo_lift/stereo-lift_res512_1xb512-20e_mocap.py'
EPOCHS, ITERS = 3, 64


@pytest.fixture(scope='session')
def mocap_file(tmp_path_factory):
    """A mocap NPZ of two subjects who stand about."""
    standing = np.array(
        [
            [0, 0, 0], [-0.13, 0, 0], [-0.13, -0.44, 0.02], [-0.13, -0.89, 0], [0.13, 0, 0], [0.13, -0.44, 0.02],
            [0.13, -0.89, 0], [0, 0.23, 0], [0, 0.49, 0], [0, 0.6, 0.05], [0, 0.72, 0], [0.15, 0.49, 0],
            [0.18, 0.22, 0], [0.18, -0.03, 0.05], [-0.15, 0.49, 0], [-0.18, 0.22, 0], [-0.18, -0.03, 0.05],
        ]
    )  # fmt: skip
    path = tmp_path_factory.mktemp('mocap') / 'mocap.npz'
    np.savez(
        path,
        joints=(standing + np.random.default_rng(0).normal(size=(40, 17, 3)) * 0.05).astype(np.float32),
        clip_index=np.repeat([0, 1], 20),
        clip_names=np.array(['a.bvh', 'b.bvh']),
        clip_subjects=np.array(['trained', 'tested']),
    )
    return path


@pytest.fixture(scope='session')
def overrides(mocap_file):
    """What makes the default config small, as --cfg-options takes it."""
    sets = [f'{part}_dataloader.dataset' for part in ('train', 'val', 'test')] + ['calibration_dataset']
    options = dict.fromkeys((f'{part}.ann_file' for part in sets), mocap_file)
    options |= {
        'train_dataloader.dataset.exclude': '[tested]',
        'calibration_dataset.exclude': '[tested]',
        # What is learnt in a few steps has to be easy.
        'train_dataloader.dataset.noise.clean_prob': 1.0,
        'train_dataloader.dataset.proportions.wide_share': 0.0,
        'train_dataloader.dataset.cameras.wrong_focal_prob': 0.0,
        'train_dataloader.dataset.num_pairs': 32 * ITERS,
        'train_dataloader.batch_size': 32,
        'train_cfg.max_epochs': EPOCHS,
        'train_cfg.val_interval': 1,
        'default_hooks.logger.interval': 16,
        'param_scheduler.0.total_steps': EPOCHS * ITERS,
    }
    for part in ('val', 'test'):
        options[f'{part}_dataloader.dataset.subjects'] = '[tested]'
        options[f'{part}_dataloader.dataset.num_pairs'] = 101
        options[f'{part}_dataloader.batch_size'] = 32
    for part in ('backbone', 'head'):
        options[f'model.{part}.width'] = 16
        options[f'model.{part}.num_blocks'] = 1
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


@pytest.fixture(scope='session')
def start(project_root):
    """Start a Python script of the project or of MMPose in a process of its own."""

    def start_script(script, *arguments, cwd=project_root, launch=()):
        command = [sys.executable, *launch, project_root / script, *arguments]
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(project_root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start_script


@pytest.fixture(scope='session')
def run(start):
    """Run a script to its end, which has to be a good one; gives what it printed."""

    def run_script(*arguments, **options):
        process = start(*arguments, **options)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output[-4000:]
        return output

    return run_script


@pytest.fixture(scope='session')
def trained(run, overrides, project_root, tmp_path_factory):
    """Work folder of a small training that ran to its end."""
    work_dir = tmp_path_factory.mktemp('trained')
    run('tools/train.py', project_root / CONFIG, '--work-dir', work_dir, *overrides)
    return work_dir


@pytest.fixture(scope='session')
def scalars():
    """What a run logged: its records with MPJPE, of the latest run in a work folder."""

    def read(work_dir):
        latest = sorted(work_dir.glob('*/vis_data/scalars.json'))[-1]
        records = [json.loads(line) for line in latest.read_text().splitlines()]
        return [record for record in records if 'MPJPE' in record]

    return read
