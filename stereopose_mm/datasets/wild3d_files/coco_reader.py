# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Wild-3D as COCO-format JSON: reading it, and COCO's own annotations, through xtcocotools."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from xtcocotools.coco import COCO

from ...geometry.skeletons import SKELETONS, get_skeleton
from .schema import (
    CAMERA_KEYS,
    CHUNK,
    NUM_DISTORTION,
    QUALITY_COLUMNS,
    SCHEMA_VERSION,
    box_area,
    keypoint_bounds,
    make_table,
    split_provenance,
)


def read_coco(path: str | Path, skeleton: str | None = None) -> pa.Table:
    """Read COCO-format JSON: a Wild-3D set, or COCO's own annotations, which are 2D only.

    Args:
        path: The file. Annotations of categories other than the one with keypoints are left out.
        skeleton: Keypoint set. Default: the one whose names the category has.

    Returns:
        Table of :func:`.schema.wild3d_schema`, in the order of the annotations.

    Raises:
        ValueError: For a file that is no such JSON, a camera or an image that is not in it, a missing key, a wrong
            number of values, or one that is out of range; names the file, the key and the record.
    """
    path = Path(path)
    coco = _load(path)
    dataset = coco.dataset
    category, skeleton = _person_category(dataset.get('categories') or [], skeleton, str(path))
    cameras = _by_id(dataset.get('cameras') or [], 'cameras', str(path))
    info = {key: value for key, value in (dataset.get('info') or {}).items() if not key.startswith('wild3d_')}
    annotations = dataset['annotations']
    rows = [i for i, entry in enumerate(annotations) if category is None or entry.get('category_id') == category]
    # What an annotation has become columns is not needed again.
    images = coco.imgs
    coco.anns = coco.imgToAnns = coco.catToImgs = None
    tables = []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        reader = _Reader(str(path), chunk, [annotations[i] for i in chunk], images, cameras)
        tables.append(reader.table(skeleton, info))
        for i in chunk:
            annotations[i] = None
    return pa.concat_tables(tables) if tables else _empty(skeleton, info)


def _load(path: Path) -> COCO:
    """COCO's index of a file; what it would trip over is named first."""
    try:
        text = path.read_text(encoding='utf-8-sig')
        dataset = json.loads(text)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path}: no readable JSON: {error}') from error
    if not isinstance(dataset, dict) or not isinstance(dataset.get('annotations'), list):
        raise ValueError(f"{path}: takes a dict with COCO's images, annotations and categories")
    del text
    info = dataset.get('info') or {}
    version = info.get('wild3d_version', SCHEMA_VERSION) if isinstance(info, dict) else None
    if version != SCHEMA_VERSION:
        raise ValueError(f'{path}: info.wild3d_version is {version!r}; takes {SCHEMA_VERSION}')
    _by_id(dataset.get('images') or [], 'images', str(path))
    _by_id(dataset['annotations'], 'annotations', str(path))
    _by_id(dataset.get('categories') or [], 'categories', str(path))
    for index, entry in enumerate(dataset['annotations']):
        for key in ('image_id', 'category_id'):
            if not isinstance(entry.get(key), int):
                raise ValueError(f'{path}: annotations[{index}].{key} is {entry.get(key)!r}; takes a whole number')
    for key in ('images', 'categories'):
        dataset[key] = dataset.get(key) or []
    coco = COCO()
    coco.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _by_id(entries: list, key: str, path: str) -> dict:
    """Entries of a list of the file by their id."""
    table = {}
    whole = key != 'cameras'  # a camera can have a name
    if not isinstance(entries, list):
        raise ValueError(f'{path}: {key} takes a list, is a {type(entries).__name__}')
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f'{path}: {key}[{index}] takes a dict, is a {type(entry).__name__}')
        name = entry.get('id')
        if isinstance(name, bool) or not isinstance(name, int if whole else int | str):
            raise ValueError(f'{path}: {key}[{index}].id is {name!r}; takes a {"whole number" if whole else "name"}')
        if table.setdefault(name, entry) is not entry:
            raise ValueError(f'{path}: {key}[{index}].id is {name!r}, which an earlier one has')
    return table


def _person_category(categories: list, skeleton: str | None, path: str) -> tuple[int | None, str]:
    """Id of the category with keypoints, None for all of them, and the name of its keypoint set."""
    with_keypoints = [c for c in categories if c.get('keypoints')]
    if len(with_keypoints) > 1:
        names = [c.get('name') for c in with_keypoints]
        raise ValueError(f'{path}: categories takes one with keypoints, has {names}')
    category = with_keypoints[0].get('id') if with_keypoints else None
    if skeleton is not None:
        return category, get_skeleton(skeleton).name
    names = with_keypoints[0]['keypoints'] if with_keypoints else ()
    if not isinstance(names, list | tuple):
        raise ValueError(f'{path}: categories.keypoints takes a list of names, is {names!r}')
    for known in SKELETONS.values():
        if tuple(names) == known.joint_names:
            return category, known.name
    raise ValueError(
        f'{path}: categories.keypoints is {list(names)}, no keypoint set that is known: name one of '
        f'{sorted(SKELETONS)} as skeleton'
    )


class _Reader:
    """Columns of some annotations.

    Args:
        path: Name of the file, for messages.
        rows: Their numbers in the file.
        annotations: The annotations.
        images: Images by id.
        cameras: Cameras by id.
    """

    def __init__(self, path: str, rows: list[int], annotations: list[dict], images: Mapping, cameras: Mapping):
        self.path, self.rows, self.annotations = path, rows, annotations
        self.images = []
        for row, annotation in zip(rows, annotations, strict=True):
            if annotation['image_id'] not in images:
                raise self._error(row, 'image_id', f'{annotation["image_id"]}, which images does not have')
            self.images.append(images[annotation['image_id']])
        self.cameras = [self._camera(i, cameras) for i in range(len(rows))]

    def table(self, skeleton: str, info: Mapping) -> pa.Table:
        """The annotations as rows of a Wild-3D set of a keypoint set."""
        num = get_skeleton(skeleton).num_keypoints
        marked = self._numbers('keypoints', 3 * num).reshape(-1, num, 3)
        visibility = marked[..., 2]
        bad = ~np.isin(visibility, (0, 1, 2)).all(1)
        if bad.any():
            row = int(bad.argmax())
            raise self._error(self.rows[row], 'keypoints', f'{visibility[row].tolist()} as visibilities; takes 0, 1, 2')
        scores = self._numbers('keypoint_scores', num, (visibility > 0).astype(np.float32))
        bbox = self._numbers('bbox', 4, keypoint_bounds(marked[..., :2], visibility))
        cameras, sizes, lenses = self._camera_columns()
        try:
            table = make_table(
                skeleton,
                info,
                id=[a['id'] for a in self.annotations],
                image_id=[a['image_id'] for a in self.annotations],
                file_name=self._texts(),
                width=sizes[:, 0],
                height=sizes[:, 1],
                bbox=bbox,
                area=self._numbers('area', 1, box_area(bbox))[:, 0],
                iscrowd=self._numbers('iscrowd', 1, np.zeros(len(self.rows)))[:, 0] != 0,
                keypoints=marked[..., :2],
                visibility=visibility,
                keypoint_scores=scores,
                keypoints_3d=self._numbers('keypoints_3d', 4 * num, np.zeros((len(self.rows), 4 * num))),
                camera=cameras,
                distortion=lenses,
                label_quality=self._numbers('label_quality', 1, np.ones(len(self.rows)))[:, 0],
                **{name: self._optional(name) for name in QUALITY_COLUMNS},
                **split_provenance([a.get('provenance') for a in self.annotations], self.path),
            )
        except ValueError as error:
            raise self._renamed(error) from error
        return table

    def _error(self, row: int, key: str, is_: str) -> ValueError:
        return ValueError(f'{self.path}: annotations[{row}].{key} is {is_}')

    def _renamed(self, error: ValueError) -> ValueError:
        """The message of a check of these rows with the file's name and row numbers."""
        text = str(error).removeprefix('make_table: ').removeprefix(f'{self.path}: ')
        key, found, rest = text.partition(' of record ')
        if not found:
            return ValueError(f'{self.path}: {text}')
        row, _, message = rest.partition(' ')
        return ValueError(f'{self.path}: annotations[{self.rows[int(row)]}].{key} {message}')

    def _numbers(self, key: str, size: int, default: np.ndarray | None = None) -> np.ndarray:
        """``(N, size)`` float32 of a key; where an annotation lacks it, the default's row."""
        values = [annotation.get(key) for annotation in self.annotations]
        absent = np.array([value is None for value in values])
        if default is not None and absent.any():
            blank = [0.0] * size if size > 1 else 0.0
            values = [blank if value is None else value for value in values]
        array = _as_numbers(values, size)
        if array is None:
            for row, value in zip(self.rows, values, strict=True):
                if _as_numbers([value], size) is None:
                    shown = 'absent' if value is None else f'{str(value)[:80]}'
                    raise self._error(row, key, f'{shown}; takes {size} number{"s" if size > 1 else ""}')
            # Each is right, but some are nested and some are flat.
            array = np.concatenate([_as_numbers([value], size) for value in values])
        if default is not None and absent.any():
            array[absent] = np.asarray(default, np.float32).reshape(len(array), size)[absent]
        return array

    def _optional(self, key: str) -> list | None:
        values = [annotation.get(key) for annotation in self.annotations]
        if all(value is None for value in values):
            return None
        array = self._numbers(key, 1, np.full(len(values), np.nan))[:, 0]
        for row, value, number in zip(self.rows, values, array.tolist(), strict=True):
            if value is not None and not np.isfinite(number):
                raise self._error(row, key, f'{value}; takes a finite number')
        return array

    def _texts(self) -> list[str]:
        for image in self.images:
            if not isinstance(image.get('file_name'), str):
                raise ValueError(
                    f'{self.path}: file_name of image {image["id"]} is {image.get("file_name")!r}; takes text'
                )
        return [image['file_name'] for image in self.images]

    def _camera(self, index: int, cameras: Mapping) -> tuple[str, dict | None]:
        """What the camera of an annotation is called in messages, and the camera: its own, or its image's."""
        own = self.annotations[index].get('camera')
        where = f'annotations[{self.rows[index]}].camera'
        if own is None:
            own = self.images[index].get('camera')
            where = f'camera of image {self.annotations[index]["image_id"]}'
        if own is None or isinstance(own, dict):
            return where, own
        if not isinstance(own, int | str) or own not in cameras:
            raise ValueError(f'{self.path}: {where} is {own!r}, which cameras does not have')
        return f'{where} {own!r}', cameras[own]

    def _camera_columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Intrinsics ``(N, 4)``, image sizes ``(N, 2)`` and lenses ``(N, 8)``."""
        intrinsics = [
            [0 if camera is None else camera.get(key) for key in CAMERA_KEYS[:4]] for _, camera in self.cameras
        ]
        known = np.array([camera is not None for _, camera in self.cameras])
        cameras = _as_numbers(intrinsics, 4)
        if cameras is None or not self._usable(cameras, known).all():
            for (where, _), values, is_known in zip(self.cameras, intrinsics, known, strict=True):
                numbers = _as_numbers([values], 4)
                if numbers is None or not self._usable(numbers, is_known).all():
                    shown = dict(zip(CAMERA_KEYS, values, strict=False))
                    raise ValueError(f'{self.path}: {where} is {shown}; takes fx and fy above 0, cx and cy')
        lenses = np.zeros((len(self.rows), NUM_DISTORTION), np.float32)
        sizes = np.zeros((len(self.rows), 2), np.int64)
        for row, ((where, camera), image) in enumerate(zip(self.cameras, self.images, strict=True)):
            camera = camera or {}
            if camera.get('distortion'):
                lens = self._lens(where, camera['distortion'])
                lenses[row, : len(lens)] = lens
            for side, key in enumerate(('width', 'height')):
                found = {source.get(key) for source in (camera, image)} - {None}
                if len(found) != 1 or not _is_whole(size := found.pop()):
                    raise ValueError(
                        f'{self.path}: {key} of {where} is {camera.get(key)!r} and of its image {image.get(key)!r}; '
                        'takes one positive whole number'
                    )
                sizes[row, side] = size
        return cameras, sizes, lenses

    @staticmethod
    def _usable(cameras: np.ndarray, known: np.ndarray) -> np.ndarray:
        return np.isfinite(cameras).all(1) & ((cameras[:, :2] > 0).all(1) | ~known)

    def _lens(self, where: str, lens: object) -> np.ndarray:
        numbers = _as_numbers([lens], len(lens)) if isinstance(lens, list) and len(lens) in (4, 5, 8) else None
        if numbers is None or not np.isfinite(numbers).all():
            raise ValueError(
                f'{self.path}: distortion of {where} is {str(lens)[:80]}; takes 4, 5 or 8 numbers, k1 k2 p1 p2 k3 …'
            )
        return numbers[0]


def _as_numbers(values: list, size: int) -> np.ndarray | None:
    """``(N, size)`` float32, or None if some entry is anything else than ``size`` numbers."""
    if not values:
        return np.zeros((0, size), np.float32)
    try:
        array = np.array(values)
    except (ValueError, OverflowError):  # rows of different lengths
        return None
    if array.dtype.kind not in 'biuf' and array.size or array.size != len(values) * size:
        return None
    with np.errstate(over='ignore'):  # too large is not finite, which the checks refuse
        return array.reshape(len(values), size).astype(np.float32)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | float) and value == value and 0 < value < 2**31 and value == int(value)


def _empty(skeleton: str, info: Mapping) -> pa.Table:
    num = get_skeleton(skeleton).num_keypoints
    return make_table(skeleton, info, file_name=[], width=[], height=[], keypoints=np.zeros((0, num, 2)))
