# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""2D keypoints of people on videos and folders of images, from the files of other detectors."""

from .keypoint_file import KeypointFile
from .reading import FORMATS, read_keypoints
from .ultralytics import from_ultralytics

__all__ = ['FORMATS', 'KeypointFile', 'from_ultralytics', 'read_keypoints']
