# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Results of Ultralytics' pose models: JSON, label files, and the objects themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ...geometry import COCO_17
from ..people import People2D
from .keypoint_file import frame_number
from .people_table import Gathering, PeopleTable

#: Width and height in pixels of all images, or a function that tells them by an image's number and its name.
ImageSize = tuple[int, int] | Callable[[int | None, str | None], tuple[int, int]]

_NUM_KEYPOINTS = COCO_17.num_keypoints
_BOX = ('x1', 'y1', 'x2', 'y2')
# Values of a label's line before its keypoints: class, and the box's centre, width and height.
_HEAD = 5
_FRAME_TAKES = 'takes a list of people, {box, confidence, keypoints}'


def is_ultralytics_frame(data: Any) -> bool:
    """Whether it is what ``Results.to_json`` gives for an image with something on it."""
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and 'class' in first and 'confidence' in first


def read_ultralytics_json(
    frames: Iterable[tuple[str, int | None, str | None, Any]], image_size: ImageSize | None = None
) -> PeopleTable:
    """People of what ``Results.to_json()`` gives for each frame.

    The layout is that of ``Results.summary`` (``ultralytics/engine/results.py``): a list of ``{name, class,
    confidence, box: {x1, y1, x2, y2}, track_id, keypoints: {x, y, visible}}``, in pixels, or with ``normalize=True`` in
    parts of the image. Without ``visible`` all keypoints score 1 but those at (0, 0), which are missing.

    Args:
        frames: What each is called in messages, its number, its name, and its content.
        image_size: Of the images, which normalised results need.

    Raises:
        ValueError: For what is no such content, and for normalised results without ``image_size``.
    """
    found, xs, ys = Gathering(), [], []
    for where, number, name, people in frames:
        found.add_frame(where, number, name)
        if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
            raise ValueError(f'{where}: {_FRAME_TAKES}')
        for person in people:
            if person.get('name', 'person') != 'person':
                found.num_other += 1
                continue
            points = person.get('keypoints')
            if not isinstance(points, dict) or not {'x', 'y'} <= points.keys():
                raise ValueError(f'{where}: a person has no keypoints with x and y; takes results of a pose model')
            box = person.get('box')
            box = [box.get(key) for key in _BOX] if isinstance(box, dict) else None
            visible = points.get('visible') or [1] * _NUM_KEYPOINTS
            found.add(points['x'], visible, box, person.get('confidence'), person.get('track_id'))
            xs.append(points['x'])
            ys.append(points['y'])
    shape = (_NUM_KEYPOINTS,)
    keypoints = np.stack([found.stack('keypoints.x', xs, shape), found.stack('keypoints.y', ys, shape)], -1)
    scores, boxes = found.stack('keypoints.visible', found.scores, shape), found.boxes('box')
    if keypoints.any() and (np.abs(keypoints) <= 1.5).all():
        if image_size is None:
            raise ValueError('results are in parts of the image: needs image_size, its width and height in pixels')
        size = _pixel_sizes(found, image_size)
        keypoints, boxes = keypoints * size[:, None], boxes * np.tile(size, 2)
    return _table(found, keypoints, scores, boxes, found.box_scores('confidence'))


def read_ultralytics_labels(
    files: Iterable[tuple[str, str, str]], image_size: ImageSize | None = None, first_frame: int = 1
) -> PeopleTable:
    """People of label files, as ``save_txt=True`` and datasets of Ultralytics have them.

    A line is one person: class, the box's centre, width and height, and x, y (and score, or a dataset's visibility
    flag) of 17 keypoints, all in parts of the image; then the person's score with ``save_conf=True``, and the track
    of a tracked person (``Results.save_txt``). A video's files are ``NAME_1.txt``, ``NAME_2.txt``, …: frames count from
    1, and one without people has none.

    Args:
        files: What each is called in messages, its name without suffix, and its text.
        image_size: Of the images.
        first_frame: The number in the name of a video's first frame.

    Raises:
        ValueError: For lines of another kind, and without ``image_size``.
    """
    if image_size is None:
        raise ValueError('labels are in parts of the image: needs image_size, its width and height in pixels')
    found = Gathering()
    rows, tails = [], []
    for where, name, text in files:
        found.add_frame(where, frame_number(name, first_frame), name)
        for line, words in enumerate(filter(None, map(str.split, text.splitlines()))):
            try:
                values = [float(word) for word in words]
            except ValueError:
                raise ValueError(f'{where}: line {line + 1}: takes numbers, got {" ".join(words)[:40]!r}') from None
            dims = 2 if len(values) in (39, 40, 41) else 3
            body = _HEAD + dims * _NUM_KEYPOINTS
            if not body <= len(values) <= body + 2:
                raise ValueError(f'{where}: line {line + 1}: takes 5 numbers, 17 keypoints of 2 or 3, and up to 2 '
                                 f'numbers more, got {len(values)} numbers')  # fmt: skip
            if not all(map(math.isfinite, values)):
                raise ValueError(f'{where}: line {line + 1}: takes finite numbers')
            if values[0] != 0:
                found.num_other += 1
                continue
            points = values[_HEAD:body]
            if dims == 2:
                points = [v for x, y in zip(points[::2], points[1::2], strict=True) for v in (x, y, 1.0)]
            found.add(points, bbox=values[1:_HEAD])
            rows.append(points)
            tails.append(values[body:])
    keypoints = found.stack('keypoints', rows, (3 * _NUM_KEYPOINTS,)).reshape(-1, _NUM_KEYPOINTS, 3)
    boxes, size = found.boxes(), _pixel_sizes(found, image_size)
    boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], -1) * np.tile(size, 2)
    confidences = _read_tails(found, tails)
    return _table(found, keypoints[..., :2] * size[:, None], keypoints[..., 2].clip(max=1), boxes, confidences)


def from_ultralytics(results: Any) -> People2D:
    """People of a ``Results`` object of Ultralytics' pose models.

    Reads ``keypoints.xy`` and ``.conf`` and ``boxes.xyxy``, ``.conf``, ``.id`` and ``.cls``; Ultralytics is not needed
    for it. Without scores all keypoints score 1 but those at (0, 0), which are missing.

    Args:
        results: Of one image, an entry of what the model returned.

    Raises:
        ValueError: If it has boxes but no keypoints, or other keypoints than COCO-17.
    """
    boxes, points = results.boxes, results.keypoints
    count = 0 if boxes is None else len(boxes)
    if count == 0:
        return People2D.none()
    if points is None:
        raise ValueError('results: has boxes but no keypoints; takes results of a pose model')
    keypoints = _array(points.xy)
    if keypoints.shape != (count, _NUM_KEYPOINTS, 2):
        raise ValueError(f'results: keypoints: takes {(count, _NUM_KEYPOINTS, 2)}, got {keypoints.shape}')
    scores = np.ones(keypoints.shape[:2]) if points.conf is None else _array(points.conf)
    scores = np.where((keypoints == 0).all(-1), 0, scores.clip(min=0))
    tracks = None if boxes.id is None else _array(boxes.id)
    bboxes, confidences = _array(boxes.xyxy), _array(boxes.conf)
    if not all(np.isfinite(values).all() for values in (keypoints, scores, bboxes, confidences)):
        raise ValueError('results: takes finite numbers')
    kept = np.flatnonzero(_are_people(results, boxes, count) & (scores > 0).any(1))
    return People2D.from_keypoints(
        keypoints[kept], scores[kept], confidences[kept], None if tracks is None else tracks[kept], bboxes[kept]
    )


def _array(values: Any) -> np.ndarray:
    """A tensor of any device, or an array."""
    return np.asarray(values.detach().cpu() if hasattr(values, 'detach') else values)


def _are_people(results: Any, boxes: Any, count: int) -> np.ndarray:
    names = getattr(results, 'names', None) or {}
    person = [number for number, name in names.items() if name == 'person']
    return np.isin(_array(boxes.cls), person) if person else np.ones(count, bool)


def _pixel_sizes(found: Gathering, image_size: ImageSize) -> np.ndarray:
    """``(N, 2)`` width and height of each person's image."""
    if not callable(image_size):
        return np.tile(np.array(image_size, float), (len(found.frame), 1))
    sizes = {row: image_size(found.frames[row].number, found.frames[row].name) for row in set(found.frame)}
    return np.array([sizes[row] for row in found.frame], float).reshape(-1, 2)


def _read_tails(found: Gathering, tails: list[list[float]]) -> np.ndarray:
    """Scores and tracks behind the keypoints. One number alone is a track where all of them are whole."""
    singles = [tail[0] for tail in tails if len(tail) == 1]
    are_tracks = bool(singles) and all(value >= 1 and value.is_integer() for value in singles)
    confidences = np.full(len(tails), np.nan)
    for person, tail in enumerate(tails):
        if len(tail) == 2 or (tail and not are_tracks):
            confidences[person] = tail[0]
        if len(tail) == 2 or (tail and are_tracks):
            found.tracks[person] = int(tail[-1])
    return confidences


def _table(
    found: Gathering, keypoints: np.ndarray, scores: np.ndarray, boxes: np.ndarray, confidences: np.ndarray
) -> PeopleTable:
    missing = (keypoints == 0).all(-1)
    return found.table(keypoints, np.where(missing, 0, scores), boxes, confidences)
