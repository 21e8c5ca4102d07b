# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..files import add_file


def file_checksum(path: str | Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    Raises:
        ValueError: If it cannot be read; names it.
    """
    digest = hashlib.sha256()
    add_file(digest, path)
    return digest.hexdigest()
