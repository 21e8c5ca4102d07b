# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What a job on a clip has done so far, on disk: an interrupted one goes on from its last part."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from ...files import read_npz, whole_file
from ...geometry import PoseSequence

_SETTINGS, _WARNINGS = 'settings.json', 'warnings.json'
_HINT = 'remove the folder to begin anew'


class ClipStore:
    """Consecutive parts of a clip, each a file that is written whole or not at all.

    Args:
        folder: Where the parts are kept.
        settings: All that the parts depend on, as JSON values. Parts of other settings are thrown away.

    Raises:
        OSError: If the folder cannot be written.
    """

    def __init__(self, folder: Path, settings: dict):
        self.folder = folder
        text = json.dumps(settings, sort_keys=True, indent=1)
        kept = folder / _SETTINGS
        self.resumed = kept.is_file() and kept.read_text(encoding='utf-8') == text
        if not self.resumed:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with whole_file(kept) as temporary:
                temporary.write_text(text, encoding='utf-8')

    def stage(self, name: str) -> Stage:
        """The parts of one stage of the work, such as ``'lifted'``."""
        return Stage(self.folder, name)

    def keep_warnings(self, lines: list[str]) -> None:
        """Keep what a run has to say of its input, for the run that goes on."""
        with whole_file(self.folder / _WARNINGS) as temporary:
            temporary.write_text(json.dumps(lines), encoding='utf-8')

    def warnings(self) -> list[str]:
        """What the runs before had to say."""
        kept = self.folder / _WARNINGS
        return json.loads(kept.read_text(encoding='utf-8')) if kept.is_file() else []

    def remove(self) -> None:
        """Delete all parts: the job is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Stage:
    """The parts that a stage of the work has left, in order.

    Args:
        folder: Where they are.
        name: Of the stage.
    """

    def __init__(self, folder: Path, name: str):
        self._folder, self._name = folder, name
        self._done = folder / f'{name}.done'

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        count = 0
        while self.file(count, '.npz').is_file():
            count += 1
        return count

    def file(self, index: int, suffix: str) -> Path:
        """Path of what belongs to part ``index``."""
        return self._folder / f'{self._name}_{index:06d}{suffix}'

    @property
    def finished(self) -> bool:
        """Whether the last part is there."""
        return self._done.is_file()

    def finish(self) -> None:
        """Say that the last part is there."""
        self._done.touch()

    def append(self, sequence: PoseSequence, state: dict) -> None:
        """Add a part.

        Args:
            sequence: The poses.
            state: What the work needs to know to go on after it, as JSON values and arrays.
        """
        text = json.dumps(state, default=lambda value: value.tolist())
        # In memory first: on a full disk NumPy would leave an open archive that complains later.
        archive = io.BytesIO()
        np.savez(archive, **sequence.to_arrays(), state=np.array(text))
        with whole_file(self.file(self._count, '.npz')) as temporary:
            temporary.write_bytes(archive.getbuffer())
        self._count += 1

    def read(self, index: int) -> PoseSequence:
        """The poses of a part."""
        return PoseSequence.from_arrays(read_npz(self.file(index, '.npz'), _HINT))

    def read_array(self, index: int, name: str) -> np.ndarray:
        """One array of a part, without reading the others."""
        with np.load(self.file(index, '.npz'), allow_pickle=False) as archive:
            return archive[name]

    def __iter__(self) -> Iterator[PoseSequence]:
        return (self.read(index) for index in range(len(self)))

    def state(self) -> dict | None:
        """The state after the last part; None before the first."""
        if not self._count:
            return None
        return json.loads(str(self.read_array(self._count - 1, 'state')))
