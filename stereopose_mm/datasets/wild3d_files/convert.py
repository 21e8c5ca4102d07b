# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Wild-3D sets from one form into another, shard by shard."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from ...files import add_file
from ..progress import conversion_progress
from .coco_reader import read_coco
from .coco_writer import write_coco
from .parquet_shards import ShardWriter, count_rows, find_shards, iter_parquet, read_origin, shard_name, shard_rows
from .schema import CHUNK, SCHEMA_VERSION, info_of, skeleton_of
from .wild_npy import read_wild_npy


@dataclass
class Conversion:
    """What a conversion did.

    Attributes:
        rows: People in the set.
        written: Files written.
        kept: Files that an earlier run had finished.
    """

    rows: int = 0
    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        """One line for people."""
        return f'{self.rows} people, {len(self.written)} files written, {len(self.kept)} kept'


def convert_wild3d(
    source: str | Path,
    out: str | Path,
    split: str = 'train',
    shards: int | None = None,
    skeleton: str | None = None,
) -> Conversion:
    """Convert a Wild-3D set: COCO-format JSON to Parquet, or back, or to another number of shards.

    A run that was cut short is continued: shards that it has finished are kept, and all are the same as those of one
    run.

    Args:
        source: JSON file, or folder or pattern of shards.
        out: File ending in ``.json``, or folder for the shards.
        split: Part of the set that is read from a folder of shards and written to one.
        shards: Number of shards. Default: one for each 100,000 people.
        skeleton: Keypoint set of a JSON file whose categories do not tell.

    Raises:
        ValueError: If the source cannot be read, or a shard that is there is of something else; names the file.
    """
    source, out = Path(source), Path(out)
    if source.suffix.lower() == '.json':
        origin = _origin([source], f'skeleton={skeleton}')
        table = read_coco(source, skeleton)
        return write_set(table.to_batches(CHUNK), len(table), table.schema, out, split, shards, origin)
    paths = find_shards(source, split if source.is_dir() else None)
    rows, schema = count_rows(paths)
    return write_set(iter_parquet(paths), rows, schema, out, split, shards, _origin(paths))


def convert_wild_npy(
    source: str | Path,
    out: str | Path,
    images: str | Path | None = None,
    joint_order: Sequence[str] | None = None,
    layout: str = 'auto',
    split: str = 'train',
    shards: int | None = None,
) -> Conversion:
    """Convert the original release's ``wild.npy`` to a Wild-3D set.

    Args:
        source: The file.
        out: File ending in ``.json``, or folder for the shards.
        images: See :func:`~.wild_npy.read_wild_npy`.
        joint_order: See :func:`~.wild_npy.read_wild_npy`.
        layout: See :func:`~.wild_npy.read_wild_npy`.
        split: See :func:`convert_wild3d`.
        shards: See :func:`convert_wild3d`.

    Raises:
        ValueError: See :func:`~.wild_npy.read_wild_npy` and :func:`convert_wild3d`.
    """
    origin = _origin([Path(source)], f'{images} {joint_order} {layout}')
    table = read_wild_npy(source, images, joint_order, layout)
    return write_set(table.to_batches(CHUNK), len(table), table.schema, out, split, shards, origin)


def write_set(
    batches: Iterator[pa.RecordBatch] | list[pa.RecordBatch],
    rows: int,
    schema: pa.Schema,
    out: str | Path,
    split: str = 'train',
    shards: int | None = None,
    origin: str = '',
) -> Conversion:
    """Write a set with a progress bar: JSON, or shards of which those of the same origin are kept.

    Args:
        batches: Its rows.
        rows: How many there are.
        schema: Their schema.
        out: File ending in ``.json``, or folder for the shards.
        split: See :func:`convert_wild3d`.
        shards: See :func:`convert_wild3d`.
        origin: Tells apart what shards are made from.

    Raises:
        ValueError: If there is no row, a row is refused, or a shard that is there is of something else.
    """
    out = Path(out)
    if not rows:
        raise ValueError(f'{out}: there is nothing to write: the source has no person')
    with conversion_progress() as progress:
        task = progress.add_task('converting', total=rows)

        def seen() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                progress.advance(task, len(batch))
                yield batch

        if out.suffix.lower() == '.json':
            if not out.absolute().parent.is_dir():
                raise ValueError(f'{out}: its folder does not exist')
            return Conversion(write_coco(seen(), out), [out])
        return _write_shards(
            seen(), rows, schema, out, split, -(-rows // 100_000) if shards is None else shards, origin
        )


def _write_shards(
    batches: Iterator[pa.RecordBatch],
    rows: int,
    schema: pa.Schema,
    out: Path,
    split: str,
    shards: int,
    origin: str,
) -> Conversion:
    if not 1 <= shards <= rows:
        raise ValueError(f'shards takes 1 to {rows}, as many as there are people, got {shards}')
    out.mkdir(parents=True, exist_ok=True)
    parts = shard_rows(rows, shards)
    paths = [out / shard_name(split, index, shards) for index in range(shards)]
    done = Conversion(rows)
    # Before anything is written.
    for path in sorted(out.glob(f'wild3d-{split}-*.parquet')):
        if path not in paths:
            raise ValueError(f'{path}: is of a set of another number of shards; remove it first')
    for path, part in zip(paths, parts, strict=True):
        if path.exists():
            if read_origin(path) != (origin, part.stop - part.start):
                raise ValueError(f'{path}: is there and of another source; remove it first')
            done.kept.append(path)
    rest = _Rows(batches)
    skeleton, info = skeleton_of(schema, str(out)).name, info_of(schema)
    for path, part in zip(paths, parts, strict=True):
        pieces = rest.take(part.stop - part.start)
        if path in done.kept:
            for _ in pieces:
                pass
            continue
        with ShardWriter(path, skeleton, info, origin) as writer:
            for piece in pieces:
                writer.write(piece)
        done.written.append(path)
    return done


class _Rows:
    """Take so many rows after the other of a row of batches."""

    def __init__(self, batches: Iterator[pa.RecordBatch]):
        self._batches = iter(batches)
        self._left: pa.RecordBatch | None = None

    def take(self, count: int) -> Iterator[pa.RecordBatch]:
        while count:
            batch = self._left if self._left is not None else next(self._batches)
            piece = batch.slice(0, count)
            self._left = batch.slice(count) if len(batch) > count else None
            count -= len(piece)
            yield piece


def _origin(paths: list[Path], options: str = '') -> str:
    """Checksum of what a set is made from."""
    digest = hashlib.sha256(f'{SCHEMA_VERSION} {options}'.encode())
    for path in paths:
        add_file(digest, path)
    return digest.hexdigest()
