# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK = 1 << 20


def file_checksum(path: str | Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    Raises:
        ValueError: If it cannot be read; names it.
    """
    digest = hashlib.sha256()
    try:
        with open(path, 'rb') as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from error
    return digest.hexdigest()
