# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Inference: from 2D keypoints to metric 3D poses."""

from .camera_files import read_camera
from .detections import Detections, read_detections
from .lift_files import LiftSummary, lift_detections
from .lifting import DEFAULT_CHECKPOINT, DEFAULT_CONFIG, LiftResult, coco_to_h36m, init_lifter, lift_keypoints

__all__ = [
    'DEFAULT_CHECKPOINT',
    'DEFAULT_CONFIG',
    'Detections',
    'LiftResult',
    'LiftSummary',
    'coco_to_h36m',
    'init_lifter',
    'lift_detections',
    'lift_keypoints',
    'read_camera',
    'read_detections',
]
