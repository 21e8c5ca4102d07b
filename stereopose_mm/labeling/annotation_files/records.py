# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Annotations in JSON lists: MPII as MMPose has it, AI Challenger's own layout, and detections as COCO results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...apis.image_files import IMAGE_SUFFIXES
from .coco import CocoImages, record_id
from .json_stream import stream_json
from .people import Person, is_unmarked
from .sources import SOURCES, Source

#: A person's height in MPII, by the scale that it is annotated with.
MPII_PIXELS = 200.0
# MMPose moves MPII's centres down by this, in units of the scale times a pixel.
_MPII_DOWN = 15.0
# AI Challenger's own flags as COCO's: visible, hidden, not in the picture.
_AIC_FLAGS = {1: 2, 2: 1, 3: 0}


class RecordList(ABC):
    """A JSON list of records, walked through once to see that it is whole.

    Args:
        path: The file.
        source: What its records are.

    Raises:
        ValueError: If it is no JSON list of dicts, or a record lacks a key that all have; names file and record.
    """

    #: Keys that all records have.
    keys: tuple[str, ...] = ()

    def __init__(self, path: Path, source: Source):
        self.path, self.source = path, source
        self.num_people = self.num_unmarked = self.num_other = 0
        for index, record in self._records():
            for person in self._read(index, record):
                if person is None:
                    self.num_other += 1
                elif is_unmarked(person.keypoints):
                    self.num_unmarked += 1
                else:
                    self.num_people += 1

    def people(self) -> Iterator[Person]:
        """The people of the file who have keypoints, in its order."""
        for index, record in self._records():
            for person in self._read(index, record):
                if person is not None and not is_unmarked(person.keypoints):
                    yield person

    def _records(self) -> Iterator[tuple[int, dict]]:
        self._start()
        for key, index, value in stream_json(self.path):
            if key is not None:
                raise ValueError(f'{self.path}: takes a list of records, has the key {key}')
            if index is None:
                continue
            if not isinstance(value, dict):
                raise ValueError(f'{self.path}: record {index} takes a dict, is a {type(value).__name__}')
            for needed in self.keys:
                if needed not in value:
                    raise ValueError(f'{self.path}: record {index} has no {needed}')
            yield index, value

    def _start(self) -> None:  # noqa: B027
        """Forget what was read."""

    @abstractmethod
    def _read(self, index: int, record: dict) -> Iterator[Person | None]:
        """The people of a record; None for one who is of another category."""


class MpiiList(RecordList):
    """MMPose's ``mpii_train.json``: ``image``, ``center``, ``scale``, ``joints`` and ``joints_vis`` of each person.

    The layout is that of https://mmpose.readthedocs.io (2D body keypoints, MPII); boxes are those of its MpiiDataset.
    """

    keys = ('image', 'joints')

    def _read(self, index: int, record: dict) -> Iterator[Person]:
        name, joints = record['image'], record['joints']
        if not isinstance(name, str) or not name:
            raise ValueError(f'{self.path}: record {index}: image is {name!r}; takes text')
        flags = record.get('joints_vis', [1] * len(self.source.keypoints))
        if isinstance(joints, list) and isinstance(flags, list) and len(joints) == len(flags):
            pairs = [joint if isinstance(joint, list) and len(joint) == 2 else [joint] for joint in joints]
            # Marked is all that the flag says; it comes as 0, 1, 0.0 or 1.0.
            joints = [v for pair, flag in zip(pairs, flags, strict=True) for v in (*pair, 2 if flag == 1 else flag)]
        yield Person(str(index), joints, mpii_box(record.get('center'), record.get('scale')), name, (0, 0), 'mpii')


def mpii_box(center: Any, scale: Any) -> list | None:
    """Box about a person in MPII, as x, y, width and height in pixels from 0; None where the file tells none."""
    if not isinstance(center, list) or len(center) != 2 or center[0] == -1 or scale is None:
        return None
    try:
        side = MPII_PIXELS * scale
        return [center[0] - 1 - side / 2, center[1] - 1 + _MPII_DOWN * scale - side / 2, side, side]
    except (TypeError, OverflowError):
        return [*center, scale, scale]  # no numbers, or beyond all floats, which the checks name


class AicList(RecordList):
    """AI Challenger's own JSON: ``image_id``, ``human_annotations`` and ``keypoint_annotations``, by ``human1`` ….

    Boxes are left, top, right, bottom. A keypoint's flag is 1 where it is visible, 2 where hidden and 3 where it is not
    in the picture (Wu et al., "AI Challenger: A Large-scale Dataset for Going Deeper in Image Understanding", 2017).
    """

    keys = ('image_id', 'keypoint_annotations')

    def _start(self) -> None:
        self.seen = set()

    def _read(self, index: int, record: dict) -> Iterator[Person]:
        image, people, boxes = record['image_id'], record['keypoint_annotations'], record.get('human_annotations') or {}
        where = f'{self.path}: record {index}'
        if not isinstance(image, str) or not image:
            raise ValueError(f'{where}: image_id is {image!r}; takes text')
        if not isinstance(people, dict) or not isinstance(boxes, dict):
            raise ValueError(f'{where}: keypoint_annotations and human_annotations take dicts')
        again = image in self.seen
        self.seen.add(image)
        for name, keypoints in people.items():
            box = boxes.get(name)
            if isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) for v in box):
                box = [box[0], box[1], _difference(box[2], box[0]), _difference(box[3], box[1])]
            if isinstance(keypoints, list):
                keypoints = list(keypoints)
                keypoints[2::3] = [_AIC_FLAGS.get(f, f) if type(f) in (int, float) else f for f in keypoints[2::3]]
            problem = f'duplicate id: {image}' if again else ''
            yield Person(f'{image}/{name}', keypoints, box, f'{image}.jpg', (0, 0), 'aic', problem=problem)


def _difference(high: float, low: float) -> float:
    try:
        return high - low
    except OverflowError:  # a whole number beyond all floats
        return float('inf')


class ResultList(RecordList):
    """COCO results: ``image_id`` or ``file_name``, ``category_id``, ``keypoints`` with scores, ``score``, ``bbox``.

    The layout is that of https://cocodataset.org/#format-results, with COCO's 17 keypoints first where there are more.

    Args:
        path: The file.
        source: What its records are.
        images: COCO JSON that lists the images, or their folder, in which they are found by name or number. Default:
            records that have no ``file_name`` have no image.
    """

    keys = ('keypoints',)

    def __init__(self, path: Path, source: Source, images: Path | None = None):
        self.images = None if images is None else _find_images(images)
        super().__init__(path, source)

    def _read(self, index: int, record: dict) -> Iterator[Person | None]:
        if record.get('category_id', 1) != 1:
            yield None
            return
        key, name, size, problem = record_id(record.get('image_id')), record.get('file_name'), (0, 0), ''
        if not isinstance(name, str):
            # AlphaPose and others put the name in place of the id.
            name = key if isinstance(key, str) and Path(key).suffix else ''
        if self.images is not None:
            found = self.images.find(name) or self.images.find(key)
            if found is None:
                problem = f'no such image: {(name or key)!r:.200}'
            name, size = found or ('', size)
        score = record.get('score')
        yield Person(str(index), record['keypoints'], record.get('bbox'), name, size, self.source.name, score, problem)


def _find_images(path: Path) -> CocoImages:
    """Images by id, by name, and by name without suffix, of a COCO file or a folder."""
    images = CocoImages(path)
    if path.is_dir():
        files = sorted(f.relative_to(path) for f in path.rglob('*') if f.suffix.lower() in IMAGE_SUFFIXES)
        for index, file in enumerate(files):
            images.add(index, {'id': file.as_posix(), 'file_name': file.as_posix()})
        stems = [(file.stem, row) for row, file in enumerate(files)]
        keys = [*stems, *((int(stem), row) for stem, row in stems if stem.isdecimal())]
    else:
        for key, index, value in stream_json(path):
            if key == 'images' and index is not None:
                images.add(index, value)
        if not images.names:
            raise ValueError(f"{path}: images is missing or empty; takes COCO's list, or a folder of images")
        keys = [(name, row) for row, name in enumerate(images.names)]
    # What several images go by is none's.
    times = Counter(key for key, _ in keys)
    images.rows.update((key, row) for key, row in keys if times[key] == 1 and key not in images.rows)
    return images


#: Layouts of lists by a key that only their records have, with the format.
RECORD_LISTS = {
    'keypoint_annotations': (AicList, SOURCES['aic']),
    'joints': (MpiiList, SOURCES['mpii']),
    'keypoints': (ResultList, SOURCES['coco_results']),
}
