# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The columns of a Wild-3D set: one row for each person, an Arrow table in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...geometry import CAMERA_FIELDS
from ...geometry.skeletons import Skeleton, get_skeleton

SCHEMA_VERSION = 1

#: Numbers and text that a row may lack.
QUALITY_COLUMNS = ('detection_score', 'reprojection_error', 'search_residual')
PROVENANCE_COLUMNS = ('source', 'source_record', 'generator', 'config_hash', 'seed')
#: Coefficients of a lens, in OpenCV's order: k1 k2 p1 p2 k3 k4 k5 k6.
NUM_DISTORTION = 8
#: What a camera is described by in JSON.
CAMERA_KEYS = (*CAMERA_FIELDS, 'distortion')
#: Rows that are converted together.
CHUNK = 16384

_DTYPES = {
    pa.int64(): np.int64,
    pa.int32(): np.int32,
    pa.uint8(): np.uint8,
    pa.bool_(): np.bool_,
    pa.float32(): np.float32,
}
_UNIT_RANGE = ('keypoint_scores', 'label_quality')


def wild3d_schema(skeleton: str, info: Mapping | None = None) -> pa.Schema:
    """Columns of a Wild-3D set; ``docs/datasets/wild3d.md`` says what each means.

    Args:
        skeleton: Keypoint set of its rows, see :func:`~stereopose_mm.geometry.get_skeleton`.
        info: What else is known of the set (description, licence), kept in the files; anything JSON can hold.

    Returns:
        Schema whose metadata names the version, the keypoint set and ``info``.
    """
    num = get_skeleton(skeleton).num_keypoints
    number, text = pa.float32(), pa.string()
    required = dict(
        id=pa.int64(),
        image_id=pa.int64(),
        file_name=text,
        width=pa.int32(),
        height=pa.int32(),
        bbox=pa.list_(number, 4),
        area=number,
        iscrowd=pa.bool_(),
        keypoints=pa.list_(number, 2 * num),
        visibility=pa.list_(pa.uint8(), num),
        keypoint_scores=pa.list_(number, num),
        keypoints_3d=pa.list_(number, 4 * num),
        camera=pa.list_(number, 4),
        distortion=pa.list_(number, NUM_DISTORTION),
        label_quality=number,
    )
    optional = dict.fromkeys(QUALITY_COLUMNS, number) | dict.fromkeys(PROVENANCE_COLUMNS, text)
    optional |= dict(seed=pa.int64(), extra=text)
    fields = [pa.field(name, kind, nullable=False) for name, kind in required.items()]
    fields += [pa.field(name, kind) for name, kind in optional.items()]
    metadata = {
        'wild3d.version': str(SCHEMA_VERSION),
        'wild3d.skeleton': skeleton,
        'wild3d.info': json.dumps(dict(info or {}), sort_keys=True),
    }
    return pa.schema(fields, metadata)


def skeleton_of(schema: pa.Schema, source: str) -> Skeleton:
    """Keypoint set of a Wild-3D set.

    Args:
        schema: Its schema.
        source: Name of the file, for messages.

    Raises:
        ValueError: If the schema is of another version or of no Wild-3D set; names the file.
    """
    metadata = schema.metadata or {}
    version = metadata.get(b'wild3d.version', b'').decode()
    if version != str(SCHEMA_VERSION):
        has = f'version {version!r}' if version else 'no wild3d.version in its metadata'
        raise ValueError(f'{source}: takes a Wild-3D set of schema version {SCHEMA_VERSION}, has {has}')
    try:
        return get_skeleton(metadata.get(b'wild3d.skeleton', b'').decode())
    except ValueError as error:
        raise ValueError(f'{source}: wild3d.skeleton: {error}') from error


def info_of(schema: pa.Schema) -> dict:
    """What a schema's ``info`` says."""
    return json.loads((schema.metadata or {}).get(b'wild3d.info', b'{}'))


def column_array(table: pa.Table | pa.RecordBatch, name: str) -> np.ndarray:
    """A column of numbers as an array; without a copy where the column is in one piece.

    Args:
        table: Rows of a Wild-3D set.
        name: Column without nulls.

    Returns:
        ``(N,)``, or for lists ``(N, L)``; keypoints are ``(N, K, 2)`` and ``(N, K, 4)``.
    """
    column = table.column(name)
    if isinstance(column, pa.ChunkedArray):
        # One chunk is taken as it is: combining would copy it.
        column = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([*column.chunks, _nothing(column)])
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    size = column.type.list_size
    values = column.values.slice(column.offset * size, len(column) * size).to_numpy()
    shape = {'keypoints': (-1, size // 2, 2), 'keypoints_3d': (-1, size // 4, 4)}.get(name, (-1, size))
    return values.reshape(len(column), *shape[1:])


def _nothing(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([], column.type)


def make_table(skeleton: str, info: Mapping | None = None, **columns) -> pa.Table:
    """Make rows of a Wild-3D set of arrays.

    Args:
        skeleton: Keypoint set with K keypoints.
        info: See :func:`wild3d_schema`.
        **columns: By name, N entries each. ``file_name``, ``width``, ``height`` and ``keypoints`` ``(N, K, 2)`` are
            needed. The others have defaults: ``id`` counts, ``image_id`` counts file names, ``keypoint_scores``
            ``(N, K)`` is 1 where ``visibility`` ``(N, K)`` is above 0, and that is 2 where the score is above 0;
            ``bbox`` ``(N, 4)`` bounds the marked keypoints, ``area`` is the box's, ``label_quality`` is 1,
            ``keypoints_3d`` ``(N, K, 4)``, ``camera`` ``(N, 4)`` and ``distortion`` ``(N, 8)`` are 0: not known. What
            may be null takes None. ``provenance``, N dicts, stands for the provenance columns and ``extra``.

    Returns:
        Table of :func:`wild3d_schema`, checked by :func:`check_table`.

    Raises:
        ValueError: If a column is absent, unknown, of a wrong shape, or holds a value that it does not take.
    """
    schema = wild3d_schema(skeleton, info)
    num_joints = get_skeleton(skeleton).num_keypoints
    if 'provenance' in columns:
        columns |= split_provenance(columns.pop('provenance'), 'make_table')
    for name in ('file_name', 'width', 'height', 'keypoints'):
        if columns.get(name) is None:
            raise ValueError(f'make_table: column {name} is needed')
    if unknown := sorted(columns.keys() - set(schema.names)):
        raise ValueError(f'make_table: unknown columns {unknown}; takes {schema.names}')
    num = len(columns['file_name'])
    arrays = {name: values for name, values in columns.items() if values is not None}
    if 'keypoint_scores' in arrays:
        arrays.setdefault('visibility', 2 * (np.asarray(arrays['keypoint_scores']) > 0))
    arrays.setdefault('visibility', np.full((num, num_joints), 2))
    arrays.setdefault('keypoint_scores', np.asarray(arrays['visibility']) > 0)
    arrays.setdefault('id', np.arange(1, num + 1))
    if 'image_id' not in arrays:
        arrays['image_id'] = np.asarray(pa.array(arrays['file_name'], pa.string()).dictionary_encode().indices) + 1
    if 'bbox' not in arrays:
        # Its shape is checked first, as the box is made of it.
        _arrow(schema.field('keypoints'), arrays['keypoints'], num)
        arrays['bbox'] = keypoint_bounds(
            np.reshape(arrays['keypoints'], (num, num_joints, 2)), np.reshape(arrays['visibility'], (num, num_joints))
        )
    arrays.setdefault('area', box_area(np.asarray(arrays['bbox'], np.float32)))
    arrays.setdefault('label_quality', np.ones(num))
    pieces = [_arrow(field, arrays.get(field.name), num) for field in schema]
    table = pa.Table.from_arrays(pieces, schema=schema)
    check_table(table, 'make_table')
    return table


def keypoint_bounds(keypoints: np.ndarray, visibility: np.ndarray) -> np.ndarray:
    """Boxes around the marked keypoints.

    Args:
        keypoints: ``(N, K, 2)`` pixels.
        visibility: ``(N, K)``, above 0 where a keypoint is marked.

    Returns:
        ``(N, 4)`` x, y, width, height; 0 where no keypoint is marked.
    """
    keypoints = np.asarray(keypoints)
    marked = (np.asarray(visibility) > 0)[..., None] & np.isfinite(keypoints).all(-1, keepdims=True)
    low = np.where(marked, keypoints, np.inf).min(1)
    high = np.where(marked, keypoints, -np.inf).max(1)
    with np.errstate(over='ignore'):
        return np.where(marked.any(1), np.concatenate([low, high - low], -1), 0).astype(np.float32)


def box_area(bbox: np.ndarray) -> np.ndarray:
    """Areas ``(N,)`` of boxes ``(N, 4)``."""
    with np.errstate(over='ignore'):  # what is too large is refused by check_table
        return bbox[:, 2] * bbox[:, 3]


def split_provenance(provenance: list[Mapping | None], source: str) -> dict[str, list]:
    """Provenance dicts as columns; what has no column goes to ``extra``, as JSON.

    Raises:
        ValueError: If one is no dict or an entry has a wrong type; names the file and the record.
    """
    columns: dict[str, list] = {name: [None] * len(provenance) for name in (*PROVENANCE_COLUMNS, 'extra')}
    for row, entry in enumerate(provenance):
        if not entry:
            continue
        if not isinstance(entry, Mapping):
            raise ValueError(f'{source}: provenance of record {row} is a {type(entry).__name__}; takes a dict')
        rest = dict(entry)
        for name in PROVENANCE_COLUMNS:
            value = rest.pop(name, None)
            takes = int if name == 'seed' else str
            if value is not None and (not isinstance(value, takes) or isinstance(value, bool)):
                raise ValueError(
                    f'{source}: provenance.{name} of record {row} is {value!r}; takes {takes.__name__} or nothing'
                )
            columns[name][row] = value
        if rest:
            columns['extra'][row] = json.dumps(rest, sort_keys=True, allow_nan=False)
    return columns


def check_table(table: pa.Table | pa.RecordBatch, source: str, start: int = 0) -> None:
    """Check that rows hold what a Wild-3D set can: no null, finite numbers, in their ranges.

    Args:
        table: The rows; columns may be absent where only some were read.
        source: Name of the file, for messages.
        start: Number of the first row, for messages.

    Raises:
        ValueError: For the first bad value of a column; names the file, the column and the row.
    """

    def refuse(name: str, bad: np.ndarray, takes: str) -> None:
        if bad.any():
            row = int(bad.reshape(len(bad), -1).any(1).argmax())
            value = table.column(name)[row].as_py()
            raise ValueError(f'{source}: {name} of record {start + row} is {value}; takes {takes}')

    arrays = {}
    for field in table.schema:
        column = table.column(field.name)
        if not field.nullable and column.null_count:
            refuse(field.name, column.is_null().to_numpy(zero_copy_only=False), 'a value')
        if pa.types.is_string(field.type):
            continue
        if field.nullable:
            column = pc.fill_null(column, 0)
            column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            arrays[field.name] = column.to_numpy(zero_copy_only=False)
        else:
            arrays[field.name] = column_array(table, field.name)
        if arrays[field.name].dtype.kind == 'f':
            refuse(field.name, ~np.isfinite(arrays[field.name]), 'finite numbers')
    for name in _UNIT_RANGE:
        if name in arrays:
            refuse(name, (arrays[name] < 0) | (arrays[name] > 1), 'numbers from 0 to 1')
    if 'keypoints_3d' in arrays:
        validity = arrays['keypoints_3d'][..., 3]
        refuse('keypoints_3d', (validity < 0) | (validity > 1), 'x, y, z and a validity from 0 to 1')
    for name in ('width', 'height'):
        if name in arrays:
            refuse(name, arrays[name] <= 0, 'a positive number')
    if 'visibility' in arrays:
        refuse('visibility', arrays['visibility'] > 2, '0, 1 or 2')
        if 'keypoint_scores' in arrays:
            bad = (arrays['keypoint_scores'] > 0) & (arrays['visibility'] == 0)
            refuse('keypoint_scores', bad, '0 where the visibility is 0')
    if 'camera' in arrays:
        focal = arrays['camera'][:, :2]
        refuse(
            'camera', (focal <= 0).any(1) & (arrays['camera'] != 0).any(1), 'positive fx and fy, or all 0: not known'
        )
        if 'distortion' in arrays:
            refuse('distortion', (arrays['distortion'] != 0).any(1) & (focal == 0).any(1), '0 without a camera')
    if 'extra' in table.schema.names:
        _check_extra(table.column('extra'), source, start)


def _check_extra(column: pa.Array | pa.ChunkedArray, source: str, start: int) -> None:
    """Check that text is a JSON object that says nothing twice."""
    reserved = {*PROVENANCE_COLUMNS, 'extra'}
    for text in pc.drop_null(pc.unique(column)).to_pylist():
        try:
            entry = json.loads(text)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or not entry or reserved & entry.keys():
            row = start + pc.index(column, text).as_py()
            raise ValueError(
                f'{source}: extra of record {row} is {text!r}; takes a JSON object without the keys {sorted(reserved)}'
            )


def _arrow(field: pa.Field, values: object, num: int) -> pa.Array:
    """A column of the schema from an array or a list."""
    kind = field.type
    try:
        if values is None:
            size = kind.list_size if pa.types.is_fixed_size_list(kind) else None
            if field.nullable:
                return pa.nulls(num, kind)
            values = np.zeros(num if size is None else (num, size))
        if pa.types.is_fixed_size_list(kind):
            array = _numbers(values, kind.value_type, num)
            if array.size != num * kind.list_size:
                raise ValueError(f'has the shape {array.shape}; takes {kind.list_size} numbers for each of {num} rows')
            return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), kind.list_size)
        if len(values) != num:
            raise ValueError(f'has {len(values)} entries; takes one for each of {num} rows')
        if field.nullable or pa.types.is_string(kind):
            # NaN is null here, as numpy has no other way to say it.
            return pa.array(values, kind, from_pandas=True)
        return pa.array(_numbers(values, kind, num))
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise ValueError(f'make_table: column {field.name}: {error}') from error


def _numbers(values: object, kind: pa.DataType, num: int) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in 'biuf' and array.size:
        raise ValueError(f'takes numbers, has {array.dtype}')
    if len(array) != num:
        raise ValueError(f'has {len(array)} entries; takes one for each of {num} rows')
    with np.errstate(over='ignore', invalid='ignore'):  # what does not fit is refused by check_table
        return np.ascontiguousarray(array, dtype=_DTYPES[kind])
