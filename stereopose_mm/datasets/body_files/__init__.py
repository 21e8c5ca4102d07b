# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Bodies of many shapes, posed by motion capture: consistent H36M-17 and COCO-17 keypoints."""

from .anny_rig import AnnyRig, Bodies
from .convert import BodyClip, BodyOptions, convert_bodies, pack_bodies, pose_bodies
from .distribution import BodyDistribution
from .retarget import SEGMENTS, segment_turns

__all__ = [
    'SEGMENTS',
    'AnnyRig',
    'Bodies',
    'BodyClip',
    'BodyDistribution',
    'BodyOptions',
    'convert_bodies',
    'pack_bodies',
    'pose_bodies',
    'segment_turns',
]
