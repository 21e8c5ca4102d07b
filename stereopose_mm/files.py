# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Writing files whole or not at all, and reading NPZ files with errors that name them."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

#: What reading an array of a broken NPZ raises.
NPZ_ERRORS = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
_BLOCK = 1 << 20
_TEMPORARY = re.compile(r'\..+\.\d+-[0-9a-f]{8}\.tmp(\.[^.]*)?')


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary name to write to, which becomes the file when all went well.

    Args:
        path: The file; one that is there is replaced, and kept if writing fails.

    Yields:
        Path in the same folder and with the same suffix, gone afterwards.
    """
    path = Path(path)
    # Machines that share a folder may have processes of one number, and one process several threads.
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.tmp{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def left_overs(folder: str | Path) -> list[Path]:
    """Temporary files of :func:`whole_file` in a folder, which killed processes leave."""
    return sorted(path for path in Path(folder).glob('.*') if _TEMPORARY.fullmatch(path.name))


def add_file(digest: hashlib._Hash, path: str | Path) -> None:
    """Put a file's bytes into a checksum.

    Args:
        digest: Of :mod:`hashlib`.
        path: The file.

    Raises:
        ValueError: If it cannot be read; names it.
    """
    try:
        with open(path, 'rb') as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from error


def check_results_folder(out: Path, names: Iterable[str], marker: str, generator: str) -> None:
    """Check that results can be put into a folder without destroying anything else.

    Args:
        out: The folder; it need not exist.
        names: Of the results.
        marker: The one of them by whose first bytes an earlier result is known.
        generator: What these bytes hold.

    Raises:
        ValueError: If ``out`` is, or lies in, a file; or has entries of these names that are no earlier result.
    """
    for path in (out, *out.parents):
        if path.exists():
            if not path.is_dir():
                raise ValueError(f'{path}: exists and is not a folder')
            break
    taken = [name for name in names if (out / name).exists()]
    if taken and not _begins_with(out / marker, generator):
        raise ValueError(f'{out / taken[0]}: exists and is no earlier result; choose another output folder')


def _begins_with(path: Path, words: str) -> bool:
    if not path.is_file():
        return False
    with path.open('rb') as file:
        return words.encode() in file.read(200)


def open_npz(path: str | Path, hint: str) -> NpzFile:
    """Open an NPZ of plain arrays; each is read when it is asked for.

    Args:
        path: The file.
        hint: What to do where it is missing, for the message.

    Raises:
        ValueError: If it is missing or no NPZ; names the file.
    """
    try:
        archive = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise ValueError(f'{path}: no such file; {hint}') from error
    except NPZ_ERRORS as error:
        raise ValueError(f'{path}: not a readable NPZ of plain arrays: {error}') from error
    if not isinstance(archive, NpzFile):
        raise ValueError(f'{path}: takes an NPZ, has one array {archive.shape}')
    return archive


def read_npz(path: str | Path, hint: str) -> dict[str, np.ndarray]:
    """Read all arrays of an NPZ.

    Args:
        path: The file.
        hint: See :func:`open_npz`.

    Raises:
        ValueError: If it is missing or cannot be read; names the file.
    """
    with open_npz(path, hint) as archive:
        try:
            return {key: archive[key] for key in archive.files}
        except NPZ_ERRORS as error:
            raise ValueError(f'{path}: not a readable NPZ of plain arrays: {error}') from error
