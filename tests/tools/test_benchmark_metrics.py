# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys

import pytest


@pytest.fixture(scope='module')
def benchmark(project_root):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, 'tools/benchmarks/metrics.py', *map(str, arguments)],
            cwd=project_root,
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(project_root)},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


def test_small_run_writes_both_files(benchmark, tmp_path):
    done = benchmark('--small', '--poses', 300, '--out', tmp_path / 'new')
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / 'new' / 'metrics.json').read_text())
    assert (results['setting']['poses'], results['setting']['repetitions']) == (300, 1)
    rows = results['everything'] | results['against_mmpose']
    assert len(rows) == 18 and min(rows.values()) >= 0
    for label in ('MPJPE', 'P-MPJPE', 'N-MPJPE'):
        ours, theirs = (results['against_mmpose'][f'{label}: {who}, s'] for who in ('ours', 'MMPose'))
        assert results['against_mmpose'][f'{label}: ratio'] == pytest.approx(theirs / ours)
        assert results['against_mmpose'][f'{label}: largest difference, relative'] < 1e-5
    page = (tmp_path / 'new' / 'metrics.md').read_text()
    assert page.startswith('# Speed of the evaluation\n') and '300 poses, 1 threads' in page
    assert all(f'| {key} |' in page for key in rows)
    assert 'P-MPJPE: ratio' in done.stdout


def test_bad_arguments_are_named(benchmark):
    done = benchmark('--poses', 0)
    assert done.returncode == 2 and '--poses is 0; takes a positive number' in done.stderr
