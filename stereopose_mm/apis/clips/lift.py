# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Frames with people in 2D become poses in 3D: one pass of the lifter for all people of several frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from ...geometry import Camera, PoseSequence
from ..frame_source import Frame
from ..lifting import lift_keypoints, to_lifter_keypoints
from ..people import People2D


def lift_frames(
    lifter: nn.Module,
    frames: Sequence[Frame],
    names: Sequence[str],
    people: Sequence[People2D],
    tracks: Sequence[np.ndarray],
    cameras: Sequence[Camera],
    skeleton: str = 'coco',
    min_score: float = 0.1,
) -> PoseSequence:
    """Lift the people of F frames at once.

    Args:
        lifter: From :func:`~stereopose_mm.apis.init_lifter`.
        frames: F frames.
        names: Their names; empty for frames of a video.
        people: Their people.
        tracks: Numbers of their people, ``(n,)`` each.
        cameras: Their cameras, single ones.
        skeleton: What the keypoints are.
        min_score: Keypoints scored below it count as missing.

    Returns:
        :class:`~stereopose_mm.geometry.PoseSequence` of the F frames, with the 2D keypoints in the lifter's own set.
    """
    frame = np.repeat(np.arange(len(frames)), [len(group) for group in people])
    shared = all(camera is cameras[0] for camera in cameras)
    batch = cameras[0].expand(len(frames)) if shared else Camera.stack(cameras)
    points, scores, bboxes, bbox_scores = (
        np.concatenate([getattr(group, name) for group in people])
        for name in ('keypoints', 'scores', 'bboxes', 'bbox_scores')
    )
    points, scores, skeleton = to_lifter_keypoints(lifter, points, scores, skeleton)
    result = lift_keypoints(lifter, points, scores, skeleton, cameras[0] if shared else batch[frame], min_score)
    return PoseSequence(
        skeleton=skeleton,
        frame_numbers=np.array([f.number for f in frames], np.int64),
        frame_times=np.array([f.time for f in frames], np.float64),
        frame_names=np.array(names, np.str_),
        cameras=batch,
        frame=frame,
        track=np.concatenate(tracks).astype(np.int64),
        keypoints_2d=points,
        scores_2d=scores,
        bboxes=bboxes,
        bbox_scores=bbox_scores,
        keypoints_cam=result.keypoints_cam,
        input_keypoints_cam=result.input_keypoints_cam,
        uncertainty=result.uncertainty,
        reprojection_error=result.reprojection_error,
        search_residual=result.search_residual,
        used=result.used,
        valid=result.valid,
    )
