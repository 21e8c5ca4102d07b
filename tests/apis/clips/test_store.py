# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of the parts that an interrupted job goes on from."""

from pathlib import Path

import numpy as np
import pytest

from stereopose_mm.apis.clips.store import ClipStore


def test_parts_come_back_in_order(walk, tmp_path):
    stage = ClipStore(tmp_path / 'parts', {'a': 1}).stage('lifted')
    assert stage.state() is None and len(stage) == 0
    for start in (0, 15, 30):
        stage.append(walk.select_frames(slice(start, start + 15)), {'next': start, 'array': np.arange(2.0)})
    again = ClipStore(tmp_path / 'parts', {'a': 1})
    assert again.resumed
    stage = again.stage('lifted')
    assert len(stage) == 3
    assert stage.state() == {'next': 30, 'array': [0.0, 1.0]}
    np.testing.assert_array_equal(np.concatenate([p.frame_numbers for p in stage]), np.arange(40))
    np.testing.assert_array_equal(stage.read_array(1, 'frame_numbers'), np.arange(15, 30))
    assert not stage.finished
    stage.finish()
    assert ClipStore(tmp_path / 'parts', {'a': 1}).stage('lifted').finished


def test_other_settings_begin_anew(walk, tmp_path):
    ClipStore(tmp_path / 'parts', {'a': 1}).stage('lifted').append(walk, {})
    store = ClipStore(tmp_path / 'parts', {'a': 2})
    assert not store.resumed
    assert len(store.stage('lifted')) == 0


def test_a_part_that_was_cut_short_does_not_count(walk, tmp_path, monkeypatch):
    stage = ClipStore(tmp_path / 'parts', {}).stage('lifted')
    stage.append(walk, {'next': 40})

    def full(path, data):
        path.open('wb').write(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OSError, match='No space'):
        stage.append(walk, {'next': 80})
    again = ClipStore(tmp_path / 'parts', {}).stage('lifted')
    assert len(again) == 1 and again.state() == {'next': 40}
    assert {p.name for p in (tmp_path / 'parts').iterdir()} == {'settings.json', 'lifted_000000.npz'}


def test_remove_leaves_nothing(walk, tmp_path):
    store = ClipStore(tmp_path / 'parts', {})
    store.stage('lifted').append(walk, {})
    store.remove()
    assert not list(tmp_path.iterdir())


def test_warnings_are_kept_for_the_run_that_goes_on(tmp_path):
    store = ClipStore(tmp_path / 'parts', {})
    assert store.warnings() == []
    store.keep_warnings(['a.png: left out'])
    assert ClipStore(tmp_path / 'parts', {}).warnings() == ['a.png: left out']
    assert ClipStore(tmp_path / 'parts', {'a': 1}).warnings() == []
