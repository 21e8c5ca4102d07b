# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""People as annotated in 2D, whatever the set: what the label generator starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, eq=False)
class Annotations:
    """n people, as arrays with one row each.

    Keypoints are in the order of the set that a lifter takes. What a set does not annotate, or leaves unmarked in a
    record, has visibility 0 and score 0; its coordinates mean nothing.

    Attributes:
        keypoint_set: ``'coco'`` or ``'h36m'``, 17 keypoints each.
        source: ``(n,)`` name of the data set, such as ``'mpii'``.
        record: ``(n,)`` what names the record in its file: its id, or its position.
        file_name: ``(n,)`` path of the image relative to the image folder; empty where unknown.
        image_size: ``(n, 2)`` int32 pixels, width and height; 0 where the file does not tell.
        bbox: ``(n, 4)`` float32 pixels: x, y, width, height; 0 where the file does not tell.
        keypoints: ``(n, 17, 2)`` float32 pixels, of the image's first pixel's corner; finite.
        visibility: ``(n, 17)`` uint8, COCO's: 0 not marked, 1 marked but hidden, 2 visible.
        scores: ``(n, 17)`` float32 in [0, 1]: a detector's, or those that stand for an annotator's accuracy.
        person_score: ``(n,)`` float32 of a detector; NaN of an annotation.
        problem: ``(n,)`` why the record cannot be labelled; empty where it can.
    """

    keypoint_set: str
    source: np.ndarray
    record: np.ndarray
    file_name: np.ndarray
    image_size: np.ndarray
    bbox: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray
    scores: np.ndarray
    person_score: np.ndarray
    problem: np.ndarray

    def __len__(self) -> int:
        return len(self.record)

    def select(self, rows: np.ndarray | slice) -> Annotations:
        """Some of the people, by mask, indices or slice."""
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != 'keypoint_set'}
        return Annotations(self.keypoint_set, **columns)

    @classmethod
    def concatenate(cls, parts: Sequence[Annotations]) -> Annotations:
        """All people of several parts of one keypoint set.

        Raises:
            ValueError: If there are none, or of several sets.
        """
        sets = {part.keypoint_set for part in parts}
        if len(sets) != 1:
            raise ValueError(f'parts: takes parts of one keypoint set, got {sorted(sets)}')
        names = [f.name for f in fields(cls) if f.name != 'keypoint_set']
        return cls(sets.pop(), **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
