# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""People as a file lists them, gathered and turned into arrays together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..detections import MAX_NUMBER
from ..people import People2D

_NO_BOX = [float('nan')] * 4


class FrameKey(NamedTuple):
    """What a file says of one of its frames.

    Attributes:
        where: For messages: ``'frame 12'``, ``'image a.jpg'``.
        number: Its position in a video, from 0; None where nothing tells.
        name: Name of its image, with or without folders and suffix; None where nothing tells.
    """

    where: str
    number: int | None = None
    name: str | None = None


@dataclass(frozen=True, eq=False)
class PeopleTable:
    """The N people of a file.

    Attributes:
        people: All of them, in the order of their frames.
        frame: ``(N,)`` rows of ``frames``, ascending.
        frames: The frames that the file mentions, with people or without.
        num_empty: People left out because they have no keypoint.
        num_other: Records left out because they are of another category than person.
    """

    people: People2D
    frame: np.ndarray
    frames: list[FrameKey]
    num_empty: int
    num_other: int


class Gathering:
    """Gathers people frame by frame; every list but ``frames`` has one entry for each person.

    Attributes:
        frames: The frames so far.
        frame: Row of the person's frame.
        keypoints: Nested or flat lists of numbers, all of one shape.
        scores: Lists of numbers; None where the keypoints have theirs with them.
        bboxes: Lists of four numbers, or None.
        bbox_scores: Numbers, or None.
        tracks: Whole numbers, or None; see :func:`track_number`.
        num_other: Records of other categories.
    """

    def __init__(self) -> None:
        self.frames: list[FrameKey] = []
        self.frame: list[int] = []
        self.keypoints: list[Any] = []
        self.scores: list[Any] = []
        self.bboxes: list[Any] = []
        self.bbox_scores: list[Any] = []
        self.tracks: list[int | None] = []
        self.num_other = 0

    def add_frame(self, where: str, number: int | None = None, name: str | None = None) -> int:
        """Begin a frame; returns its row."""
        self.frames.append(FrameKey(where, number, name))
        return len(self.frames) - 1

    def add(
        self, keypoints: Any, scores: Any = None, bbox: Any = None, bbox_score: Any = None, track: Any = None,
        frame: int | None = None,
    ) -> None:  # fmt: skip
        """Add a person to a frame, by default to the last one."""
        self.frame.append(len(self.frames) - 1 if frame is None else frame)
        self.keypoints.append(keypoints)
        self.scores.append(scores)
        self.bboxes.append(bbox)
        self.bbox_scores.append(bbox_score)
        try:
            self.tracks.append(track_number(track))
        except ValueError as error:
            raise ValueError(f'{self._where(len(self.frame) - 1)}: {error}') from None

    def length_of_keypoints(self, takes: Sequence[int], what: str) -> int:
        """Values that each person has, told by the first one.

        Args:
            takes: The lengths that there may be.
            what: What they count, for the message.
        """
        first = self.keypoints[0] if self.keypoints else None
        length = len(first) if isinstance(first, list) else None
        if self.keypoints and length not in takes:
            got = type(first).__name__ if length is None else length
            *most, last = map(str, takes)
            listed = f'{", ".join(most)} or {last}' if most else last
            raise ValueError(f'{self._where(0)}: keypoints: takes {listed} {what}, got {got}')
        return takes[0] if length is None else length

    def stack(self, name: str, values: list, shape: tuple[int, ...]) -> np.ndarray:
        """One value of each person as an array.

        Args:
            name: The key that they have in the file, for messages.
            values: A number or nested lists of each person.
            shape: Of one person's value.

        Returns:
            ``(N, *shape)`` float64, finite.

        Raises:
            ValueError: For the first person whose value is of another shape or not of finite numbers; says which.
        """
        if not values:
            return np.zeros((0, *shape))
        array = _as_numbers(values)
        if array is not None and array.shape[1:] == shape:
            return array
        for index, value in enumerate(values):  # to name the one
            alone = _as_numbers(value)
            if alone is None or alone.shape != shape:
                size = ' x '.join(map(str, shape))
                takes = f'{size} finite numbers of at most a million' if shape else 'a finite number'
                raise ValueError(f'{self._where(index)}: {name}: takes {takes}, got {_short(value)}')
        raise ValueError(f'{name}: takes lists of numbers')

    def table(
        self, keypoints: np.ndarray, scores: np.ndarray, bboxes: np.ndarray | None = None,
        bbox_scores: np.ndarray | None = None,
    ) -> PeopleTable:  # fmt: skip
        """The table of everyone who has a keypoint.

        Args:
            keypoints: ``(N, 17, 2)`` pixels.
            scores: ``(N, 17)``; negative ones, which raw heat maps have, count as 0.
            bboxes: ``(N, 4)`` left, top, right, bottom; NaN where there is none. Default: :meth:`boxes`.
            bbox_scores: ``(N,)``; NaN where there is none. Default: :meth:`box_scores`.
        """
        bboxes = self.boxes() if bboxes is None else bboxes
        bbox_scores = self.box_scores() if bbox_scores is None else bbox_scores
        frame = np.array(self.frame, np.int64)
        kept = np.flatnonzero((scores > 0).any(1) & keypoints.any((1, 2)))
        order = kept[np.argsort(frame[kept], kind='stable')]
        tracks = _fill_tracks(self.tracks)
        people = People2D.from_keypoints(keypoints[order], scores[order].clip(min=0))
        bboxes, bbox_scores = bboxes[order], bbox_scores[order]
        people = People2D(
            people.keypoints, people.scores,
            np.where(np.isfinite(bboxes).all(1, keepdims=True), bboxes, people.bboxes).astype(np.float32),
            np.where(np.isfinite(bbox_scores), bbox_scores, people.bbox_scores).astype(np.float32),
            None if tracks is None else tracks[order],
        )  # fmt: skip
        return PeopleTable(people, frame[order], self.frames, len(frame) - len(kept), self.num_other)

    def boxes(self, name: str = 'bbox') -> np.ndarray:
        """``(N, 4)`` numbers of the boxes; NaN for people without one."""
        return self._optional(name, self.bboxes, (4,), _NO_BOX)

    def box_scores(self, name: str = 'bbox_score') -> np.ndarray:
        """``(N,)`` scores of the boxes; NaN for people without one."""
        return self._optional(name, self.bbox_scores, (), float('nan'))

    def _optional(self, name: str, values: list, shape: tuple[int, ...], missing: Any) -> np.ndarray:
        has = np.array([value is not None for value in values], bool)
        array = np.full((len(values), *shape), missing)
        if has.all():
            return self.stack(name, values, shape) if values else array
        if has.any():
            self.stack(name, [np.zeros(shape).tolist() if v is None else v for v in values], shape)  # names the bad one
            array[has] = [value for value in values if value is not None]
        return array

    def _where(self, index: int) -> str:
        frame = self.frame[index]
        return f'{self.frames[frame].where}, person {self.frame[:index].count(frame)}'


def nobody() -> PeopleTable:
    """Of a file without people and frames."""
    return Gathering().table(np.zeros((0, 17, 2)), np.zeros((0, 17)))


def track_number(value: Any) -> int | None:
    """The track that a file gives a person; None where it gives none.

    Lists count as their first entry, and numbers below 0 as none: ``[-1]`` is OpenPose's person without a track,
    and AlphaPose lists the tracks of the detections that it merged.

    Raises:
        ValueError: If it is no whole number.
    """
    while isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return None
    if type(value) not in (int, float) or value != value // 1 or abs(value) >= 2**53:
        raise ValueError(f'track: takes a whole number, got {_short(value)}')
    return int(value) if value >= 0 else None


def _fill_tracks(tracks: list[int | None]) -> np.ndarray | None:
    """Tracks of everyone or of no one: a person without gets a number of their own."""
    filled = np.array([-1 if track is None else track for track in tracks], np.int64)
    missing = filled < 0
    if missing.all():
        return None
    filled[missing] = filled.max() + 1 + np.arange(missing.sum())
    return filled


def _as_numbers(values: Any) -> np.ndarray | None:
    """Values as a float64 array; None unless they are finite numbers in lists of one shape."""
    try:
        array = np.array(values)
    except ValueError:  # lists of different lengths
        return None
    if array.dtype.kind not in 'fiu' or not (np.abs(array) <= MAX_NUMBER).all():
        return None
    return array.astype(np.float64, copy=False)


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > 8:
        bad = next((v for v in value if type(v) not in (int, float) or not abs(v) <= MAX_NUMBER), None)
        if not isinstance(bad, list) and bad is not None:
            return _short(bad)
        return f'{len(value)} values'
    text = repr(value)
    return text if len(text) < 40 else text[:37] + '...'
