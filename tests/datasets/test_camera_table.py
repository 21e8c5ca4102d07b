# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import os
import pickle

import numpy as np
import pytest

from stereopose_mm.datasets.camera_table import read_camera_table

CAMERA = dict(f=np.ones((2, 1)), c=np.ones((2, 1)), w=np.float64(1000), h=1002, id='54138969')


@pytest.fixture
def write(tmp_path):
    def write_table(table, protocol=4):
        path = tmp_path / 'cameras.pkl'
        path.write_bytes(pickle.dumps(table, protocol))
        return path

    return write_table


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_what_mmpose_writes(write, protocol):
    table = read_camera_table(write({('S1', '54138969'): CAMERA}, protocol))
    assert table[('S1', '54138969')]['id'] == '54138969'
    np.testing.assert_array_equal(table[('S1', '54138969')]['f'], np.ones((2, 1)))


def test_real_files(shared_data):
    assert len(read_camera_table(shared_data / 'real/h36m/cameras.pkl')) == 44
    assert len(read_camera_table(shared_data / 'real/mpi_inf_3dhp/cameras_train.pkl')) == 128


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_is_refused(write, tmp_path):
    path = write({'a': Attack(tmp_path / 'made')})
    with pytest.raises(ValueError, match=r'cameras.pkl: .*mkdir; only arrays, numbers and text'):
        read_camera_table(path)
    assert not (tmp_path / 'made').exists()


def test_bad_files_are_named(write, tmp_path):
    with pytest.raises(ValueError, match='absent.pkl: cannot be read: No such file'):
        read_camera_table(tmp_path / 'absent.pkl')
    path = write({'a': CAMERA})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match='cameras.pkl: not a camera file'):
        read_camera_table(path)
    with pytest.raises(ValueError, match='takes a dict of cameras, has list'):
        read_camera_table(write([CAMERA]))
    with pytest.raises(ValueError, match=r"camera 'b' takes f, c, w and h, has \['f'\]"):
        read_camera_table(write({'b': dict(f=CAMERA['f'])}))
    with pytest.raises(ValueError, match="camera 'b' has an f or c that is not finite"):
        read_camera_table(write({'b': CAMERA | dict(f=np.full((2, 1), np.nan))}))
