# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""People and their 2D keypoints from images, by models of MMDet and MMPose."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from mmpose.apis import init_model
from mmpose.evaluation.functional import nms
from mmpose.models import BottomupPoseEstimator, TopdownPoseEstimator
from torch import Tensor, nn

from ..geometry import get_skeleton
from .model_files import default_detector, find_model, load_weights
from .people import People2D

WHOLE_IMAGE = ('whole_image', 'whole-image')

# People, and images, in one forward pass: bounds the memory.
_PEOPLE, _IMAGES = 64, 16


class TopDownEstimator:
    """Finds the people on images and their 2D keypoints.

    MMDet's detector and then MMPose's estimator; or MMPose's alone, where it is a bottom-up one.

    Example:
        >>> estimator = TopDownEstimator('rtmpose-m', device='cuda', half=True)
        >>> people = estimator.predict(images)

    Args:
        pose2d: Config, path of one, config name, or alias of MMPose's. Its keypoints must be H36M-17, or start with
            COCO-17.
        pose2d_weights: Checkpoint; ``'none'`` for random weights, to try the plumbing. Default: those of a named model.
        det: The detector: as ``pose2d``, of MMDet; ``'whole_image'`` takes the whole image for one person's box.
            Default: MMPose's own for people. A bottom-up estimator takes none.
        det_weights: As ``pose2d_weights``.
        det_cat_ids: The detector's categories that are people.
        device: Where to run.
        half: Compute features in half precision; on GPUs only.
        bbox_thr: People scored below it are left out.
        nms_thr: Of two boxes that overlap more (intersection over union), only the better one is kept.

    Attributes:
        skeleton: Of the keypoints: ``'coco'`` or ``'h36m'``.

    Raises:
        ValueError: If a model or its weights cannot be had or its keypoints are of no use; see
            :func:`~stereopose_mm.apis.model_files.find_model`.
    """

    def __init__(
        self,
        pose2d: str | Path | Config = 'human',
        pose2d_weights: str | Path | None = None,
        det: str | Path | Config | None = None,
        det_weights: str | Path | None = None,
        det_cat_ids: int | Sequence[int] = (0,),
        device: str | torch.device = 'cpu',
        half: bool = False,
        bbox_thr: float = 0.3,
        nms_thr: float = 0.3,
    ):
        if half and torch.device(device).type == 'cpu':
            raise ValueError(f'half: takes a GPU, got device {str(device)!r}')
        config, weights = find_model(pose2d, pose2d_weights, 'mmpose', 'pose2d')
        self.detector = None
        bottom_up = config.get('model', {}).get('type') == 'BottomupPoseEstimator'
        if bottom_up and det is not None and det not in WHOLE_IMAGE:
            raise ValueError('det: a bottom-up pose2d finds people by itself and takes no detector')
        if not bottom_up and (isinstance(det, Config) or det not in WHOLE_IMAGE):
            if det is None:
                det, url, det_cat_ids = default_detector()
                det_weights = det_weights or url
            self.detector = _build_detector(det, det_weights, device)
            self._detector_pipeline = _detector_pipeline(self.detector)
        # After the detector: the last one's is the default scope from here on.
        self.model = _build_estimator(config, weights, device)
        self.pipeline = Compose(self.model.cfg.test_dataloader.dataset.pipeline)
        self.skeleton = _skeleton(self.model)
        self.bottom_up = isinstance(self.model, BottomupPoseEstimator)
        self.det_cat_ids = np.atleast_1d(det_cat_ids)
        self.bbox_thr, self.nms_thr = bbox_thr, nms_thr
        if half:
            for model in (self.detector, self.model):
                if model is not None:
                    _halve_features(model, torch.device(device).type)

    @torch.inference_mode()
    def predict(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None = None) -> list[People2D]:
        """The people of each image.

        Args:
            images: ``(H, W, 3)`` uint8 BGR each. Those of one size share forward passes.
            boxes: People's boxes of each image, ``(n, 4)`` pixels: left, top, right, bottom; or ``(n, 5)`` with scores.
                Default: the detector finds them.

        Returns:
            People of each image, possibly none.

        Raises:
            ValueError: If an image or its boxes have another shape.
        """
        for index, image in enumerate(images):
            good = isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
            if not good or not image.size:
                got = f'{image.dtype} {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
                raise ValueError(f'images: takes (H, W, 3) uint8 arrays, image {index} is {got}')
        people: list[People2D] = [People2D.none()] * len(images)
        if boxes is not None and self.bottom_up:
            raise ValueError('boxes: a bottom-up pose2d takes none')
        if self.bottom_up:
            for rows in _by_size(images, _IMAGES):
                for row, sample in zip(rows, self._run_estimator([{'img': images[i]} for i in rows]), strict=True):
                    people[row] = self._bottom_up_people(sample)
            return people
        found = self._detect(images) if boxes is None else _checked_boxes(images, boxes)
        owner = np.repeat(np.arange(len(images)), [len(b) for b in found])
        rows = np.concatenate([*found, np.zeros((0, 5), np.float32)])
        keypoints, scores = self._top_down_keypoints(images, owner, rows)
        for index in np.unique(owner):
            mine = owner == index
            people[index] = _people(keypoints[mine], scores[mine], rows[mine, 4], rows[mine, :4])
        return people

    def _detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Boxes and scores ``(n, 5)`` of each image's people, best first."""
        if self.detector is None:
            return [np.array([[0, 0, *image.shape[1::-1], 1]], np.float32) for image in images]
        found: list[np.ndarray] = [np.zeros((0, 5), np.float32)] * len(images)
        for rows in _by_size(images, _IMAGES):
            data = [self._detector_pipeline(dict(img=images[i], img_id=i)) for i in rows]
            for row, sample in zip(rows, self.detector.test_step(pseudo_collate(data)), strict=True):
                instances = sample.pred_instances.cpu().numpy()
                wanted = np.isin(instances.labels, self.det_cat_ids) & (instances.scores > self.bbox_thr)
                boxes = np.concatenate([instances.bboxes, instances.scores[:, None]], 1)[wanted].astype(np.float32)
                boxes = boxes[_usable(boxes[:, :4], images[row])]
                found[row] = boxes[nms(boxes, self.nms_thr)] if len(boxes) else boxes
        return found

    def _top_down_keypoints(
        self, images: Sequence[np.ndarray], owner: np.ndarray, boxes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """``(n, K, 2)`` keypoints and ``(n, K)`` scores of boxes ``(n, 5)``, each on image ``owner``."""
        keypoints, scores = [np.zeros((0, 17, 2), np.float32)], [np.zeros((0, 17), np.float32)]
        for start in range(0, len(boxes), _PEOPLE):
            part = slice(start, start + _PEOPLE)
            data = [
                {'img': images[image], 'bbox': box[None, :4], 'bbox_score': box[4:]}
                for image, box in zip(owner[part], boxes[part], strict=True)
            ]
            for sample in self._run_estimator(data):
                keypoints.append(_numpy(sample.pred_instances.keypoints)[:, :17, :2])
                scores.append(_numpy(sample.pred_instances.keypoint_scores)[:, :17])
        return np.concatenate(keypoints), np.concatenate(scores)

    def _run_estimator(self, data: list[dict]) -> list:
        return self.model.test_step(pseudo_collate([self.pipeline(d | self.model.dataset_meta) for d in data]))

    def _bottom_up_people(self, sample) -> People2D:
        found = sample.pred_instances
        keypoints, scores = _numpy(found.keypoints)[:, :17, :2], _numpy(found.keypoint_scores)[:, :17]
        people_scores = _numpy(found.bbox_scores).reshape(-1) if 'bbox_scores' in found else scores.mean(1)
        boxes = _numpy(found.bboxes) if 'bboxes' in found else None
        good = people_scores > self.bbox_thr
        return _people(keypoints[good], scores[good], people_scores[good], boxes if boxes is None else boxes[good])


def _build_detector(det: str | Path | Config, det_weights: str | Path | None, device: str | torch.device) -> nn.Module:
    from mmdet.apis import init_detector

    config, weights = find_model(det, det_weights, 'mmdet', 'det')
    with warnings.catch_warnings():  # of weights and classes that are loaded below
        warnings.simplefilter('ignore')
        model = init_detector(config, None, palette='coco', device='cpu')
    if weights is not None:
        load_weights(model, weights)
    return model.to(device)


def _detector_pipeline(model: nn.Module) -> Compose:
    from mmdet.utils import get_test_pipeline_cfg

    pipeline = get_test_pipeline_cfg(model.cfg.copy())
    pipeline[0].type = 'mmdet.LoadImageFromNDArray'
    with DefaultScope.overwrite_default_scope('mmdet'):
        return Compose(pipeline)


def _build_estimator(config: Config, weights: Path | None, device: str | torch.device) -> nn.Module:
    model = init_model(config, None, device='cpu')
    if not isinstance(model, (TopdownPoseEstimator, BottomupPoseEstimator)):
        raise ValueError(
            f'pose2d: takes a config of a top-down or bottom-up estimator, this is of a {type(model).__name__}'
        )
    if weights is not None:
        model.dataset_meta = load_weights(model, weights).get('dataset_meta') or model.dataset_meta
    return model.to(device)


def _skeleton(model: nn.Module) -> str:
    """Name of the skeleton that the estimator's keypoints are, or begin with."""
    meta = model.dataset_meta
    names = tuple(meta['keypoint_id2name'][i] for i in range(meta['num_keypoints']))
    kept = (model.test_cfg or {}).get('output_keypoint_indices')
    if kept is not None:
        names = tuple(names[i] for i in kept)
    if names[:17] == get_skeleton('coco').joint_names:
        return 'coco'
    if names == get_skeleton('h36m').joint_names:
        return 'h36m'
    raise ValueError(
        f'pose2d: its {len(names)} keypoints are of {meta["dataset_name"]!r}; takes COCO-17, sets that begin with it '
        '(COCO-WholeBody, Halpe-26), or H36M-17'
    )


def _halve_features(model: nn.Module, device_type: str) -> None:
    """Backbone and neck compute in half precision; heads and decoding, which it would harm, do not."""
    extract = model.extract_feat

    def extract_feat(*args, **kwargs):
        with torch.autocast(device_type, dtype=torch.float16):
            return _as_float(extract(*args, **kwargs))

    model.extract_feat = extract_feat


def _as_float(features: Tensor | Sequence) -> Tensor | Sequence:
    return features.float() if isinstance(features, Tensor) else type(features)(_as_float(f) for f in features)


def _by_size(images: Sequence[np.ndarray], most: int) -> list[list[int]]:
    """Rows of images of one size, ``most`` at a time: others would be padded, and seen otherwise than alone."""
    groups: dict[tuple, list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.shape, []).append(index)
    return [rows[start : start + most] for rows in groups.values() for start in range(0, len(rows), most)]


def _usable(boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Which boxes ``(n, 4)`` have something of the image, and more than a pixel, to be warped to an estimator's input.

    Detectors also find boxes in the margins that images are padded with.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    inside = (low < image.shape[1::-1]) & (high > 0)
    return np.isfinite(boxes).all(1) & (inside & (high - low > 1)).all(1)


def _checked_boxes(images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """``(n, 5)`` float32 boxes and scores of each image."""
    if len(boxes) != len(images):
        raise ValueError(f'boxes: takes those of {len(images)} images, got {len(boxes)}')
    checked = []
    for index, given in enumerate(boxes):
        rows = np.asarray(given, np.float32).reshape(-1, 4) if np.size(given) == 0 else np.asarray(given, np.float32)
        if rows.ndim != 2 or rows.shape[1] not in (4, 5) or not (rows[:, 2:4] - rows[:, :2] > 1).all():
            raise ValueError(f'boxes: takes (n, 4) left, top, right, bottom, or (n, 5), not those of image {index}')
        ones = np.ones((len(rows), 5 - rows.shape[1]), np.float32)
        checked.append(np.concatenate([rows, ones], 1))
    return checked


def _people(keypoints: np.ndarray, scores: np.ndarray, bbox_scores: np.ndarray, boxes: np.ndarray | None) -> People2D:
    """People, whose keypoints without a place are missing ones; scores of classified coordinates may exceed 1."""
    placed = np.isfinite(keypoints).all(-1) & np.isfinite(scores)
    keypoints, scores = np.where(placed[..., None], keypoints, 0), np.where(placed, scores, 0).clip(0, 1)
    return People2D.from_keypoints(keypoints, scores, bbox_scores, bboxes=boxes)


def _numpy(values: Tensor | np.ndarray) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
