# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Wild-3D as Parquet: a folder of shards, each whole or absent."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...files import whole_file
from .schema import check_table, info_of, skeleton_of, wild3d_schema

#: Rows that are compressed together and read at once: about 8 MB.
ROW_GROUP = 16384

_SHARD = re.compile(r'wild3d-(?P<split>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.parquet')
_NOT_READ = object()


def shard_name(split: str, index: int, count: int) -> str:
    """File name of a shard: ``wild3d-train-00000-of-00010.parquet``."""
    return f'wild3d-{split}-{index:05d}-of-{count:05d}.parquet'


def shard_rows(rows: int, shards: int) -> list[slice]:
    """Rows of each shard: in order, as many in each, one more in the first ones."""
    each, more = divmod(rows, shards)
    ends = [(i + 1) * each + min(i + 1, more) for i in range(shards)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


class ShardWriter:
    """Write one shard, a piece at a time; the file is there when the ``with`` block ends without an error.

    Args:
        path: The file.
        skeleton: Keypoint set of the rows.
        info: See :func:`~.schema.wild3d_schema`.
        origin: What the shard was made from; :func:`read_origin` gives it back, so that work can be resumed.
    """

    def __init__(self, path: str | Path, skeleton: str, info: Mapping | None = None, origin: str = ''):
        self.path = Path(path)
        self.schema = wild3d_schema(skeleton, info)
        if origin:
            self.schema = self.schema.with_metadata(self.schema.metadata | {'wild3d.origin': origin})
        self.rows = 0
        self._stack = ExitStack()

    def __enter__(self) -> ShardWriter:
        temporary = self._stack.enter_context(whole_file(self.path))
        self._writer = self._stack.enter_context(pq.ParquetWriter(temporary, self.schema, compression='zstd'))
        return self

    def write(self, records: pa.Table | pa.RecordBatch) -> None:
        """Append rows.

        Raises:
            ValueError: If they hold what a Wild-3D set does not take; names the shard, the column and the row.
        """
        if isinstance(records, pa.RecordBatch):
            records = pa.Table.from_batches([records])
        if not records.schema.equals(self.schema):
            raise ValueError(f'{self.path}: takes the columns of wild3d_schema, has {records.schema.to_string()}')
        check_table(records, str(self.path), self.rows)
        self._writer.write_table(records.replace_schema_metadata(self.schema.metadata), row_group_size=ROW_GROUP)
        self.rows += len(records)

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)


def write_parquet(records: pa.Table, folder: str | Path, split: str = 'train', shards: int = 1) -> list[Path]:
    """Write a Wild-3D set as a folder of shards.

    Args:
        records: The rows.
        folder: Where to; made if it is not there.
        split: Part of the set: ``'train'``, ``'val'`` …
        shards: How many files.

    Returns:
        The files.

    Raises:
        ValueError: If a row holds what a Wild-3D set does not take.
    """
    folder = Path(folder)
    if shards < 1:
        raise ValueError(f'shards takes a positive number, got {shards}')
    skeleton, info = skeleton_of(records.schema, str(folder)).name, info_of(records.schema)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, rows in enumerate(shard_rows(len(records), shards)):
        paths.append(folder / shard_name(split, index, shards))
        with ShardWriter(paths[-1], skeleton, info) as writer:
            writer.write(records.slice(rows.start, rows.stop - rows.start))
    return paths


def find_shards(source: str | PathLike | Sequence[str | PathLike], split: str | None = None) -> list[Path]:
    """Find the shards of a set.

    Args:
        source: A folder, of which every shard of a split has to be there; or a file, a pattern (``*``), or a list of
            these, which are taken as they are.
        split: Which split of a folder; None if there is one only.

    Returns:
        Files in order.

    Raises:
        ValueError: If there is none, a folder has several splits, or one of its shards is missing.
    """
    if not isinstance(source, str | PathLike):
        if not len(source):
            raise ValueError('a list of shards takes at least one file, is empty')
        return [path for entry in source for path in find_shards(entry, split)]
    if not Path(source).is_dir():
        paths = [Path(source)] if Path(source).is_file() else [Path(p) for p in sorted(glob.glob(str(source)))]
        if not paths:
            raise ValueError(f'{source}: no such file or folder')
        return paths
    shards = [(match, path) for path in sorted(Path(source).iterdir()) if (match := _SHARD.fullmatch(path.name))]
    splits = sorted({match['split'] for match, _ in shards})
    if split is None and len(splits) > 1:
        raise ValueError(f'{source}: has the splits {splits}; name one as split')
    shards = [(match, path) for match, path in shards if split in (None, match['split'])]
    if not shards:
        raise ValueError(f'{source}: has no shards of split {split!r}; has the splits {splits}')
    counts = sorted({int(match['count']) for match, _ in shards})
    if len(counts) > 1:
        raise ValueError(f'{source}: has shards of sets of {" and ".join(map(str, counts))}; takes one set')
    present = {int(match['index']) for match, _ in shards}
    if missing := sorted(set(range(counts[0])) - present):
        name = shard_name(shards[0][0]['split'], missing[0], counts[0])
        raise ValueError(f'{source}: {name} is missing, and {len(missing) - 1} more')
    return [path for _, path in shards]


def open_shard(path: str | PathLike, like: pa.Schema | None = None) -> pq.ParquetFile:
    """Open a shard and check its columns; further ones are allowed, and not read.

    Args:
        path: The file.
        like: Schema of the set that it has to belong to.

    Raises:
        ValueError: If it is truncated, no Parquet, or of another version, keypoint set or with other columns; names
            the file and the column.
    """
    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f'{path}: no readable Parquet: {error}') from error
    skeleton = skeleton_of(schema, str(path)).name
    expected = skeleton if like is None else skeleton_of(like, 'set').name
    if skeleton != expected:
        raise ValueError(f'{path}: has keypoints of {skeleton}; the shards before it of {expected}')
    for field in wild3d_schema(skeleton):
        if field.name not in schema.names:
            raise ValueError(f'{path}: column {field.name} is missing')
        if schema.field(field.name).type != field.type:
            raise ValueError(f'{path}: column {field.name} is {schema.field(field.name).type}; takes {field.type}')
    return file


def read_origin(path: str | PathLike) -> tuple[str, int]:
    """What a shard was made from, and how many rows it has.

    Raises:
        ValueError: As :func:`open_shard`.
    """
    with open_shard(path) as file:
        metadata = file.schema_arrow.metadata or {}
        return metadata.get(b'wild3d.origin', b'').decode(), file.metadata.num_rows


def count_rows(paths: Sequence[Path]) -> tuple[int, pa.Schema]:
    """Rows of some shards, which are checked to be of one set, and its schema."""
    rows, schema = 0, None
    for path in paths:
        with open_shard(path, schema) as file:
            rows += file.metadata.num_rows
            if schema is None:
                found = file.schema_arrow
                schema = wild3d_schema(skeleton_of(found, str(path)).name, info_of(found))
    return rows, schema


def iter_parquet(paths: Sequence[Path], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read shards a row group at a time.

    Args:
        paths: From :func:`find_shards`.
        columns: Which columns. Default: all of the schema.

    Yields:
        Checked batches of at most :data:`ROW_GROUP` rows.

    Raises:
        ValueError: If a shard cannot be read or holds a bad value; names the file, the column and the row in it.
    """
    _, schema = count_rows(paths)
    wanted = pa.schema([field for field in schema if columns is None or field.name in columns], schema.metadata)
    for path in paths:
        start = 0
        with open_shard(path) as file:
            batches = file.iter_batches(ROW_GROUP, columns=wanted.names, use_threads=False)
            while (batch := _next(batches, path)) is not _NOT_READ:
                batch = batch.select(wanted.names)
                for field in wanted:
                    if not field.nullable and batch.column(field.name).null_count:
                        check_table(batch, str(path), start)
                batch = pa.RecordBatch.from_arrays(batch.columns, schema=wanted)
                check_table(batch, str(path), start)
                start += len(batch)
                yield batch


def read_parquet(
    source: str | PathLike | Sequence[str | PathLike],
    split: str | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read a Wild-3D set of Parquet shards, in their order.

    Args:
        source: See :func:`find_shards`.
        split: See :func:`find_shards`.
        columns: Which columns. Default: all.

    Raises:
        ValueError: See :func:`find_shards` and :func:`iter_parquet`.
    """
    paths = find_shards(source, split)
    batches = list(iter_parquet(paths, columns))
    if batches:
        return pa.Table.from_batches(batches)
    _, schema = count_rows(paths)
    return schema.empty_table() if columns is None else schema.empty_table().select(columns)


def _next(batches: Iterator[pa.RecordBatch], path: Path) -> object:
    try:
        return next(batches, _NOT_READ)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f'{path}: no readable Parquet: {error}') from error
