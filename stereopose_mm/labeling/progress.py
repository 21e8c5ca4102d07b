# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The progress bar of the label generator."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text('' if speed is None else f'{speed:,.0f}/s')


def labelling_progress() -> Progress:
    """Progress bar on stderr: how many of how many, rate, and time left."""
    return Progress(
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
        console=Console(file=sys.stderr),
    )  # fmt: skip
