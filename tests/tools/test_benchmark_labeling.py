# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys

import pytest

from ..engine.accuracy.conftest import mocap_files  # noqa: F401


@pytest.fixture
def tool(project_root):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, 'tools/benchmarks/labeling.py', *map(str, arguments)],
            cwd=project_root,
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(project_root)},
            capture_output=True,
            text=True,
            timeout=280,
        )

    return run


def test_measures_the_generator_and_writes_a_page(tool, mocap_files, tmp_path):  # noqa: F811
    done = tool('--out', tmp_path / 'new/page.md', '--small', '--bodies-file', mocap_files[1])
    assert done.returncode == 0, done.stderr[-2000:]
    assert "times the release's scripts" in done.stdout
    results = json.loads((tmp_path / 'new/page.json').read_text())
    factory, release = results['factory'], results['release']
    assert sum(factory['labels'].values()) + sum(factory['rejects'].values()) == factory['people'] == 400
    assert factory['errors']['labels'] == sum(factory['labels'].values())
    # Python and torch alone are more, and a process with them is never as large as this.
    assert 1e8 < factory['labelling']['peak_bytes'] < 2e10
    # The poses given to the release's search are near the truth.
    assert release['poses'] == 2 and release['median_root_error_m'] < 0.6
    assert results['ratio'] == pytest.approx(factory['records_per_second'] / release['poses_per_second'])
    for told in results['accuracy']['kinds'].values():
        assert told['people'] == 200
        for stages in told['cameras'].values():
            labels = [stages[stage]['labels'] for stage in ('network', 'search', 'refined', 'kept')]
            assert labels[0] == labels[1] == labels[2] >= labels[3] and labels[0] > 180
            assert all(0 < stages[stage]['P-MPJPE'] <= stages[stage]['MPJPE'] for stage in ('network', 'refined'))
    kinds = results['accuracy']['kinds']
    assert kinds['none']['cameras']['true']['refined'] != kinds['none']['cameras']['prior']['refined']
    page = (tmp_path / 'new/page.md').read_text()
    assert f'| **{results["ratio"]:,.0f}×** |' in page and page.count('| mixed |') == 2


def test_bad_arguments_are_refused(tool, tmp_path):
    done = tool('--out', tmp_path / 'page.txt')
    assert done.returncode == 2 and 'takes a file name that ends in .md' in done.stderr
    done = tool('--out', tmp_path / 'page.md', '--small', '--bodies-file', 'nothing.npz')
    assert done.returncode == 2 and 'nothing.npz: no such file' in done.stderr
    assert not list(tmp_path.iterdir())
