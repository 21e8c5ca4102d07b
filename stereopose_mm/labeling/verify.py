# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Whether a finished set is as it was made: every file, every row, nothing twice and nothing missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..files import left_overs
from .checksums import file_checksum
from .manifest import MANIFEST, finished_manifest, read_manifest
from .shards import shard_files
from .splits import SPLITS
from .tables import label_schema, reject_schema

#: Files of a set that only its manifest explains.
PATTERNS = ('wild3d-*.parquet', 'rejects-*.parquet')


def verify_labels(out: str | Path) -> list[str]:
    """Check a set against its manifest.

    Args:
        out: Its folder.

    Returns:
        What is wrong, a line each, naming the file; empty for a set that is whole.

    Raises:
        ValueError: If the folder has no manifest, or an unreadable one.
    """
    out = Path(out)
    manifest = read_manifest(out)
    if manifest is None:
        raise ValueError(f'{out}: has no {MANIFEST}: no set of labels')
    if not manifest['complete']:
        return [f'{out / MANIFEST}: the set is not finished; give the command that makes it again']
    return [*_wrong_files(out, manifest), *_wrong_counts(out, manifest), *_wrong_rows(out, manifest)]


def _wrong_files(out: Path, manifest: Mapping) -> Iterator[str]:
    files = {name: told for note in manifest['shards'] for name, told in note['files'].items()} | manifest['exports']
    for name, told in files.items():
        path = out / name
        if not path.is_file():
            yield f'{path}: is missing'
        elif path.stat().st_size != told['bytes']:
            yield f'{path}: has {path.stat().st_size} bytes, the manifest says {told["bytes"]}'
        elif file_checksum(path) != told['sha256']:
            yield f'{path}: its checksum is not that of the manifest'
    for path in sorted([*left_overs(out), *(path for pattern in PATTERNS for path in out.glob(pattern))]):
        if path.name not in files:
            yield f'{path}: is not in the manifest'


def _wrong_counts(out: Path, manifest: Mapping) -> Iterator[str]:
    path, notes = out / MANIFEST, manifest['shards']
    if [note['index'] for note in notes] != list(range(len(notes))):
        yield f'{path}: shards are not numbered 0 … {len(notes) - 1}'
    share = manifest['settings']['train_share']
    for note in notes:
        if set(note['files']) != set(shard_files(note['index'], len(notes), share).values()):
            yield f'{path}: the files of shard {note["index"]} are {sorted(note["files"])}'
        if (rows := sum(told['rows'] for told in note['files'].values())) != note['people']:
            yield f'{path}: shard {note["index"]} has {rows} rows for {note["people"]} people'
    people = sum(entry['people'] for entry in manifest['inputs'])
    told = finished_manifest(manifest, notes, manifest['exports'])
    if told['people'] != people:
        yield f'{path}: has {told["people"]} people in its shards, the inputs {people}'
    for key in ('people', 'labels', 'rejects', 'sources'):
        if manifest[key] != told[key]:
            yield f'{path}: {key} is {manifest[key]}, the shards have {told[key]}'


def _wrong_rows(out: Path, manifest: Mapping) -> Iterator[str]:
    ids, owners, images = [], [], {split: [] for split in SPLITS}
    for note in manifest['shards']:
        for name, told in note['files'].items():
            path = out / name
            is_reject = name.startswith('rejects-')
            try:
                table = pq.read_table(path, columns=['id'] if is_reject else ['id', 'image_id'], use_threads=False)
                schema = pq.read_schema(path)
            except FileNotFoundError:
                continue
            except (pa.ArrowException, OSError) as error:
                yield f'{path}: no readable Parquet: {str(error).splitlines()[0]}'
                continue
            expected = reject_schema() if is_reject else label_schema()
            if not schema.equals(expected) or schema.metadata != expected.metadata:
                yield f'{path}: has other columns than labels have'
            if len(table) != told['rows']:
                yield f'{path}: has {len(table)} rows, the manifest says {told["rows"]}'
            split = next((split for split in SPLITS if name.startswith(f'wild3d-{split}-')), None)
            if split is not None:
                ids.append(table.column('id').to_numpy())
                owners.append(path)
                images[split].append(table.column('image_id').to_numpy())
    yield from _repeated(ids, owners)
    both = np.intersect1d(*(np.concatenate([np.zeros(0, np.int64), *images[split]]) for split in SPLITS))
    if len(both):
        yield f'{out}: image {both[0]} is in both splits, and {len(both) - 1} more'


def _repeated(ids: list[np.ndarray], owners: list[Path]) -> Iterator[str]:
    if not ids:
        return
    starts = np.cumsum([0, *map(len, ids)])
    values = np.concatenate(ids)
    order = np.argsort(values, kind='stable')
    again = order[1:][values[order[1:]] == values[order[:-1]]]
    for index in np.unique(np.searchsorted(starts, again, 'right') - 1):
        row = again[(again >= starts[index]) & (again < starts[index + 1])].min()
        yield f'{owners[index]}: id {values[row]} of row {row - starts[index]} is in the set twice'
