# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import pytest

from stereopose_mm.files import whole_file


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
