# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Stopping at the next safe place."""

from __future__ import annotations

import signal
import threading
from types import TracebackType


class StopRequest:
    """Within the block, a first SIGINT or SIGTERM only sets ``asked``; a second one raises ``KeyboardInterrupt``.

    Outside the main thread, where signals cannot be handled, it does nothing.

    Attributes:
        asked: Whether to stop.
    """

    def __init__(self):
        self.asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
