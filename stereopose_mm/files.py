# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Writing files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary name to write to, which becomes the file when all went well.

    Args:
        path: The file; one that is there is replaced, and kept if writing fails.

    Yields:
        Path in the same folder and with the same suffix, gone afterwards.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}.tmp{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
