# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Readers of motion-capture files and their conversion to one NPZ of H36M-17 poses."""

from .amc import parse_amc
from .asf import parse_asf
from .bvh import parse_bvh
from .convert import (
    Clip,
    ConvertOptions,
    ConvertSummary,
    convert_mocap,
    convert_text,
    pack_clips,
)
from .deepmimic import parse_deepmimic, parse_deepmimic_skeleton
from .kinematics import MotionFileError

__all__ = [
    'Clip',
    'ConvertOptions',
    'ConvertSummary',
    'MotionFileError',
    'convert_mocap',
    'convert_text',
    'pack_clips',
    'parse_amc',
    'parse_asf',
    'parse_bvh',
    'parse_deepmimic',
    'parse_deepmimic_skeleton',
]
