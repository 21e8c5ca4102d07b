# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Writes the files of the shipped example."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from ..files import whole_file
from .clip_detections import clip_truth, imitate_clip_detections, see_clip
from .clip_render import ClipRenderer
from .example_clip import FRAME_RATE, NUM_FRAMES, clip_figures
from .example_scene import SCENES, imitate_detections, true_poses
from .scene_render import render_scene

_JPEG_QUALITY = 92
_H264 = {'crf': '19', 'preset': 'slower'}


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
    _write_records(out / 'detections.json', imitate_detections())
    yield out / 'detections.json'
    np.savez_compressed(out / 'truth.npz', **true_poses())
    yield out / 'truth.npz'
    for image_id, figures in enumerate(SCENES if pictures else (), start=1):
        path = out / f'{image_id:012d}.jpg'
        _, data = cv2.imencode('.jpg', render_scene(figures), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        path.write_bytes(data.tobytes())
        yield path


def write_clip(out: str | Path, video: bool = True, processes: int = 2) -> Iterator[Path]:
    """Write ``clip_keypoints.json`` (COCO results), ``clip_truth.npz`` and ``clip.mp4``; the same each time.

    Args:
        out: Folder, made if missing.
        video: Whether to draw the video too, some seconds a frame.
        processes: How many draw.

    Yields:
        Each file, when it is written.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    seen = see_clip()
    records, people = imitate_clip_detections(seen)
    _write_records(out / 'clip_keypoints.json', records)
    yield out / 'clip_keypoints.json'
    np.savez_compressed(out / 'clip_truth.npz', **clip_truth(seen, records, people))
    yield out / 'clip_truth.npz'
    if video:
        with multiprocessing.get_context('spawn').Pool(processes) as pool:
            encode_video(out / 'clip.mp4', pool.imap(draw_frame, range(NUM_FRAMES)), FRAME_RATE)
        yield out / 'clip.mp4'


@lru_cache(maxsize=1)
def _renderer() -> ClipRenderer:
    return ClipRenderer()


def draw_frame(index: int) -> np.ndarray:
    """Draw a frame of the clip, ``(360, 640, 3)`` BGR, uint8."""
    return _renderer().draw(clip_figures()[index])


def encode_video(path: str | Path, frames: Iterable[np.ndarray], frame_rate: float) -> None:
    """Write BGR frames ``(H, W, 3)``, uint8, of even size as H.264."""
    import av

    with whole_file(path) as temporary, av.open(str(temporary), 'w', options={'movflags': '+faststart'}) as container:
        stream = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream('libx264', rate=round(frame_rate), options=_H264)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = 'yuv420p'
                # Encoded by one thread, it is the same each time.
                stream.codec_context.thread_count = 1
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='bgr24')))
        container.mux(stream.encode())


def _write_records(path: Path, records: list[dict]) -> None:
    lines = [json.dumps(record) for record in records]
    path.write_text('[\n' + ',\n'.join(lines) + '\n]\n', encoding='utf-8')
