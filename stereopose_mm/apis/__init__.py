# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Inference: from 2D keypoints, or images and MMPose's 2D models, to metric 3D poses."""

from .camera_files import check_image_size, read_camera
from .clips import ClipSummary, lift_clip, lift_frames
from .detections import Detections, read_detections
from .frame_source import Frame, FrameSource, open_frames
from .keypoint_files import KeypointFile, from_ultralytics, read_keypoints
from .lift_files import LiftSummary, lift_detections
from .lifting import LiftResult, coco_to_h36m, init_lifter, lift_keypoints, shipped_lifter

__all__ = [
    'ClipSummary',
    'Detections',
    'Frame',
    'FrameSource',
    'KeypointFile',
    'LiftResult',
    'LiftSummary',
    'check_image_size',
    'coco_to_h36m',
    'from_ultralytics',
    'init_lifter',
    'lift_clip',
    'lift_detections',
    'lift_frames',
    'lift_keypoints',
    'open_frames',
    'read_camera',
    'read_detections',
    'read_keypoints',
    'shipped_lifter',
]
