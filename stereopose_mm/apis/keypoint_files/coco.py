# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""COCO results, COCO annotations and NPZ arrays, frame by frame."""

from __future__ import annotations

from dataclasses import replace

from ..detections import Detections
from .keypoint_file import frame_number
from .people_table import Gathering, PeopleTable


def group_detections(found: Detections, first_frame: int = 0) -> tuple[PeopleTable, bool]:
    """People of a file for :func:`~stereopose_mm.apis.detections.read_detections`, by frame.

    The frame is told by ``frame``, else by ``image_id``, a number, or by the number at the end of a name. People of
    whom the file says nothing of this kind are each on a frame of their own, in their order.

    Args:
        found: The people.
        first_frame: The number that an id or a name has for a video's first frame.

    Returns:
        The people, and whether they have ids of images.

    Raises:
        ValueError: If only some say where they are.
    """
    keys = list(zip(found.frames, found.image_ids, found.file_names, strict=True))
    lost = [key == (None, None, None) for key in keys]
    if any(lost) and not all(lost):
        raise ValueError(f'record {found.records[lost.index(True)]}: has neither image_id nor file_name')
    gathering, rows = Gathering(), {}
    for index, key in enumerate(keys):
        if lost[index]:
            key = (found.records[index], None, None)
        if key not in rows:
            rows[key] = gathering.add_frame(*_frame(*key, first_frame))
        track = found.tracks[index]
        gathering.add(None, bbox_score=found.person_scores[index], track=track, frame=rows[key])
    table = gathering.table(found.keypoints, found.scores, found.bboxes, gathering.box_scores('score'))
    table = replace(table, num_empty=found.num_empty, num_other=found.num_other)
    return table, any(image_id is not None for image_id in found.image_ids)


def _frame(
    frame: int | None, image_id: int | str | None, file_name: str | None, first_frame: int
) -> tuple[str, int | None, str | None]:
    """What the frame is called in messages, its number, and its name."""
    name = image_id if file_name is None and isinstance(image_id, str) else file_name
    where = f'frame {frame}' if image_id is None and name is None else f'image {image_id if name is None else name}'
    if frame is None:
        frame = frame_number(str(image_id) if isinstance(image_id, int) else name, first_frame)
    return where, frame, name
