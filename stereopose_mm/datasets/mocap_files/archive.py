# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Finding motion files in files, folders, tar and zip archives; nothing is unpacked to disk."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .kinematics import MotionFileError

TAR_SUFFIXES = ('.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tbz2', '.tar.xz', '.txz')
MAX_BYTES = 512 * 2**20  # no motion file is larger; an archive bomb's member is
BROKEN = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error)
# zipfile's word for an encrypted member or an unknown compression method
UNREADABLE = (*BROKEN, RuntimeError, NotImplementedError)

Entry = tuple[str, Callable[[], bytes]]


@dataclass
class Source:
    """One file, folder or archive, and what it holds.

    Attributes:
        path: Where it lies on disk.
        base: What its names are relative to: the folder or archive, the folder of a single file.
        motions: Names of its motion files, '/' between the parts.
        skeletons: Text of its skeleton files by name: ASF files, DeepMimic's character file.
        errors: What could not be read of it.
    """

    path: Path
    base: Path
    motions: list[str] = field(default_factory=list)
    skeletons: dict[str, str] = field(default_factory=dict)
    errors: list[MotionFileError] = field(default_factory=list)


def motion_kind(name: str) -> str | None:
    """Tell a motion file by its name.

    Args:
        name: File name, with or without folders.

    Returns:
        'bvh', 'asfamc', 'deepmimic', or None for any other file.
    """
    base = PurePosixPath(name.lower()).name
    if base.endswith('.bvh'):
        return 'bvh'
    if base.endswith('.amc'):
        return 'asfamc'
    if base.startswith('humanoid3d') and base.endswith('.txt') and not _is_skeleton(base):
        return 'deepmimic'
    return None


def find_sources(paths: list[str | Path]) -> list[Source]:
    """List the motion files of every path and read the skeletons beside them.

    Args:
        paths: Files, folders (searched through, archives in them too) and archives.

    Returns:
        One source for each file and archive, and one for each folder's plain files.

    Raises:
        ValueError: If a path does not exist or is no motion file, folder or archive.
    """
    found = []
    for path in map(Path, paths):
        if not path.exists():
            raise ValueError(f'source {path} does not exist')
        if path.is_dir():
            archives = [p for p in sorted(path.rglob('*')) if p.is_file() and _is_archive(p)]
            found += [path, *archives]
        elif _is_archive(path) or motion_kind(path.name):
            found.append(path)
        elif not _is_skeleton(path.name):  # skeletons come with the motions beside them
            raise ValueError(
                f'source {path} is no .bvh, .amc or humanoid3d*.txt file, no folder and no archive '
                f'(.zip, {", ".join(TAR_SUFFIXES)})'
            )
    return [_scan(path) for path in found]


def read_motions(source: Source) -> Iterator[Entry]:
    """Go through a source's motion files in the order in which it stores them.

    Args:
        source: A source that `find_sources` gave.

    Yields:
        Name and a function that reads the file's bytes; call it before the next step. It raises
        `MotionFileError` if the bytes cannot be read.
    """
    wanted = set(source.motions)
    try:
        for name, read in _entries(source.base, deep=source.base == source.path):
            if name in wanted:
                wanted.discard(name)
                yield name, read
    except UNREADABLE as error:
        # The scan has stopped at the same place, unless the file has changed since.
        if not source.errors:
            source.errors.append(MotionFileError(str(source.path), 0, f'unreadable: {error}'))


def find_skeleton(source: Source, motion: str) -> str:
    """Find the skeleton of an AMC or DeepMimic motion file.

    `01_03.amc` takes `01.asf` (or `01_03.asf`) of its folder, or the folder's only ASF file;
    a DeepMimic motion takes `humanoid3d.txt` of its folder, or the source's only one.

    Args:
        source: The source of the motion.
        motion: Name of the motion file in it.

    Returns:
        Name of the skeleton, a key of `source.skeletons`.

    Raises:
        MotionFileError: If there is none.
    """
    path = PurePosixPath(motion)
    if motion_kind(motion) == 'deepmimic':
        known = [name for name in source.skeletons if not name.lower().endswith('.asf')]
        beside = [name for name in known if PurePosixPath(name).parent == path.parent]
        if beside or len(known) == 1:
            return (beside or known)[0]
        raise MotionFileError(motion, 0, 'its skeleton humanoid3d.txt is not beside it')
    beside = {
        PurePosixPath(name).stem.lower(): name
        for name in source.skeletons
        if name.lower().endswith('.asf') and PurePosixPath(name).parent == path.parent
    }
    stem = path.stem.lower()
    for candidate in (stem, stem.rsplit('_', 1)[0], stem.split('_', 1)[0]):
        if candidate in beside:
            return beside[candidate]
    if len(beside) == 1:
        return next(iter(beside.values()))
    raise MotionFileError(motion, 0, f'its skeleton {stem.split("_", 1)[0]}.asf is not beside it')


def decode(data: bytes) -> str:
    """Read a motion file's text; only names can be other than ASCII, so no byte is refused."""
    return data.decode('utf-8-sig', errors='replace')


def _is_skeleton(name: str) -> bool:
    base = PurePosixPath(name.lower()).name
    return base.endswith('.asf') or base == 'humanoid3d.txt'


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(('.zip', *TAR_SUFFIXES))


def _scan(path: Path) -> Source:
    single = path.is_file() and not _is_archive(path)
    source = Source(path, path.parent if single else path)
    try:
        for name, read in _entries(source.base, deep=not single):
            if motion_kind(name) and (not single or name == path.name):
                source.motions.append(name)
            elif _is_skeleton(name):
                _add_skeleton(source, name, read)
    except UNREADABLE as error:
        source.errors.append(MotionFileError(str(path), 0, f'unreadable: {error}'))
    return source


def _add_skeleton(source: Source, name: str, read: Callable[[], bytes]) -> None:
    try:
        source.skeletons[name] = decode(read())
    except MotionFileError as error:
        source.errors.append(error)


def _entries(path: Path, deep: bool = True) -> Iterator[Entry]:
    if path.is_dir():
        yield from _folder_entries(path, deep)
    elif path.name.lower().endswith('.zip'):
        yield from _zip_entries(path)
    else:
        yield from _tar_entries(path)


def _folder_entries(folder: Path, deep: bool) -> Iterator[Entry]:
    for file in sorted(folder.rglob('*') if deep else folder.iterdir()):
        if file.is_file():
            name = file.relative_to(folder).as_posix()
            yield name, lambda file=file: _read(str(file), file.stat().st_size, file.read_bytes)


def _zip_entries(path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                label = f'{path.name}/{info.filename}'
                yield (
                    info.filename,
                    lambda info=info, label=label: _read(label, info.file_size, lambda: archive.read(info)),
                )


def _tar_entries(path: Path) -> Iterator[Entry]:
    # As a stream: a compressed tar cannot be read at random without starting over.
    with tarfile.open(path, 'r|*') as archive:
        for info in archive:
            # Links and devices are left alone: what they point to is not in the archive's hands.
            if info.isreg():
                label = f'{path.name}/{info.name}'
                yield (
                    info.name,
                    lambda info=info, label=label: _read(label, info.size, lambda: archive.extractfile(info).read()),
                )


def _read(label: str, size: int, read: Callable[[], bytes]) -> bytes:
    if size > MAX_BYTES:
        raise MotionFileError(label, 0, f'{size} bytes; at most {MAX_BYTES} are read')
    try:
        return read()
    except UNREADABLE as error:
        raise MotionFileError(label, 0, f'unreadable: {error}') from error
