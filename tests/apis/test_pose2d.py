# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""2D models of MMDet and MMPose: names, weights, batches."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from stereopose_mm.apis.model_files import _find_config, find_model, load_weights
from stereopose_mm.apis.pose2d import TopDownEstimator, _skeleton

from .random_models import mmpose_config, noise_images, write_models


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp('models'))


@pytest.fixture(scope='module')
def estimator(models):
    return TopDownEstimator(**models)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty folder of downloaded checkpoints."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    return tmp_path / 'hub' / 'checkpoints'


def assert_same(a, b, atol=1e-2):
    for name in ('keypoints', 'scores', 'bboxes', 'bbox_scores'):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=atol, err_msg=name)


def test_people_of_several_images_at_once(estimator):
    images = [*noise_images(3), *noise_images(1, 200, 140)]
    together = estimator.predict(images)
    assert len(together) == 4 and estimator.skeleton == 'coco'
    for image, people in zip(images, together, strict=True):
        assert len(people) > 0
        assert people.keypoints.shape == (len(people), 17, 2) and people.keypoints.dtype == np.float32
        assert people.scores.min() >= 0 and people.scores.max() <= 1
        assert (people.bbox_scores > 0.3).all() and (people.bboxes[:, 2:] > people.bboxes[:, :2]).all()
        assert_same(people, estimator.predict([image])[0])
    assert not np.allclose(together[0].keypoints[0], together[1].keypoints[0])


def test_more_people_than_fit_one_pass(estimator, monkeypatch):
    images = noise_images(3)
    at_once = estimator.predict(images)
    monkeypatch.setattr('stereopose_mm.apis.pose2d._PEOPLE', 7)
    monkeypatch.setattr('stereopose_mm.apis.pose2d._IMAGES', 2)
    for a, b in zip(estimator.predict(images), at_once, strict=True):
        assert_same(a, b)


def test_on_photographs(estimator, shared_data):
    images = [cv2.imread(str(path)) for path in sorted((shared_data / 'real/coco').glob('*.jpg'))[:2]]
    for image, people in zip(images, estimator.predict(images), strict=True):
        assert 0 < len(people) <= 4
        assert np.isfinite(people.keypoints).all() and people.keypoints.shape[1:] == (17, 2)
        # A box is a part of the image at least; detectors guess where people go on outside.
        assert (people.bboxes[:, :2] < image.shape[1::-1]).all() and (people.bboxes[:, 2:] > 0).all()


def test_keypoints_are_mmposes(estimator):
    from mmpose.apis import inference_topdown

    image = noise_images(1)[0]
    boxes = np.array([[10.0, 10, 60, 110], [80, 5, 150, 115]], np.float32)
    (people,) = estimator.predict([image], [boxes])
    theirs = inference_topdown(estimator.model, image, boxes)
    np.testing.assert_allclose(
        people.keypoints, np.concatenate([s.pred_instances.keypoints for s in theirs]), atol=1e-2
    )
    np.testing.assert_array_equal(people.bboxes, boxes)


def test_boxes_are_mmdets(estimator, models):
    from mmdet.apis import inference_detector

    image = noise_images(1)[0]
    with DefaultScope.overwrite_default_scope('mmdet'):
        found = inference_detector(estimator.detector, image).pred_instances.cpu().numpy()
    (people,) = estimator.predict([image])
    best = found.bboxes[found.scores.argmax()]
    np.testing.assert_allclose(people.bboxes[people.bbox_scores.argmax()], best, atol=1e-2)


def test_images_without_people(estimator, monkeypatch):
    assert estimator.predict([]) == []
    monkeypatch.setattr(estimator, 'bbox_thr', 1.0)
    people = estimator.predict(noise_images(2))
    assert [len(p) for p in people] == [0, 0]
    monkeypatch.setattr(estimator, 'bbox_thr', 0.3)
    some = estimator.predict(noise_images(3), [np.zeros((0, 4)), [[10, 10, 60, 110]], np.zeros((0, 4))])
    assert [len(p) for p in some] == [0, 1, 0]
    monkeypatch.setattr(estimator, 'det_cat_ids', np.array([5]))
    assert [len(p) for p in estimator.predict(noise_images(1))] == [0]


def test_whole_image(models):
    whole = TopDownEstimator(models['pose2d'], models['pose2d_weights'], det='whole_image')
    (people,) = whole.predict(noise_images(1))
    assert whole.detector is None
    np.testing.assert_array_equal(people.bboxes, [[0, 0, 160, 120]])


def test_bottom_up_takes_no_detector(models):
    config = Config.fromfile(mmpose_config('rtmo-s_8xb32-600e_coco-640x640.py'))
    with pytest.raises(ValueError, match='det: a bottom-up pose2d'):
        TopDownEstimator(config, 'none', det=models['det'])
    config.test_dataloader.dataset.pipeline[1].input_size = (160, 160)
    with pytest.warns(UserWarning, match='random weights'):
        estimator = TopDownEstimator(config, 'none', bbox_thr=-1.0)
    assert estimator.detector is None and estimator.skeleton == 'coco'
    people = estimator.predict(noise_images(2))
    assert [p.keypoints.shape for p in people] == [(len(p), 17, 2) for p in people]
    with pytest.raises(ValueError, match='boxes: a bottom-up'):
        estimator.predict(noise_images(1), [np.zeros((0, 4))])


@pytest.mark.parametrize(
    'image, got',
    [(np.zeros((4, 4), np.uint8), r'uint8 \(4, 4\)'), (np.zeros((4, 4, 3)), 'float64'), ('a.jpg', 'str')],
)
def test_images_of_another_kind(estimator, image, got):
    with pytest.raises(ValueError, match=f'image 1 is {got}'):
        estimator.predict([noise_images(1)[0], image])


def test_boxes_of_another_shape(estimator):
    with pytest.raises(ValueError, match='boxes: takes those of 1 images, got 2'):
        estimator.predict(noise_images(1), [np.zeros((0, 4))] * 2)
    with pytest.raises(ValueError, match='boxes: .*not those of image 0'):
        estimator.predict(noise_images(1), [np.array([[5, 5, 5, 9]])])


@pytest.mark.parametrize(
    'name, skeleton',
    [('coco', 'coco'), ('coco_wholebody', 'coco'), ('halpe26', 'coco'), ('humanart', 'coco'), ('h36m', 'h36m')]
    + [(name, None) for name in ('crowdpose', 'aic', 'mpii', 'posetrack18', 'jhmdb')],
)
def test_keypoint_sets(name, skeleton):
    meta = parse_pose_metainfo(dict(from_file=f'configs/_base_/datasets/{name}.py'))
    model = SimpleNamespace(dataset_meta=meta, test_cfg={})
    if skeleton:
        assert _skeleton(model) == skeleton
    else:
        with pytest.raises(ValueError, match=f"{meta['dataset_name']}'; takes COCO-17, sets that begin with it"):
            _skeleton(model)


def test_lifters_are_no_2d_models(project_root):
    with pytest.raises(ValueError, match='this is of a PoseLifter'):
        TopDownEstimator(project_root / 'stereopose_mm/weights/stereo-lift_coco.py', 'none', 'whole_image')


def test_half_precision_takes_a_gpu(models):
    with pytest.raises(ValueError, match="half: takes a GPU, got device 'cpu'"):
        TopDownEstimator(**models, half=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_half_precision(models):
    images = noise_images(2)
    boxes = [np.array([[10.0, 10, 60, 110]])] * 2
    full, half = (TopDownEstimator(**models, device='cuda', half=half).predict(images, boxes) for half in (False, True))
    for a, b in zip(full, half, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=0.02)


# --- names and weights ---


def test_names_of_models(hub):
    hub.mkdir(parents=True)
    for name, stem in {
        'human': 'rtmpose-m_simcc-body7',
        'rtmpose-m': 'rtmpose-m_simcc-body7',
        'rtmo': 'rtmo-l',
    }.items():
        with pytest.raises(ValueError) as error:
            find_model(name, 'absent.pth', 'mmpose', 'pose2d')
        assert str(error.value) == 'pose2d_weights: no such file: absent.pth'
        config, url = _find_config(name, 'mmpose', 'pose2d')
        assert stem in url
        # A file put there is found, without the network.
        file = hub / url.rsplit('/', 1)[-1]
        file.write_bytes(b'x')
        found = find_model(name, None, 'mmpose', 'pose2d')
        assert found[0].filename == config.filename and found[1] == file
    with pytest.raises(ValueError, match="pose2d: 'rtmpose-q' is neither a config file nor one of mmpose's models"):
        find_model('rtmpose-q', None, 'mmpose', 'pose2d')
    with pytest.raises(ValueError, match='det: no such config: absent.py'):
        find_model('absent.py', None, 'mmdet', 'det')


@pytest.mark.parametrize('argument', ['pose2d', 'det'])
def test_weights_that_cannot_be_fetched(hub, models, argument):
    url = 'http://127.0.0.1:9/some/model-0123abcd.pth'  # nothing listens there
    arguments = dict(models) | {f'{argument}_weights': url}
    with pytest.raises(ValueError) as error:
        TopDownEstimator(**arguments)
    message = str(error.value)
    assert '\n' not in message
    assert message.startswith(f'{argument}: cannot download the weights of')
    assert f'fetch {url} and put it into {hub}' in message
    assert f'or pass a local checkpoint as {argument}_weights (tools/demo.py: --{argument} ' in message
    assert not list(hub.glob('*'))


def test_the_default_detector_is_mmposes(hub, models, monkeypatch):
    def refuse(url, *args, **kwargs):
        raise OSError('no network')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', refuse)
    with pytest.raises(ValueError, match=r"det: .*'rtmdet_m_640-8xb32_coco-person.py' \(no network\): fetch https://"):
        TopDownEstimator(models['pose2d'], models['pose2d_weights'])


def test_configs_need_weights(models):
    with pytest.raises(ValueError, match='estimator.py comes without weights: pass its checkpoint as pose2d_weights'):
        TopDownEstimator(models['pose2d'], det='whole_image')
    with pytest.warns(UserWarning, match='pose2d: random weights'):
        TopDownEstimator(models['pose2d'], 'none', 'whole_image')


def test_checkpoints_of_other_models(estimator, models, tmp_path):
    with pytest.raises(ValueError, match='detector.pth: not a checkpoint of the config: size mismatch for backbone'):
        load_weights(estimator.model, models['det_weights'])
    state = {k: v for k, v in estimator.model.state_dict().items() if not k.startswith('head.mlp')}
    torch.save({'state_dict': state}, tmp_path / 'headless.pth')
    with pytest.raises(ValueError, match=r'headless.pth: .* it has no head.mlp.0.g \(and 1 more\)'):
        load_weights(estimator.model, tmp_path / 'headless.pth')
    (tmp_path / 'junk.pth').write_bytes(b'junk')
    with pytest.raises(ValueError, match='junk.pth: cannot be loaded'):
        load_weights(estimator.model, tmp_path / 'junk.pth')
