# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from ..engine.accuracy.conftest import mocap_files  # noqa: F401


@pytest.fixture(scope='module')
def tool(project_root):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, 'tools/benchmarks/label_quality.py', *map(str, arguments)],
            cwd=project_root,
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(project_root)},
            capture_output=True,
            text=True,
            timeout=280,
        )

    return run


def test_calibrates_measures_and_writes_a_page(tool, mocap_files, tmp_path):  # noqa: F811
    files = '--ann-file', mocap_files[0], '--bodies-file', mocap_files[1]
    done = tool(
        '--out', tmp_path / 'new/page.md', '--num', 200, '--seeds', 3, '--fit', '--num-fit', 400,
        '--models', tmp_path / 'models.json', *files,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'COCO-17: Spearman' in done.stdout and 'H36M-17: Spearman' in done.stdout
    models = json.loads((tmp_path / 'models.json').read_text())
    assert {name: entry['fitted']['labels'] for name, entry in models.items()} == dict(coco=400, h36m=400)
    results = json.loads((tmp_path / 'new/page.json').read_text())
    for result in results['sets'].values():
        assert result['labels'] == 200
        # These bodies are nobody's, so that errors are all large and much alike.
        assert result['spearman']['MPJPE'][0] < -0.1
        cuts = [row['cut'] for row in result['shares']]
        assert cuts[0] == pytest.approx(0, abs=1e-9) and max(cuts) > 0
        assert all(row['cut'] <= row['oracle_cut'] + 1e-9 for row in result['shares'])
        rejected = sum(result['reasons'].values())
        assert rejected + round(result['gate']['kept'] * 200) == pytest.approx(200, abs=4)
        exact = result['errors']['exact']
        assert exact['bones'] < exact['searched bones'] and exact['asymmetry'] < exact['searched asymmetry']
        assert set(result['sides']) == set(result['kept'])
        assert all(0 <= share <= 1 for share in result['sides'].values())
    page = (tmp_path / 'new/page.md').read_text()
    assert '![' in page and 'page.png' in page and str(results['sets']['coco']['labels']) in page
    with Image.open(tmp_path / 'new/page.png') as picture:
        assert picture.width > 1000


def test_bad_arguments_are_refused(tool, tmp_path):
    done = tool('--out', tmp_path / 'page.txt')
    assert done.returncode == 2 and 'takes a file name that ends in .md' in done.stderr
    done = tool('--out', tmp_path / 'page.md', '--num', 5)
    assert done.returncode == 2 and 'num takes 70 or more, got 5' in done.stderr
    assert not list(tmp_path.iterdir())
