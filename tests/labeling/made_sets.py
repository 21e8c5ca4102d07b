# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Annotation files of walking people, some of them bad, and what commands make of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from ..made_sequence import make_sequence
from .annotation_files.made_files import coco

# COCO-17 of H36M-17: the joint, or two joints and how far it is on the way to the second.
_FACE = {0: (9, 10, 0.0), 1: (9, 10, 0.3), 2: (9, 10, 0.3), 3: (10, 9, 0.4), 4: (10, 9, 0.4)}
_LIMBS = dict(zip(range(5, 17), (11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3), strict=True))


def walker_keypoints(num: int) -> np.ndarray:
    """``(num, 17, 2)`` pixels of walkers, COCO-17."""
    pixels = make_sequence(2, -(-num // 2)).keypoints_2d[:num].astype(np.float64)
    keypoints = np.empty_like(pixels)
    for target, joint in _LIMBS.items():
        keypoints[:, target] = pixels[:, joint]
    for target, (start, end, way) in _FACE.items():
        keypoints[:, target] = (1 - way) * pixels[:, start] + way * pixels[:, end]
    return keypoints


def write_walkers(path: Path, num: int, first: int = 1, folder: str = '') -> Path:
    """A COCO file of ``num`` walkers, two on each image of 1280 x 720, ids from ``first``."""
    records, images = [], []
    for row, keypoints in enumerate(walker_keypoints(num)):
        image = (first + row) // 2
        low, high = keypoints.min(0), keypoints.max(0)
        flat = np.concatenate([keypoints, np.full((17, 1), 2)], 1).round(2).ravel().tolist()
        records.append(
            dict(
                id=first + row, image_id=image, category_id=1, iscrowd=0, keypoints=flat, num_keypoints=17,
                bbox=[*low.round(2), *(high - low).round(2)],
            )
        )  # fmt: skip
        if not images or images[-1]['id'] != image:
            images.append(dict(id=image, file_name=f'{folder}{image:06d}.jpg', width=1280, height=720))
    path.write_text(json.dumps(coco(records, images=images)))
    return path


def checksums(folder: Path) -> dict[str, str]:
    """Of all files of a set."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }
