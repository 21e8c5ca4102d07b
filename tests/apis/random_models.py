# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Small models of MMDet and MMPose, of their own configs, with random weights that find boxes."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config

import stereopose_mm  # noqa: F401, before what it makes importable

DETECTOR, ESTIMATOR = 'detector', 'estimator'


def mmpose_config(name: str) -> Path:
    """A config that MMPose ships, of its demos too."""
    import mmpose

    (path,) = (Path(mmpose.__file__).parent / '.mim').rglob(name)
    return path


def write_models(folder: Path) -> dict:
    """Write config and checkpoint of RTMDet-nano and RTMPose-t.

    Returns:
        Arguments for :class:`TopDownEstimator`.
    """
    from mmdet.apis import init_detector
    from mmpose.apis import init_model

    torch.manual_seed(0)
    config = Config.fromfile(mmpose_config('rtmdet_nano_320-8xb32_coco-person.py'))
    config.model.test_cfg.max_per_img = 4
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        detector = init_detector(config, None, palette='coco', device='cpu')
    for layer in detector.bbox_head.rtm_reg:
        layer.bias.data.fill_(6.0)  # strides from a box's centre to its sides, which else come out negative
    for layer in detector.bbox_head.rtm_cls:
        layer.bias.data.fill_(0.3)  # scores of about 0.57
    config = Config.fromfile(mmpose_config('rtmpose-t_8xb256-420e_coco-256x192.py'))
    config.model.test_cfg.flip_test = False
    estimator = init_model(config, None, device='cpu')
    for model in (detector, estimator):
        _normalise(model)
    arguments = {}
    for key, name, model in (('det', DETECTOR, detector), ('pose2d', ESTIMATOR, estimator)):
        model.cfg.dump(folder / f'{name}.py')
        meta = {'dataset_meta': {'classes': ('person',)}} if key == 'det' else {}
        torch.save({'state_dict': model.state_dict(), 'meta': meta}, folder / f'{name}.pth')
        arguments |= {key: str(folder / f'{name}.py'), f'{key}_weights': str(folder / f'{name}.pth')}
    return arguments


def noise_images(count: int, width: int = 160, height: int = 120) -> list[np.ndarray]:
    """Smooth random pictures: what the random models find differs from one to the next."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (count, 8, 10, 3), dtype=np.uint8)
    return [cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) for image in small]


def write_video(path: Path, images: list[np.ndarray], frame_rate: float = 10.0) -> None:
    """Write a video of the images."""
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), frame_rate, (width, height))
    for image in images:
        writer.write(image)
    writer.release()


def _normalise(model: torch.nn.Module) -> None:
    """Give batch normalisation the statistics of some images, without which random networks see none."""
    layers = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for layer in layers:
        layer.momentum = 1.0
    images = np.stack(noise_images(4, 96, 128)).transpose(0, 3, 1, 2)
    with torch.no_grad():
        model.train().extract_feat(torch.from_numpy(images).float().sub(115).div(58))
    model.eval()
