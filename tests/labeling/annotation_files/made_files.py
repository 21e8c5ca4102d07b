# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Small annotation files in the layouts of data sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.io import savemat

from stereopose_mm.labeling.annotation_files import SOURCES


def person(num: int = 17, flag: int = 2, first: float = 100.0) -> list:
    """Keypoints k = 0 … at (first + k, first + 2k), all with one flag."""
    return [value for k in range(num) for value in (first + k, first + 2 * k, flag)]


def record(number: int, **changes: object) -> dict:
    """A good annotation in COCO's layout; keys that are changed to None are left out."""
    entry = {
        'id': number, 'image_id': 1, 'category_id': 1, 'bbox': [90, 90, 60, 80], 'iscrowd': 0, 'num_keypoints': 17,
        'keypoints': person(),
    }  # fmt: skip
    return {key: value for key, value in {**entry, **changes}.items() if value is not None}


def coco(annotations: list, names: tuple | None = SOURCES['coco'].keypoints, **changes: object) -> dict:
    """A file's content in COCO's layout, with one image of 640 x 480."""
    content = {
        'info': {},
        'images': [{'id': 1, 'file_name': 'a/one.jpg', 'width': 640, 'height': 480}],
        'annotations': annotations,
        'categories': [{'id': 1, 'name': 'person', **({} if names is None else {'keypoints': list(names)})}],
    }
    return {key: value for key, value in {**content, **changes}.items() if value is not None}


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def write_mpii_mat(path: Path, images: list[tuple[str, int, list[dict]]]) -> Path:
    """MPII's release: name, img_train and people of each image.

    A person has ``points``, (id, x, y, is_visible) each, or None where its image is a test image's, ``objpos`` and
    ``scale``.
    """
    point_type = [(name, object) for name in ('x', 'y', 'id', 'is_visible')]
    annolist = np.empty((1, len(images)), dtype=[('image', object), ('annorect', object)])
    for row, (name, _, people) in enumerate(images):
        rects = np.empty((1, len(people)), dtype=[(n, object) for n in ('x1', 'annopoints', 'scale', 'objpos')])
        for column, one in enumerate(people):
            annopoints = np.zeros((0, 0))
            if one['points'] is not None:
                points = np.empty((1, len(one['points'])), dtype=point_type)
                for k, (index, x, y, visible) in enumerate(one['points']):
                    points[0, k] = (x, y, index, np.zeros((0, 0)) if visible is None else visible)
                annopoints = {'point': points}
            rects[0, column] = (10.0, annopoints, one['scale'], {'x': one['objpos'][0], 'y': one['objpos'][1]})
        annolist[0, row] = ({'name': name}, rects if people else np.zeros((0, 0)))
    training = np.array([[flag for _, flag, _ in images]], np.uint8)
    savemat(path, {'RELEASE': {'annolist': annolist, 'img_train': training, 'version': '12'}})
    return path
