# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""A shard: the piece of work of all engines, done whole or not at all, with the same bytes by whoever does it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..datasets.wild3d_files import shard_name
from ..files import whole_file
from .checksums import file_checksum
from .config import LabelConfig
from .lifters import Labeller
from .pipeline import label_shard
from .records import read_annotation_shard, record_name
from .splits import SPLITS, in_training_split

RECORDS, DONE = '.records', '.done'
#: What is told of a file, of a shard's besides, and of a shard.
FILE_ENTRY = dict(bytes=int, sha256=str)
_SHARD_FILE = dict(FILE_ENTRY, rows=int)
_NOTE = dict(index=int, people=int, files=dict, rejects=dict, sources=dict)


@dataclass(frozen=True)
class ShardJob:
    """What engines do the shards of.

    Attributes:
        out: Folder of the set; that of the record shards and of the notes of those done are in it.
        config: Settings.
        settings_hash: Of the settings.
        images: Folder of the images, or None.
        num_shards: How many there are.
        keypoint_sets: Of their people.
    """

    out: Path
    config: LabelConfig
    settings_hash: str
    images: Path | None
    num_shards: int
    keypoint_sets: tuple[str, ...]

    def note(self, index: int) -> Path:
        """The file that tells that a shard is done."""
        return self.out / DONE / f'shard-{index:05d}.json'

    def file_names(self, index: int) -> dict[str, str]:
        """Names of a shard's files, by split, and of its rejects."""
        return shard_files(index, self.num_shards, self.config.train_share)

    def run(self, index: int, lifters: Mapping[str, Labeller]) -> dict[str, Any]:
        """Label a shard, write its files, and note that it is done.

        Args:
            index: Which one.
            lifters: By keypoint set.

        Returns:
            What the note tells: see :func:`read_note`.
        """
        people = read_annotation_shard(self.out / RECORDS / record_name(index))
        labelled = label_shard(people, self.config, lifters, self.images, self.settings_hash)
        training = in_training_split(labelled.labels.column('file_name').to_pylist(), self.config.train_share)
        tables = {
            'train': labelled.labels.filter(pa.array(training)),
            'val': labelled.labels.filter(pa.array(~training)),
            'rejects': labelled.rejects,
        }
        files = {}
        for kind, name in self.file_names(index).items():
            path = self.out / name
            with whole_file(path) as temporary:
                pq.write_table(tables[kind], temporary, compression='zstd')
            files[name] = dict(rows=len(tables[kind]), bytes=path.stat().st_size, sha256=file_checksum(path))
        reasons = Counter(labelled.rejects.column('reason').to_pylist())
        note = dict(index=index, people=len(people), files=files, rejects=dict(sorted(reasons.items())))
        note['sources'] = _counts(labelled.labels, 'source')
        with whole_file(self.note(index)) as temporary:
            temporary.write_text(json.dumps(note), encoding='utf-8')
        return note


def shard_files(index: int, count: int, train_share: float) -> dict[str, str]:
    """Names of the files of a shard: of each split that has a share, and the rejects."""
    shares = dict(zip(SPLITS, (train_share, 1 - train_share), strict=True))
    names = {split: shard_name(split, index, count) for split, share in shares.items() if share > 0}
    return names | {'rejects': f'rejects-{index:05d}-of-{count:05d}.parquet'}


def read_note(path: Path) -> dict[str, Any] | None:
    """What became of a shard; None if it is not done.

    Returns:
        ``index``, ``people``, ``files`` by name with ``rows``, ``bytes`` and ``sha256``, ``rejects`` by reason, and
        ``sources`` of the labels.
    """
    try:
        note = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return note if is_note(note) else None


def is_note(note: Any) -> bool:
    """Whether something is what :func:`read_note` returns."""
    return wrong_entry(note, _NOTE) is None and all(
        Path(name).name == name and wrong_entry(told, _SHARD_FILE) is None for name, told in note['files'].items()
    )


def wrong_entry(told: Any, kinds: Mapping[str, type]) -> str | None:
    """The first key that a dict lacks, or has something of another kind for; None if it has all."""
    if not isinstance(told, dict):
        return 'all of it'
    return next((key for key, kind in kinds.items() if not isinstance(told.get(key), kind)), None)


def is_whole(out: Path, note: Mapping) -> bool:
    """Whether all files of a shard are there as they were written."""
    for name, told in note['files'].items():
        path = out / name
        if not path.is_file() or path.stat().st_size != told['bytes'] or file_checksum(path) != told['sha256']:
            return False
    return True


def _counts(table: pa.Table, name: str) -> dict[str, int]:
    counted = pc.value_counts(table.column(name)).to_pylist()
    return {entry['values']: entry['counts'] for entry in sorted(counted, key=lambda entry: entry['values'])}
