# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""AlphaPose's JSON file."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..image_files import IMAGE_SUFFIXES
from .joint_orders import COCO_FIRST_COUNTS
from .keypoint_file import frame_number
from .people_table import Gathering, PeopleTable

# A person's score is the mean score of the keypoints, plus that of the box, plus 1.25 times the best keypoint's.
_MAX_SCORE = 3.25


def is_alphapose(data: Any) -> bool:
    """Whether it is a list in AlphaPose's layout, not in that of COCO results, which is close to it."""
    first = data[0] if isinstance(data, list) and data else None
    if not isinstance(first, dict) or 'image_id' not in first or not isinstance(first.get('keypoints'), list):
        return False
    image, count = first['image_id'], len(first['keypoints'])
    is_file = isinstance(image, str) and image.lower().endswith(IMAGE_SUFFIXES)
    return is_file or 'box' in first or 'idx' in first or count in [3 * n for n in COCO_FIRST_COUNTS[1:]]


def read_alphapose(data: Any, first_frame: int = 0) -> PeopleTable:
    """People of AlphaPose's results.

    The layout is that of AlphaPose's ``docs/output.md`` and ``alphapose/utils/pPose_nms.py``: a list of ``{image_id,
    category_id, keypoints, score, box, idx}``, with x, y and a score of 17 (COCO), 26 or 136 (Halpe) keypoints. Images
    of a video are ``'0.jpg'``, ``'1.jpg'``, …; the box is left, top, width and height; ``idx`` is the track. Scores of
    keypoints are clipped to 1, which older models exceed, and those of people, up to 3.25, are scaled to 1.

    Args:
        data: The content of the file.
        first_frame: The number in the name of a video's first frame.

    Raises:
        ValueError: For what is no such content; says which image and person, or which record.
    """
    if not isinstance(data, list):
        raise ValueError("takes a list of AlphaPose's results")
    found, rows = Gathering(), {}
    for index, record in enumerate(data):
        image = record.get('image_id') if isinstance(record, dict) else None
        if type(image) not in (str, int) or image == '' or 'keypoints' not in record:
            raise ValueError(f'record {index}: takes a dict with image_id and keypoints')
        if record.get('category_id', 1) != 1:
            found.num_other += 1
            continue
        image = str(image)
        if image not in rows:
            rows[image] = found.add_frame(f'image {image}', frame_number(image, first_frame), image)
        box, score = record.get('box'), record.get('score')
        found.add(record['keypoints'], None, box or None, score, record.get('idx'), rows[image])
    count = found.length_of_keypoints([3 * n for n in COCO_FIRST_COUNTS], 'values') // 3
    values = found.stack('keypoints', found.keypoints, (3 * count,)).reshape(-1, count, 3)[:, :17]
    boxes, scores = found.boxes('box'), found.box_scores('score')
    boxes[:, 2:] += boxes[:, :2]
    return found.table(values[..., :2], values[..., 2].clip(max=1), boxes, np.clip(scores / _MAX_SCORE, 0, 1))
