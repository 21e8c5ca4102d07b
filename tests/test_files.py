# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import pytest

from stereopose_mm.files import left_overs, whole_file


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / 'metrics.json'
    path.write_text('old')
    with whole_file(path) as temporary:
        temporary.write_text('new')
        assert path.read_text() == 'old'
        assert temporary.suffix == '.json'
    assert path.read_text() == 'new'
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / 'metrics.json'
    path.write_text('old')
    with pytest.raises(OSError, match='disk'), whole_file(str(path)) as temporary:
        temporary.write_text('half')
        raise OSError('disk full')
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / 'shard.parquet'
    # As processes of one number on two machines, or two threads.
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text('one')
        second.write_text('two')
    assert path.read_text() == 'one' and list(tmp_path.iterdir()) == [path]


def test_left_overs_are_those_of_whole_file_alone(tmp_path):
    (tmp_path / '.notes.tmp.txt').write_text('mine')
    (tmp_path / '.a.1.tmp.json').write_text('mine')
    killed = []
    for name in ('shard.parquet', 'a.b.tar', 'plain'):
        with whole_file(tmp_path / name) as temporary:
            killed.append(temporary)
            temporary.write_text('half')
    assert not left_overs(tmp_path)
    for path in killed:
        path.write_text('half')
    assert left_overs(tmp_path) == sorted(killed)
