# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest

TOOL = 'tools/compute_statistics.py'


@pytest.fixture
def config(tmp_path):
    """The paper-faithful mocap config, reading a small file."""
    np.savez(
        tmp_path / 'mocap.npz',
        joints=np.random.default_rng(0).normal(size=(20, 17, 3)).astype(np.float32),
        clip_index=np.zeros(20, int),
        clip_names=np.array(['a.bvh']),
        clip_subjects=np.array(['cmu01']),
    )
    return 'configs/stereo_lift/stereo-lift_pixel-res1024_1xb512-20e_mocap.py'


def test_command(project_root, tmp_path, config):
    (tmp_path / 'data' / 'mocap').mkdir(parents=True)
    (tmp_path / 'mocap.npz').rename(tmp_path / 'data' / 'mocap' / 'mocap.npz')
    done = subprocess.run(
        [sys.executable, project_root / TOOL, project_root / config, '--out', 'statistics.json', '--num-pairs', '300'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(project_root), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert '300 pairs, baseline 0.1 m -> statistics.json' in done.stderr
    statistics = json.loads((tmp_path / 'statistics.json').read_text())
    assert np.shape(statistics['target_std']) == (17, 3)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['none.py', '--out', 'out.json'], 'no such file: none.py'),
        (['CONFIG', '--out', 'out.json'], 'data/mocap/mocap.npz: no such file'),
    ],
)
def test_errors(project_root, tmp_path, config, monkeypatch, capsys, arguments, message):
    arguments = [str(project_root / config) if a == 'CONFIG' else a for a in arguments]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(project_root / TOOL), run_name='__main__')
    assert stopped.value.code == 2
    assert capsys.readouterr().err.strip().startswith('compute_statistics: error: ' + message)
    assert not (tmp_path / 'out.json').exists()
