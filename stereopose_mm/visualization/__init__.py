# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Lifted poses as pictures, videos, pages and models."""

from .bvh import write_bvh
from .clip_bounds import SceneBounds
from .clip_painter import ClipPainter, root_trails
from .gltf import write_gltf
from .html_viewer import write_html
from .joint_rotations import ExportedPerson
from .lift_picture import draw_lift_picture
from .video_writer import VideoWriter, concatenate_videos
from .viewer_media import ViewerMedia

__all__ = [
    'ClipPainter',
    'ExportedPerson',
    'SceneBounds',
    'VideoWriter',
    'ViewerMedia',
    'concatenate_videos',
    'draw_lift_picture',
    'root_trails',
    'write_bvh',
    'write_gltf',
    'write_html',
]
