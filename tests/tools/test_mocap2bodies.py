# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys

import numpy as np
import pytest

from ..datasets.mocap_files.conftest import make_bvh

__all__ = ['make_bvh']
TOOL = 'tools/dataset_converters/mocap2bodies.py'


@pytest.fixture
def run(project_root, tmp_path):
    """Run the tool in an empty folder."""

    def run_tool(*arguments):
        return subprocess.run(
            [sys.executable, project_root / TOOL, *arguments],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': str(project_root)},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run_tool


def test_poses_bodies_and_reports_what_it_skips(run, tmp_path, make_bvh):
    (tmp_path / '05_01.bvh').write_text(make_bvh(9))
    (tmp_path / '05_02.bvh').write_text(make_bvh(9)[:-20])
    done = run('05_01.bvh', '05_02.bvh', '--out', 'out.npz', '--bodies', '3', '--fps', '60', '--strict')
    assert done.returncode == 1, done.stderr
    assert '1 clips, 12 frames, 1 skipped -> out.npz' in done.stderr
    with np.load(tmp_path / 'out.npz', allow_pickle=False) as arrays:
        assert arrays['joints'].shape == (12, 34, 3)
        assert arrays['clip_subjects'].tolist() == ['cmu05']
        assert arrays['body_index'].tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_refuses_what_it_cannot_use(run, tmp_path):
    done = run('nothing.bvh', '--out', 'out.npz', '--children', '2')
    assert done.returncode == 2
    assert done.stderr.strip().endswith('mocap2bodies: error: child_prob takes 0 … 1, got 2.0')
    assert not (tmp_path / 'out.npz').exists()
