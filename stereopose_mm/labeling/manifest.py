# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What a set is made from and of: its manifest, which also tells whether work on it can go on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import whole_file
from .annotation_files import AnnotationFile
from .config import LabelConfig, config_hash
from .pipeline import GENERATOR
from .splits import SPLITS

MANIFEST = 'manifest.json'
_FORMAT, _VERSION = 'wild3d labels', 1


def describe_input(file: AnnotationFile, checksum: str) -> dict[str, Any]:
    """What the manifest tells of an annotation file."""
    return dict(
        name=file.path.name, format=file.format, keypoint_set=file.keypoint_set, sha256=checksum,
        people=file.num_people, unmarked=file.num_unmarked, other=file.num_other,
    )  # fmt: skip


def new_manifest(config: LabelConfig, inputs: Sequence[Mapping], with_images: bool) -> dict[str, Any]:
    """The manifest of a set that is not made yet.

    Args:
        config: Settings.
        inputs: From :func:`describe_input`.
        with_images: Whether images were looked at.
    """
    settings = config.settings()
    return dict(
        format=_FORMAT, version=_VERSION, complete=False, generator=GENERATOR, config_hash=config_hash(settings),
        settings=settings, with_images=with_images, inputs=list(inputs),
    )  # fmt: skip


def finished_manifest(manifest: Mapping, notes: Iterable[Mapping], exports: Mapping) -> dict[str, Any]:
    """The manifest of a set of which all shards are done.

    Args:
        manifest: That of before.
        notes: Of all shards, see :func:`~.shards.read_note`.
        exports: Further files, by name, with ``bytes`` and ``sha256``.
    """
    notes = sorted(notes, key=lambda note: note['index'])
    rejects, sources = Counter(), Counter()
    for note in notes:
        rejects.update(note['rejects'])
        sources.update(note['sources'])
    return dict(
        manifest,
        complete=True,
        people=sum(note['people'] for note in notes),
        labels={split: split_rows(notes, split) for split in SPLITS},
        rejects=dict(sorted(rejects.items())),
        sources=dict(sorted(sources.items())),
        exports=dict(exports),
        shards=notes,
    )


def split_rows(notes: Iterable[Mapping], split: str) -> int:
    """Labels of a split."""
    prefix = f'wild3d-{split}-'
    return sum(f['rows'] for note in notes for name, f in note['files'].items() if name.startswith(prefix))


def write_manifest(out: Path, manifest: Mapping) -> None:
    """Write the manifest of a set, whole or not at all; one line for each shard."""
    shards = ',\n'.join('  ' + json.dumps(note) for note in manifest.get('shards', ()))
    text = json.dumps({key: value for key, value in manifest.items() if key != 'shards'}, indent=1)
    if shards:
        text = f'{text[:-2]},\n "shards": [\n{shards}\n ]\n}}'
    with whole_file(out / MANIFEST) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of a set; None where there is none.

    Raises:
        ValueError: If it is no manifest of this version; names the file.
    """
    path = out / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f'{path}: no readable manifest: {error}') from error
    if not isinstance(manifest, dict) or (manifest.get('format'), manifest.get('version')) != (_FORMAT, _VERSION):
        raise ValueError(f'{path}: takes a manifest of {_FORMAT!r}, version {_VERSION}')
    return manifest


def check_same_work(out: Path, manifest: Mapping, wanted: Mapping, checksums: Sequence[str]) -> None:
    """Check that a set was begun with the same settings and inputs.

    Args:
        out: Its folder, for messages.
        manifest: Its manifest.
        wanted: A new manifest.
        checksums: Of the inputs.

    Raises:
        ValueError: If not; tells what differs.
    """
    differs = [key for key in ('generator', 'with_images') if manifest[key] != wanted[key]]
    before, now = manifest['settings'], wanted['settings']
    differs += [key for key in now if before.get(key) != now[key]]
    if [entry['sha256'] for entry in manifest['inputs']] != list(checksums):
        differs.append('annotations')
    if differs:
        raise ValueError(
            f'{out}: holds a set made with other {", ".join(differs)}; name another folder, or start again with '
            '--restart, which deletes it'
        )
