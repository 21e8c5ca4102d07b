# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The people of a file, found by frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from ..image_files import image_stem
from ..people import People2D
from .people_table import PeopleTable


class KeypointFile:
    """The 2D keypoints of people on the frames of a video or on the images of a folder.

    A frame of a video is found by its number, which is the number that the file gives it, or the one at the end of its
    name there: ``12.jpg``, ``street_000000000012_keypoints.json``.

    An image is found by its name. Either name may have leading folders that the other lacks, or no suffix. An image id
    of COCO's, a number, is at the end of the image's name: 785 is ``COCO_val2014_000000000785.jpg``. A file that only
    numbers its frames means the images in their order.

    Attributes:
        path: The file, or the folder of files.
        format: One of :data:`~stereopose_mm.apis.keypoint_files.FORMATS`.
        skeleton: What the keypoints are: ``'coco'``, ``'h36m'`` or ``'mpi_inf_3dhp'``.
        num_empty: People left out because they have no keypoint.
        num_other: Records left out because they are of another category than person.
    """

    def __init__(
        self,
        path: str | Path,
        format: str,
        skeleton: str,
        table: PeopleTable,
        has_ids: bool = False,
        is_one_image: bool = False,
    ):
        self.path = Path(path)
        self.format = format
        self.skeleton = skeleton
        self.num_empty = table.num_empty
        self.num_other = table.num_other
        self._people = table.people
        self._frames = table.frames
        self._starts = np.searchsorted(table.frame, np.arange(len(table.frames) + 1))
        self._has_ids = has_ids
        self._is_one_image = is_one_image

    @property
    def num_people(self) -> int:
        """People on all frames together."""
        return len(self._people)

    @property
    def num_frames(self) -> int:
        """Frames that the file mentions, with people or without."""
        return len(self._frames)

    @property
    def has_tracks(self) -> bool:
        """Whether the file says who is the same person on several frames."""
        return self._people.tracks is not None

    @property
    def frame_numbers(self) -> list[int]:
        """Numbers of the frames that the file mentions, ascending; of those that have one."""
        return sorted(self._by_number)

    def people(self, number: int | None = None, name: str | None = None) -> People2D:
        """The people of a frame; no one where the file does not mention it.

        Args:
            number: Position of the frame in its video or folder, from 0.
            name: Name of the image; None for a frame of a video.

        Raises:
            ValueError: If several images of the file could be the frame.
        """
        rows = self._find(number, name)
        if not rows:
            return People2D.none()
        spans = [slice(self._starts[row], self._starts[row + 1]) for row in rows]
        index = spans[0] if len(spans) == 1 else np.concatenate([np.r_[span] for span in spans])
        everyone = self._people
        return People2D(
            everyone.keypoints[index], everyone.scores[index], everyone.bboxes[index], everyone.bbox_scores[index],
            None if everyone.tracks is None else everyone.tracks[index],
        )  # fmt: skip

    def check_frames(self, num_frames: int | None = None, names: Sequence[str] | None = None) -> None:
        """Check that the file is of this video or of these images.

        Args:
            num_frames: Length of the video. Either this or ``names``.
            names: The images.

        Raises:
            ValueError: If it mentions frames that are not there, as a file of another video does.
        """
        if (num_frames is None) == (names is None):
            raise ValueError('takes either num_frames or names')
        total = num_frames if names is None else len(names)
        whole = f'{total} {"frame" if names is None else "image"}{"s" * (total != 1)}'
        if self._is_one_image and total != 1:
            raise ValueError(f'{self.path}: has the people of one image, but there are {whole}')
        if names is None:
            found = {row for number in self._by_number if number < total for row in self._find(number, None)}
        else:
            found = {row for number, name in enumerate(names) for row in self._find(number, name)}
        lost = [frame for row, frame in enumerate(self._frames) if row not in found]
        if not lost:
            return
        hint = f'frames count from 0 to {total - 1}'
        if names is not None:
            hint = f'the first is {names[0]}' if names else 'there is none'
        elif lost[0].number is None:
            hint = 'its name ends with no frame number'
        others = f' and {len(lost) - 1} more' if len(lost) > 1 else ''
        raise ValueError(f'{self.path}: {lost[0].where}{others}: not among the {whole}; {hint}')

    def _find(self, number: int | None, name: str | None) -> list[int]:
        """Rows of the frames that are this one."""
        if name:
            rows = self._find_name(name)
            if not rows and self._has_ids:
                rows = self._by_number.get(trailing_number(name), [])
            if rows or self._has_ids or self._by_stem:
                return rows
        rows = self._by_number.get(number, [])
        names = sorted({self._frames[row].name or '' for row in rows})
        if len(names) > 1:
            raise ValueError(f'{self.path}: frame {number} may be {names[0] or "without a name"} or {names[1]}')
        return rows

    def _find_name(self, name: str) -> list[int]:
        wanted = _parts(name)
        if not wanted:
            return []
        rows = self._by_stem.get(image_stem(wanted[-1]), [])
        scores = {row: _likeness(wanted, _parts(self._frames[row].name)) for row in rows}
        best = max(scores.values(), default=0)
        matches = [row for row, score in scores.items() if score == best > 0]
        if len({self._frames[row].name for row in matches}) > 1:
            first, second = (self._frames[row].name for row in matches[:2])
            raise ValueError(f'{self.path}: {name} may be {first} or {second}')
        return matches

    @cached_property
    def _by_stem(self) -> dict[str, list[int]]:
        stems: dict[str, list[int]] = {}
        for row, frame in enumerate(self._frames):
            parts = _parts(frame.name) if frame.name else ()
            if parts:
                stems.setdefault(image_stem(parts[-1]), []).append(row)
        return stems

    @cached_property
    def _by_number(self) -> dict[int, list[int]]:
        numbers: dict[int, list[int]] = {}
        for row, frame in enumerate(self._frames):
            if frame.number is not None:
                numbers.setdefault(frame.number, []).append(row)
        return numbers


def trailing_number(name: str) -> int | None:
    """The number that the name of a frame ends with, before any suffix: 12 of ``'street_0012.jpg'``."""
    match = re.search(r'(\d{1,18})$', image_stem(name.replace('\\', '/').rsplit('/', 1)[-1]))
    return int(match[1]) if match else None


def frame_number(name: str, first_frame: int) -> int | None:
    """Position in a video, from 0, by the number that a name ends with.

    Args:
        name: Of the frame.
        first_frame: The number of the first frame.
    """
    number = trailing_number(name)
    return None if number is None or number < first_frame else number - first_frame


def _parts(name: str) -> tuple[str, ...]:
    """Folders and file of a path, whatever system wrote it."""
    return tuple(p for p in PurePosixPath(name.replace('\\', '/')).parts if p not in ('/', '.', '..'))


def _likeness(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """How much of two paths is the same from their ends; 0 unless one may be the other's end."""
    same_file = first[-1] == second[-1]
    first, second = (*first[:-1], image_stem(first[-1])), (*second[:-1], image_stem(second[-1]))
    shared = min(len(first), len(second))
    return 2 * shared + same_file if first[-shared:] == second[-shared:] else 0
