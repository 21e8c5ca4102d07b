# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest

TOOL = 'tools/misc/measure_detector.py'


@pytest.fixture
def files(tmp_path):
    """A COCO file of 12 people and what a detector with errors found of them."""
    rng = np.random.default_rng(0)
    bodies = 400 + 100 * rng.standard_normal((12, 17, 2))
    found = bodies + 12 * rng.standard_normal(bodies.shape)
    found[0, 0] += 200
    people = [
        dict(id=k, image_id=1, keypoints=np.append(body, np.full((17, 1), 2), 1).ravel().tolist(), area=1e5)
        for k, body in enumerate(bodies)
    ]
    results = [
        dict(annotation_id=k, keypoints=np.append(body, rng.uniform(0.1, 0.9, (17, 1)), 1).ravel().tolist())
        for k, body in enumerate(found)
    ]
    images = [dict(id=1, file_name='a.jpg')]
    (tmp_path / 'ann.json').write_text(json.dumps(dict(images=images, annotations=people)))
    (tmp_path / 'found.json').write_text(json.dumps(results))
    return tmp_path


def test_command(project_root, files):
    arguments = ['ann.json', '--datasets', 'coco', '--detections', 'found.json', '--out', 'errors.md']
    done = subprocess.run(
        [sys.executable, project_root / TOOL, *arguments, '--bootstrap', '3', '--exclude', 'drawn/*'],
        cwd=files,
        env={**os.environ, 'PYTHONPATH': str(project_root), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert '12 people -> errors.md' in done.stderr
    report = json.loads((files / 'errors.json').read_text())
    assert report['people'] == 12 and report['sources'][0]['lost'] == 0
    # 12 pixels off in bodies of some 140: the factors' mean square is 1, so that levels are the deviations.
    level = report['measures']['jitter']['value'] / 2
    assert level == pytest.approx(12 / 137, rel=0.15)
    page = (files / 'errors.md').read_text()
    assert 'It was run on 12 annotated people' in page and '`drawn/*`' in page
    assert f'| {report["measures"]["gross_scale"]["value"]:.3f} |' in page
    assert max(map(len, (line for line in page.splitlines() if not line.startswith('|')))) <= 120
    assert sorted(path.name for path in files.iterdir()) == ['ann.json', 'errors.json', 'errors.md', 'found.json']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['ann.json', '--datasets', 'coco', 'aic', '--detections', 'found.json'], 'takes as many datasets'),
        (['ann.json', '--datasets', 'coco', '--detections', 'none.json'], 'none.json: cannot be read'),
        (['ann.json', '--datasets', 'coco', '--detections', 'found.json', '--out', 'page.txt'], 'out takes a .md file'),
        (['ann.json', '--datasets', 'coco', '--detections', 'found.json', '--bootstrap', '-1'], 'num_bootstrap takes'),
    ],
)
def test_errors(project_root, files, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(files)
    arguments = arguments if '--out' in arguments else [*arguments, '--out', 'page.md']
    monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(project_root / TOOL), run_name='__main__')
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith('measure_detector: error: ' + message)
    assert not list(files.glob('page*'))
