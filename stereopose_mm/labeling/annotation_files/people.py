# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""People as files have them, checked and converted to the keypoints that the lifters take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...apis.detections import MAX_NUMBER
from ..annotations import Annotations
from .sources import ANNOTATED_SCORES, MIN_SCORE, Source

#: What can be wrong with a record; a problem's text is one of these, a colon and the details.
PROBLEMS = (
    'unusable name',  # of the record or its image: too long, or no text that a file can have
    'crowd',  # stands for several people
    'duplicate id',  # an earlier record has it
    'no such image',  # the file, or the folder of images, has none of its id
    'wrong number of keypoints',
    'not finite',  # keypoints, score or box: NaN, infinite, or no numbers at all
    'unknown flag',  # a keypoint's visibility is none of the format's
    'empty box',  # of no or negative width or height
    'outside the image',  # a keypoint is further from it than half of its longer side
    'too few keypoints',  # marked ones of those that the lifter takes
    'no root',  # neither pelvis nor both hips, without which H36M-17 keypoints cannot be lifted
)
#: Marked keypoints of the record that a person takes at least.
MIN_KEYPOINTS = 4
_NUMBERS = {int, float}
# Characters: no path is longer.
_LONGEST_NAME = 4096


class Person(NamedTuple):
    """A record as it stands in its file.

    Attributes:
        record: What names it.
        keypoints: x, y and flag or score, keypoint by keypoint, in one list; whatever the file has in its place.
        bbox: x, y, width, height; whatever the file has in its place, None where it has none.
        file_name: Of the image.
        image_size: Width and height; 0 where unknown.
        source: Name of the data set.
        score: Of the whole person.
        problem: What was found wrong already.
    """

    record: str
    keypoints: Any
    bbox: Any
    file_name: str
    image_size: tuple[int, int]
    source: str
    score: Any = None
    problem: str = ''


def is_unmarked(keypoints: Any) -> bool:
    """Whether a record has no keypoints, or marks none of them."""
    return not keypoints or (isinstance(keypoints, list) and not any(keypoints[2::3]))


def to_annotations(people: Sequence[Person], source: Source) -> Annotations:
    """People of a source as arrays; those with a problem have zeros in theirs."""
    people = [_named(person) for person in people]
    problems = [person.problem or _problem(person, source) for person in people]
    values = _rows([p.keypoints for p in people], problems, 3 * len(source.keypoints)).reshape(len(people), -1, 3)
    boxes = _rows([p.bbox or (0, 0, 0, 0) for p in people], problems, 4)
    sizes = np.array([p.image_size for p in people], np.int32).reshape(-1, 2)
    points, visibility, scores = _marked(values, source)
    known = np.array([p.bbox is not None for p in people], bool)
    used = sorted({k for _, indices in source.alternatives() for k in indices})
    checks = (
        _not_finite(values, boxes, source),
        _unknown_flags(values, source),
        ('empty box: {:g} x {:g}', known & (boxes[:, 2:] <= 0).any(1), boxes[:, 2:]),
        _outside(points, visibility, sizes, source),
        _few((visibility[:, used] > 0).sum(1)),
    )
    for text, bad, details in checks:
        for row in np.flatnonzero(bad):
            problems[row] = problems[row] or text.format(*np.atleast_1d(details[row]).tolist())
    keypoints, visibility, scores = _convert(points, visibility, scores, source)
    if source.keypoint_set == 'h36m':
        for row in np.flatnonzero(visibility[:, 0] == 0):
            problems[row] = problems[row] or 'no root: neither pelvis nor both hips are marked'
    good = np.array([not problem for problem in problems], bool)
    person_score = [np.nan if p.score is None or q else p.score for p, q in zip(people, problems, strict=True)]
    return Annotations(
        source.keypoint_set,
        source=np.array([p.source for p in people], str),
        record=np.array([p.record for p in people], str),
        file_name=np.array([p.file_name for p in people], str),
        image_size=sizes,
        bbox=np.where(good[:, None], boxes, 0).astype(np.float32),
        keypoints=np.where(good[:, None, None], keypoints, 0).astype(np.float32),
        visibility=np.where(good[:, None], visibility, 0).astype(np.uint8),
        scores=np.where(good[:, None], scores, 0).astype(np.float32),
        person_score=np.array(person_score, np.float32),
        problem=np.array(problems, str),
    )


def _named(person: Person) -> Person:
    """A person with names that tables can hold, and told where they are others."""
    record, file_name = _plain(person.record), _plain(person.file_name)
    if (record, file_name) == (person.record, person.file_name):
        return person
    which = 'record' if record != person.record else 'file_name'
    return person._replace(record=record, file_name=file_name, problem=f'unusable name: {which}')


def _plain(name: str) -> str:
    """A name without what no file name has: the null character, halves of surrogate pairs, thousands of letters."""
    if len(name) > _LONGEST_NAME:
        name = name[:100] + '…'
    return name.encode('utf-8', 'replace').decode().replace('\0', '?')


def _problem(person: Person, source: Source) -> str:
    """What keeps a record's numbers out of arrays."""
    keypoints, bbox, score = person.keypoints, person.bbox, person.score
    takes = source.num_values
    if not isinstance(keypoints, list) or len(keypoints) not in takes:
        got = f'{len(keypoints)} values' if isinstance(keypoints, list) else type(keypoints).__name__
        return f'wrong number of keypoints: {got}, takes {" or ".join(map(str, takes))}'
    if not set(map(type, keypoints)) <= _NUMBERS:
        return 'not finite: keypoints takes numbers'
    if bbox is not None and not (isinstance(bbox, list) and len(bbox) == 4 and set(map(type, bbox)) <= _NUMBERS):
        return 'not finite: bbox takes four numbers'
    if score is not None and not (type(score) in _NUMBERS and abs(score) <= MAX_NUMBER):
        return 'not finite: score'
    return ''


def _rows(lists: list, problems: Sequence[str], size: int) -> np.ndarray:
    """``(n, size)`` float64: the first numbers of each list, zeros where there is a problem."""
    zeros = (0,) * size
    rows = [zeros if problem else values[:size] for values, problem in zip(lists, problems, strict=True)]
    try:
        return np.array(rows, np.float64).reshape(-1, size)
    except OverflowError:  # whole numbers beyond all floats
        rows = [[float(v) if abs(v) < 1e300 else np.inf for v in row] for row in rows]
        return np.array(rows, np.float64).reshape(-1, size)


def _marked(values: np.ndarray, source: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(n, K, 2)`` pixels from 0, ``(n, K)`` visibility and scores of the source's keypoints."""
    points, third = values[..., :2] - source.origin, values[..., 2]
    visibility = np.zeros(third.shape, np.uint8)
    if source.flags:
        for flag, meaning in source.flags.items():
            visibility[third == flag] = meaning
        scores = np.array(ANNOTATED_SCORES)[visibility]
    else:
        found = third >= MIN_SCORE
        visibility[found] = 2
        scores = np.where(found, third, 0).clip(max=1)
    return np.where(visibility[..., None] > 0, points, 0), visibility, scores


def _not_finite(values: np.ndarray, boxes: np.ndarray, source: Source) -> tuple[str, np.ndarray, np.ndarray]:
    bad = ~np.isfinite(values).all(-1)
    names = np.array([*source.keypoints, 'bbox'])
    which = np.where(bad.any(1), bad.argmax(1), len(source.keypoints))
    return 'not finite: {}', bad.any(1) | ~np.isfinite(boxes).all(1), names[which]


def _unknown_flags(values: np.ndarray, source: Source) -> tuple[str, np.ndarray, np.ndarray]:
    flags = values[..., 2]
    bad = ~np.isin(flags, list(source.flags)) if source.flags else np.zeros(flags.shape, bool)
    return 'unknown flag: {:g}', bad.any(1), np.take_along_axis(flags, bad.argmax(1)[:, None], 1)


def _outside(
    points: np.ndarray, visibility: np.ndarray, sizes: np.ndarray, source: Source
) -> tuple[str, np.ndarray, np.ndarray]:
    beyond = np.maximum(-points, points - sizes[:, None]).max(-1)
    far = np.where(sizes.all(1), sizes.max(1) / 2, np.inf)[:, None]
    bad = (visibility > 0) & ((beyond > far) | (np.abs(points).max(-1) > MAX_NUMBER))
    first = bad.argmax(1)
    where = np.take_along_axis(points, first[:, None, None], 1)[:, 0]
    details = np.array([np.array(source.keypoints, object)[first], *where.T], object).T
    return 'outside the image: {} at ({:.0f}, {:.0f})', bad.any(1), details


def _few(counts: np.ndarray) -> tuple[str, np.ndarray, np.ndarray]:
    return 'too few keypoints: {}', counts < MIN_KEYPOINTS, counts


def _convert(
    points: np.ndarray, visibility: np.ndarray, scores: np.ndarray, source: Source
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(n, 17, 2)``, ``(n, 17)`` and ``(n, 17)`` of the set that the source is converted to."""
    n = len(points)
    keypoints, seen, trust = np.zeros((n, 17, 2)), np.zeros((n, 17), np.uint8), np.zeros((n, 17))
    for target, indices in source.alternatives():
        new = (seen[:, target] == 0) & (visibility[:, indices] > 0).all(1)
        keypoints[new, target] = points[new][:, indices].mean(1)
        seen[new, target] = visibility[new][:, indices].min(1)
        trust[new, target] = scores[new][:, indices].min(1)
    return keypoints, seen, trust
