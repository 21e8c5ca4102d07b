# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.evaluation.predictions_file import (
    Predictions,
    distinct_names,
    read_predictions,
    write_predictions,
)


def make_predictions(n=5, optional=True, seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random((n, 17)) > 0.3
    mask[:, 0] = True
    mask[3:4] = False
    labelled = mask.any(axis=1)
    valid = labelled & (np.arange(n) != 1)
    errors = np.where(valid[:, None], rng.random((n, 2)), np.nan)
    poses = rng.normal(size=(3, n, 17, 3)).astype(np.float32)
    poses[0][~valid], poses[1][~mask] = np.nan, np.inf
    more = dict(
        pred_root=poses[2][:, 0],
        pred_cam=poses[2],
        reprojection_error=rng.random(n).astype(np.float32),
        sequence=np.array(['a', 'b'] * n, dtype=str)[:n],
        frame=np.arange(n),
        groups=dict(action=np.array(['Walking'] * n, dtype=str), camera=np.arange(n).astype(str)),
    )
    return Predictions(
        skeleton='h36m',
        root_index=0,
        pck_threshold=150.0,
        name=np.array([f'S9/{i}.jpg' for i in range(n)], dtype=str),
        pred=poses[0],
        target=poses[1],
        mask=mask,
        target_root=poses[2][:, 0],
        labelled=labelled,
        valid=valid,
        errors=errors,
        error_labels=np.array(['MPJPE', 'P-MPJPE']),
        **(more if optional else {}),
    )


@pytest.mark.parametrize('optional', [True, False])
@pytest.mark.parametrize('n', [0, 1, 5])
def test_round_trip(tmp_path, n, optional):
    written = make_predictions(n, optional)
    write_predictions(tmp_path / 'run.npz', written)
    assert [path.name for path in tmp_path.iterdir()] == ['run.npz']
    read = read_predictions(tmp_path / 'run.npz')
    for attribute in fields(Predictions):
        a, b = getattr(written, attribute.name), getattr(read, attribute.name)
        if attribute.name == 'groups':
            assert a.keys() == b.keys()
            for key in a:
                np.testing.assert_array_equal(a[key], b[key])
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=attribute.name)
            assert a.dtype == b.dtype
        else:
            assert a == b and type(a) is type(b)


def test_keys_of_the_file(tmp_path):
    write_predictions(tmp_path / 'run.npz', make_predictions())
    with np.load(tmp_path / 'run.npz') as file:
        assert file['version'] == 1 and file['version'].shape == () == file['skeleton'].shape
        assert {'group_action', 'group_camera', 'sequence', 'frame', 'pred_cam'} <= set(file.files)
        assert (file['errors'].dtype, file['pred'].dtype) == (np.float64, np.float32)


WRONG = {
    'pred': [(np.zeros((5, 16, 3), np.float32), r'mask is bool \(5, 17\); takes bool \(5, 16\)|target is float32')],
    'target': [(np.full((5, 17, 3), np.nan, np.float32), 'target is not finite at a labelled joint: record 0, S9/0')],
    'mask': [
        (np.ones((5, 17), np.float32), r'mask is float32 \(5, 17\); takes bool'),
        (np.ones((5, 17), bool), 'labelled does not go with mask: record 3'),
    ],
    'valid': [(np.ones(5, bool), 'valid has no ground truth: record 3, S9/3.jpg')],
    'errors': [
        (np.zeros((5, 2)), 'errors has numbers for a pose that is not valid: record 1'),
        (np.zeros((5, 3)), r'errors is float64 \(5, 3\); takes floating point \(5, 2\)'),
    ],
    'name': [(np.array(['a'] * 4), r'name is <U1 \(4,\); takes text \(5,\)')],
    'frame': [
        (np.zeros(5), r'frame is float64 \(5,\); takes integer'),
        (None, "has one of 'sequence' and 'frame'"),
    ],
    'root_index': [(17, 'root_index is 17; pred has 17 joints')],
    'groups': [(dict(action=np.arange(5)), r'group_action is int64 \(5,\); takes text')],
}


@pytest.mark.parametrize(('key', 'value', 'message'), [(key, *case) for key in WRONG for case in WRONG[key]])
def test_what_does_not_go_together_is_not_written(tmp_path, key, value, message):
    path = tmp_path / 'run.npz'
    with pytest.raises(ValueError, match=f'run.npz: ({message})'):
        write_predictions(path, replace(make_predictions(), **{key: value}))
    assert not path.exists()


def edit(path, **changes):
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(target_root=None), "has no 'target_root'"),
        (dict(version=2), 'version is 2; takes 1'),
        (dict(group_action=np.array([['a']] * 5)), r'group_action is <U1 \(5, 1\)'),
        (dict(group_action=np.array([{}] * 5)), 'group_action cannot be read: Object arrays cannot be loaded'),
        (dict(pred=np.zeros(3)), r'pred is \(3,\)'),
        (dict(pred=np.full((5, 17, 3), np.nan)), 'pred is not finite at a labelled joint of a valid pose: record 0'),
    ],
)
def test_bad_files_are_named(tmp_path, changes, message):
    path = tmp_path / 'run.npz'
    write_predictions(path, make_predictions())
    edit(path, **changes)
    with pytest.raises(ValueError, match=f'run.npz: {message}'):
        read_predictions(path)


def test_what_is_no_file_of_predictions_is_named(tmp_path):
    path = tmp_path / 'run.npz'
    with pytest.raises(ValueError, match='run.npz: cannot be read'):
        read_predictions(path)
    write_predictions(path, make_predictions())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match='run.npz: '):
        read_predictions(path)
    spoilt = bytearray(whole)
    spoilt[whole.index(b'pred.npy') + 500] ^= 0xFF
    path.write_bytes(spoilt)
    with pytest.raises(ValueError, match='run.npz: pred cannot be read: Bad CRC'):
        read_predictions(path)
    path.write_text('no zip')
    with pytest.raises(ValueError, match='run.npz: '):
        read_predictions(path)
    np.save(tmp_path / 'array.npy', np.zeros(3))
    with pytest.raises(ValueError, match='array.npy: cannot be read as NPZ'):
        read_predictions(tmp_path / 'array.npy')


def test_an_old_file_stays_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / 'run.npz'
    write_predictions(path, make_predictions())
    before = path.read_bytes()

    def fail(file, **arrays):
        file.write_bytes(b'half')
        raise OSError('disk is full')

    monkeypatch.setattr(np, 'savez', fail)
    with pytest.raises(OSError, match='disk is full'):
        write_predictions(path, make_predictions(seed=1))
    assert path.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ['run.npz']


@settings(max_examples=50, deadline=None)
@given(names=st.lists(st.sampled_from(['a', 'b', 'S9/c.jpg', '']), max_size=12))
def test_distinct_names(names):
    distinct = distinct_names(names).tolist()
    assert len(set(distinct)) == len(distinct) == len(names)
    for i, name in enumerate(names):
        expected = f'{name}#{names[:i].count(name)}' if names.count(name) > 1 else name
        assert distinct[i] == expected
