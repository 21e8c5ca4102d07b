# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Wild-3D as COCO-format JSON: writing it, as text columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...files import whole_file
from ...geometry.skeletons import Skeleton
from .schema import (
    CAMERA_KEYS,
    CHUNK,
    PROVENANCE_COLUMNS,
    QUALITY_COLUMNS,
    SCHEMA_VERSION,
    check_table,
    column_array,
    info_of,
    skeleton_of,
)

_PERSON = 1


def write_coco(records: pa.Table | Iterable[pa.Table | pa.RecordBatch], path: str | Path) -> int:
    """Write a Wild-3D set as one COCO-format JSON file; whole or not at all.

    Floats are written with as few digits as give the same float32 back.

    Args:
        records: The rows, or pieces of them, of which one at a time is held in memory.
        path: The file; ASCII, one annotation a line.

    Returns:
        Number of rows.

    Raises:
        ValueError: If a row holds what a Wild-3D set does not take, or an image is not the same in all of its rows;
            names the file, the column and the row.
    """
    path = Path(path)
    pieces = iter([records] if isinstance(records, pa.Table) else records)
    first = next(pieces, None)
    if first is None:
        raise ValueError(f'{path}: there is nothing to write')
    skeleton = skeleton_of(first.schema, str(path))
    images: dict[int, tuple[str, int, int]] = {}
    count = 0
    with whole_file(path) as temporary, open(temporary, 'w', encoding='ascii') as file:
        file.write(f'{{"info": {json.dumps(_header(first.schema, skeleton))},\n"annotations": [')
        for piece in _chunks(chain([first], pieces)):
            check_table(piece, str(path), count)
            _add_images(piece, images, str(path), count)
            if len(piece):
                file.write((',\n' if count else '\n') + ',\n'.join(annotation_lines(piece).to_pylist()))
            count += len(piece)
        file.write('\n],\n"images": [')
        for index, (image_id, (name, width, height)) in enumerate(images.items()):
            entry = dict(id=image_id, file_name=name, width=width, height=height)
            file.write((',\n' if index else '\n') + json.dumps(entry))
        file.write(f'\n],\n"categories": [{json.dumps(_category(skeleton))}]}}\n')
    return count


def _header(schema: pa.Schema, skeleton: Skeleton) -> dict:
    return dict(info_of(schema), wild3d_version=SCHEMA_VERSION, wild3d_skeleton=skeleton.name)


def _category(skeleton: Skeleton) -> dict:
    links = [[parent + 1, child + 1] for parent, child in skeleton.bones]
    return dict(id=_PERSON, name='person', supercategory='person', keypoints=list(skeleton.joint_names), skeleton=links)


def _chunks(pieces: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[pa.Table]:
    for piece in pieces:
        table = pa.Table.from_batches([piece]) if isinstance(piece, pa.RecordBatch) else piece
        for start in range(0, len(table), CHUNK):
            yield table.slice(start, CHUNK).combine_chunks()


def _add_images(table: pa.Table, images: dict, path: str, start: int) -> None:
    columns = (table.column(name).to_pylist() for name in ('image_id', 'file_name', 'width', 'height'))
    for row, (image_id, *image) in enumerate(zip(*columns, strict=True)):
        if images.setdefault(image_id, tuple(image)) != tuple(image):
            raise ValueError(
                f'{path}: file_name, width, height of record {start + row}, image {image_id}, is {tuple(image)}; '
                f'an earlier record has {images[image_id]}'
            )


def annotation_lines(table: pa.Table) -> pa.Array:
    """The annotation of each row as JSON text, put together column by column: no row is touched on its own.

    Args:
        table: Rows of a Wild-3D set.

    Returns:
        One text a row, ASCII.
    """
    keypoints = column_array(table, 'keypoints')
    visibility = column_array(table, 'visibility').astype(np.float32)
    marked = np.concatenate([keypoints, visibility[..., None]], -1)
    scores = column_array(table, 'keypoint_scores')
    poses = column_array(table, 'keypoints_3d')
    camera = column_array(table, 'camera')
    distortion = column_array(table, 'distortion')

    lens = _when((distortion != 0).any(1), _join(', "distortion": ', _lists(distortion)))
    values = [_floats(column) for column in camera.T]
    values += [pc.cast(_column(table, name), pa.string()) for name in ('width', 'height')]
    camera_text = [part for name, text in zip(CAMERA_KEYS, values, strict=False) for part in (f', "{name}": ', text)]
    camera_text[0] = ', "camera": {"fx": '
    pieces = [
        '{"id": ',
        pc.cast(_column(table, 'id'), pa.string()),
        ', "image_id": ',
        pc.cast(_column(table, 'image_id'), pa.string()),
        f', "category_id": {_PERSON}, "iscrowd": ',
        pc.if_else(_column(table, 'iscrowd'), '1', '0'),
        ', "bbox": ',
        _lists(column_array(table, 'bbox')),
        ', "area": ',
        _floats(column_array(table, 'area')),
        ', "num_keypoints": ',
        pc.cast(pa.array((visibility > 0).sum(1)), pa.string()),
        ', "keypoints": ',
        _lists(marked),
        # Without scores they are 1 where a keypoint is marked.
        _when((scores != (visibility > 0)).any(1), _join(', "keypoint_scores": ', _lists(scores))),
        _when((poses != 0).any((1, 2)), _join(', "keypoints_3d": ', _lists(poses))),
        _when((camera != 0).any(1), _join(*camera_text, lens, '}')),
        ', "label_quality": ',
        _floats(column_array(table, 'label_quality')),
    ]
    for name in QUALITY_COLUMNS:
        column = _column(table, name)
        text = _join(f', "{name}": ', _floats(pc.fill_null(column, 0).to_numpy(zero_copy_only=False)))
        pieces.append(pc.if_else(column.is_valid(), text, ''))
    return _join(*pieces, _provenance(table), '}')


def _provenance(table: pa.Table) -> pa.Array:
    pieces = []
    for name in PROVENANCE_COLUMNS:
        column = _column(table, name)
        text = pc.cast(column, pa.string()) if name == 'seed' else _quoted(column)
        pieces.append(pc.if_else(column.is_valid(), _join(f', "{name}": ', pc.fill_null(text, '')), ''))
    extra = pc.fill_null(_column(table, 'extra'), '{}')
    inner = pc.utf8_slice_codeunits(extra, 1, -1)
    pieces.append(pc.if_else(pc.equal(inner, ''), '', _join(', ', inner)))
    entries = _join(*pieces)
    text = _join(', "provenance": {', pc.utf8_slice_codeunits(entries, 2), '}')
    return pc.if_else(pc.equal(entries, ''), '', text)


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _join(*pieces: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*pieces, '')


def _when(mask: np.ndarray, text: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(mask), text, '')


def _floats(values: np.ndarray) -> pa.Array:
    """The shortest text that gives each float32 back, also through the float64 that JSON's readers make of it."""
    numbers = pa.array(np.ascontiguousarray(values, dtype=np.float32).ravel())
    text = pc.cast(numbers, pa.string())
    back = pc.cast(pc.cast(text, pa.float64()), pa.float32(), safe=False)
    text = pc.if_else(pc.equal(back, numbers), text, pc.cast(pc.cast(numbers, pa.float64()), pa.string()))
    # -0 would be read as an integer, which has no sign.
    return pc.if_else(pc.equal(text, '-0'), '-0.0', text)


def _lists(values: np.ndarray) -> pa.Array:
    """A JSON list of the numbers of each row."""
    values = values.reshape(len(values), -1)
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return _join('[', pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), _floats(values)), ', '), ']')


def _quoted(column: pa.Array) -> pa.Array:
    encoded = column.dictionary_encode()
    words = pa.array([json.dumps(word) for word in encoded.dictionary.to_pylist()], pa.string())
    return words.take(encoded.indices)
