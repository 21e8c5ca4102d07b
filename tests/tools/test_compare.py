# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import runpy
import subprocess
import sys

import pytest

from ..evaluation.leaderboard_runs import make_run

TOOL = 'tools/compare.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A leaderboard folder, but for its tables; and a file of predictions of the same poses."""
    folder = tmp_path_factory.mktemp('compare')
    (folder / 'ours').mkdir()
    make_run(folder / 'ours' / 'predictions.npz')
    (folder / 'ours' / 'run.json').write_text('{"name": "Ours [1]"}')
    make_run(folder / 'theirs.npz', seed=3, noise=0.08, order=-1)
    make_run(folder / 'short.npz', frames=3)
    return folder


def call(folder, project_root, *arguments):
    return subprocess.run(
        [sys.executable, project_root / TOOL, *arguments],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(project_root), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_command(folder, project_root):
    done = call(
        folder, project_root, 'ours', 'theirs.npz', '--group-by', 'action', '--resamples', '300', '--out', 'out'
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    assert 'MPJPE: runs compared with Ours [1]' in done.stdout and '30 whole sequences' in done.stdout
    out = folder / 'out'
    about = json.loads((out / 'comparison.json').read_text())
    assert about['runs'] == {'Ours [1]': 'ours', 'theirs': 'theirs.npz'}
    assert (about['resampled'], about['clusters'], about['poses']) == ('sequences', 30, 118)
    rows = json.loads((out / 'comparison_MPJPE.json').read_text())['rows']
    assert [(row['method'], row['average']) for row in rows] == [
        (run, average) for average in ('Avg (actions)', 'Avg (frames)') for run in ('Ours [1]', 'theirs')
    ]
    assert rows[1]['difference to Ours [1]']['low'] > 0 and rows[1]['better in'] == 0
    # What the terminal shows is what the files have.
    shown = f'{rows[1]["MPJPE"]["value"]:.1f} [{rows[1]["MPJPE"]["low"]:.1f}, {rows[1]["MPJPE"]["high"]:.1f}]'
    assert shown in done.stdout and shown in (out / 'index.md').read_text()
    of_action = json.loads((out / 'comparison_action_MPJPE.json').read_text())['rows']
    assert len(of_action) == 17 and of_action[-1]['poses'] == 118
    tables = {path.stem for path in out.glob('*.tex')}
    assert tables == {'comparison_MPJPE', 'comparison_action_MPJPE', 'action_MPJPE', 'overall'}
    for name in ('differences', 'pck_curves'):
        assert (out / f'{name}.pdf').stat().st_size > 5000 and (out / f'{name}.png').stat().st_size > 5000


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['ours'], 'runs has 1; takes two or more'),
        (['ours', 'ours'], 'takes a different one for each of 2 runs'),
        (['ours', 'theirs.npz', '--names', 'a'], "names is ['a']"),
        (['ours', 'short.npz'], "short: has no pose 'S11/Directions_0060.jpg', which Ours [1] has"),
        (['ours', 'theirs.npz', '--metric', 'nothing'], 'Ours [1]: has no nothing'),
        (['ours', 'ours/run.json'], 'run.json: '),
        (['ours', 'nowhere.npz'], 'nowhere.npz: '),
    ],
)
def test_what_cannot_be_compared(folder, project_root, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, 'argv', [TOOL, *arguments, '--out', 'nothing'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(project_root / TOOL), run_name='__main__')
    assert end.value.code == 2
    output = capsys.readouterr()
    assert message in output.err and output.err.count('\n') == 1 and output.out == ''
    assert not (folder / 'nothing').exists()


def test_names_are_told_apart(folder, project_root, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    arguments = ['ours', 'ours', '--names', 'a', 'b', '--metric', 'P-MPJPE', '--cluster-by', 'subject']
    monkeypatch.setattr(sys, 'argv', [TOOL, *arguments, '--resamples', '50', '--seed', '3'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(project_root / TOOL), run_name='__main__')
    output = capsys.readouterr().out
    assert end.value.code == 0
    assert 'P-MPJPE: runs compared with a' in output and '0.0 [0.0, 0.0]' in output
    assert '2 whole subjects' in output and 'rough' in output and 'seed 3' in output
