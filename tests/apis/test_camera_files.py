# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import pickle

import cv2
import numpy as np
import pytest

from stereopose_mm.apis import read_camera

PLAIN = {'fx': 1000, 'fy': 1010.5, 'cx': 640, 'cy': 360, 'width': 1280, 'height': 720}
MATRIX = np.array([[1000.123456789, 0, 640.5], [0, 1010.5, 360.25], [0, 0, 1]])
DISTORTION = [-0.2, 0.05, 0.001, -0.002, 0.01]


def values(camera):
    return {name: getattr(camera, name) for name in PLAIN}


@pytest.mark.parametrize('name', ['camera.json', 'camera.yaml', 'camera.YML'])
def test_reads_plain_intrinsics(tmp_path, name):
    path = tmp_path / name
    path.write_text(json.dumps(PLAIN))  # JSON is YAML too
    camera = read_camera(path)
    assert values(camera) == PLAIN and camera.distortion is None
    path.write_text(json.dumps({**PLAIN, 'distortion': DISTORTION}))
    assert read_camera(path).distortion.tolist() == DISTORTION
    path.write_text(json.dumps({**PLAIN, 'distortion': [0, 0, 0, 0]}))
    assert read_camera(path).distortion is None


def test_reads_numbers_that_yaml_takes_for_text(tmp_path):
    path = tmp_path / 'camera.yaml'
    path.write_text('fx: 1e3\nfy: 1e3\ncx: 640.\ncy: 360\nwidth: 1280\nheight: 720\n')
    assert read_camera(path).fx == 1000


@pytest.mark.parametrize('suffix', ['.yaml', '.yml', '.json'])
@pytest.mark.parametrize('shape', [(1, 5), (5, 1)])
def test_reads_what_opencv_writes(tmp_path, suffix, shape):
    path = tmp_path / f'calibration{suffix}'
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    file.write('calibration_time', 'Mon 01 Jan 2024')
    file.write('image_width', 1280)
    file.write('image_height', 720)
    file.write('camera_matrix', MATRIX)
    file.write('distortion_coefficients', np.array(DISTORTION).reshape(shape))
    file.release()
    camera = read_camera(path)
    assert (camera.width, camera.height) == (1280, 720)
    np.testing.assert_allclose(camera.matrix.numpy(), MATRIX, rtol=1e-12)
    np.testing.assert_allclose(camera.distortion.numpy(), DISTORTION, rtol=1e-12)


def test_reads_ros_camera_info(tmp_path):
    path = tmp_path / 'camera_info.yaml'
    path.write_text(
        'image_width: 1280\nimage_height: 720\ncamera_name: left\n'
        'camera_matrix:\n  rows: 3\n  cols: 3\n  data: [1000, 0, 640, 0, 1010.5, 360, 0, 0, 1]\n'
        'distortion_model: plumb_bob\n'
        'distortion_coefficients: {rows: 1, cols: 5, data: [-0.2, 0.05, 0.001, -0.002, 0.01]}\n'
    )
    camera = read_camera(path)
    assert values(camera) == PLAIN and camera.distortion.tolist() == DISTORTION


CALIBRATION = {'camera_matrix': MATRIX.tolist(), 'image_width': 1280, 'image_height': 720}


@pytest.mark.parametrize(
    'data, message',
    [
        ('{', 'no readable JSON'),
        ([1], 'takes a mapping with fx'),
        ({}, 'has no fx, fy, cx, cy, width, height'),
        ({k: v for k, v in PLAIN.items() if k != 'cy'}, 'has no cy'),
        ({**PLAIN, 'fx': -5}, 'fx: takes positive and finite values, got -5'),
        ({**PLAIN, 'fy': float('nan')}, 'fy: takes positive and finite values, got nan'),
        ({**PLAIN, 'cx': 'left'}, "cx: takes a number, got 'left'"),
        ({**PLAIN, 'width': None}, 'width: takes a number, got None'),
        ({**PLAIN, 'cy': True}, 'cy: takes a number, got True'),
        ({**PLAIN, 'distortion': [0.1, 0.2, 0.3]}, 'distortion: takes'),
        ({**PLAIN, 'distortion': 'no'}, 'distortion: takes a list of numbers'),
        ({'camera_matrix': MATRIX.tolist()}, 'has no image_width'),
        ({**CALIBRATION, 'camera_matrix': MATRIX[:2].tolist()}, 'camera_matrix: takes 3 x 3 numbers, got 6'),
        ({**CALIBRATION, 'camera_matrix': MATRIX.T.tolist()}, 'camera_matrix: K: takes'),
        ({**CALIBRATION, 'camera_matrix': (-MATRIX * [[1], [1], [-1]]).tolist()}, 'fx: takes positive'),
        ({**CALIBRATION, 'fisheye_model': 1}, 'fisheye lens'),
        ({**CALIBRATION, 'distortion_model': 'equidistant'}, 'fisheye lens'),
    ],
)
def test_bad_files_are_reported(tmp_path, data, message):
    path = tmp_path / 'camera.json'
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    with pytest.raises(ValueError, match=rf'camera\.json: .*{message}') as raised:
        read_camera(path)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('text', ['fx: [1', 'fx: !!python/object/apply:os.getcwd []', 'a: *b', '%YAML:1.0\n---\nfx: {'])
def test_bad_yaml_is_one_line_and_runs_no_code(tmp_path, text):
    (tmp_path / 'camera.yaml').write_text(text)
    with pytest.raises(ValueError, match=r'camera\.yaml: no readable YAML') as raised:
        read_camera(tmp_path / 'camera.yaml')
    assert '\n' not in str(raised.value)


class Evil:
    def __reduce__(self):
        return pytest.fail, ('the pickle was run',)


def test_pickles_are_refused_unread(tmp_path):
    (tmp_path / 'cameras.pkl').write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r'cameras\.pkl: pickles are not read'):
        read_camera(tmp_path / 'cameras.pkl')


def test_other_kinds_of_file_are_reported(tmp_path):
    with pytest.raises(ValueError, match=r'nowhere\.json: cannot be read: No such file'):
        read_camera(tmp_path / 'nowhere.json')
    (tmp_path / 'camera.xml').write_text('<a/>')
    with pytest.raises(ValueError, match=r'camera\.xml: takes a \.json, \.yaml or \.yml file'):
        read_camera(tmp_path / 'camera.xml')
