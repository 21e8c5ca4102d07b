# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures for the HTML viewer: a small H.264 video that scrubs quickly, or photographs as JPEG."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

KINDS = ('video', 'photos')
_MAX_FRAMES = {'video': 3000, 'photos': 300}
_JPEG_QUALITY = 85
# A browser decodes from the last keyframe: at most this many frames for one step of the timeline.
_CRF, _KEY_EVERY = 25, 10


class ViewerMedia:
    """What the viewer shows beside the 3D scene: one picture for each frame of a clip, in order.

    Frames are encoded as they come, so that only small encoded ones are kept.

    Args:
        kind: ``'video'`` for frames of one video, ``'photos'`` for photographs, of any sizes.
        max_size: Longer side of the embedded pictures in pixels; larger ones are reduced.
        max_frames: Further frames are left out, which bounds the page. Default: 3000 of a video, 300 photographs.

    Raises:
        ValueError: For another kind.
    """

    def __init__(self, kind: str = 'video', max_size: int = 960, max_frames: int | None = None) -> None:
        if kind not in KINDS:
            raise ValueError(f'kind: takes one of {KINDS}, got {kind!r}')
        self.kind = kind
        self.max_size = max_size
        self.max_frames = _MAX_FRAMES[kind] if max_frames is None else max_frames
        self.num_frames = 0
        self._folder = self._writer = None
        self._start = 0.0
        self._photos = []

    @property
    def full(self) -> bool:
        """Whether further frames are left out."""
        return self.num_frames >= self.max_frames

    def add(self, image: np.ndarray, time: float = 0.0) -> None:
        """Add the next frame; one too many is left out.

        Args:
            image: ``(H, W, 3)`` BGR uint8. A video's later frames take the size of the first.
            time: Seconds from the start, ascending; counts for a video only.

        Raises:
            ValueError: For another shape or type, or a time that is not later than the one before.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f'image: takes (H, W, 3) uint8, got {image.shape} {image.dtype}')
        if self.full:
            return
        if self.kind == 'video':
            self._add_to_video(image, time)
        else:
            photo = _resize(image, *_shown_size(image, self.max_size))
            self._photos.append(cv2.imencode('.jpg', photo, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes())
        self.num_frames += 1

    def files(self) -> list[bytes]:
        """One MP4 of all frames, or a JPEG for each; no frame can be added to a video after that."""
        if self.kind == 'photos':
            return self._photos
        if self._writer is None:
            return []
        self._writer.close()
        return [self._writer.path.read_bytes()]

    def _add_to_video(self, image: np.ndarray, time: float) -> None:
        from .video_writer import VideoWriter

        if self._writer is None:
            self._folder, self._start = tempfile.TemporaryDirectory(), time
            size = _shown_size(image, self.max_size, even=True)
            self._writer = VideoWriter(
                Path(self._folder.name) / 'viewer.mp4', *size, crf=_CRF, keyframe_every=_KEY_EVERY
            )
        self._writer.write(_resize(image, self._writer.width, self._writer.height), time - self._start)

    @classmethod
    def from_video(
        cls, path: str | Path, frame_numbers: Sequence[int] | np.ndarray, frame_times: Sequence[float], **options
    ) -> ViewerMedia:
        """Frames of a video file.

        Args:
            path: The video.
            frame_numbers: Which frames, from 0, ascending; a sequence's own.
            frame_times: Their times in seconds.
            options: ``max_size`` and ``max_frames``.

        Raises:
            ValueError: If the file is no video or ends before the last of these frames. Names the file.
        """
        import av

        media = cls('video', **options)
        wanted = dict(list(zip(map(int, frame_numbers), frame_times, strict=True))[: media.max_frames])
        if not wanted:
            return media
        try:
            with av.open(str(path)) as container:
                container.streams.video[0].thread_type = 'AUTO'
                for number, frame in enumerate(container.decode(video=0)):
                    if number in wanted:
                        # Phones film upright by a note in the file.
                        upright = np.rot90(frame.to_ndarray(format='bgr24'), round(frame.rotation / 90))
                        media.add(np.ascontiguousarray(upright), wanted[number])
                    if media.num_frames == len(wanted):
                        return media
        except (av.FFmpegError, IndexError) as error:
            raise ValueError(f'{path}: not a readable video: {error}') from error
        raise ValueError(f'{path}: has no frame {max(wanted)}, ends after {number + 1} frames')

    @classmethod
    def from_photos(cls, paths: Sequence[str | Path], **options) -> ViewerMedia:
        """Photographs, the right way up, as their EXIF data say.

        Args:
            paths: Image files in the order of the frames.
            options: ``max_size`` and ``max_frames``.

        Raises:
            ValueError: If one is no readable image. Names the file.
        """
        media = cls('photos', **options)
        for path in paths[: media.max_frames]:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise ValueError(f'{path}: not a readable image')
            media.add(image)
        return media


def _shown_size(image: np.ndarray, max_size: int, even: bool = False) -> tuple[int, int]:
    """Width and height, reduced; H.264 takes even ones."""
    height, width = image.shape[:2]
    shrink = min(1.0, max_size / max(width, height))
    step = 2 if even else 1
    return tuple(max(step, round(v * shrink / step) * step) for v in (width, height))


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    if image.shape[1::-1] == (width, height):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
