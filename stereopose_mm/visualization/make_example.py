# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Writes the files of the shipped example."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from .example_scene import SCENES, imitate_detections, true_poses
from .scene_render import render_scene

_JPEG_QUALITY = 92


def write_example(out: str | Path, pictures: bool = True) -> Iterator[Path]:
    """Write ``detections.json`` (COCO results), ``truth.npz`` and the pictures; the same each time.

    Args:
        out: Folder, made if missing.
        pictures: Whether to draw the pictures too, about a minute each.

    Yields:
        Each file, when it is written.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    records = [json.dumps(record) for record in imitate_detections()]
    (out / 'detections.json').write_text('[\n' + ',\n'.join(records) + '\n]\n', encoding='utf-8')
    yield out / 'detections.json'
    np.savez_compressed(out / 'truth.npz', **true_poses())
    yield out / 'truth.npz'
    for image_id, figures in enumerate(SCENES if pictures else (), start=1):
        path = out / f'{image_id:012d}.jpg'
        _, data = cv2.imencode('.jpg', render_scene(figures), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        path.write_bytes(data.tobytes())
        yield path
