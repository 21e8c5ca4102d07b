# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The progress bar of the converters."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def conversion_progress() -> Progress:
    """Progress bar on stderr: what is done, how many of how many files, time taken."""
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
    )
