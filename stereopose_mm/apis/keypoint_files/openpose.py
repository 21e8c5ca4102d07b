# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""OpenPose's JSON files, and AlphaPose's in the layouts of OpenPose and CMU-Pose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .joint_orders import OPENPOSE_COUNTS, openpose_to_coco
from .keypoint_file import frame_number
from .people_table import Gathering, PeopleTable

# OpenPose's, an older version's, and CMU-Pose's as AlphaPose writes it.
_KEYPOINTS = ('pose_keypoints_2d', 'pose_keypoints', 'joints')


def is_openpose(data: Any) -> bool:
    """Whether it is the content of a file of one frame."""
    return isinstance(data, dict) and ('people' in data or 'bodies' in data)


def is_openpose_by_image(data: Any) -> bool:
    """Whether it is AlphaPose's one file of all images, ``{image: content of a frame}``."""
    return isinstance(data, dict) and bool(data) and all(is_openpose(frame) for frame in data.values())


def read_openpose(frames: Iterable[tuple[str, str | None, Any]], first_frame: int = 0) -> PeopleTable:
    """People of OpenPose's frames.

    The layout is that of OpenPose's ``doc/02_output.md``: ``{people: [{pose_keypoints_2d, person_id}]}``, x, y and a
    score of each keypoint in pixels (``--keypoint_scale 0``). A keypoint at (0, 0) is missing.

    Args:
        frames: What each is called in messages, its name (None for a lone image), and the content of its file.
        first_frame: The number in the name of a video's first frame.

    Raises:
        ValueError: For what is no such content; says which frame and person.
    """
    found = Gathering()
    for where, name, data in frames:
        found.add_frame(where, 0 if name is None else frame_number(name, first_frame), name)
        if not is_openpose(data):
            raise ValueError(f'{where}: takes a dict with people')
        people = data['people'] if 'people' in data else data['bodies']
        if not isinstance(people, list):
            raise ValueError(f'{where}: people: takes a list')
        for person in people:
            _add_person(found, where, person)
    count = found.length_of_keypoints([3 * n for n in OPENPOSE_COUNTS], 'values (BODY_25, COCO or MPI)') // 3
    values = found.stack('keypoints', found.keypoints, (3 * count,)).reshape(-1, count, 3)
    values[(values[..., :2] == 0).all(-1), 2] = 0
    seen = values[values[..., 2] > 0][:, :2]
    if len(seen) and (np.abs(seen) <= 1).all():
        raise ValueError('keypoints: these are scaled to the image; have OpenPose write pixels, --keypoint_scale 0')
    values = openpose_to_coco(values)
    return found.table(values[..., :2], values[..., 2])


def _add_person(found: Gathering, where: str, person: Any) -> None:
    keys = [key for key in _KEYPOINTS if key in person] if isinstance(person, dict) else []
    if not keys:
        has = sorted(person) if isinstance(person, dict) else type(person).__name__
        raise ValueError(f'{where}: a person takes pose_keypoints_2d, has {has}')
    if person[keys[0]]:  # empty where only a face or a hand was found
        found.add(person[keys[0]], track=person.get('person_id'))
