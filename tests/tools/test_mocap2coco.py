# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest

from ..engine.accuracy.conftest import mocap_files  # noqa: F401


@pytest.fixture
def run(project_root, tmp_path):
    """Run the tool in an empty folder."""

    def run_tool(*arguments):
        return subprocess.run(
            [sys.executable, project_root / 'tools/dataset_converters/mocap2coco.py', *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': str(project_root)},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run_tool


def test_writes_annotations_and_truth(run, mocap_files, tmp_path):  # noqa: F811
    done = run(
        mocap_files[1], '--out', 'people.json', '--truth', 'truth.npz', '--num', 60, '--noise', 'detector',
        '--seed', 5, '--split', 'test',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '60 people (0 without a keypoint) in ' in done.stderr
    content = json.loads((tmp_path / 'people.json').read_text())
    assert content['info']['noise'] == 'detector' and content['info']['seed'] == 5
    with np.load(tmp_path / 'truth.npz', allow_pickle=False) as truth:
        assert truth['joints'].shape == (60, 17, 3) and truth['camera'].shape == (60, 6)
        assert truth['id'].tolist() == [a['id'] for a in content['annotations']]


def test_refuses_what_it_cannot_use(project_root, tmp_path, monkeypatch, capsys):
    # In this process: another would only load everything again.
    tool = runpy.run_path(str(project_root / 'tools/dataset_converters/mocap2coco.py'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', 'mocap2coco nothing.npz --out a.json --truth a.npz --num 60'.split())
    assert tool['main']() == 2
    assert 'mocap2coco: error: nothing.npz: no such file' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
