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
from .shards import FILE_ENTRY, is_note, wrong_entry
from .splits import SPLITS

MANIFEST = 'manifest.json'
#: What a manifest begins with.
FORMAT = 'wild3d labels'
_VERSION = 1
_BEGUN = dict(
    complete=bool, generator=str, config_hash=str, settings=dict, with_images=bool, image_list=str | None, inputs=list,
)  # fmt: skip
_FINISHED = dict(people=int, labels=dict, rejects=dict, sources=dict, exports=dict, shards=list)
_INPUT = dict(name=str, format=str, keypoint_set=str, sha256=str, people=int)


def describe_input(file: AnnotationFile, checksum: str) -> dict[str, Any]:
    """What the manifest tells of an annotation file."""
    return dict(
        name=file.path.name, format=file.format, keypoint_set=file.keypoint_set, sha256=checksum,
        people=file.num_people, unmarked=file.num_unmarked, other=file.num_other,
    )  # fmt: skip


def new_manifest(
    config: LabelConfig, inputs: Sequence[Mapping], with_images: bool, image_list: str | None = None
) -> dict[str, Any]:
    """The manifest of a set that is not made yet.

    Args:
        config: Settings.
        inputs: From :func:`describe_input`.
        with_images: Whether images were looked at.
        image_list: Checksum of the file that lists the images of detections.
    """
    settings = config.settings()
    return dict(
        format=FORMAT, version=_VERSION, complete=False, generator=GENERATOR, config_hash=config_hash(settings),
        settings=settings, with_images=with_images, image_list=image_list, inputs=list(inputs),
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
        ValueError: If it is no manifest of this version, or not as it was written; names the file, and the key.
    """
    path = out / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f'{path}: no readable manifest: {error}') from error
    if not isinstance(manifest, dict) or (manifest.get('format'), manifest.get('version')) != (FORMAT, _VERSION):
        raise ValueError(f'{path}: takes a manifest of {FORMAT!r}, version {_VERSION}')
    if (key := _wrong_key(manifest)) is not None:
        raise ValueError(f'{path}: {key} is not as it was written')
    return manifest


def _wrong_key(manifest: Mapping) -> str | None:
    """What of a manifest was changed, as far as its form and the hash of the settings tell."""
    wrong = wrong_entry(manifest, _BEGUN)
    if wrong is None and config_hash(manifest['settings']) != manifest['config_hash']:
        wrong = 'config_hash'
    if wrong is None and any(wrong_entry(entry, _INPUT) for entry in manifest['inputs']):
        wrong = 'inputs'
    if wrong is not None or not manifest['complete']:
        return wrong
    wrong = wrong_entry(manifest, _FINISHED)
    if wrong is None and any(wrong_entry(entry, FILE_ENTRY) for entry in manifest['exports'].values()):
        wrong = 'exports'
    if wrong is None and not all(map(is_note, manifest['shards'])):
        wrong = 'shards'
    return wrong


def check_same_work(
    out: Path, manifest: Mapping, wanted: Mapping, checksums: Sequence[str], format: str | None = None
) -> None:
    """Check that a set was begun with the same settings and inputs.

    Args:
        out: Its folder, for messages.
        manifest: Its manifest.
        wanted: A new manifest.
        checksums: Of the inputs.
        format: That the inputs have to be of; None for any.

    Raises:
        ValueError: If not; tells what differs.
    """
    differs = [key for key in ('generator', 'with_images', 'image_list') if manifest.get(key) != wanted[key]]
    before, now = manifest['settings'], wanted['settings']
    differs += [key for key in now if before.get(key) != now[key]]
    if [entry['sha256'] for entry in manifest['inputs']] != list(checksums):
        differs.append('annotations')
    elif format is not None and any(entry['format'] != format for entry in manifest['inputs']):
        differs.append('format')
    if differs:
        raise ValueError(
            f'{out}: holds a set made with other {", ".join(differs)}; name another folder, or start again with '
            '--restart, which deletes it'
        )
