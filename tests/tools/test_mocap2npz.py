# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest

TOOL = 'tools/dataset_converters/mocap2npz.py'
BVH = """HIERARCHY
ROOT hip
{
OFFSET 0 0 0
CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
%s
}
MOTION
Frames: 3
Frame Time: 0.0333333
0 100 0 0 0 0
1 100 0 0 0 0
2 100 0 0 0 0
"""
JOINTS = ('chest neck head rThigh rShin rFoot lThigh lShin lFoot lShldr lForeArm lHand rShldr rForeArm rHand').split()


@pytest.fixture
def bvh():
    joint = 'JOINT %s\n{\nOFFSET 0 %d 0\nCHANNELS 0\nEnd Site\n{\nOFFSET 0 0 1\n}\n}'
    return BVH % '\n'.join(joint % (name, i) for i, name in enumerate(JOINTS))


def test_converts_and_reports_what_it_skips(project_root, tmp_path, bvh):
    (tmp_path / 'clips').mkdir()
    (tmp_path / 'clips' / '05_01.bvh').write_text(bvh)
    (tmp_path / 'clips' / '05_02.bvh').write_text(bvh[:-3])
    done = subprocess.run(
        [sys.executable, project_root / TOOL, 'clips', '--out', 'out.npz', '--strict'] + ['--subject-prefix', 's'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(project_root)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 1
    line = len(bvh.splitlines())
    assert f'skipped clips/05_02.bvh:{line}: ' in done.stderr.replace('\n', ' ')
    assert '1 clips, 2 frames, 1 skipped -> out.npz' in done.stderr
    assert done.stdout == ''
    with np.load(tmp_path / 'out.npz', allow_pickle=False) as data:
        assert data['clip_subjects'].tolist() == ['s05']
        np.testing.assert_allclose(data['joints'][:, 0, 0], [0.01, 0.02], atol=1e-6)


@pytest.fixture
def run(project_root, tmp_path, monkeypatch, capsys):
    """Run the tool in this process and an empty folder; gives its exit status and stderr."""

    def run_tool(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend((project_root / TOOL).parent)
        monkeypatch.setattr(sys, 'argv', ['mocap2npz.py', *arguments])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(project_root / TOOL), run_name='__main__')
        return stopped.value.code, capsys.readouterr().err

    return run_tool


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['nowhere', '--out', 'out.npz'], 'source nowhere does not exist'),
        (['a.bvh', '--out', 'out.txt'], 'out takes a .npz file'),
        (['a.bvh', '--out', 'out.npz', '--fps', '-1'], 'fps takes a positive number, got -1.0'),
    ],
)
def test_unusable_arguments_are_one_line_and_exit_2(run, tmp_path, bvh, arguments, message):
    (tmp_path / 'a.bvh').write_text(bvh)
    status, errors = run(*arguments)
    assert status == 2
    assert errors.startswith(f'mocap2npz: error: {message}') and errors.count('\n') == 1
    assert [path.name for path in tmp_path.iterdir()] == ['a.bvh']


def test_exit_2_where_nothing_is_converted_and_0_where_something_is(run, tmp_path, bvh):
    (tmp_path / 'a.bvh').write_text(bvh[:-3])
    status, errors = run('a.bvh', '--out', 'out.npz')
    assert status == 2 and '0 clips, 0 frames, 1 skipped' in errors
    assert not (tmp_path / 'out.npz').exists()
    (tmp_path / 'b.bvh').write_text(bvh)
    status, errors = run('a.bvh', 'b.bvh', '--out', 'out.npz')
    assert status == 0 and '1 clips, 2 frames, 1 skipped' in errors
