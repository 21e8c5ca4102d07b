# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpose.registry import MODELS
from PIL import Image
from PIL.ExifTags import IFD, Base

from stereopose_mm.apis import shipped_lifter
from stereopose_mm.geometry import H36M_17, Camera

TOOL = 'tools/lift.py'
CONFIG = """
codec = dict(type='StereoPoseLifting')
model = dict(
    type='PoseLifter',
    backbone=dict(type='ViewSynthesisNet', width=32, num_blocks=1),
    head=dict(type='StereoLifter', width=32, num_blocks=1, decoder=codec, search=dict(type='GeometricSearch')),
)
"""
# A standing person, COCO-17, in pixels of a 640 x 480 image.
PERSON = np.array([
    [320, 100], [326, 94], [314, 94], [332, 98], [308, 98], [350, 140], [290, 140], [360, 190], [280, 190],
    [365, 235], [275, 235], [338, 240], [302, 240], [340, 310], [300, 310], [342, 380], [298, 380],
], float)  # fmt: skip


def record(image_id=1, shift=0.0, score=0.9, **changes):
    keypoints = np.column_stack([PERSON + shift, np.full(17, score)]).ravel().tolist()
    return {'image_id': image_id, 'category_id': 1, 'keypoints': keypoints, 'score': score, **changes}


# H36M-17, metres, facing the camera.
STANDING = [
    [0, 0, 0], [-0.13, 0, 0], [-0.13, 0.44, 0], [-0.13, 0.88, 0], [0.13, 0, 0], [0.13, 0.44, 0], [0.13, 0.88, 0],
    [0, -0.23, 0], [0, -0.48, 0], [0, -0.6, -0.05], [0, -0.7, 0], [0.15, -0.45, 0], [0.17, -0.18, 0], [0.18, 0.06, 0],
    [-0.15, -0.45, 0], [-0.17, -0.18, 0], [-0.18, 0.06, 0],
]  # fmt: skip


@pytest.fixture(scope='session')
def tiny_lifter(tmp_path_factory):
    """Options of a tiny lifter, untrained but for the mean pose: the search puts it on the right rays."""
    folder = tmp_path_factory.mktemp('lifter')
    (folder / 'tiny.py').write_text(CONFIG)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(folder / 'tiny.py').model)
    with torch.no_grad():
        model.head.net.output.bias.copy_(torch.tensor(STANDING).flatten())
    meta = {'dataset_meta': {'dataset_name': 'h36m'}}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, folder / 'tiny.pth')
    return ['--config', str(folder / 'tiny.py'), '--checkpoint', str(folder / 'tiny.pth')]


@pytest.fixture
def main(project_root, tmp_path, monkeypatch, capsys):
    """Run the tool in this process and an empty folder; gives its exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(project_root / 'tools')
    tool = runpy.run_path(str(project_root / TOOL))['main']

    def run_tool(*arguments):
        try:
            status = tool([str(a) for a in arguments])
        except SystemExit as stopped:
            status = stopped.code
        return (status, *capsys.readouterr())

    return run_tool


@pytest.fixture
def detections(tmp_path):
    def write(*records, name='found.json'):
        (tmp_path / name).write_text(json.dumps(records))
        return name

    return write


@pytest.fixture
def photos(tmp_path):
    """Three images of different names, two of them 640 x 480."""
    (tmp_path / 'photos').mkdir()
    grey = np.full((480, 640, 3), 128, np.uint8)
    cv2.imwrite(str(tmp_path / 'photos' / '000000000001.jpg'), grey)
    cv2.imwrite(str(tmp_path / 'photos' / 'COCO_val2014_000000000002.png'), grey)
    cv2.imwrite(str(tmp_path / 'photos' / 'three.jpeg'), grey[:, :600])
    return 'photos'


def read(folder='out'):
    with open(f'{folder}/poses3d.json') as file:
        return json.load(file, parse_constant=lambda constant: pytest.fail(f'{constant} in JSON'))


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_lifts_the_people_of_each_image(main, tmp_path, detections, photos, tiny_lifter):
    found = detections(
        record(2), record(9, file_name='val/three.jpeg'), record(2, category_id=3), record(1, 30),
        record(2, -20), record(1, keypoints=[0] * 51),
    )  # fmt: skip
    status, output, errors = main(found, '--images', photos, '--fov', 60, '--out', 'out', *tiny_lifter)
    assert (status, errors) == (0, '')
    assert 'images:             3\npeople:             4 (left out: 1 without keypoints, 1 of other' in output
    assert 'lifted:             4\n' in output and 'results:            out\n' in output
    pictures = ['COCO_val2014_000000000002', 'three', '000000000001']
    assert files(tmp_path / 'out') == sorted([f'pictures/{p}.png' for p in pictures] + ['poses3d.json', 'poses3d.npz'])
    for name in pictures:
        assert cv2.imread(f'out/pictures/{name}.png').std() > 0

    written = read()
    assert tuple(written['info']['joint_names']) == H36M_17.joint_names
    assert written['info']['units']['keypoints_cam'].startswith('metres')
    poses = written['poses']
    assert [pose['record'] for pose in poses] == [0, 1, 3, 4]
    assert [(pose['image_id'], pose['person']) for pose in poses] == [(2, 0), (9, 0), (1, 0), (2, 1)]
    assert [pose['picture'] for pose in poses] == [f'pictures/{pictures[i]}.png' for i in (0, 1, 2, 0)]
    assert [pose['camera']['width'] for pose in poses] == [640, 600, 640, 640]
    for pose, shift in zip(poses, (0, 0, 30, -20), strict=True):
        camera = Camera(**pose['camera'])
        assert camera.fov_deg == pytest.approx(60)
        pixels = camera.project(torch.tensor(pose['keypoints_cam'], dtype=torch.float64)).numpy()
        np.testing.assert_allclose(pixels[[5, 13]], PERSON[[13, 9]] + shift, atol=0.01)
        np.testing.assert_allclose(pose['keypoints'][0], 0, atol=1e-6)
        assert pose['root_depth'] == pytest.approx(pose['keypoints_cam'][0][2], abs=1e-5)
        assert pose['reprojection_error'] < 0.01

    with np.load('out/poses3d.npz', allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays['keypoints_cam'], [p['keypoints_cam'] for p in poses], atol=1e-5)
        assert arrays['image_id'].tolist() == [2, 9, 1, 2] and arrays['person'].tolist() == [0, 0, 0, 1]
        assert arrays['camera'][:, 4].tolist() == [640, 600, 640, 640] and arrays['valid'].all()
        assert arrays['file_name'].tolist() == ['', 'val/three.jpeg', '', '']


def test_reports_what_cannot_be_lifted_as_null(main, detections, tiny_lifter):
    at_one_point = np.tile([320.0, 240, 0.9], 17).tolist()
    found = detections(record(), record(keypoints=at_one_point))
    status, output, _ = main(found, '--image-size', 640, 480, '--fov', 55, '--out', 'out', *tiny_lifter)
    assert status == 0 and 'lifted:             1\n' in output
    good, bad = read()['poses']
    assert good['valid'] and not bad['valid']
    assert bad['keypoints_cam'] is bad['root_depth'] is bad['reprojection_error'] is None
    with np.load('out/poses3d.npz') as arrays:
        assert np.isnan(arrays['keypoints_cam'][1]).all()
    assert cv2.imread('out/pictures/1.png') is not None


def test_nothing_to_lift_is_no_error(main, detections, tiny_lifter):
    found = detections(record(keypoints=[0] * 51))
    status, output, errors = main(found, '--image-size', 640, 480, '--out', 'out', *tiny_lifter)
    assert (status, errors) == (0, '') and 'people:             0 (left out: 1 without' in output
    assert read()['poses'] == [] and 'nan' not in output


def test_other_skeletons_and_npz_without_images(main, tmp_path, tiny_lifter):
    poses = np.random.default_rng(0).uniform(100, 400, (2, 17, 2))
    np.savez('found.npz', keypoints=poses)
    arguments = ['found.npz', '--image-size', 640, 480, '--fov', 55, '--skeleton', 'h36m', '--out', 'out/a']
    status, output, errors = main(*arguments, *tiny_lifter)
    assert (status, errors) == (0, '') and 'images:             2\n' in output
    assert files(tmp_path / 'out/a') == ['pictures/0.png', 'pictures/1.png', 'poses3d.json', 'poses3d.npz']
    with np.load('out/a/poses3d.npz') as arrays:
        camera = Camera(*arrays['camera'][0])
        pixels = camera.project(torch.from_numpy(arrays['keypoints_cam'].astype(np.float64)))
    np.testing.assert_allclose(pixels, poses, atol=0.01)


def test_a_camera_file_goes_for_all_images(main, detections, photos, tiny_lifter):
    camera = dict(fx=900.0, fy=910.0, cx=310.0, cy=250.0, width=640, height=480, distortion=[-0.1, 0.01, 0.001, 0.0])
    with open('camera.json', 'w') as file:
        json.dump(camera, file)
    options = ['--images', photos, '--camera', 'camera.json', '--out', 'out', '--no-pictures', *tiny_lifter]
    status, _, errors = main(detections(record(1), record(2)), *options)
    assert (status, errors) == (0, '')
    assert all(pose['camera'] == camera and pose['reprojection_error'] < 0.01 for pose in read()['poses'])
    assert all(pose['picture'] is None for pose in read()['poses']) and not os.path.exists('out/pictures')
    status, _, errors = main(detections(record(1), record(file_name='three.jpeg')), *options)
    assert status == 2
    assert errors == 'error: camera.json: is for images of 640 x 480 px, but photos/three.jpeg is 600 x 480 px\n'


def test_takes_the_focal_length_from_exif_and_warns_where_there_is_none(main, detections, photos, tiny_lifter):
    image = Image.open('photos/000000000001.jpg')
    exif = image.getexif()
    exif.get_ifd(IFD.Exif)[Base.FocalLengthIn35mmFilm] = 35
    image.save('photos/000000000001.jpg', exif=exif)
    options = ['--images', photos, '--no-pictures', '--out', 'out', *tiny_lifter]
    status, _, errors = main(detections(record(1)), *options)
    assert (status, errors) == (0, '')
    assert read()['poses'][0]['camera']['fx'] == pytest.approx(35 * 800 / 43.2666, rel=1e-4)
    status, _, errors = main(detections(record(1), record(2)), *options)
    assert status == 0 and errors.count('\n') == 1
    assert errors.startswith('warning: 1 of 2 images tell no focal length: took a horizontal field of view of 55 deg')
    cameras = [pose['camera'] for pose in read()['poses']]
    assert cameras[0]['fx'] == pytest.approx(647.15, rel=1e-4) and Camera(**cameras[1]).fov_deg == pytest.approx(55)


def test_images_of_one_name_get_pictures_of_their_own(main, detections, tiny_lifter):
    names = ['a/x.jpg', 'b/x.jpg', '../../x.png', 'X.jpg']
    found = detections(*(record(i, file_name=name) for i, name in enumerate(names)))
    assert main(found, '--image-size', 640, 480, '--out', 'out', *tiny_lifter)[0] == 0
    assert sorted(os.listdir('out/pictures')) == ['X_4.png', 'x.png', 'x_2.png', 'x_3.png']


@pytest.mark.parametrize('suffix', ['webp', 'tif', 'bmp'])
def test_photographs_of_any_format_are_found_by_their_ids(main, tmp_path, detections, tiny_lifter, suffix):
    (tmp_path / 'photos').mkdir()
    for name in ('000000000001', 'street_0002'):
        Image.new('RGB', (640, 480)).save(f'photos/{name}.{suffix}')
    status, output, _ = main(
        detections(record(1), record(2)), '--images', 'photos', '--fov', 55, '--no-pictures', '--out', 'out',
        *tiny_lifter,
    )  # fmt: skip
    assert status == 0 and 'images:             2' in output


@pytest.mark.parametrize('suffix', ['webp', 'tif', 'png', 'jpg'])
def test_photographs_are_turned_whatever_their_format(main, tmp_path, detections, tiny_lifter, suffix):
    """OpenCV's own reading turns no WebP, and fails at a TIFF that is to be turned."""
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    (tmp_path / 'photos').mkdir()
    Image.new('RGB', (480, 640), (60, 120, 200)).save(f'photos/1.{suffix}', exif=exif)
    found = detections(record(None, file_name=f'1.{suffix}'))
    status, _, errors = main(found, '--images', 'photos', '--fov', 55, '--out', 'out', *tiny_lifter)
    assert status == 0, errors
    assert read()['poses'][0]['camera']['width'] == 640
    assert (tmp_path / 'out/pictures/1.png').is_file()


def test_replaces_earlier_results_and_nothing_else(main, tmp_path, detections, tiny_lifter):
    options = ['--image-size', 640, 480, '--fov', 55, '--out', 'out', *tiny_lifter]
    os.mkdir('out')
    (tmp_path / 'out/notes.txt').write_text('mine')
    assert main(detections(record(1)), *options)[0] == 0
    assert main(detections(record(2), record(3)), *options)[0] == 0
    assert files(tmp_path / 'out') == [
        'notes.txt', 'pictures/2.png', 'pictures/3.png', 'poses3d.json', 'poses3d.npz',
    ]  # fmt: skip
    assert [pose['image_id'] for pose in read()['poses']] == [2, 3]
    assert sorted(os.listdir()) == ['found.json', 'out']


LIFT = ['found.json', '--image-size', '640', '480', '--out', 'out']
IMAGES = ['found.json', '--images', 'photos', '--out', 'out']


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['nowhere.json', *LIFT[1:]], 'argument DETECTIONS: no such file: nowhere.json'),
        (LIFT[:4], 'the following arguments are required: --out'),
        (['found.json', '--out', 'out'], 'one of the arguments --images --image-size is required'),
        ([*LIFT, '--images', 'photos'], 'argument --images: not allowed with argument --image-size'),
        (['found.json', '--image-size', '0', '480', '--out', 'out'], 'argument --image-size: takes 1 to 65535 pixels'),
        ([*LIFT, '--fov', '180'], 'argument --fov: takes degrees between 0 and 180, got 180'),
        ([*LIFT, '--fov', 'nan'], 'argument --fov: takes degrees between 0 and 180, got nan'),
        ([*LIFT, '--fov', '50', '--camera', 'found.json'], 'argument --camera: not allowed with argument --fov'),
        ([*LIFT, '--skeleton', 'hand'], "argument --skeleton: invalid choice: 'hand'"),
        ([*LIFT, '--min-score', '-1'], 'min_score: takes a number of at least 0, got -1.0'),
        ([*LIFT, '--min-score', 'nan'], 'min_score: takes a number of at least 0, got nan'),
        ([*LIFT, '--camera', 'negative.json'], 'negative.json: fx: takes positive and finite values, got -5'),
        (['three.json', *LIFT[1:]], 'three.json: record 3: keypoints: takes 51 numbers'),
        (['nan.json', *LIFT[1:]], 'nan.json: record 1: keypoints: x of keypoint 2 takes a finite number'),
        (['found.json', '--images', 'nowhere', '--out', 'out'], 'nowhere: no such folder of images'),
        (['lost.json', *IMAGES[1:]], 'lost.json: record 1: image 77 not found in photos'),
        (['named.json', *IMAGES[1:]], "named.json: record 0: image 'gone.jpg' / 77 not found in photos"),
        (['nameless.json', *IMAGES[1:]], 'nameless.json: record 0: has neither file_name nor image_id'),
        (['twice.json', *IMAGES[1:]], 'twice.json: record 0: image 5 is ambiguous: a_5.jpg or b_05.jpg'),
        (['broken.json', *IMAGES[1:]], 'photos/000000000006.jpg: no readable image'),
        ([*LIFT[:-1], 'found.json'], 'found.json: exists and is not a folder'),
        ([*LIFT[:-1], 'found.json/out'], 'found.json: exists and is not a folder'),
        ([*LIFT[:-1], 'other'], 'other/pictures: exists and is no earlier result'),
        ([*LIFT, '--device', 'abacus'], "device: cannot run on 'abacus': "),
        ([*LIFT, '--config', 'nowhere.py', '--checkpoint', 'x'], 'nowhere.py, x: no lifter: no such file: nowhere.py'),
        ([*LIFT, '--config', 'bad.py', '--checkpoint', 'bad.pth'], 'bad.py, bad.pth: no lifter: '),
        ([*LIFT, '--config', 'CONFIG'], 'CONFIG: no lifter: config CONFIG needs its checkpoint'),
        ([*LIFT, '--config', 'CONFIG', '--checkpoint', 'bad.pth'], 'CONFIG, bad.pth: no lifter: '),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    main, tmp_path, detections, photos, tiny_lifter, arguments, message
):
    detections(record())
    detections(*[record()] * 3, record(keypoints=[1] * 34), name='three.json')
    detections(record(), record(keypoints=[1.0] * 6 + [float('nan')] + [1] * 44), name='nan.json')
    detections(record(1), record(77), name='lost.json')
    detections(record(77, file_name='gone.jpg'), name='named.json')
    detections({'keypoints': record()['keypoints']}, name='nameless.json')
    detections(record(5), name='twice.json')
    detections(record(6), name='broken.json')
    for name in ('a_5', 'b_05'):
        (tmp_path / f'photos/{name}.jpg').touch()
    (tmp_path / 'photos/000000000006.jpg').write_bytes(b'no image')
    (tmp_path / 'negative.json').write_text('{"fx": -5, "fy": 5, "cx": 3, "cy": 3, "width": 640, "height": 480}')
    (tmp_path / 'other/pictures').mkdir(parents=True)
    (tmp_path / 'bad.py').write_text('1 / 0')
    (tmp_path / 'bad.pth').write_bytes(b'no checkpoint')
    before = sorted(tmp_path.rglob('*'))
    config = tiny_lifter[1]
    status, output, errors = main(*(config if a == 'CONFIG' else a for a in arguments))
    assert errors.startswith(f'error: {message.replace("CONFIG", config)}'), errors
    assert (status, output, errors.count('\n')) == (2, '', 1)
    assert sorted(tmp_path.rglob('*')) == before


def test_an_image_that_breaks_while_drawing_leaves_nothing(main, tmp_path, detections, photos, tiny_lifter):
    # Its header still tells the size.
    photo = tmp_path / 'photos/COCO_val2014_000000000002.png'
    photo.write_bytes(photo.read_bytes()[:200])
    found = detections(record(1), record(2))
    status, _, errors = main(found, '--images', photos, '--fov', 55, '--out', 'deep/out', *tiny_lifter)
    assert status == 2
    assert errors.startswith('error: photos/COCO_val2014_000000000002.png: no readable image')
    assert len(errors.splitlines()) == 1
    assert sorted(os.listdir()) == ['found.json', 'photos']


def test_images_are_not_replaced_by_their_pictures(main, tmp_path, detections, photos, tiny_lifter):
    options = ['--fov', 55, '--out', 'out', *tiny_lifter]
    assert main(detections(record(1)), '--images', photos, *options)[0] == 0
    status, _, errors = main(detections(record(1)), '--images', 'out/pictures', *options)
    assert status == 2 and errors.startswith('error: out/pictures: would be replaced by the pictures in out')


def command(project_root, *arguments):
    environment = {**os.environ, 'PYTHONPATH': str(project_root), 'OMP_NUM_THREADS': '1'}
    line = [sys.executable, str(project_root / TOOL), *map(str, arguments)]
    return line, dict(env=environment, text=True)


def test_help_does_not_wait_for_torch(project_root):
    line, options = command(project_root, '--help')
    line[1:1] = ['-X', 'importtime']
    done = subprocess.run(line, capture_output=True, timeout=60, **options)
    assert done.returncode == 0 and '--images DIR' in done.stdout
    assert 'argparse' in done.stderr and 'torch' not in done.stderr and 'numpy' not in done.stderr


@pytest.mark.parametrize('number, status', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing(main, tmp_path, detections, tiny_lifter, number, status):
    def interrupt():
        while not list(tmp_path.glob('.lift-*/new/pictures/*.png')) and not done.is_set():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    done = threading.Event()
    found = detections(*(record(i) for i in range(1000)))
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_IGN),  # the tool has its own; a late one ends no test
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in background jobs
    }
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        stopped, output, errors = main(found, '--image-size', 640, 480, '--fov', 55, '--out', 'out', *tiny_lifter)
    finally:
        done.set()
        thread.join()
        for each, handler in before.items():
            signal.signal(each, handler)
    assert (stopped, output) == (status, '')
    assert errors == ('interrupted\n' if number == signal.SIGINT else '')
    assert [path.name for path in tmp_path.iterdir()] == ['found.json']


def test_lifts_real_detections(project_root, tmp_path, shared_data):
    if not shipped_lifter('coco')[1].is_file():
        pytest.skip('the shipped weights are not there yet')
    folder = shared_data / 'real/coco'
    line, options = command(project_root, folder / 'movenet_keypoints.json', '--images', folder, '--out', 'out')
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, timeout=240, **options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('images:             4\npeople:             10 ')
    pictures = [f'pictures/{i:012d}.png' for i in (785, 40083, 196141, 197388)]
    assert files(tmp_path / 'out') == [*pictures, 'poses3d.json', 'poses3d.npz']
    poses = read(tmp_path / 'out')['poses']
    valid = [pose for pose in poses if pose['valid']]
    assert len(poses) == 10 and len(valid) >= 8
    for pose in valid:
        joints = np.array(pose['keypoints_cam'])
        assert pose['reprojection_error'] < 0.01
        assert 0.5 < pose['root_depth'] < 100
        # People on these photographs are upright: hips below the thorax; and of a person's size.
        assert joints[0, 1] > joints[8, 1]
        assert 0.3 < np.linalg.norm(joints[8] - joints[0]) < 0.8
