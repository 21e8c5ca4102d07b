# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Any file of 2D-annotated people: what it is, and its people in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..annotations import Annotations
from .coco import COCO_FORMATS, CocoFile
from .json_stream import first_record
from .mat_files import MatFile
from .people import to_annotations
from .records import RECORD_LISTS, RecordList, ResultList
from .sources import SOURCES

#: Formats that :func:`read_annotations` takes.
FORMATS = tuple(sorted(SOURCES))
# Of MATLAB files.
_MAT_FORMATS = ('mpii', 'lsp', 'lspet')


@dataclass(frozen=True)
class AnnotationFile:
    """A file of 2D-annotated people; iterating gives them in batches, in the file's order, as often as wanted.

    Attributes:
        path: The file.
        format: One of :data:`FORMATS`.
        keypoint_set: ``'coco'`` or ``'h36m'``, what all people are converted to.
        batch_size: People a batch, fewer in the last.
        num_people: People with keypoints, those with a problem among them: as many as the batches hold.
        num_unmarked: People left out because they have no keypoint.
        num_other: Records left out because they are of another category.
    """

    path: Path
    format: str
    keypoint_set: str
    batch_size: int
    num_people: int
    num_unmarked: int
    num_other: int
    reader: CocoFile | MatFile | RecordList

    @property
    def source(self) -> str:
        """Name of the data set, to which HumanArt's rows of drawn people add ``'_virtual'``."""
        return self.reader.source.name

    def __iter__(self) -> Iterator[Annotations]:
        people = self.reader.people()
        while batch := list(islice(people, self.batch_size)):
            yield to_annotations(batch, self.reader.source)


def read_annotations(
    path: str | Path, format: str | None = None, batch_size: int = 8192, images: str | Path | None = None
) -> AnnotationFile:
    """Read the people of an annotation file.

    The whole file is walked through first, so that one that is malformed is refused before any of its people is given.
    A record that is bad has a ``problem`` instead, one of :data:`~.people.PROBLEMS` with details. Memory is bounded by
    the batch and the list of images, except for MATLAB files, which are small.

    - ``'coco'``, ``'coco_wholebody'`` (the body's keypoints), ``'ochuman'``, ``'humanart'``, ``'halpe'`` (26 or 136
      keypoints, the first 17), ``'crowdpose'``, ``'posetrack18'``, ``'aic'``: JSON in COCO's layout.
    - ``'aic'``: also AI Challenger's own JSON.
    - ``'mpii'``: MMPose's JSON or MPII's own ``.mat``.
    - ``'lsp'``, ``'lspet'``: their ``joints.mat``.
    - ``'coco_results'``: detections of COCO's keypoints.

    Args:
        path: The file.
        format: One of :data:`FORMATS`. Default: what the content tells.
        batch_size: People a batch.
        images: For detections without file names: COCO JSON that lists the images, or the folder that they are in, by
            name or number. Without meaning for the others.

    Raises:
        ValueError: If the file cannot be read, is cut short, not in the layout or of another format; names the file
            and the key or the record.
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f'format takes one of {FORMATS}, got {format!r}')
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f'batch_size takes a whole number of at least 1, got {batch_size!r}')
    path = Path(path)
    reader = _open(path, format, None if images is None else Path(images))
    told = reader.source
    if format not in (None, told.name):
        raise ValueError(f'{path}: format takes {told.name}, which the content is, got {format}')
    counts = reader.num_people, reader.num_unmarked, reader.num_other
    return AnnotationFile(path, told.name, told.keypoint_set, batch_size, *counts, reader)


def _open(path: Path, format: str | None, images: Path | None) -> CocoFile | MatFile | RecordList:
    if path.is_dir():
        raise ValueError(f'{path}: takes a file, is a folder')
    if path.suffix.lower() == '.mat':
        return MatFile(path)
    kind, first = first_record(path)
    if kind is dict:
        if format not in (None, *COCO_FORMATS):
            raise ValueError(f"{path}: format {format} takes {_layout(format)}, got a dict in COCO's layout")
        return CocoFile(path, format)
    for key, (reader, source) in RECORD_LISTS.items():
        if isinstance(first, dict) and key in first:
            return reader(path, source, images) if reader is ResultList else reader(path, source)
    raise ValueError(
        f"{path}: takes COCO's annotations, a list of records of MPII ('joints'), AI Challenger "
        f"('keypoint_annotations') or COCO results ('keypoints'), or a .mat file; got {first!r:.100}"
    )


def _layout(format: str) -> str:
    return 'a .mat file' if format in _MAT_FORMATS[1:] else 'a list of records'
