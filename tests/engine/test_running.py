# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Training and testing as users do: commands in processes of their own."""

import json
import os
import signal
import time
from pathlib import Path

import mmpose
import pytest
import torch

from stereopose_mm.engine import train

from .conftest import CONFIG, EPOCHS, ITERS

MMPOSE_TOOLS = Path(mmpose.__file__).parent / '.mim' / 'tools'
METRICS = ('MPJPE', 'P-MPJPE', 'N-MPJPE', 'MRPE')


def load(checkpoint):
    return torch.load(checkpoint, map_location='cpu', weights_only=True)


@pytest.fixture(scope='module')
def tested(run, trained, overrides, project_root, tmp_path_factory):
    """Metrics that tools/test.py writes of the trained checkpoint."""
    out = tmp_path_factory.mktemp('tested') / 'metrics.json'
    checkpoint = trained / f'epoch_{EPOCHS}.pth'
    run('tools/test.py', project_root / CONFIG, checkpoint, '--work-dir', out.parent, '--out', out, *overrides)
    return json.loads(out.read_text())


def test_training_leaves_checkpoints_and_logs(trained, scalars):
    assert (trained / 'last_checkpoint').read_text().endswith(f'epoch_{EPOCHS}.pth')
    assert list(trained.glob('best_MPJPE_epoch_*.pth'))
    meta = load(trained / f'epoch_{EPOCHS}.pth')['meta']
    assert (meta['epoch'], meta['iter']) == (EPOCHS, EPOCHS * ITERS)
    assert meta['dataset_meta']['dataset_name'] == 'h36m'
    history = scalars(trained)
    assert len(history) == EPOCHS
    assert history[-1]['MPJPE'] < history[0]['MPJPE']
    assert all(record['invalid'] == 0 and record['poses'] == 101 for record in history)


def test_test_gives_the_metrics_of_validation(trained, tested, scalars):
    """Though the one makes batches whole and the other takes single samples through MMPose's transforms."""
    validated = scalars(trained)[-1]
    for key in METRICS:
        assert tested[key] == pytest.approx(validated[key], rel=1e-3), key
    assert tested['poses'] == 101 and tested['reprojection-error-px'] < 0.05


def test_killed_training_resumes(start, run, trained, overrides, project_root, tmp_path):
    command = ['tools/train.py', project_root / CONFIG, '--work-dir', tmp_path, '--no-validate', *overrides]
    killed = start(*command)
    deadline = time.monotonic() + 200
    while not (tmp_path / 'last_checkpoint').exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    output, _ = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, output[-4000:]
    assert not (tmp_path / f'epoch_{EPOCHS}.pth').exists()

    output = run(*command, '--resume')
    resumed = [line for line in output.splitlines() if 'resumed epoch: ' in line]
    assert len(resumed) == 1
    epoch = int(resumed[0].split('resumed epoch: ')[1].split(',')[0])
    assert 1 <= epoch < EPOCHS and f'iter: {epoch * ITERS}' in resumed[0]
    # No epoch before it is repeated.
    assert f'Epoch(train) [{epoch}]' not in output and f'Epoch(train) [{epoch + 1}]' in output
    finished, whole = (load(folder / f'epoch_{EPOCHS}.pth') for folder in (tmp_path, trained))
    assert finished['meta']['iter'] == whole['meta']['iter'] == EPOCHS * ITERS
    # It ends where the training that nothing stopped did.
    for key, value in whole['state_dict'].items():
        torch.testing.assert_close(finished['state_dict'][key], value, rtol=1e-4, atol=1e-5)


def test_mmposes_tools_run_the_config(run, trained, tested, overrides, project_root, scalars, tmp_path):
    short = [*overrides, 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    run(MMPOSE_TOOLS / 'train.py', CONFIG, '--work-dir', tmp_path / 'train', *short)
    first_epoch = scalars(trained)[0]
    for key in METRICS:
        assert scalars(tmp_path / 'train')[0][key] == pytest.approx(first_epoch[key], rel=1e-3), key
    checkpoint = trained / f'epoch_{EPOCHS}.pth'
    run(MMPOSE_TOOLS / 'test.py', CONFIG, checkpoint, '--work-dir', tmp_path / 'test', *overrides)
    (written,) = (tmp_path / 'test').glob('*/*.json')
    metrics = json.loads(written.read_text())
    for key in METRICS:
        assert metrics[key] == pytest.approx(tested[key], rel=1e-5), key


def test_two_processes(run, trained, tested, overrides, project_root, scalars, tmp_path):
    launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    out = tmp_path / 'metrics.json'
    distributed = dict(launch=launch, cwd=tmp_path)
    short = [*overrides, 'train_cfg.max_epochs=1']
    config, launcher = project_root / CONFIG, ('--launcher', 'pytorch')
    run('tools/train.py', config, '--work-dir', tmp_path / 'train', *launcher, *short, **distributed)
    checkpoint = load(tmp_path / 'train' / 'epoch_1.pth')
    # Each process has half of every epoch.
    assert checkpoint['meta']['iter'] == ITERS // 2
    (validated,) = scalars(tmp_path / 'train')
    assert validated['poses'] == 101

    arguments = (trained / f'epoch_{EPOCHS}.pth', '--work-dir', tmp_path / 'test', '--out', out)
    run('tools/test.py', config, *arguments, *launcher, *overrides, **distributed)
    metrics = json.loads(out.read_text())
    for key in METRICS:
        assert metrics[key] == pytest.approx(tested[key], rel=1e-5), key
    assert metrics['poses'] == 101


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_mixed_precision_needs_a_gpu(project_root, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    with pytest.raises(ValueError, match='amp takes a GPU'):
        train(str(project_root / CONFIG), amp=True)
