# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import os
import runpy
import signal
import subprocess
import sys
import time

import pytest

from stereopose_mm.datasets.wild3d_files import (
    ShardWriter,
    convert_wild3d,
    convert_wild_npy,
    read_coco,
    read_parquet,
    write_coco,
)

from ..datasets.wild3d_samples import RELEASE_ORDER, sample_table, write_wild_npy

CONVERT = 'tools/dataset_converters/wild3d_convert.py'
IMPORT = 'tools/dataset_converters/wild_npy2wild3d.py'


@pytest.fixture
def run(project_root, tmp_path, monkeypatch, capsys):
    """Run a tool in this process and the test's folder; gives its exit status and stderr."""

    def run_tool(tool, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(project_root / tool), run_name='__main__')
        output, errors = capsys.readouterr()
        assert output == ''
        return stopped.value.code, errors

    return run_tool


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_there_and_back(run, tmp_path):
    write_coco(sample_table(9), tmp_path / 'a.json')
    status, errors = run(CONVERT, 'a.json', 'shards', '--shards', 3)
    assert status == 0 and '9 people, 3 files written, 0 kept -> shards' in errors
    assert 'converting' in errors and '9/9' in errors
    status, _ = run(CONVERT, 'shards', 'b.json')
    assert status == 0
    assert (tmp_path / 'b.json').read_bytes() == (tmp_path / 'a.json').read_bytes()


def test_a_killed_run_is_continued(project_root, tmp_path):
    write_coco(sample_table(800), tmp_path / 'a.json')
    process = subprocess.Popen(
        [sys.executable, project_root / CONVERT, 'a.json', 'shards', '--shards', '80'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(project_root), 'OMP_NUM_THREADS': '1'},
        stderr=subprocess.PIPE,
    )
    while len(list(tmp_path.glob('shards/wild3d-*'))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # Only whole shards have their name.
    finished = sorted(tmp_path.glob('shards/wild3d-*'))
    assert 2 <= len(finished) < 80
    assert all(len(read_parquet(path)) == 10 for path in finished)
    stamps = [path.stat().st_mtime_ns for path in finished]
    done = convert_wild3d(tmp_path / 'a.json', tmp_path / 'shards', shards=80)
    assert done.kept == finished and len(done.written) == 80 - len(finished)
    assert [path.stat().st_mtime_ns for path in finished] == stamps
    whole = tmp_path / 'whole'
    convert_wild3d(tmp_path / 'a.json', whole, shards=80)
    shards = {name: data for name, data in contents(tmp_path / 'shards').items() if not name.startswith('.')}
    assert shards == contents(whole)
    assert read_parquet(whole).equals(read_coco(tmp_path / 'a.json'))


def test_shards_can_be_shared_out_anew(tmp_path):
    convert_table = sample_table(10)
    write_coco(convert_table, tmp_path / 'a.json')
    convert_wild3d(tmp_path / 'a.json', tmp_path / 'three', 'val', 3)
    convert_wild3d(tmp_path / 'three', tmp_path / 'two', 'val', 2)
    assert len(list((tmp_path / 'two').iterdir())) == 2
    assert read_parquet(tmp_path / 'two').equals(convert_table)


def test_a_changed_source_is_not_mixed_in(tmp_path):
    write_coco(sample_table(6), tmp_path / 'a.json')
    convert_wild3d(tmp_path / 'a.json', tmp_path / 'out', shards=2)
    before = contents(tmp_path / 'out')
    write_coco(sample_table(6, seed=1), tmp_path / 'a.json')
    with pytest.raises(ValueError, match=r'00000-of-00002\.parquet: is there and of another source'):
        convert_wild3d(tmp_path / 'a.json', tmp_path / 'out', shards=2)
    with pytest.raises(ValueError, match=r'00000-of-00002\.parquet: is of a set of another number of shards'):
        convert_wild3d(tmp_path / 'a.json', tmp_path / 'out', shards=3)
    assert contents(tmp_path / 'out') == before


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_coco(sample_table(6), tmp_path / 'a.json')
    (tmp_path / 'b.json').write_text('old')

    def full(*arguments):
        raise OSError('No space left on device')

    monkeypatch.setattr('stereopose_mm.datasets.wild3d_files.coco_writer.annotation_lines', full)
    monkeypatch.setattr(ShardWriter, 'write', full)
    for out in (tmp_path / 'b.json', tmp_path / 'out'):
        with pytest.raises(OSError, match='No space'):
            convert_wild3d(tmp_path / 'a.json', out)
    assert (tmp_path / 'b.json').read_text() == 'old' and not contents(tmp_path / 'out')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.json', 'b.json', 'out']


def test_imports_the_release(run, tmp_path):
    write_wild_npy(tmp_path / 'wild.npy')
    order = ['--joint-order', *RELEASE_ORDER]
    status, errors = run(IMPORT, 'wild.npy', 'annotations', *order)
    assert status == 0 and '6 people, 1 files written' in errors
    convert_wild_npy(tmp_path / 'wild.npy', tmp_path / 'wild.json', joint_order=RELEASE_ORDER)
    assert read_coco(tmp_path / 'wild.json').equals(read_parquet(tmp_path / 'annotations'))
    for tool, source, message in (
        (IMPORT, 'wild.npy', 'wild_npy2wild3d: error: wild.npy: 3D is relative to keypoint 10'),
        (CONVERT, 'none.json', 'wild3d_convert: error: none.json: cannot be read'),
    ):
        status, errors = run(tool, source, 'other.json')
        assert status == 2 and message in errors
    assert not (tmp_path / 'other.json').exists()


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['none.json', 'out'], 'none.json: cannot be read'),
        (['none', 'out'], 'none: no such file or folder'),
        (['a.json', 'out', '--shards', '0'], 'shards takes 1 to 3'),
        (['a.json', 'out', '--shards', '4'], 'shards takes 1 to 3'),
        (['a.json', 'nowhere/b.json'], 'its folder does not exist'),
        (['a.json', 'out', '--skeleton', 'cat'], "unknown skeleton 'cat'"),
    ],
)
def test_unusable_arguments_are_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_coco(sample_table(3), tmp_path / 'a.json')
    source, out, *options = arguments
    options = dict(zip((o.removeprefix('--') for o in options[::2]), options[1::2], strict=True))
    if 'shards' in options:
        options['shards'] = int(options['shards'])
    with pytest.raises(ValueError, match=message):
        convert_wild3d(source, out, **options)
    assert not list(tmp_path.glob('**/*.parquet'))
