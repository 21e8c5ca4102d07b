# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import pickle

import cv2
import numpy as np
import pytest
import torch

from stereopose_mm.apis.camera_files import check_image_size, read_camera
from stereopose_mm.geometry import Camera

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


def test_pickles_of_code_are_refused_unrun(tmp_path):
    for content in (Evil(), {('S1', '54138969'): Evil()}):
        (tmp_path / 'cameras.pkl').write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match=r'cameras\.pkl: no pickle of cameras: it names'):
            read_camera(tmp_path / 'cameras.pkl')
    (tmp_path / 'cameras.pkl').write_bytes(b'\x80\x04cut short')
    with pytest.raises(ValueError, match=r'cameras\.pkl: no pickle of cameras'):
        read_camera(tmp_path / 'cameras.pkl')


# Intrinsics of Human3.6M's first camera, in the layout of MMPose's converter.
PARAM = {
    'f': [[1145.05], [1143.78]], 'c': [[512.54], [515.45]],
    'k': [[-0.207], [0.248], [-0.003]], 'p': [[-0.0014], [-0.001]],
    'w': 1000, 'h': 1002,
}  # fmt: skip


def arrays(param):
    return {key: np.array(value) if isinstance(value, list) else value for key, value in param.items()}


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        if name.endswith('.pkl'):
            (tmp_path / name).write_bytes(pickle.dumps(content))
        else:
            (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path / name

    return write_file


@pytest.mark.parametrize('name', ['camera.pkl', 'camera.json', 'camera.yaml'])
def test_reads_one_camera_param_of_mmpose(write, name):
    camera = read_camera(write(name, arrays(PARAM) if name.endswith('.pkl') else PARAM))
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (1145.05, 1143.78, 512.54, 515.45)
    assert (camera.width, camera.height) == (1000, 1002)
    np.testing.assert_allclose(camera.distortion, [-0.207, 0.248, -0.0014, -0.001, -0.003])
    matrix = {'K': MATRIX.tolist(), 'w': 1280, 'h': 720}
    np.testing.assert_allclose(read_camera(write('matrix.json', matrix)).matrix, MATRIX)


def test_chooses_one_of_mmposes_cameras(write):
    other = {**PARAM, 'f': [[1149.7], [1147.6]]}
    table = {('S1', '54138969'): PARAM, ('S1', '55011271'): other, ('S5', '54138969'): PARAM}
    path = write('cameras.pkl', {key: arrays(param) for key, param in table.items()})
    assert read_camera(path, 'S1.55011271').fx == read_camera(path, '55011271').fx == 1149.7
    assert read_camera(path, '54138969').fx == 1145.05  # the same for both subjects
    with pytest.raises(ValueError, match=r'cameras.pkl: holds several cameras, name one of them: S1.54138969, S1.55'):
        read_camera(path)
    with pytest.raises(ValueError, match=r"has no camera 'S9.1', only S1.54138969, .*, S5.54138969$"):
        read_camera(path, 'S9.1')
    alone = write('cameras_test.pkl', {'TS1': arrays(PARAM)})
    assert read_camera(alone).fx == read_camera(alone, 'TS1').fx == 1145.05
    as_json = write('cameras.json', {'left': PARAM, 'right': other})
    assert read_camera(as_json, 'right').fx == 1149.7


def test_refuses_cameras_that_differ_under_one_name(write):
    path = write('cameras.pkl', {('S1', 'a'): arrays(PARAM), ('S2', 'a'): arrays({**PARAM, 'k': [[0.1], [0.1], [0]]})})
    with pytest.raises(ValueError, match="camera 'a' may be S1.a or S2.a, which differ"):
        read_camera(path, 'a')


@pytest.mark.parametrize(
    'content, message',
    [
        ([1, 2], "takes MMPose's cameras, a dict of dicts with f, c, w and h, has list"),
        ({}, "takes MMPose's cameras"),
        ({'TS1': 5}, 'camera TS1: takes K, or f and c, w and h, has int'),
        ({'TS1': {'R': 1}}, r"camera TS1: takes K, or f and c, w and h, has \['R'\]"),
        ({**PARAM, 'w': None}, 'camera_param: has no w'),
        ({**PARAM, 'f': [[1.0]]}, 'takes 2 values, got 1'),
        ({**PARAM, 'f': [[float('nan')], [1.0]]}, 'fx: takes positive and finite'),
        ({**PARAM, 'f': 'long'}, 'could not convert'),
        ({'f': [1, 1], 'w': 5, 'h': 5}, 'takes f and c together'),
    ],
)
def test_bad_cameras_of_mmpose_are_reported(write, content, message):
    with pytest.raises(ValueError, match=f'cameras.pkl: .*{message}'):
        read_camera(write('cameras.pkl', content))


def test_reads_the_real_pickles(shared_data):
    camera = read_camera(shared_data / 'real/h36m/cameras.pkl', '54138969')
    assert camera.fx == pytest.approx(1145.0494) and (camera.width, camera.height) == (1000, 1002)
    camera = read_camera(shared_data / 'real/mpi_inf_3dhp/cameras_train.pkl', 'S4_Seq2_Cam0')
    assert (camera.width, camera.height) == (2048, 2048)  # the file says 204


COLMAP = """# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
# Number of cameras: 6
1 SIMPLE_PINHOLE 3072 2304 2559.81 1536 1152
2 PINHOLE 3072 2304 2560.56 2561.5 1536 1152
3 SIMPLE_RADIAL 3072 2304 2559.69 1536 1152 -0.0218531
4 RADIAL 3072 2304 2559.69 1536 1152 -0.0218531 0.01
5 OPENCV 3072 2304 2560.56 2561.5 1536 1152 -0.02 0.01 0.001 -0.002
6 FULL_OPENCV 3072 2304 2560.56 2561.5 1536 1152 -0.02 0.01 0.001 -0.002 0.003 0.004 -0.005 0.006
7 OPENCV_FISHEYE 3072 2304 2560.56 2561.5 1536 1152 -0.02 0.01 0.001 -0.002
"""


@pytest.mark.parametrize(
    'name, focal, lens',
    [
        ('1', (2559.81, 2559.81), []),
        ('2', (2560.56, 2561.5), []),
        ('3', (2559.69, 2559.69), [-0.0218531, 0, 0, 0]),
        ('4', (2559.69, 2559.69), [-0.0218531, 0.01, 0, 0]),
        ('5', (2560.56, 2561.5), [-0.02, 0.01, 0.001, -0.002]),
        ('6', (2560.56, 2561.5), [-0.02, 0.01, 0.001, -0.002, 0.003, 0.004, -0.005, 0.006]),
    ],
)
def test_reads_colmap_as_opencv_projects_it(write, name, focal, lens):
    camera = read_camera(write('cameras.txt', COLMAP), name)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (*focal, 1536, 1152)
    assert (camera.width, camera.height) == (3072, 2304) and (camera.distortion is None) == (not lens)
    points = np.random.default_rng(0).uniform([-1, -1, 3], [1, 1, 6], (8, 3))
    matrix = np.array([[focal[0], 0, 1536], [0, focal[1], 1152], [0, 0, 1]])
    expected = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array(lens or [0.0] * 4))[0][:, 0]
    np.testing.assert_allclose(camera.project(torch.tensor(points)), expected, atol=1e-6)


def test_one_camera_of_colmap_needs_no_name(write):
    assert read_camera(write('cameras.txt', '\n'.join(COLMAP.splitlines()[:4]))).fx == 2559.81


@pytest.mark.parametrize(
    'text, name, message',
    [
        (COLMAP, None, r'holds several cameras, name one of them: 1, 2, 3, 4, 5, 6, … \(7 in all\)'),
        (COLMAP, '9', "has no camera '9', only 1, 2"),
        (COLMAP, '7', 'line 10: takes a camera model of SIMPLE_PINHOLE, .*, got OPENCV_FISHEYE'),
        ('# nothing', None, "takes COLMAP's cameras.txt, holds no camera"),
        ('1 PINHOLE 30', None, 'line 1: takes CAMERA_ID, MODEL'),
        ('1 PINHOLE 30 40 5 6 7', None, 'line 1: PINHOLE takes fx, fy, cx, cy, got 3 numbers'),
        ('1 PINHOLE 30 40 5 6 7 x', None, "line 1: cy: takes a number, got 'x'"),
        ('1 PINHOLE 30 40 nan 6 7 8', None, 'line 1: fx: takes positive and finite'),
    ],
)
def test_bad_colmap_files_are_reported(write, text, name, message):
    with pytest.raises(ValueError, match=f'cameras.txt: {message}'):
        read_camera(write('cameras.txt', text), name)


def test_a_file_of_one_camera_has_no_names(write):
    for path in (write('camera.json', PLAIN), write('param.json', PARAM)):
        with pytest.raises(ValueError, match="has no camera '1': it holds one, without a name"):
            read_camera(path, '1')


def test_check_image_size_names_both_sizes_and_the_factor():
    camera = Camera(1000, 1000, 640, 360, 1280, 720)
    check_image_size(camera, 1280, 720, 'camera.json', 'a.jpg')
    with pytest.raises(ValueError, match=r'camera.json: is for images of 1280 x 720 px, but a.jpg is 640 x 480 px$'):
        check_image_size(camera, 640, 480, 'camera.json', 'a.jpg')
    with pytest.raises(ValueError, match=r'but a.jpg is 960 x 540 px; scale fx, fy, cx and cy by 0.75 if'):
        check_image_size(camera, 960, 540, 'camera.json', 'a.jpg')
    with pytest.raises(ValueError, match=r'; scale fx, fy, cx and cy by 0\.667'):  # the height was rounded
        check_image_size(camera, 854, 480, 'camera.json', 'a.jpg')


def test_other_kinds_of_file_are_reported(tmp_path):
    with pytest.raises(ValueError, match=r'nowhere\.json: cannot be read: No such file'):
        read_camera(tmp_path / 'nowhere.json')
    (tmp_path / 'cameras.bin').write_bytes(b'1')
    with pytest.raises(ValueError, match=r'cameras\.bin: COLMAP text only: .*--output_type TXT'):
        read_camera(tmp_path / 'cameras.bin')
    (tmp_path / 'camera.xml').write_text('<a/>')
    with pytest.raises(ValueError, match=r'camera\.xml: takes a \.json, \.yaml, \.yml, \.txt \(COLMAP\) or'):
        read_camera(tmp_path / 'camera.xml')
