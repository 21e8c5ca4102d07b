# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Who is who from frame to frame, in 2D."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from .people import People2D

# What a track holds besides its number, by the shape of one row.
_STATE = dict(keypoints=(17, 2), scores=(17,), boxes=(4,), velocity=(2,), updates=(), lost=())
# How far a joint may be from its place, as a fraction of the body's size in the picture, at a similarity of 0.6.
_REACH = 0.2
# What it grows by with every frame that a person was not seen, and the most that it grows to.
_REACH_GROWTH, _MOST_GROWTH = 0.2, 3.0
# Least share of a new measurement in a track's velocity.
_VELOCITY_GAIN = 0.4
# What a person who is not seen keeps of the velocity from one update to the next.
_VELOCITY_KEPT = 0.95


class PersonTracker:
    """Numbers people so that one person has one number through a clip.

    The two-stage association of ByteTrack (Zhang et al., ECCV 2022): every track is predicted at constant velocity;
    people of high score are assigned to the tracks first, those of low score, mostly half hidden ones, to what is left;
    tracks without a person are kept for a while. Unlike there, people are compared by box and keypoints, half each,
    everybody gets a number at once, and all that it remembers can be stored (:meth:`state_dict`): an interrupted clip
    goes on with the same numbers.

    Args:
        memory: Frames of the video for which a person who is not seen is remembered.
        every: Step between the frames that are given; 1 for all.
        min_similarity: People less like a track than this, of 1, are not its person.
        high_score: Box scores from here on are assigned first.

    Raises:
        ValueError: For an argument out of range.
    """

    def __init__(self, memory: int = 60, every: int = 1, min_similarity: float = 0.1, high_score: float = 0.5):
        if not (memory >= 0 and every >= 1):
            raise ValueError(f'takes memory of at least 0 frames and every of at least 1, got {memory} and {every}')
        if not 0 < min_similarity < 1:
            raise ValueError(f'min_similarity: takes a number between 0 and 1, got {min_similarity}')
        self.memory, self.every = memory, every
        self.min_similarity, self.high_score = min_similarity, high_score
        self.reset()

    def reset(self) -> None:
        """Forget everybody; numbers start from 0."""
        self._next = 0
        # By the source's number, and how many people had it before on the same frame.
        self._of_source: dict[tuple[int, int], int] = {}
        self._numbers = np.zeros(0, np.int64)
        self._rows = {name: np.zeros((0, *shape)) for name, shape in _STATE.items()}

    def update(self, people: People2D) -> np.ndarray:
        """Number the people of the next frame; call it for empty frames too.

        Args:
            people: n people. Where they come with track numbers, those are kept, as consecutive numbers. Of people on
                one frame with the same number, only the first can be that person; the others get numbers of their own.

        Returns:
            ``(n,)`` int64, from 0 in order of appearance; a number is never given to another person.
        """
        if people.tracks is not None:
            return self._number_by_source(people.tracks)
        self._predict()
        track_of = self._assign(people)
        numbers = np.empty(len(people), np.int64)
        known = track_of >= 0
        numbers[known] = self._numbers[track_of[known]]
        new = np.flatnonzero(~known)
        numbers[new] = np.arange(self._next, self._next + len(new))
        self._next += len(new)
        self._correct(people, track_of, np.flatnonzero(known))
        self._append(people, new, numbers[new])
        kept = self._rows['lost'] * self.every <= self.memory
        if not kept.all():
            self._numbers = self._numbers[kept]
            self._rows = {name: rows[kept] for name, rows in self._rows.items()}
        return numbers

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered, as numbers and lists that JSON holds without loss."""
        return {
            'next': self._next,
            'of_source': [[*key, number] for key, number in self._of_source.items()],
            'numbers': self._numbers.tolist(),
            **{name: rows.tolist() for name, rows in self._rows.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned.

        Raises:
            ValueError: If it is not such a state; names the entry. Nothing is changed then.
        """
        missing = [name for name in ('next', 'of_source', 'numbers', *_STATE) if name not in state]
        if missing:
            raise ValueError(f'the state of the tracker has no {missing[0]}')
        try:
            numbers = np.array(state['numbers'], np.int64).reshape(-1)
            next_number = int(state['next'])
            of_source = {(int(key), int(before)): int(number) for key, before, number in state['of_source']}
            rows = {
                name: np.array(state[name], np.float64).reshape(len(numbers), *shape) for name, shape in _STATE.items()
            }
        except (TypeError, ValueError) as error:
            raise ValueError(f'no state of the tracker: {error}') from error
        if next_number <= max([-1, *numbers.tolist(), *of_source.values()]):
            raise ValueError(f'the state of the tracker: next is {next_number}, but that number is taken')
        self._next, self._of_source, self._numbers, self._rows = next_number, of_source, numbers, rows

    def _number_by_source(self, tracks: np.ndarray) -> np.ndarray:
        numbers, seen = np.empty(len(tracks), np.int64), Counter()
        for row, source in enumerate(np.asarray(tracks).tolist()):
            key = source, seen[source]
            seen[source] += 1
            if key not in self._of_source:
                self._of_source[key] = self._next
                self._next += 1
            numbers[row] = self._of_source[key]
        return numbers

    def _predict(self) -> None:
        """Move every track by its velocity."""
        rows = self._rows
        rows['velocity'] = np.where(rows['lost'][:, None] > 0, _VELOCITY_KEPT, 1.0) * rows['velocity']
        rows['keypoints'] = rows['keypoints'] + rows['velocity'][:, None]
        rows['boxes'] = rows['boxes'] + np.tile(rows['velocity'], 2)
        rows['lost'] = rows['lost'] + 1

    def _assign(self, people: People2D) -> np.ndarray:
        """``(n,)`` row of the track of each person; −1 where there is none."""
        track_of = np.full(len(people), -1)
        if not len(people) or not len(self._numbers):
            return track_of
        similarity = self._similarity(people)
        free = np.ones(len(self._numbers), bool)
        high = people.bbox_scores >= self.high_score
        for stage in (high, ~high):
            columns, tracks = np.flatnonzero(stage), np.flatnonzero(free)
            if not len(columns) or not len(tracks):
                continue
            part = similarity[np.ix_(tracks, columns)]
            # What is below the limit counts as no match at all: it must not take a track from a better one.
            part = np.where(part >= self.min_similarity, part, 0.0)
            row, column = linear_sum_assignment(part, maximize=True)
            good = part[row, column] > 0
            track_of[columns[column[good]]] = tracks[row[good]]
            free[tracks[row[good]]] = False
        return track_of

    def _similarity(self, people: People2D) -> np.ndarray:
        """``(T, n)`` in [0, 1]: half overlap of the boxes, half nearness of the keypoints."""
        a, b = self._rows['boxes'][:, None], people.bboxes[None].astype(np.float64)
        size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
        shared = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0).prod(-1)
        area_a, area_b = size_a.prod(-1), size_b.prod(-1)
        overlap = shared / np.maximum(area_a + area_b - shared, 1e-6)
        square = np.square(self._rows['keypoints'][:, None] - people.keypoints[None]).sum(-1)
        # OKS with one reach for all joints: between frames even shoulders move further than annotators disagree.
        growth = 1 + _REACH_GROWTH * (self._rows['lost'][:, None] * self.every - 1)
        reach = _REACH * growth.clip(1, _MOST_GROWTH) * np.minimum(size_a.max(-1), size_b.max(-1))
        scale = 2 * np.square(reach).clip(1e-6)[..., None]
        weight = np.minimum(self._rows['scores'][:, None], people.scores[None])
        near = (weight * np.exp(-square / scale)).sum(-1) / np.maximum(weight.sum(-1), 1e-6)
        return (overlap + near) / 2

    def _correct(self, people: People2D, track_of: np.ndarray, found: np.ndarray) -> None:
        """Put tracks where their people were found."""
        rows, track = self._rows, track_of[found]
        keypoints, scores = people.keypoints[found], people.scores[found]
        weight = np.minimum(rows['scores'][track], scores)
        moved = ((keypoints - rows['keypoints'][track]) * weight[..., None]).sum(1)
        moved = moved / np.maximum(weight.sum(1), 1e-6)[:, None]
        # A velocity is the mean of the first few and follows slowly later; a miss came about over all updates since.
        gain = np.maximum(1 / rows['updates'][track], _VELOCITY_GAIN) / rows['lost'][track]
        rows['velocity'][track] += gain[:, None] * moved
        # A joint that is not found goes where the rest of the body went.
        seen = (scores > 0)[..., None]
        rows['keypoints'][track] = np.where(seen, keypoints, rows['keypoints'][track] + moved[:, None])
        rows['scores'][track] = np.where(seen[..., 0], scores, rows['scores'][track] / 2)
        rows['boxes'][track] = people.bboxes[found]
        rows['updates'][track] += 1
        rows['lost'][track] = 0

    def _append(self, people: People2D, new: np.ndarray, numbers: np.ndarray) -> None:
        first = dict(
            keypoints=people.keypoints[new],
            scores=people.scores[new],
            boxes=people.bboxes[new],
            velocity=np.zeros((len(new), 2)),
            updates=np.ones(len(new)),
            lost=np.zeros(len(new)),
        )
        self._rows = {name: np.concatenate([rows, first[name]]) for name, rows in self._rows.items()}
        self._numbers = np.concatenate([self._numbers, numbers])
