# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Annotated people as Parquet files, one a shard: what all engines label, whatever the files they are from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..datasets.wild3d_files import column_array
from ..files import whole_file
from .annotation_files import AnnotationFile
from .annotations import Annotations
from .columns import as_column
from .splits import record_ids

_INDEX = 'index.json'
_SET_KEY = b'annotations.keypoint_set'
_COLUMNS = {
    **dict.fromkeys(('source', 'record', 'file_name', 'problem'), pa.string()),
    'image_size': pa.list_(pa.int32(), 2),
    'bbox': pa.list_(pa.float32(), 4),
    'keypoints': pa.list_(pa.float32(), 34),
    'visibility': pa.list_(pa.uint8(), 17),
    'scores': pa.list_(pa.float32(), 17),
    'person_score': pa.float32(),
}


def record_name(index: int) -> str:
    """File name of a record shard."""
    return f'records-{index:05d}.parquet'


def write_annotations(people: Annotations, path: str | Path) -> None:
    """Write people as a Parquet file, whole or not at all."""
    columns = {name: as_column(getattr(people, name), kind) for name, kind in _COLUMNS.items()}
    table = pa.table(columns).replace_schema_metadata({_SET_KEY: people.keypoint_set.encode()})
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression='zstd')


def read_annotation_shard(path: str | Path) -> Annotations:
    """Read what :func:`write_annotations` wrote.

    Raises:
        ValueError: If it cannot be read; names the file.
    """
    try:
        table = pq.read_table(path, use_threads=False)
        columns = {
            name: np.array(table.column(name).to_pylist(), str) if kind == pa.string() else column_array(table, name)
            for name, kind in _COLUMNS.items()
        }
        return Annotations(table.schema.metadata[_SET_KEY].decode(), **columns)
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: no readable shard of annotated people: {error}') from error


def write_records(
    inputs: Sequence[AnnotationFile], folder: Path, advance: Callable[[int], None] = lambda people: None
) -> int:
    """Write all people of some files as record shards, a batch of a file each.

    A person given twice, in one file or in two, is one of which the later one has the problem ``'duplicate id'``.

    Args:
        inputs: The files.
        folder: Where to; made if it is not there.
        advance: Told the number of people of each shard.

    Returns:
        How many shards there are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids, good = [], []
    for people in (batch for file in inputs for batch in file):
        write_annotations(people, folder / record_name(len(ids)))
        ids.append(record_ids(people))
        good.append(people.problem == '')
        advance(len(people))
    _mark_duplicates(folder, ids, good)
    # Last: it tells that all is there.
    with whole_file(folder / _INDEX) as temporary:
        temporary.write_text(json.dumps(dict(shards=len(ids))), encoding='utf-8')
    return len(ids)


def num_record_shards(folder: Path) -> int | None:
    """How many record shards there are; None if they are not all there."""
    try:
        count = json.loads((folder / _INDEX).read_text(encoding='utf-8'))['shards']
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return count if all((folder / record_name(index)).is_file() for index in range(count)) else None


def _mark_duplicates(folder: Path, ids: Sequence[np.ndarray], good: Sequence[np.ndarray]) -> None:
    """Give people without a problem whose id an earlier one has the problem that they are given twice."""
    if not ids:
        return
    all_ids, usable = np.concatenate(ids), np.flatnonzero(np.concatenate(good))
    order = usable[np.argsort(all_ids[usable], kind='stable')]
    again = np.sort(order[1:][all_ids[order[1:]] == all_ids[order[:-1]]])
    starts = np.cumsum([0, *map(len, ids)])
    for index in np.unique(np.searchsorted(starts, again, 'right') - 1):
        rows = again[(again >= starts[index]) & (again < starts[index + 1])] - starts[index]
        path = folder / record_name(index)
        people = read_annotation_shard(path)
        problem = people.problem.astype(object)
        problem[rows] = [f'duplicate id: {people.source[r]} {people.record[r]} of {people.file_name[r]}' for r in rows]
        write_annotations(replace(people, problem=problem), path)
