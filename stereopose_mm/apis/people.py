# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The people of one frame in 2D, as detectors, files and the tracker hand them on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class People2D:
    """n people on one frame; n may be 0.

    Attributes:
        keypoints: ``(n, 17, 2)`` float32 pixels.
        scores: ``(n, 17)`` float32, non-negative; 0 for a keypoint that is missing.
        bboxes: ``(n, 4)`` float32 pixels: left, top, right, bottom.
        bbox_scores: ``(n,)`` float32.
        tracks: ``(n,)`` int64, numbers that the source gives people; None where it gives none.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    bboxes: np.ndarray
    bbox_scores: np.ndarray
    tracks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.keypoints)

    @classmethod
    def none(cls) -> People2D:
        """An empty frame."""
        zeros = (np.zeros(shape, np.float32) for shape in ((0, 17, 2), (0, 17), (0, 4), (0,)))
        return cls(*zeros)

    @classmethod
    def from_keypoints(
        cls, keypoints: np.ndarray, scores: np.ndarray, bbox_scores=None, tracks=None, bboxes=None
    ) -> People2D:
        """People whose boxes, where none are given, are those around the keypoints that score above 0.

        Args:
            keypoints: ``(n, 17, 2)`` pixels.
            scores: ``(n, 17)``.
            bbox_scores: ``(n,)``. Default: the mean score of the keypoints.
            tracks: ``(n,)`` or None.
            bboxes: ``(n, 4)`` or None.
        """
        keypoints, scores = np.asarray(keypoints, np.float32), np.asarray(scores, np.float32)
        if bboxes is None:
            seen = (scores > 0)[..., None]
            low = np.where(seen, keypoints, np.inf).min(1, initial=np.inf)
            high = np.where(seen, keypoints, -np.inf).max(1, initial=-np.inf)
            bboxes = np.concatenate([low, high], -1)
            bboxes = np.where(np.isfinite(bboxes), bboxes, 0)
        if bbox_scores is None:
            bbox_scores = scores.mean(1) if len(scores) else np.zeros(0)
        return cls(
            keypoints, scores, np.asarray(bboxes, np.float32), np.asarray(bbox_scores, np.float32),
            None if tracks is None else np.asarray(tracks, np.int64),
        )  # fmt: skip
