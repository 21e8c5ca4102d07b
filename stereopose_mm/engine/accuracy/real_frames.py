# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""A few real frames with 3D truth, one by one: a sanity check, nothing to choose by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS
from torch import nn

from ...datasets.pair_synthesis import PairBatch, coco_as_h36m
from ...geometry import H36M_17, Camera
from .evaluating import lift_pairs, pose_errors

# MMPose's test data, laid out as MMPose lays the data sets out.
_SETS = {
    'h36m': dict(type='StereoHuman36mDataset', camera_param_file='cameras.pkl', protocol=None),
    'mpi_inf_3dhp': dict(type='MpiInf3dhpDataset', camera_param_file='cameras_train.pkl'),
}
_DETECTIONS = 'movenet_keypoints.json'
# As in lift_keypoints: what is scored below it counts as missing, but for the root.
_MIN_SCORE = 0.1


def real_frame_errors(lifters: Sequence[tuple[str, list[nn.Module]]], folder: str) -> list[dict]:
    """Errors of each frame, with annotated 2D and with a real detector's.

    Args:
        lifters: Names, and the models of each.
        folder: Folder with ``h36m`` and ``mpi_inf_3dhp``; one that is not there is left out.

    Returns:
        For each frame and 2D: ``frame``, ``keypoints`` and ``errors``, lists by lifter and error.

    Raises:
        ValueError: If neither is there, or a frame has no detection; names the file.
    """
    frames = []
    for name, config in _SETS.items():
        root = Path(folder, name)
        if not root.is_dir():
            continue
        with DefaultScope.overwrite_default_scope('mmpose'):
            dataset = DATASETS.build(dict(config, ann_file='annotations.npz', data_root=str(root), pipeline=[]))
        for index in range(len(dataset)):
            frames += _frame_errors(lifters, dataset.get_data_info(index), root)
    if not frames:
        raise ValueError(f'real takes a folder with h36m or mpi_inf_3dhp, got {folder}')
    return frames


def _frame_errors(lifters: Sequence[tuple[str, list[nn.Module]]], info: dict, root: Path) -> list[dict]:
    image = Path(np.ravel(info['target_img_path'])[0]).name
    found = [d for d in json.loads((root / _DETECTIONS).read_text()) if Path(d['file_name']).name == image]
    if not found:
        raise ValueError(f'{root / _DETECTIONS}: no detection of {image}')
    detected = torch.tensor(found[0]['keypoints']).reshape(1, -1, 3)
    coco, scores = detected[..., :2], detected[..., 2]
    scores = torch.where(scores >= _MIN_SCORE, scores, 0.0)
    h36m, h36m_scores = coco_as_h36m(coco, detected[..., 2])
    low = (h36m_scores < _MIN_SCORE) & (torch.arange(H36M_17.num_keypoints) != H36M_17.root)
    inputs = {
        'annotated': {False: (torch.from_numpy(info['keypoints']), torch.from_numpy(info['keypoints_visible']))},
        'MoveNet': {True: (coco, scores), False: (h36m, h36m_scores.masked_fill(low, 0.0))},
    }
    target = torch.from_numpy(np.asarray(info['lifting_target'], np.float32)).reshape(1, -1, 3)
    camera = Camera.stack([Camera.from_mmpose(info['camera_param'])])
    results = []
    for keypoints, by_set in inputs.items():
        errors = {}
        for name, models in lifters:
            takes_coco = models[0].head.decoder.keypoint_set == 'coco'
            if takes_coco not in by_set:
                continue
            for model in models:
                lifted = lift_pairs(model, PairBatch(*(v.float() for v in by_set[takes_coco]), target, camera))
                for error, values in pose_errors(lifted.pose, lifted.target).items():
                    errors.setdefault(name, {}).setdefault(error, []).append(float(values[0]))
        results.append(dict(frame=image, keypoints=keypoints, errors=errors))
    return results
