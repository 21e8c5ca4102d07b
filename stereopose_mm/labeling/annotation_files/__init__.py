# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Files of 2D-annotated people: readers of each data set's format."""

from .people import MIN_KEYPOINTS, PROBLEMS
from .reading import FORMATS, AnnotationFile, read_annotations
from .sources import ANNOTATED_SCORES, SOURCES, Source

__all__ = [
    'ANNOTATED_SCORES', 'FORMATS', 'MIN_KEYPOINTS', 'PROBLEMS', 'SOURCES', 'AnnotationFile', 'Source',
    'read_annotations',
]  # fmt: skip
