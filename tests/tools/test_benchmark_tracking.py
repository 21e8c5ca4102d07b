# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ..made_sequence import walking_pose


@pytest.fixture(scope='module')
def benchmark(project_root):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, 'tools/benchmarks/tracking.py', *map(str, arguments)],
            cwd=project_root,
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(project_root)},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.fixture(scope='module')
def mocap(tmp_path_factory):
    """Recordings of three people who walk three metres each, at 30 frames a second."""
    joints = []
    for start in range(3):
        body = walking_pose(2 * np.pi * np.arange(60) / 30 + start)
        body[..., 2] += 1.5 * np.arange(60)[:, None] / 30
        joints.append(body)
    path = tmp_path_factory.mktemp('mocap') / 'mocap.npz'
    np.savez(
        path,
        joints=np.concatenate(joints).astype(np.float32),
        clip_index=np.repeat(np.arange(3), 60).astype(np.int32),
        clip_names=np.array(['a', 'b', 'c']),
        clip_subjects=np.array(['a', 'b', 'c']),
        clip_sources=np.array(['bvh'] * 3),
        clip_fps=np.full(3, 30, np.float32),
        clip_start=np.arange(3) * 60,
        clip_length=np.full(3, 60),
        skeleton=np.array('h36m'),
        schema_version=np.array(1),
    )
    return path


def test_small_run_writes_both_files(benchmark, mocap, tmp_path):
    done = benchmark('--small', '--mocap', mocap, '--out', tmp_path / 'new')
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / 'new' / 'tracking.json').read_text())
    assert (results['setting']['clips'], results['setting']['recordings']) == (2, 3)
    page = (tmp_path / 'new' / 'tracking.md').read_text()
    assert page.startswith('# Trackers\n') and '2 clips of 60 frames' in page
    for step, title in (('1', 'every frame'), ('5', 'every 5th frame')):
        table = results['trackers'][step]
        assert f'| {title} |' in page and f'\n{title}' in '\n' + done.stdout
        own = table['PersonTracker']
        assert own['without_number'] == 0 and own['switches_ratio'] in (0, 1) and own['time_ratio'] == 1
        for name, row in table.items():
            assert f'| {name} |' in page
            assert 0 < row['idf1'] <= 1
            assert row['time_ratio'] == pytest.approx(row['milliseconds'] / own['milliseconds'])
        assert own['switches'] < table["MMPose's by IoU"]['switches']
        assert own['idf1'] > table["MMPose's by IoU"]['idf1']


def test_bad_arguments_are_named(benchmark, tmp_path):
    done = benchmark('--clips', 0)
    assert done.returncode == 2 and '--clips is 0; takes a positive number' in done.stderr
    done = benchmark('--mocap', tmp_path / 'none.npz')
    assert done.returncode == 2 and 'none.npz: no such file' in done.stderr
