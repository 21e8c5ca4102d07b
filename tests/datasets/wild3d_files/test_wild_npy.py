# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The original release's file, in the forms that its readers describe and that its code would write."""

import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from stereopose_mm.datasets.wild3d_files import column_array, read_wild_npy
from stereopose_mm.datasets.wild3d_files.wild_npy import RELEASE_CAMERA
from stereopose_mm.geometry import H36M_17

from ..wild3d_samples import RELEASE_ORDER, make_people, release_numbers, write_wild_npy

NUM = 6


def check(table):
    """The poses that the file was made of, back in the camera frame."""
    poses, pixels = make_people(NUM, RELEASE_CAMERA)
    assert table.column('file_name').to_pylist() == [f'{i:06d}.jpg' for i in range(NUM)]
    np.testing.assert_allclose(column_array(table, 'keypoints'), pixels, rtol=1e-6)
    found = column_array(table, 'keypoints_3d')
    assert (found[..., 3] == 1).all()
    np.testing.assert_allclose(found[..., :3], poses, atol=1e-4)
    np.testing.assert_array_less(np.asarray(table.column('reprojection_error')), 0.01)
    np.testing.assert_allclose(column_array(table, 'camera')[0], [1145.049, 1143.781, 512, 515])


@pytest.mark.parametrize('as_objects', [False, True])
@pytest.mark.parametrize('planar', [False, True])
def test_rows_of_86(tmp_path, planar, as_objects):
    path = write_wild_npy(tmp_path / 'wild.npy', NUM, planar, as_objects)
    stored = np.load(path, allow_pickle=as_objects)
    assert stored.shape == (NUM, 86) and (stored.dtype == object) == as_objects
    table = read_wild_npy(path, joint_order=RELEASE_ORDER)
    check(table)
    assert table.column('source_record').to_pylist()[1] == 'wild.npy:1'
    other = 'interleaved' if planar else 'planar'
    with pytest.raises(ValueError, match=rf"2D is no picture of 3D .*{{'{other}': "):
        read_wild_npy(path, joint_order=RELEASE_ORDER, layout=other)


def records(kind):
    names, pixels, pose, _ = release_numbers(NUM)
    if kind == 'dict of arrays':
        return np.array(dict(filename=np.array(names), kp2d=pixels, kp3d=pose), object)
    if kind == 'transposed':
        pixels, pose = pixels.swapaxes(1, 2), pose.swapaxes(1, 2)
    rows = list(zip(names, pixels, pose, strict=True))
    out = np.empty(NUM, object)
    if kind == 'dicts':
        out[:] = [dict(name=n, keypoints_2d=a.tolist(), keypoints_3d=b) for n, a, b in rows]
    elif kind in ('tuples', 'transposed'):
        out[:] = rows
    else:
        out = np.empty((NUM, 3), object)
        for i, row in enumerate(rows):
            out[i] = row
    return out


@pytest.mark.parametrize('kind', ['dict of arrays', 'dicts', 'tuples', 'transposed', 'rows of 3'])
def test_records(tmp_path, kind):
    np.save(tmp_path / 'wild.npy', records(kind), allow_pickle=True)
    check(read_wild_npy(tmp_path / 'wild.npy', joint_order=RELEASE_ORDER))


def test_arrays_of_python_2(tmp_path):
    path = write_wild_npy(tmp_path / 'wild.npy', NUM, as_objects=True)
    stored = np.load(path, allow_pickle=True)
    with open(path, 'wb') as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(stored))
        # Protocol 2 is Python 2's; its arrays are read with an encoding.
        pickle.dump(stored, file, protocol=2, fix_imports=True)
    check(read_wild_npy(path, joint_order=RELEASE_ORDER))


def test_poses_in_the_camera_frame_stay(tmp_path):
    names, pixels, pose, roots = release_numbers(NUM)
    out = np.empty(NUM, object)
    out[:] = list(zip(names, pixels, pose + roots[:, None] * 1000, strict=True))
    np.save(tmp_path / 'wild.npy', out, allow_pickle=True)
    check(read_wild_npy(tmp_path / 'wild.npy', joint_order=RELEASE_ORDER))


def test_fewer_keypoints_leave_the_others_missing(tmp_path):
    names, pixels, pose, _ = release_numbers(NUM)
    keep = [i for i, name in enumerate(RELEASE_ORDER) if name != 'neck_base']
    out = np.empty(NUM, object)
    out[:] = list(zip(names, pixels[:, keep], pose[:, keep], strict=True))
    np.save(tmp_path / 'wild.npy', out, allow_pickle=True)
    table = read_wild_npy(tmp_path / 'wild.npy', joint_order=[RELEASE_ORDER[i] for i in keep])
    missing = H36M_17.index('neck_base')
    for name in ('visibility', 'keypoint_scores'):
        assert (column_array(table, name) == 0).nonzero()[1].tolist() == [missing] * NUM
    assert not column_array(table, 'keypoints_3d')[:, missing].any()
    camera = RELEASE_CAMERA.project(torch.from_numpy(column_array(table, 'keypoints_3d')[:, 0:1, :3].copy()))
    np.testing.assert_allclose(camera, column_array(table, 'keypoints')[:, 0:1], atol=0.05)


def test_sizes_are_those_of_the_images(tmp_path):
    path = write_wild_npy(tmp_path / 'wild.npy', NUM)
    for i in range(NUM):
        Image.new('RGB', (200 + i, 100)).save(tmp_path / f'{i:06d}.jpg')
    table = read_wild_npy(path, tmp_path, RELEASE_ORDER)
    assert column_array(table, 'width').tolist() == [200 + i for i in range(NUM)]
    (tmp_path / '000003.jpg').unlink()
    with pytest.raises(ValueError, match=r'wild\.npy: record 3: .*000003\.jpg is no readable image'):
        read_wild_npy(path, tmp_path, RELEASE_ORDER)
    assert column_array(read_wild_npy(path, joint_order=RELEASE_ORDER), 'width').tolist() == [1000] * NUM


def test_the_order_is_not_guessed(tmp_path):
    path = write_wild_npy(tmp_path / 'wild.npy')
    with pytest.raises(
        ValueError, match='3D is relative to keypoint 10, but H36M-17 has the root at 0: name the order'
    ):
        read_wild_npy(path)
    with pytest.raises(ValueError, match=r"h36m has no keypoint 'toe'"):
        read_wild_npy(path, joint_order=['toe'] * 17)
    with pytest.raises(ValueError, match=r"takes 17 different names with 'root' among them"):
        read_wild_npy(path, joint_order=RELEASE_ORDER[:-1] + ('head',))


class Evil:
    def __reduce__(self):
        return os.system, ('touch ran',)


def test_nothing_in_the_file_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save('wild.npy', np.array([Evil(), 1, 2], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r'wild\.npy: no readable NPY of plain data: it names (posix|nt)\.system'):
        read_wild_npy('wild.npy')
    assert os.listdir() == ['wild.npy']


def changed(change):
    def make():
        names, pixels, pose, _ = release_numbers(NUM)
        entries = [list(entry) for entry in zip(names, pixels, pose, strict=True)]
        change(entries)
        out = np.empty(NUM, object)
        out[:] = entries
        return out

    return make


def put(row, place, value):
    return changed(lambda entries: entries[row].__setitem__(place, value))


@pytest.mark.parametrize(
    'make, message',
    [
        (put(2, 1, np.full((17, 2), np.nan)), r'2D keypoints of record 2 \(000002\.jpg\) are not finite'),
        (put(2, 2, np.zeros((16, 3))), r'3D keypoints of record 2 are \(16, 3\), of record 0 \(17, 3\)'),
        (put(2, 0, 5), r'the file name of record 2 is 5; takes text'),
        (put(2, 2, 'abc'), r'3D keypoints hold what is no number'),
        (put(2, 1, np.zeros((17, 2))), r'2D keypoints of record 2 \(000002\.jpg\) are all at one point'),
        (changed(lambda e: e.__setitem__(3, e[3][:2])), r'record 3 is a list; takes a dict or'),
        (changed(lambda e: e.__setitem__(3, dict(name='a'))), r"record 3 takes one of the keys \['keypoints_2d'"),
        (changed(lambda e: [x.__setitem__(2, x[2] / 1000) for x in e]), r'3D keypoints takes millimetres'),
        (changed(lambda e: [x.__setitem__(2, x[2] * [1, -1, 1]) for x in e]), r'2D is no picture of 3D'),
        (lambda: np.zeros((5, 86)), r'is an array \(5, 86\) of float64; takes N rows of file name'),
        (lambda: np.array([['a'] + ['x'] * 85]), r'record 0 holds what is no number'),
        (lambda: np.array(7, object), r'is an array \(\) of object; takes N rows of file name'),
        (lambda: np.empty(0, object), r'holds no record'),
        (lambda: np.empty((0, 86), object), r'holds no record'),
    ],
)
def test_other_forms_are_refused(tmp_path, make, message):
    np.save(tmp_path / 'wild.npy', make(), allow_pickle=True)
    with pytest.raises(ValueError, match=rf'wild\.npy: {message}'):
        read_wild_npy(tmp_path / 'wild.npy', joint_order=RELEASE_ORDER)


@pytest.mark.parametrize('keep', [0, 5, 60, 0.5])
def test_truncated_files_are_named(tmp_path, keep):
    path = write_wild_npy(tmp_path / 'wild.npy', as_objects=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(ValueError, match=r'wild\.npy: no readable NPY'):
        read_wild_npy(path)
    with pytest.raises(ValueError, match=r'none\.npy: cannot be read'):
        read_wild_npy(tmp_path / 'none.npy')
