# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""StereoPoseInferencer, built through MMPose's registry."""

import json
import warnings

import cv2
import numpy as np
import pytest
import torch
from mmpose.registry import INFERENCERS
from mmpose.structures import PoseDataSample

from stereopose_mm.apis.inferencer import StereoPoseInferencer
from stereopose_mm.apis.lifting import shipped_lifter
from stereopose_mm.geometry import Camera

from .random_models import noise_images, write_models, write_video

WIDTH, HEIGHT = 160, 120
LISTS = ('keypoints', 'keypoints_cam', 'keypoints_2d', 'input_keypoints_cam', 'uncertainty', 'used')
BOX = np.array([[20.0, 5, 90, 115]])
# Some of the random poses in them can be lifted.
BOXES = BOX + np.random.default_rng(0).uniform(-15, 15, (12, 4))


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    found = write_models(tmp_path_factory.mktemp('models'))
    return {f'{key}_model' if '_' not in key else key: value for key, value in found.items()}


@pytest.fixture(scope='module')
def inferencer(models):
    from mmpose.apis.inferencers import Pose3DInferencer  # after stereopose_mm, which makes it importable

    built = INFERENCERS.build(dict(type='StereoPoseInferencer', device='cpu', fov=60, **models))
    assert type(built) is INFERENCERS.get('stereo-pose-3d') is StereoPoseInferencer
    assert isinstance(built, Pose3DInferencer)
    return built


@pytest.fixture
def video(tmp_path):
    write_video(tmp_path / 'walk.mp4', noise_images(5))
    return str(tmp_path / 'walk.mp4')


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images').mkdir()
    for index, image in enumerate(noise_images(3)):
        cv2.imwrite(str(tmp_path / 'images' / f'{index}.png'), image)
    return tmp_path / 'images'


def people_of(results):
    return [result['predictions'][0] for result in results]


def test_an_image(inferencer, folder, tmp_path):
    (result,) = inferencer(str(folder / '0.png'), bboxes=[BOXES], out_dir=tmp_path / 'out', return_vis=True)
    (people,) = result['predictions']
    assert any(person['valid'] for person in people)
    for person in people:
        assert person['track_id'] == -1 and np.shape(person['keypoints_2d']) == (17, 2)
        if not person['valid']:
            assert person['keypoints'] is person['keypoints_cam'] is person['root_depth'] is None
            continue
        points = {name: np.array(person[name]) for name in LISTS}
        assert points['keypoints'].shape == (17, 3) and points['keypoints_2d'].shape == (17, 2)
        np.testing.assert_allclose(points['keypoints'], points['keypoints_cam'] - points['keypoints_cam'][0], atol=1e-5)
        assert person['root_depth'] == pytest.approx(points['keypoints_cam'][0, 2])
        assert np.shape(person['bbox']) == (1, 4) and person['bbox_score'] == 1
    assert json.loads((tmp_path / 'out/predictions/0.json').read_text()) == json.loads(json.dumps(people))
    written = cv2.imread(str(tmp_path / 'out/visualizations/0.png'))
    np.testing.assert_array_equal(written[..., ::-1], result['visualization'][0])


def test_a_video_in_batches(inferencer, video, tmp_path):
    alone = people_of(inferencer(video))
    together = people_of(inferencer(video, batch_size=3, out_dir=tmp_path / 'out'))
    assert len(alone) == len(together) == 5
    for a, b in zip(alone, together, strict=True):
        assert [p['track_id'] for p in a] == [p['track_id'] for p in b]
        for one, other in zip(a, b, strict=True):
            np.testing.assert_allclose(one['keypoints_2d'], other['keypoints_2d'], atol=1e-2)
    tracks = [p['track_id'] for people in together for p in people]
    assert min(tracks) == 0 and len(set(tracks)) < len(tracks)
    frames = json.loads((tmp_path / 'out/predictions/walk.json').read_text())
    assert [frame['frame_id'] for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame['instances'] for frame in frames] == json.loads(json.dumps(together))
    capture = cv2.VideoCapture(str(tmp_path / 'out/visualizations/walk.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5 and capture.get(cv2.CAP_PROP_FPS) == 10


def test_frames_of_a_video(inferencer, video):
    samples = people_of(inferencer(video, every=2, start=1, return_datasamples=True, tracking=False))
    assert [sample.metainfo['frame_id'] for sample in samples] == [2, 4]
    assert (samples[0].pred_instances.track_id == -1).all()


def test_keypoints_stay_where_they_are_and_project_there(inferencer):
    image = noise_images(1)[0]
    (people,) = inferencer.pose2d_model.predict([image], [BOX])
    camera = Camera(200.0, 210.0, 70.0, 66.0, WIDTH, HEIGHT, torch.tensor([0.05, -0.01, 0.0, 0.0]))
    (sample,) = people_of(inferencer(image, bboxes=[BOX], camera=camera, return_datasamples=True))
    assert isinstance(sample, PoseDataSample)
    found = sample.pred_instances
    np.testing.assert_array_equal(found.keypoints_2d, people.keypoints)
    assert found.valid.all() and found.used.sum() >= 3
    pixels = camera.project(torch.from_numpy(found.input_keypoints_cam).double()).numpy()
    np.testing.assert_allclose(pixels[found.used], people.keypoints[found.used], atol=1e-2)
    assert found.reprojection_error.max() < 1e-2


def test_cameras(inferencer, tmp_path):
    image = noise_images(1)[0]

    def depth(**arguments):
        (sample,) = people_of(inferencer(image, bboxes=[BOXES], return_datasamples=True, **arguments))
        return sample.pred_instances.root_depth

    file = tmp_path / 'camera.json'
    camera = Camera.from_fov(60, WIDTH, HEIGHT)
    fields = {name: getattr(camera, name) for name in ('fx', 'fy', 'cx', 'cy', 'width', 'height')}
    file.write_text(json.dumps(fields))
    np.testing.assert_allclose(depth(), depth(fov=60))
    np.testing.assert_allclose(depth(), depth(camera=str(file)), rtol=1e-4)
    assert np.nanmedian(depth(fov=30) / depth(fov=60)) > 1.5
    file.write_text(json.dumps(fields | {'width': 320}))
    with pytest.raises(ValueError, match='camera: is for images of 320 x 120 px, but 000000.jpg is 160 x 120'):
        depth(camera=file)
    with pytest.raises(ValueError, match='camera and fov: takes one of the two'):
        depth(camera=camera, fov=60)
    with pytest.raises(ValueError, match='fov: takes degrees between 0 and 180, got 200'):
        depth(fov=200)
    with pytest.raises(ValueError, match=r'camera: takes one Camera'):
        depth(camera=camera.expand(2))


def test_one_warning_of_the_default_camera(inferencer, video, monkeypatch):
    monkeypatch.setattr(inferencer, '_fov', None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        list(inferencer(video))
    assert len([w for w in caught if 'took a horizontal field of view of 55 degrees' in str(w.message)]) == 1


def test_frames_without_people(inferencer, video, tmp_path):
    results = list(inferencer(video, bbox_thr=1.0, batch_size=2, out_dir=tmp_path, return_vis=True))
    assert people_of(results) == [[]] * 5
    assert all(result['visualization'][0].shape[2] == 3 for result in results)
    assert [f['instances'] for f in json.loads((tmp_path / 'predictions/walk.json').read_text())] == [[]] * 5
    empty = np.zeros((0, 4))
    some = people_of(inferencer(noise_images(3), bboxes=[empty, BOX, empty], batch_size=3))
    assert [len(people) for people in some] == [0, 1, 0]
    (sample,) = people_of(inferencer(noise_images(1), bboxes=[empty], return_datasamples=True))
    assert sample.pred_instances.keypoints.shape == (0, 17, 3)


def test_lists_and_folders(inferencer, folder):
    images = noise_images(3)
    of_folder = people_of(inferencer(str(folder), batch_size=2))
    of_list = people_of(inferencer([images[0], folder / '1.png', str(folder / '2.png')]))
    assert len(of_folder) == len(of_list) == 3
    for a, b in zip(of_folder, of_list, strict=True):
        assert [p['track_id'] for p in a] == [-1] * len(a) == [-1] * len(b)
        np.testing.assert_allclose(a[0]['keypoints_2d'], b[0]['keypoints_2d'], atol=1e-2)


def test_input_errors(inferencer, video, folder):
    with pytest.raises(ValueError, match='absent.jpg: no such file'):
        list(inferencer('absent.jpg'))
    with pytest.raises(ValueError, match='inputs: a list takes images, item 1 is a video'):
        list(inferencer([noise_images(1)[0], video]))
    with pytest.raises(ValueError, match='inputs: takes arrays and paths of images, item 0 is a int'):
        list(inferencer([3]))
    for nothing in (None, 5):
        with pytest.raises(ValueError, match='inputs: takes a path, an array, or a list of these, got'):
            list(inferencer(nothing))
    for image in (np.zeros((50, 60), np.uint8), np.zeros((50, 60, 3)), np.zeros((0, 0, 3), np.uint8)):
        with pytest.raises(ValueError, match=r'images: takes \(H, W, 3\) uint8 arrays, image 0 is'):
            list(inferencer(image))
    with pytest.raises(ValueError, match='vis_out_dir: takes a folder for images'):
        list(inferencer(str(folder), vis_out_dir='a.mp4'))
    with pytest.raises(ValueError, match="unknown argument {'colour'}"):
        list(inferencer(str(folder), colour='red'))
    with pytest.raises(ValueError, match='batch_size: takes 1 or more, got 0'):
        list(inferencer(str(folder), batch_size=0))


def test_an_interrupted_video_leaves_no_half_file(inferencer, video, tmp_path):
    running = inferencer(video, pred_out_dir=tmp_path / 'out')
    next(running)
    running.close()
    assert not list((tmp_path / 'out').iterdir())


def test_a_lifter_of_other_keypoints(models):
    config, weights = shipped_lifter('h36m')
    built = StereoPoseInferencer(str(config), str(weights), device='cpu', fov=60, **models)
    ((person,),) = people_of(built(noise_images(1)[0], bboxes=[BOX]))
    assert person['valid'] and np.shape(person['keypoints_cam']) == (17, 3)
    # Its spine and head top are none of COCO's.
    assert person['keypoint_scores_2d'][7] == person['keypoint_scores_2d'][10] == 0


def test_lists_take_every_and_start_as_sources_do(inferencer):
    images = noise_images(4)
    chosen = people_of(inferencer(images, every=2, start=1, return_datasamples=True))
    assert [sample.metainfo['frame_id'] for sample in chosen] == [2]
    for wrong in ({'every': 0}, {'every': 1.5}, {'start': -1}):
        with pytest.raises(ValueError, match='takes a whole number of at least'):
            list(inferencer(images, **wrong))


def test_memory_of_people_counts_the_frames_left_out(inferencer, video, monkeypatch):
    from stereopose_mm.apis import inferencer as module

    steps = []
    tracker = module.PersonTracker
    monkeypatch.setattr(module, 'PersonTracker', lambda *a, **k: steps.append(k.get('every', 1)) or tracker(*a, **k))
    list(inferencer(video, every=2))
    assert steps == [2]
