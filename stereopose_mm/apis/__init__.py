# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Inference: from 2D keypoints to metric 3D poses."""

from .camera_files import read_camera
from .detections import Detections, read_detections
from .lift_files import LiftSummary, lift_detections
from .lifting import LiftResult, coco_to_h36m, init_lifter, lift_keypoints, shipped_lifter

__all__ = [
    'Detections',
    'LiftResult',
    'LiftSummary',
    'coco_to_h36m',
    'init_lifter',
    'lift_detections',
    'lift_keypoints',
    'read_camera',
    'read_detections',
    'shipped_lifter',
]
