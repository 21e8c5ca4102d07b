# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""2D detections from files: COCO results, COCO annotations, NPZ arrays."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..geometry import get_skeleton

#: No pixel and no score is more; the squares of larger numbers would overflow.
MAX_NUMBER = 1e6


@dataclass
class Detections:
    """Poses of N people, in the order of their file.

    Attributes:
        keypoints: ``(N, K, 2)`` float32, pixels.
        scores: ``(N, K)`` float32, non-negative.
        image_ids: N ids, a number or text; None where the file has none.
        file_names: N names of images; None where the file has none.
        records: N positions in the file, from 0.
        person_scores: N scores of the whole person; None where the file has none.
        bboxes: ``(N, 4)`` float32 pixels: left, top, right, bottom; NaN where the file has none.
        tracks: N numbers of the same person on several frames; None where the file has none.
        frames: N positions of frames in a video; None where the file has none.
        num_empty: Records of people left out because they mark no keypoint.
        num_other: Records left out because they are of another category.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    image_ids: list[int | str | None]
    file_names: list[str | None]
    records: list[int]
    person_scores: list[float | None]
    bboxes: np.ndarray
    tracks: list[int | None]
    frames: list[int | None]
    num_empty: int = 0
    num_other: int = 0

    def __len__(self) -> int:
        return len(self.records)


def read_detections(path: str | Path, skeleton: str = 'coco') -> Detections:
    """Read 2D keypoints of people.

    Three kinds of file:

    - COCO results, JSON: a list of ``{image_id and/or file_name, category_id, keypoints, score}`` with x, y and a score
      for each keypoint; optional ``bbox`` (left, top, width, height) and ``track_id``.
    - COCO annotations, JSON: a dict with ``annotations`` (x, y and a visibility flag, of which 1 and 2 give score 1)
      and, for the names, ``images`` and ``categories``.
    - NPZ: ``keypoints`` ``(N, K, 2)``, or ``(N, K, 3)`` with scores; optional ``scores`` or ``keypoint_scores``
      ``(N, K)``; optional ``image_id``, ``file_name``, ``frame`` (from 0) and ``track`` ``(N,)``, and ``bboxes``
      ``(N, 4)`` (left, top, right, bottom).

    Records of other categories than person are left out, and people without any keypoint (all numbers 0, or no
    visible one). Negative scores, which raw heat maps have, count as 0.

    Args:
        path: The file.
        skeleton: What the keypoints are: ``'coco'``, ``'h36m'`` or ``'mpi_inf_3dhp'``.

    Returns:
        :class:`Detections`.

    Raises:
        ValueError: For a file that cannot be read or holds no record, a wrong number of keypoints, or values that are
            no finite numbers; names the file and the record (from 0).
    """
    path = Path(path)
    num_keypoints = get_skeleton(skeleton).num_keypoints
    try:
        if path.suffix.lower() == '.npz':
            return _from_npz(path, num_keypoints)
        return parse_detections(load_json(path), skeleton)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from error
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def load_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: If it is empty or no JSON; does not name the file.
        OSError: If it cannot be read.
    """
    text = path.read_text(encoding='utf-8-sig')
    if not text.strip():
        raise ValueError('the file is empty')
    return parse_json(text)


def parse_json(text: str) -> Any:
    """The content of JSON text.

    Raises:
        ValueError: If it is no JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError('no readable JSON: nested too deeply') from None
    except ValueError as error:
        raise ValueError(f'no readable JSON: {error}') from error


def parse_detections(data: Any, skeleton: str) -> Detections:
    """:func:`read_detections` for the content of a JSON file.

    Raises:
        ValueError: As :func:`read_detections`, but without the file's name.
    """
    num_keypoints = get_skeleton(skeleton).num_keypoints
    is_annotation = isinstance(data, dict) and 'annotations' in data
    records = data['annotations'] if is_annotation else data
    if not isinstance(records, list):
        raise ValueError("takes a list of COCO results, or a dict with COCO's annotations and images")
    names, person_ids = {}, [1]
    if is_annotation:
        names = _image_names(data.get('images', []))
        person_ids = _person_categories(data.get('categories', []), skeleton)
    people: dict[int, tuple] = {}
    for index, record in enumerate(records):
        try:
            if not isinstance(record, dict):
                raise ValueError(f'takes a dict, got {type(record).__name__}')
            if record.get('category_id', person_ids[0]) in person_ids:
                image_id = _image_id(record.get('image_id'))
                name = _file_name(record.get('file_name')) or names.get(image_id)
                score, track = record.get('score'), record.get('track_id')
                score = float(score) if _is_number(score) and abs(score) <= MAX_NUMBER else None
                track = track if type(track) is int and track >= 0 else None
                numbers, box = _numbers(record.get('keypoints'), num_keypoints), _coco_box(record.get('bbox'))
                people[index] = numbers, image_id, name, score, box, track, None
        except ValueError as error:
            raise ValueError(f'record {index}: {error}') from error
    numbers, *columns = zip(*people.values(), strict=True) if people else [()] * 7
    values = np.array(numbers, np.float64).reshape(-1, num_keypoints, 3)
    if is_annotation:
        values[..., 2] = values[..., 2] > 0  # flags: 1 is marked though hidden, 2 is visible
    return _detections(values[..., :2], values[..., 2], list(people), *columns, len(records))


def _image_names(images: Any) -> dict[int | str | None, str | None]:
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise ValueError('images: takes a list of dicts')
    return {_image_id(image.get('id')): _file_name(image.get('file_name')) for image in images}


def _person_categories(categories: Any, skeleton: str) -> list:
    """Ids of the category person; a file that lists none has COCO's id 1.

    Datasets such as PoseTrack18 have as many keypoints as COCO, but others: their names tell. HumanArt's names go
    on after COCO's.
    """
    if not isinstance(categories, list):
        raise ValueError('categories: takes a list')
    people = [c for c in categories if isinstance(c, dict) and c.get('name') == 'person']
    expected = list(get_skeleton(skeleton).joint_names)
    for category in people:
        names = category.get('keypoints')
        if skeleton == 'coco' and isinstance(names, list) and names[: len(expected)] != expected:
            other = [name for name in names if name not in expected]
            what = f'it has {_short(other[0])}' if other else 'some are missing or in another order'
            raise ValueError(f'categories: its {len(names)} keypoints are not COCO-17: {what}')
    return [c.get('id') for c in people] or [1]


def _numbers(values: Any, num_keypoints: int) -> list[float]:
    """The 3K numbers of a record, checked."""
    count = 3 * num_keypoints
    if values is None:
        raise ValueError('has no keypoints')
    if not isinstance(values, list) or len(values) != count:
        got = f'{len(values)} values' if isinstance(values, list) else type(values).__name__
        raise ValueError(f'keypoints: takes {count} numbers, x, y and score of {num_keypoints} keypoints, got {got}')
    for position, value in enumerate(values):
        # Python's JSON reader lets NaN and Infinity through.
        if not _is_number(value) or not -MAX_NUMBER <= value <= MAX_NUMBER:
            what = f'{"x y score".split()[position % 3]} of keypoint {position // 3}'
            raise ValueError(f'keypoints: {what} takes a finite number of at most a million, got {_short(value)}')
    return values


def _coco_box(values: Any) -> list[float]:
    """Left, top, right, bottom; NaN for what is no box, which lifting can do without."""
    if not isinstance(values, list) or len(values) != 4:
        return [np.nan] * 4
    if not all(_is_number(value) and abs(value) <= MAX_NUMBER for value in values):
        return [np.nan] * 4
    left, top, width, height = values
    return [left, top, left + width, top + height]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 1e15 else f'{len(str(value))} digits'
    return text if len(text) < 40 else text[:37] + '...'


def _image_id(value: Any) -> int | str | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or type(value) in (int, str):
        return value
    raise ValueError(f'image_id: takes a whole number or text, got {_short(value)}')


def _file_name(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise ValueError(f'file_name: takes text, got {_short(value)}')


def _from_npz(path: Path, num_keypoints: int) -> Detections:
    arrays = _load_npz(path)
    if 'keypoints' not in arrays:
        raise ValueError(f'has no array keypoints, only {sorted(arrays)}')
    keypoints = _float_array('keypoints', arrays['keypoints'])
    if keypoints.ndim != 3 or keypoints.shape[1] != num_keypoints or keypoints.shape[2] not in (2, 3):
        takes = f'(N, {num_keypoints}, 2) or (N, {num_keypoints}, 3)'
        raise ValueError(f'keypoints: takes {takes}, got {keypoints.shape}')
    n = len(keypoints)
    names = [name for name in ('scores', 'keypoint_scores') if name in arrays]
    scores = np.ones((n, num_keypoints)) if keypoints.shape[2] == 2 else keypoints[..., 2]
    if names:
        scores = _float_array(names[0], arrays[names[0]])
    if scores.shape != (n, num_keypoints):
        raise ValueError(f'{names[0]}: takes {(n, num_keypoints)}, got {scores.shape}')
    for name, values in (('keypoints', keypoints), ('scores', scores[..., None])):
        bad = ~(np.abs(values) <= MAX_NUMBER).all(-1)
        if bad.any():
            record, joint = np.argwhere(bad)[0]
            raise ValueError(
                f'record {record}: {name}: keypoint {joint} takes finite numbers, got {values[record, joint].tolist()}'
            )
    image_ids = [_image_id(v) for v in _column(arrays, 'image_id', n)]
    file_names = [_file_name(v or None) for v in _column(arrays, 'file_name', n)]
    boxes = _float_array('bboxes', arrays.get('bboxes', np.full((n, 4), np.nan)))
    if boxes.shape != (n, 4):
        raise ValueError(f'bboxes: takes {(n, 4)}, got {boxes.shape}')
    if (np.abs(boxes) > MAX_NUMBER).any():
        raise ValueError('bboxes: takes numbers of at most a million, or NaN for none')
    tracks, frames = (_counts(name, arrays, n) for name in ('track', 'frame'))
    tracks = [None if track is not None and track < 0 else track for track in tracks]
    if any(frame is not None and frame < 0 for frame in frames):
        raise ValueError('frame: takes positions from 0, got a negative one')
    return _detections(
        keypoints[..., :2], scores, list(range(n)), image_ids, file_names, [None] * n, boxes, tracks, frames, n
    )


def _detections(
    keypoints: np.ndarray, scores: np.ndarray, records: list, image_ids: list, file_names: list,
    person_scores: list, bboxes: Any, tracks: list, frames: list, num_records: int,
) -> Detections:  # fmt: skip
    """Leave out who has no keypoint."""
    if not num_records:
        raise ValueError('holds no record')
    kept = np.flatnonzero(keypoints.any((1, 2)) & (scores > 0).any(1))
    columns = ([column[i] for i in kept] for column in (image_ids, file_names, records, person_scores))
    tracks, frames = ([column[i] for i in kept] for column in (tracks, frames))
    return Detections(
        keypoints[kept].astype(np.float32), scores[kept].clip(min=0).astype(np.float32), *columns,
        np.asarray(bboxes, np.float32).reshape(-1, 4)[kept], tracks, frames,
        num_empty=len(records) - len(kept), num_other=num_records - len(records),
    )  # fmt: skip


def _load_npz(path: Path) -> dict[str, np.ndarray]:
    wanted = ('keypoints', 'scores', 'keypoint_scores', 'image_id', 'file_name', 'frame', 'track', 'bboxes')
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files if name in wanted or 'keypoints' not in data.files}
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f'no readable NPZ: {error}') from error


def _float_array(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in 'fiu':
        raise ValueError(f'{name}: takes numbers, got {array.dtype}')
    return array.astype(np.float64)


def _counts(name: str, arrays: dict, n: int) -> list:
    if name in arrays and arrays[name].dtype.kind not in 'iu':
        raise ValueError(f'{name}: takes whole numbers, got {arrays[name].dtype}')
    return _column(arrays, name, n)


def _column(arrays: dict, name: str, n: int) -> list:
    if name not in arrays:
        return [None] * n
    array = arrays[name]
    if array.shape != (n,):
        raise ValueError(f'{name}: takes {(n,)}, got {array.shape}')
    return array.tolist()
