# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Annotations in COCO's layout: COCO, COCO-WholeBody, AI Challenger, CrowdPose, PoseTrack18, OCHuman, HumanArt, Halpe.

A dict of ``images`` (id, file_name, width, height), ``annotations`` (id, image_id, category_id, bbox as x, y, width,
height, keypoints as x, y and flag of each, iscrowd) and ``categories`` (id, name, keypoints), as on
https://cocodataset.org/#format-data; the others as MMPose documents them (docs/en/dataset_zoo/2d_body_keypoint.md).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .json_stream import stream_json
from .people import Person, is_unmarked
from .sources import SOURCES, Source

#: Formats that this module reads.
COCO_FORMATS = ('coco', 'coco_wholebody', 'aic', 'crowdpose', 'posetrack18', 'ochuman', 'humanart', 'halpe')
# Formats by what their records hold and others' do not, and by the number of values where the categories tell no names.
_BY_KEY = {'foot_kpts': 'coco_wholebody', 'keypoints_21': 'humanart'}
_BY_COUNT = {51: 'coco', 78: 'halpe', 399: 'coco_wholebody', 408: 'halpe'}
_BY_NUM_NAMES = {17: 'coco', 21: 'humanart', 26: 'halpe', 133: 'coco_wholebody', 136: 'halpe'}


class CocoImages:
    """The images of a file by id, in little memory.

    Args:
        path: The file, for messages.
    """

    def __init__(self, path: Path):
        self.path, self.rows, self.names, self.sizes = path, {}, [], array('i')

    def add(self, index: int, image: Any) -> None:
        """Take an entry of the file's list.

        Raises:
            ValueError: If its id, name or size is none; names the file and the entry.
        """
        where = f'{self.path}: images[{index}]'
        if not isinstance(image, dict):
            raise ValueError(f'{where} takes a dict, is a {type(image).__name__}')
        key, name = record_id(image.get('id')), image.get('file_name')
        if key is None:
            raise ValueError(f'{where}.id is {image.get("id")!r}; takes a whole number or text')
        if not isinstance(name, str) or not name:
            raise ValueError(f'{where}.file_name is {name!r}; takes text')
        if self.rows.setdefault(key, len(self.names)) != len(self.names):
            raise ValueError(f'{where}.id is {key!r}, which an earlier one has')
        size = [image.get('width') or 0, image.get('height') or 0]
        if not all(type(side) in (int, float) and 0 <= side < 2**31 for side in size):
            raise ValueError(f'{where}: width and height are {size}; take whole numbers of pixels')
        self.names.append(name)
        self.sizes.extend(map(int, size))

    def find(self, key: Any) -> tuple[str, tuple[int, int]] | None:
        """Name and size of an image, or None where there is none."""
        row = self.rows.get(key)
        return None if row is None else (self.names[row], (self.sizes[2 * row], self.sizes[2 * row + 1]))


class CocoFile:
    """A file in COCO's layout, walked through once to see that it is whole.

    Args:
        path: The file.
        format: One of :data:`COCO_FORMATS`; None to tell it by the content.

    Raises:
        ValueError: If it is no JSON or not in the layout, or not of the format; names file and key.
    """

    def __init__(self, path: Path, format: str | None):
        self.path, self.images = path, CocoImages(path)
        # By category, number of values and whether none is marked: how many; and hashes of ids, to find those twice.
        self._records, self._keys, self._ids = Counter(), set(), array('q')
        whole = self._walk()
        for key in ('images', 'annotations'):
            if not isinstance(whole.get(key), list):
                what = f'is a {type(whole[key]).__name__}' if key in whole else 'is missing'
                raise ValueError(f"{path}: {key} {what}; takes COCO's list")
        self.person_ids, names = _person_category(whole.get('categories', []), path)
        self.source = self._source(format, names, whole.get('info'))
        people = {key: number for key, number in self._records.items() if self._is_person(key[0])}
        self.num_other = self._records.total() - sum(people.values())
        self.num_unmarked = sum(number for (*_, unmarked), number in people.items() if unmarked)
        self.num_people = sum(people.values()) - self.num_unmarked
        values, times = np.unique(np.array(self._ids, np.int64), return_counts=True)
        self.twice = frozenset(values[times > 1].tolist())
        del self._ids

    def _walk(self) -> dict[str, Any]:
        """Take images and count records; what the file holds beside them, lists of other things empty."""
        whole = {}
        for key, index, value in stream_json(self.path):
            if index is None:
                whole[key] = value
            elif key == 'images':
                self.images.add(index, value)
            elif key == 'categories':
                whole[key].append(value)
            elif key == 'annotations':
                if not isinstance(value, dict):
                    raise ValueError(f'{self.path}: annotations[{index}] takes a dict, is a {type(value).__name__}')
                keypoints, name = value.get('keypoints'), record_id(value.get('id'))
                count = len(keypoints) if isinstance(keypoints, list) else 0
                self._records[_category(value), count, is_unmarked(keypoints)] += 1
                self._keys.update(_BY_KEY.keys() & value.keys())
                if name is not None:
                    self._ids.append(hash(name))
        return whole

    def people(self) -> Iterator[Person]:
        """The people of the file who have keypoints, in its order."""
        seen = set()
        for key, index, value in stream_json(self.path):
            if key != 'annotations' or index is None:
                continue
            name = record_id(value.get('id'))
            again = name is not None and hash(name) in self.twice and name in seen
            if name is not None and hash(name) in self.twice:
                seen.add(name)
            if not self._is_person(_category(value)) or is_unmarked(value.get('keypoints')):
                continue
            image_id = record_id(value.get('image_id'))
            image = self.images.find(image_id)
            problem = ''
            if value.get('iscrowd'):
                problem = 'crowd'
            elif again:
                problem = f'duplicate id: {name}'
            elif image is None:
                problem = f'no such image: {value.get("image_id")!r}'[:200]
            file_name, size = image or ('', (0, 0))
            yield Person(
                str(index if name is None else name), value['keypoints'], value.get('bbox'), file_name, size,
                self._source_name(file_name), problem=problem,
            )  # fmt: skip

    def _is_person(self, category: Any) -> bool:
        return category is None or not self.person_ids or category in self.person_ids

    def _source_name(self, file_name: str) -> str:
        # HumanArt's folders tell what is drawn, carved or rendered from people.
        virtual = self.source.name == 'humanart' and 'virtual_human' in file_name
        return 'humanart_virtual' if virtual else self.source.name

    def _source(self, format: str | None, names: list, info: Any) -> Source:
        told = self._told_format(names)
        if told == 'coco' and 'ochuman' in f'{info} {self.path.name}'.lower():
            told = 'ochuman'
        if format is None and told is None:
            raise ValueError(
                f'{self.path}: categories.keypoints is {names or "missing"}, which is of no known data set; '
                f'takes those of one of {COCO_FORMATS}, or its name as format'
            )
        if format is not None and told is not None and not _agree(format, told):
            raise ValueError(f'{self.path}: categories.keypoints and annotations are of {told}, not of {format}')
        return SOURCES[format or told]

    def _told_format(self, names: list) -> str | None:
        coco = list(SOURCES['coco'].keypoints)
        if names[:17] == coco or not names:
            for key, format in _BY_KEY.items():
                if key in self._keys:
                    return format
        if names[:17] == coco:
            return _BY_NUM_NAMES.get(len(names))
        if names:
            return next((f for f in ('aic', 'crowdpose', 'posetrack18') if names == list(SOURCES[f].keypoints)), None)
        counts = Counter()
        for (_, count, _), number in self._records.items():
            counts[count] += number * (count > 0)
        return _BY_COUNT.get(counts.most_common(1)[0][0]) if counts else None


def record_id(value: Any) -> int | str | None:
    """An id that can be looked up; None where it is none."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) in (int, str) else None


def _category(record: dict) -> int | str | None:
    return record_id(record.get('category_id'))


def _agree(format: str, told: str) -> bool:
    """Whether a format that is asked for can be the one that the content tells."""
    coco_like = ('coco', 'ochuman', 'coco_wholebody', 'humanart', 'halpe')
    return (
        format == told
        or (format in coco_like[:2] and told in coco_like[:3])
        or (told in coco_like[:2] and format in coco_like)
    )


def _person_category(categories: Any, path: Path) -> tuple[tuple, list[str]]:
    """Ids of the category of people, and the names of its keypoints; none where the file tells none."""
    if not isinstance(categories, list) or not all(isinstance(c, dict) for c in categories):
        raise ValueError(f"{path}: categories takes COCO's list of dicts")
    if not categories:
        return (), []
    people = [c for c in categories if c.get('name') == 'person'] or [c for c in categories if c.get('keypoints')]
    if not people:
        raise ValueError(f'{path}: categories has no person: {[c.get("name") for c in categories][:5]}')
    names = people[0].get('keypoints') or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f'{path}: categories.keypoints takes a list of names, is {names!r:.100}')
    ids = tuple(record_id(c.get('id')) for c in people)
    if None in ids:
        raise ValueError(f'{path}: categories takes a number or text as id, has {people[ids.index(None)].get("id")!r}')
    names = ['_'.join(name.lower().split()) for name in names]
    # CrowdPose's head is MMPose's top_head.
    return ids, ['head' if name == 'top_head' else name for name in names]
