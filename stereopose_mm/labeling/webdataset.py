# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""A set of labels with its images as tar shards in WebDataset's convention."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..apis.image_files import ImageFolder
from ..datasets.wild3d_files import column_array, info_of, shard_name, shard_rows, wild3d_schema
from ..datasets.wild3d_files.coco_writer import annotation_lines
from ..datasets.wild3d_files.parquet_shards import count_rows, open_shard
from ..datasets.wild3d_files.schema import SCHEMA_VERSION, skeleton_of
from ..files import left_overs, whole_file
from .checksums import file_checksum
from .progress import labelling_progress
from .set_statistics import label_files, read_batches

#: Tells what the tar shards were made from, and when they are all there how many images and people each has.
INDEX = 'index.json'
_FORMAT, _VERSION = 'wild3d webdataset', 1
#: Images in a tar shard: some hundred megabytes of photographs.
SHARD_SIZE = 2000
# By suffix of an image: what it is called in a shard. Decoders of WebDataset know these.
_EXTENSIONS = {
    '.jpg': 'jpg',
    '.jpeg': 'jpg',
    '.png': 'png',
    '.webp': 'webp',
    '.bmp': 'bmp',
    '.tif': 'tif',
    '.tiff': 'tif',
}
# Row groups of labels that are held: those of neighbouring images are together.
_HELD_GROUPS = 4


def write_webdataset(
    folder: str | Path, out: str | Path, images: str | Path, shard_size: int = SHARD_SIZE
) -> list[Path]:
    """Write a set with its images as tar shards: ``wild3d-{split}-{index:05d}-of-{count:05d}.tar``.

    An image is a sample: ``KEY.jpg`` (or ``png`` …), its file as it is, and ``KEY.json``: ``file_name``, ``width``,
    ``height``, ``image_id``, ``skeleton``, and ``annotations``, the labels of its people as in Wild-3D's JSON. KEY is
    the image's id, 16 hexadecimal digits. Images are in the order of the set, and within a shard in that of their keys.

    The same set gives the same bytes. A call that was cut short, or one for a set of which tar shards were lost,
    continues with those that are missing. Memory is some 30 bytes for each label, and one image.

    Args:
        folder: Of the set's Parquet shards.
        out: Where to; made if it is not there.
        images: Folder of the images.
        shard_size: Images in each tar shard, at most.

    Returns:
        The tar shards, in order.

    Raises:
        ValueError: If the set cannot be read, an image is missing or of an unknown kind, or ``out`` holds the tar
            shards of another set; names the file and the record. Nothing has been written then.
    """
    if isinstance(shard_size, bool) or not isinstance(shard_size, int) or shard_size < 1:
        raise ValueError(f'shard_size takes a whole number of at least 1, got {shard_size!r}')
    folder, out, images = Path(folder), Path(out), ImageFolder(images)
    splits = label_files(folder)
    index = _new_index(splits, shard_size)
    known = _known_shards(out, index)
    plans = [plan for split, paths in splits.items() for plan in _plan(split, paths, images, shard_size)]
    out.mkdir(parents=True, exist_ok=True)
    if not (out / INDEX).is_file():
        _write_index(out, index)
    told, reader = [], _RowReader()
    with labelling_progress() as progress:
        task = progress.add_task('packing images', total=sum(plan.num_images for plan in plans))
        for plan in plans:
            path = out / plan.name
            if not _is_whole(path, known.get(plan.name), complete=bool(known)):
                _write_tar(path, reader.rows(splits[plan.split], plan.rows), images)
            told.append(dict(name=plan.name, split=plan.split, images=plan.num_images, people=len(plan.rows)))
            told[-1] |= dict(bytes=path.stat().st_size, sha256=file_checksum(path))
            progress.advance(task, plan.num_images)
    _write_index(out, index | dict(complete=True, shards=told))
    for path in left_overs(out):
        path.unlink(missing_ok=True)
    return [out / plan.name for plan in plans]


@dataclass(frozen=True, eq=False)
class _Plan:
    """A tar shard.

    Attributes:
        split: Of its images.
        name: Of its file.
        rows: Of the split, of its people, in order.
        num_images: How many images they are on.
    """

    split: str
    name: str
    rows: np.ndarray
    num_images: int


def _new_index(splits: Mapping[str, Sequence[Path]], shard_size: int) -> dict[str, Any]:
    digest = hashlib.sha256()
    for path in (path for paths in splits.values() for path in paths):
        digest.update(f'{path.name} {file_checksum(path)}\n'.encode())
    return dict(format=_FORMAT, version=_VERSION, origin=digest.hexdigest(), shard_size=shard_size, complete=False)


def _known_shards(out: Path, index: Mapping) -> dict[str, dict]:
    """What an earlier call told of its tar shards; nothing if it was cut short.

    Raises:
        ValueError: If they are of another set or size, or the folder holds something else.
    """
    try:
        before = json.loads((out / INDEX).read_text(encoding='utf-8'))
    except FileNotFoundError:
        if there := sorted(path.name for path in out.glob('wild3d-*.tar')):
            raise ValueError(f'{out}: has {there[0]} but no {INDEX}: name another folder') from None
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f'{out / INDEX}: no readable JSON: {error}') from error
    keys = ('format', 'version', 'origin', 'shard_size')
    if not isinstance(before, dict) or any(before.get(key) != index[key] for key in keys):
        raise ValueError(f'{out}: holds tar shards of another set, or of another size; name another folder')
    return {told['name']: told for told in before.get('shards', ())}


def _plan(split: str, paths: Sequence[Path], images: ImageFolder, shard_size: int) -> list[_Plan]:
    """Which people come into which tar shard of a split; all images are looked for."""
    ids = [np.zeros(0, np.int64)]
    for path in paths:
        for start, batch in read_batches(path, ('image_id', 'file_name')):
            _check_images(batch, images, path, start)
            ids.append(column_array(batch, 'image_id'))
    _, first, image = np.unique(np.concatenate(ids), return_index=True, return_inverse=True)
    if not len(first):
        return []
    # Images by where they first are, so that the people of a shard are together in the files.
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    count = -(-len(first) // shard_size)
    parts = shard_rows(len(first), count)
    shard = np.searchsorted([part.stop for part in parts], rank[image], side='right')
    order = np.argsort(shard, kind='stable')
    ends = np.searchsorted(shard[order], np.arange(count + 1))
    return [
        _Plan(
            split,
            Path(shard_name(split, i, count)).with_suffix('.tar').name,
            order[ends[i] : ends[i + 1]],
            part.stop - part.start,
        )
        for i, part in enumerate(parts)
    ]


def _check_images(batch: pa.RecordBatch, images: ImageFolder, path: Path, start: int) -> None:
    encoded = batch.column('file_name').dictionary_encode()
    for place, name in enumerate(encoded.dictionary.to_pylist()):
        try:
            _extension(images.find(None, name))
        except ValueError as error:
            row = start + int((encoded.indices.to_numpy() == place).argmax())
            raise ValueError(f'{path}: file_name of record {row}: {error}') from error


def _extension(path: Path) -> str:
    extension = _EXTENSIONS.get(path.suffix.lower())
    if extension is None:
        raise ValueError(f'{path}: takes images with a suffix of {sorted(_EXTENSIONS)}')
    return extension


class _RowReader:
    """Reads rows of a split by their number, with the last few row groups at hand."""

    def __init__(self) -> None:
        self._group = lru_cache(_HELD_GROUPS)(self._read_group)
        self._places = lru_cache(_HELD_GROUPS)(_group_starts)

    def rows(self, paths: Sequence[Path], rows: np.ndarray) -> pa.Table:
        """Rows of all shards, counted through, as Wild-3D has them."""
        places, starts = self._places(tuple(paths))
        which = np.searchsorted(starts, rows, side='right') - 1
        pieces = [
            self._group(*places[group]).take(pa.array(rows[which == group] - starts[group]))
            for group in np.unique(which)
        ]
        return pa.concat_tables(pieces).combine_chunks()

    @staticmethod
    def _read_group(path: Path, group: int) -> pa.Table:
        with open_shard(path) as file:
            found = file.schema_arrow
            schema = wild3d_schema(skeleton_of(found, str(path)).name, info_of(found))
            try:
                table = file.read_row_group(group, columns=schema.names, use_threads=False)
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f'{path}: no readable Parquet: {error}') from error
            return pa.Table.from_arrays(table.select(schema.names).columns, schema=schema)


def _group_starts(paths: tuple[Path, ...]) -> tuple[list[tuple[Path, int]], np.ndarray]:
    """File and number of each row group that has rows, and the number of its first row."""
    count_rows(paths)  # checks that they are of one set
    places, sizes = [], []
    for path in paths:
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            if size := metadata.row_group(group).num_rows:
                places.append((path, group))
                sizes.append(size)
    return places, np.cumsum([0, *sizes[:-1]])


def _write_tar(path: Path, people: pa.Table, images: ImageFolder) -> None:
    """Write the images of some people with their labels."""
    ids = column_array(people, 'image_id').astype(np.uint64)
    lines = annotation_lines(people).to_pylist()
    names, skeleton = people.column('file_name').to_pylist(), skeleton_of(people.schema, str(path)).name
    sizes = np.stack([column_array(people, 'width'), column_array(people, 'height')], 1).tolist()
    order = np.argsort(ids, kind='stable')
    # Names are short, and so the oldest form of the format will do, which every reader knows.
    with whole_file(path) as temporary, tarfile.open(temporary, 'w', format=tarfile.USTAR_FORMAT) as tar:
        for rows in np.split(order, np.flatnonzero(np.diff(ids[order])) + 1):
            first = rows[0]
            key, image = f'{ids[first]:016x}', images.find(None, names[first])
            header = dict(
                file_name=names[first],
                width=sizes[first][0],
                height=sizes[first][1],
                image_id=int(ids[first].astype(np.int64)),
                skeleton=skeleton,
                wild3d_version=SCHEMA_VERSION,
            )
            annotations = ',\n'.join(lines[row] for row in rows)
            text = f'{json.dumps(header)[:-1]}, "annotations": [\n{annotations}\n]}}\n'
            files = {f'{key}.{_extension(image)}': image.read_bytes(), f'{key}.json': text.encode()}
            for name in sorted(files):
                _add_file(tar, name, files[name])


def _add_file(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file that nobody owns and that was never changed."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), 0, 0o644
    tar.addfile(entry, io.BytesIO(content))


def _is_whole(path: Path, told: Mapping | None, complete: bool) -> bool:
    """Whether a tar shard is there: written whole by a call that was cut short, or as an index tells of it."""
    if not path.is_file():
        return False
    if not complete:
        return True
    return told is not None and path.stat().st_size == told['bytes'] and file_checksum(path) == told['sha256']


def _write_index(out: Path, index: Mapping) -> None:
    with whole_file(out / INDEX) as temporary:
        temporary.write_text(json.dumps(index, indent=1) + '\n', encoding='utf-8')
