# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Images, folders, videos and streams to tracked 3D people."""

from .job import ClipSummary, lift_clip
from .lift import lift_frames

__all__ = ['ClipSummary', 'lift_clip', 'lift_frames']
