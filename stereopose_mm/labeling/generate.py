# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Making a set of labels: from annotation files to a finished folder, going on where an earlier run was cut short."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..datasets.wild3d_files import iter_parquet, write_coco
from ..files import check_results_folder, left_overs
from .annotation_files import AnnotationFile, read_annotations
from .checksums import file_checksum
from .config import LabelConfig
from .data_card import CARD, NUMBERS, PICTURES
from .lifters import load_labellers
from .local_engine import label_locally
from .manifest import (
    FORMAT,
    MANIFEST,
    check_same_work,
    describe_input,
    finished_manifest,
    new_manifest,
    read_manifest,
    write_manifest,
)
from .progress import labelling_progress
from .ray_engine import import_ray, label_with_ray
from .records import num_record_shards, write_records
from .shards import DONE, RECORDS, ShardJob, is_whole, read_note
from .splits import SPLITS
from .verify import PATTERNS

ENGINES = ('local', 'ray')
#: Most shards that file names can count.
MAX_SHARDS = 99_999
# Files that a set may have beside its shards.
_FURTHER = (*(f'{split}.json' for split in SPLITS), CARD, NUMBERS)
_LOCK = '.lock'
# Seconds; workers of a killed run notice it in less.
_LOCK_PATIENCE = 10.0


@dataclass(frozen=True)
class GenerationSummary:
    """What :func:`generate_labels` did.

    Attributes:
        out: Folder of the set.
        manifest: Its manifest.
        shards: How many there are.
        resumed: How many of them an earlier run had done.
        seconds: Time taken.
    """

    out: Path
    manifest: Mapping[str, Any]
    shards: int
    resumed: int
    seconds: float


def generate_labels(
    annotations: Sequence[str | Path],
    out: str | Path,
    config: LabelConfig | None = None,
    images: str | Path | None = None,
    format: str | None = None,
    engine: str = 'local',
    workers: int | None = None,
    address: str | None = None,
    write_json: bool = False,
    restart: bool = False,
) -> GenerationSummary:
    """Label annotated people in 3D, and write them as a Wild-3D set.

    All files are read before anything is written. A run that was cut short at whatever moment is continued by the same
    call, and leaves the same bytes as one that was not; shards of a finished set that were damaged are made again.

    Args:
        annotations: Files, see :func:`~.annotation_files.read_annotations`.
        out: Folder to write to: ``wild3d-{split}-….parquet``, ``rejects-….parquet`` and ``manifest.json``.
        config: Settings.
        images: Folder of the images: those missing are rejected, and the others' EXIF data tell focal lengths. For
            detections, also COCO JSON that lists the images.
        format: Of the files. Default: what their content tells.
        engine: ``'local'`` or ``'ray'``.
        workers: Processes, of one core each. Default: as many as there are cores, in a cluster those of all machines.
        address: Of a Ray cluster; see :func:`~.ray_engine.label_with_ray`.
        write_json: Write each split as COCO-format JSON too.
        restart: Delete a set, or a part of one, that is there.

    Raises:
        ValueError: If a file cannot be used, or the folder holds something else; nothing has been written then.
    """
    start = time.monotonic()
    if engine not in ENGINES:
        raise ValueError(f'engine takes one of {ENGINES}, got {engine!r}')
    if engine == 'ray':
        import_ray()
    work = Work(annotations, out, config or LabelConfig(), images, format)
    manifest = work.begun(restart)
    opened = work.open_inputs(manifest)
    inputs = work.describe(opened) if manifest is None else manifest['inputs']
    sets = {entry['keypoint_set'] for entry in inputs if entry['people']}
    # Loaded also where other machines do the work: what is wrong with their files is said before anything is written.
    lifters = {} if work.is_complete(manifest) else load_labellers(work.config, sets)
    with _writing(work.out):
        work.check_unchanged()
        job, manifest = work.prepare(manifest, opened, inputs, restart)
        notes = work.known_notes(job, manifest)
        todo = [index for index in range(job.num_shards) if index not in notes]
        resumed = len(notes)
        if engine == 'ray':
            done = label_with_ray(job, todo, workers, address)
        else:
            done = label_locally(job, todo, workers or len(os.sched_getaffinity(0)), lifters)
        with labelling_progress() as progress:
            labelled = sum(note['people'] for note in notes.values())
            task = progress.add_task('labelling', total=sum(entry['people'] for entry in inputs) - labelled)
            for note in done:
                notes[note['index']] = note
                progress.advance(task, note['people'])
        if missing := sorted(set(range(job.num_shards)) - set(notes)):
            raise ValueError(f'{work.out}: shard {missing[0]} was not made, nor {len(missing) - 1} more')
        manifest = work.finish(manifest, notes, write_json)
    return GenerationSummary(work.out, manifest, len(notes), resumed, time.monotonic() - start)


class Work:
    """What is made of what, and where.

    Args:
        annotations: Annotation files.
        out: Folder of the set.
        config: Settings.
        images: Folder of images, or a list of them.
        format: Of the files.
    """

    def __init__(
        self,
        annotations: Sequence[str | Path],
        out: str | Path,
        config: LabelConfig,
        images: str | Path | None,
        format: str | None,
    ):
        if not annotations:
            raise ValueError('annotations takes at least one file')
        self.paths, self.out, self.config, self.format = [Path(p) for p in annotations], Path(out), config, format
        self.images = None if images is None else Path(images)
        if self.images is not None and not self.images.exists():
            raise ValueError(f'{images}: no such folder of images')
        self.folder = self.images if self.images is not None and self.images.is_dir() else None
        self.checksums = [file_checksum(path) for path in self.paths]
        image_list = file_checksum(self.images) if self.images is not None and self.folder is None else None
        self.fresh = new_manifest(config, (), self.folder is not None, image_list)

    def begun(self, restart: bool) -> dict[str, Any] | None:
        """The manifest of an earlier run; None where there is none to go on with."""
        shards = sorted(path.name for pattern in PATTERNS for path in self.out.glob(pattern))
        check_results_folder(self.out, (*shards, *_FURTHER, PICTURES, RECORDS, DONE), MANIFEST, FORMAT)
        self.found = read_manifest(self.out)
        if self.found is None or restart:
            return None
        check_same_work(self.out, self.found, self.fresh, self.checksums, self.format)
        return self.found

    def check_unchanged(self) -> None:
        """Check that nobody else worked on the set since :meth:`begun` looked."""
        if read_manifest(self.out) != self.found:
            raise ValueError(f'{self.out}: another run wrote to it meanwhile; give the command again')

    def is_complete(self, manifest: Mapping | None) -> bool:
        """Whether all shards are there."""
        return manifest is not None and manifest['complete'] and all(is_whole(self.out, n) for n in manifest['shards'])

    def open_inputs(self, manifest: Mapping | None) -> list[AnnotationFile] | None:
        """The annotation files; None where nothing has to be read of them."""
        if self.is_complete(manifest) or manifest is not None and num_record_shards(self.out / RECORDS) is not None:
            return None
        opened = open_annotations(self.paths, self.format, self.config.shard_size, self.images)
        shards = sum(-(-file.num_people // self.config.shard_size) for file in opened)
        if shards > MAX_SHARDS:
            raise ValueError(f'shard_size is {self.config.shard_size}, which makes {shards} shards; takes a larger one')
        return opened

    def describe(self, opened: Sequence[AnnotationFile]) -> list[dict]:
        """What the manifest tells of the inputs."""
        return [describe_input(*pair) for pair in zip(opened, self.checksums, strict=True)]

    def prepare(
        self, manifest: dict | None, opened: Sequence[AnnotationFile] | None, inputs: list[dict], restart: bool
    ) -> tuple[ShardJob, dict[str, Any]]:
        """Make record shards where there are none, and all that an engine has to know."""
        if restart:
            _clear(self.out)
        _remove_temporary(self.out)
        # First of all: it tells whose folder this is.
        if manifest is None:
            manifest = dict(self.fresh, inputs=inputs)
            write_manifest(self.out, manifest)
        (self.out / DONE).mkdir(exist_ok=True)
        if opened is not None:
            with labelling_progress() as progress:
                task = progress.add_task('reading', total=sum(file.num_people for file in opened))
                write_records(opened, self.out / RECORDS, lambda people: progress.advance(task, people))
        num_shards = num_record_shards(self.out / RECORDS)
        job = ShardJob(
            out=self.out.absolute(),
            config=self.config.with_absolute_files(),
            settings_hash=manifest['config_hash'],
            images=None if self.folder is None else self.folder.absolute(),
            num_shards=len(manifest['shards']) if num_shards is None else num_shards,
            keypoint_sets=tuple(sorted({entry['keypoint_set'] for entry in inputs if entry['people']})),
        )
        return job, manifest

    def known_notes(self, job: ShardJob, manifest: Mapping) -> dict[int, dict]:
        """Notes of the shards that are there, and as they were written."""
        notes = {note['index']: note for note in manifest.get('shards', ())}
        notes |= {i: note for i in range(job.num_shards) if (note := read_note(job.note(i))) is not None}
        return {index: note for index, note in notes.items() if is_whole(self.out, note)}

    def finish(self, manifest: Mapping, notes: Mapping[int, Mapping], write_json: bool) -> dict[str, Any]:
        """Write what describes the whole, and take away what the work needed."""
        exports = dict(manifest.get('exports', {}))
        if write_json and not (exports and is_whole(self.out, dict(files=exports))):
            exports = {name: told for split in SPLITS for name, told in _export(self.out, split, notes).items()}
        manifest = finished_manifest(manifest, notes.values(), exports)
        write_manifest(self.out, manifest)
        shutil.rmtree(self.out / RECORDS, ignore_errors=True)
        shutil.rmtree(self.out / DONE, ignore_errors=True)
        _remove_temporary(self.out)
        return manifest


def open_annotations(
    paths: Sequence[Path], format: str | None, batch_size: int, images: Path | None
) -> list[AnnotationFile]:
    """Open annotation files, each of which is walked through to its end.

    Raises:
        ValueError: If one cannot be used, or none has a person.
    """
    opened = []
    with labelling_progress() as progress:
        task = progress.add_task('checking files', total=len(paths))
        for path in paths:
            opened.append(read_annotations(path, format, batch_size, images))
            progress.advance(task)
    if not any(file.num_people for file in opened):
        raise ValueError(f'{paths[0]}: has no person with keypoints{", nor have the other files" * (len(paths) > 1)}')
    return opened


def _export(out: Path, split: str, notes: Mapping[int, Mapping]) -> dict[str, dict]:
    """Write a split as JSON, if anything is in it."""
    prefix = f'wild3d-{split}-'
    files = [n for note in notes.values() for n, told in note['files'].items() if n.startswith(prefix) and told['rows']]
    if not files:
        return {}
    path = out / f'{split}.json'
    write_coco(iter_parquet([out / name for name in sorted(files)]), path)
    return {path.name: dict(bytes=path.stat().st_size, sha256=file_checksum(path))}


def _remove_temporary(out: Path) -> None:
    for path in left_overs(out):
        path.unlink(missing_ok=True)


def _clear(out: Path) -> None:
    """Delete a set that a manifest tells of."""
    if read_manifest(out) is None:
        return
    for pattern in (*PATTERNS, *_FURTHER):
        for path in out.glob(pattern):
            path.unlink()
    for folder in (RECORDS, DONE, PICTURES):
        shutil.rmtree(out / folder, ignore_errors=True)
    (out / MANIFEST).unlink()


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Keep a second run out of a folder; processes that are killed let go of it.

    Raises:
        ValueError: If another run writes to the folder, or something cannot be written.
    """
    end = time.monotonic() + _LOCK_PATIENCE
    try:
        out.mkdir(parents=True, exist_ok=True)
        while (lock := _lock(out / _LOCK)) is None:
            if time.monotonic() > end:
                raise ValueError(f'{out}: another run writes to it')
            time.sleep(0.2)
        with lock:
            try:
                yield
            finally:
                (out / _LOCK).unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(f'{out}: cannot be written: {error}') from error


def _lock(path: Path) -> IO | None:
    """The open file that locks a folder; None while another run has it."""
    with ExitStack() as stack:
        file = stack.enter_context(open(path, 'w'))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that its last holder has removed locks nothing any more.
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return None
        except (BlockingIOError, FileNotFoundError):
            return None
        stack.pop_all()
        return file
