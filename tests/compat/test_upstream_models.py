# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""MMDet's and MMPose's own models run in the environment as it is, with random weights."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

import stereopose_mm  # noqa: F401


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def shipped_config(package, name):
    (path,) = (Path(package.__file__).parent / '.mim' / 'configs').rglob(name)
    config = Config.fromfile(path)
    config.model.backbone.init_cfg = None  # no download
    return config


def test_mmdet_detector(image):
    mmdet = pytest.importorskip('mmdet')
    from mmdet.apis import inference_detector, init_detector

    config = shipped_config(mmdet, 'rtmdet_tiny_8xb32-300e_coco.py')
    config.test_pipeline[1].scale = (160, 160)
    config.test_pipeline[2].size = (160, 160)
    config.test_dataloader.dataset.pipeline = config.test_pipeline
    detector = init_detector(config, None, palette='coco', device='cpu')
    for layer in detector.bbox_head.rtm_reg:
        layer.bias.data.fill_(15.0)  # px from a box's centre to its sides, which else come out negative
    instances = inference_detector(detector, image).pred_instances
    assert len(instances) > 0
    assert (instances.scores.diff() <= 0).all()
    assert instances.bboxes.min() >= 0 and instances.bboxes.max() <= 160


def test_mmpose_top_down_estimator(image):
    import mmpose
    from mmpose.apis import inference_topdown, init_model

    config = shipped_config(mmpose, 'rtmpose-t_8xb256-420e_coco-256x192.py')
    estimator = init_model(config, None, device='cpu')
    boxes = np.array([[10.0, 10, 60, 110], [80, 5, 150, 115]])
    samples = inference_topdown(estimator, image, boxes)
    assert len(samples) == 2
    for sample in samples:
        assert sample.pred_instances.keypoints.shape == (1, 17, 2)
        assert np.isfinite(sample.pred_instances.keypoints).all()
