# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Frames of photographs, folders, videos, webcams and streams, read ahead in a thread."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from .image_files import IMAGE_SUFFIXES, read_image, read_image_size, unicode_name

_URL = re.compile(r'(rtsps?|rtmp|https?|udp|tcp)://', re.IGNORECASE)
_WEBCAM = re.compile(r'webcam(?::(\d+))?', re.IGNORECASE)
# Seconds to wait for the thread of a stream, which may be waiting for the network; it ends at the stream's timeout.
_STREAM_PATIENCE = 1.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a source.

    Attributes:
        image: ``(H, W, 3)`` uint8 BGR, the right way up; None where pixels were not asked for.
        number: Position in the source, from 0.
        time: Seconds from frame 0; photographs of a folder count one a second.
        name: File name of a photograph; else the source's name and the number.
        path: The photograph or the video file; None for webcams and streams.
        size: Width and height, pixels.
    """

    image: np.ndarray | None
    number: int
    time: float
    name: str
    path: Path | None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.size is None:
            object.__setattr__(self, 'size', self.image.shape[1::-1])


class _Reader(Protocol):
    """What a :class:`FrameSource` reads; its attributes are those of the source."""

    kind: str
    name: str
    path: Path | None
    width: int
    height: int
    frame_rate: float
    num_frames: int | None
    exact_count: bool
    warnings: list[str]
    size_changes: list[tuple[int, int, int]]

    def read(self, start: int, every: int) -> Iterator[Frame]:
        """Frames from ``start`` on whose numbers are multiples of ``every``."""

    def close(self) -> None:
        """Free what is open; no frame is read afterwards."""


class FrameSource:
    """Iterator of frames that are read in a thread, a bounded number ahead; made by :func:`open_frames`.

    Leaving the ``with`` block, or the last frame, ends the thread. What goes wrong in it is raised where the next
    frame is asked for.

    Attributes:
        kind: ``'image'``, ``'folder'``, ``'video'`` or ``'stream'`` (a webcam is one).
        name: Name of the file or folder without its suffix.
        path: The file or folder; None for webcams and streams.
        names: File names of photographs, in order; None for videos and streams.
        width: Pixels of the first frame as displayed.
        height: The same.
        frame_rate: Frames a second of the source, an average; 1 for photographs.
        num_frames: Frames of the whole source, whatever ``every`` and ``start`` are; None where nobody can know.
        exact_count: Whether ``num_frames`` is a count, as the file tells it, and no estimate from the duration.
        num_selected: How many of them ``every``, ``start`` and ``max_frames`` let through; None where unknown.
        warnings: One line for each thing wrong with the source, complete after the last frame.
        size_changes: ``(number, width, height)`` of each frame of a video whose size is not that of the one before.
    """

    def __init__(self, reader: _Reader, every: int, start: int, max_frames: int | None, prefetch: int):
        self._reader = reader
        self.kind, self.name, self.path = reader.kind, reader.name, reader.path
        self.names = getattr(reader, 'names', None)
        self.width, self.height, self.frame_rate = reader.width, reader.height, reader.frame_rate
        self.num_frames, self.exact_count = reader.num_frames, reader.exact_count
        self.warnings, self.size_changes = reader.warnings, reader.size_changes
        self.num_selected = max_frames
        if self.num_frames is not None:
            left = max(0, -(-self.num_frames // every) - -(-start // every))
            self.num_selected = left if max_frames is None else min(left, max_frames)
        self._ahead = _ReadAhead(reader, islice(reader.read(start, every), max_frames), prefetch)

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> FrameSource:
        return self

    def __next__(self) -> Frame:
        frame = self._ahead.get()
        if frame is None:
            self.close()
            raise StopIteration
        return frame

    def close(self) -> None:
        """End the thread and close the source; frames not yet asked for are dropped."""
        self._ahead.stop(_STREAM_PATIENCE if self.kind == 'stream' else None)

    def __del__(self) -> None:
        # Not set if the arguments were wrong.
        if hasattr(self, '_ahead'):
            self.close()


class _ReadAhead:
    """A thread that reads frames into a bounded queue; it starts when the first is asked for."""

    def __init__(self, reader: _Reader, frames: Iterator[Frame], size: int):
        self._reader, self._frames = reader, frames
        self._queue: queue.Queue[Frame | BaseException | None] = queue.Queue(size)
        self._stopped = threading.Event()
        # A daemon: a camera that never answers must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name='frames', daemon=True)
        self._closed = self._ended = False

    def get(self) -> Frame | None:
        """The next frame; None after the last."""
        if self._ended or self._closed:
            return None
        if self._thread.ident is None:
            self._thread.start()
        item = self._queue.get()
        if isinstance(item, BaseException):
            self._ended = True
            raise item
        self._ended = item is None
        return item

    def stop(self, patience: float | None) -> None:
        """End the thread, waiting for it for ``patience`` seconds, and close the reader."""
        if self._closed:
            return
        self._closed = True
        self._stopped.set()
        if self._thread.ident is None:
            self._reader.close()
            return
        # The thread puts one frame more at most, and there is room for it now.
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread.join(patience)

    def _run(self) -> None:
        end = None
        try:
            for frame in self._frames:
                if self._stopped.is_set():
                    return
                self._queue.put(frame)
        except BaseException as error:
            end = error
        finally:
            # Here and not in `stop`: nobody may close what another thread is reading.
            self._reader.close()
        if not self._stopped.is_set():
            self._queue.put(end)


def open_frames(
    source: str | Path,
    every: int = 1,
    start: int = 0,
    max_frames: int | None = None,
    prefetch: int = 16,
    pixels: bool = True,
) -> FrameSource:
    """Open photographs, a video, a webcam or a stream to read frames from.

    - An image, or a folder of images (``.jpg``, ``.png``, ``.webp``, …; other files are left alone) in natural order:
      ``2.jpg`` before ``10.jpg``. They are turned the right way up as EXIF says. An image of a folder that cannot be
      read is left out with a warning.
    - A video file that FFmpeg can decode, turned as its metadata say. Times are the file's own, so a variable frame
      rate is kept. A damaged file gives what frames it has, and warnings.
    - ``webcam:N``, or ``webcam`` for the first, through OpenCV. Times are those of arrival.
    - A stream: ``rtsp://``, ``http://``, ``https://``, ``udp://``, ``tcp://`` or ``rtmp://``.

    Example:
        >>> with open_frames('street.mp4', every=2) as frames:
        ...     for frame in frames:
        ...         print(frame.number, frame.time, frame.image.shape)

    Args:
        source: See above.
        every: N takes frames 0, N, 2N, …; the others are not converted.
        start: No frame before this number. Numbers, times and pixels are those of a reading from the start; files are
            read from the keyframe before it where that is certain, else from their start.
        max_frames: Frames to give at most.
        prefetch: Frames to read ahead at most, and so the memory that is taken.
        pixels: Whether images are needed. Where they are not, frames of a file whose index tells them all (MP4, MOV,
            Matroska) are not decoded, and their images are None.

    Raises:
        ValueError: If there is no such source, or it holds no frame that can be read; names it.
    """
    check_choice(every, start)
    if prefetch < 1:
        raise ValueError(f'prefetch: takes 1 or more, got {prefetch}')
    if max_frames is not None and max_frames < 1:
        raise ValueError(f'max_frames: takes 1 or more, or None for all, got {max_frames}')
    return FrameSource(_open_reader(source, pixels), every, start, max_frames, prefetch)


def check_choice(every: int, start: int) -> None:
    """Check which frames of a source are asked for; see :func:`open_frames`.

    Raises:
        ValueError: If one is too small, or no whole number.
    """
    for name, value, least in (('every', every, 1), ('start', start, 0)):
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f'{name}: takes a whole number of at least {least}, got {value}')


def _open_reader(source: str | Path, pixels: bool) -> _Reader:
    webcam = _WEBCAM.fullmatch(source) if isinstance(source, str) else None
    if webcam:
        return _WebcamReader(int(webcam[1] or 0))
    is_url = isinstance(source, str) and _URL.match(source)
    path = Path(source)
    if not is_url and path.is_dir():
        return _ImageReader.of_folder(path)
    if not is_url and not path.is_file():
        raise ValueError(
            f'{source}: no such file or folder; takes an image, a folder of images, a video, webcam:N or the URL of a '
            'stream'
        )
    if not is_url and path.suffix.lower() in IMAGE_SUFFIXES:
        return _ImageReader([path], 'image', path)
    from .video_frames import VideoReader  # av: only where it is needed

    return VideoReader(str(source), live=bool(is_url), pixels=pixels)


class _ImageReader:
    """Photographs; an image of a folder that cannot be read is left out, a single one is an error."""

    frame_rate = 1.0
    exact_count = True

    def __init__(self, paths: list[Path], kind: str, path: Path):
        self.paths, self.kind, self.path = paths, kind, path
        self.name = unicode_name(path.resolve().name if kind == 'folder' else path.stem)
        self.num_frames = len(paths)
        self.names = [unicode_name(image.name) for image in paths]
        self.warnings: list[str] = []
        self.size_changes: list[tuple[int, int, int]] = []
        self.width, self.height = self._first_size()

    @classmethod
    def of_folder(cls, folder: Path) -> _ImageReader:
        """The images of a folder, in natural order."""
        try:
            images = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
        except OSError as error:
            raise ValueError(f'{folder}: cannot be read: {error.strerror or error}') from error
        if not images:
            raise ValueError(f'{folder}: has no images; takes {", ".join(IMAGE_SUFFIXES)}')
        return cls(sorted(images, key=lambda path: _natural(path.name)), 'folder', folder)

    def close(self) -> None:
        """Nothing is open."""

    def read(self, start: int, every: int) -> Iterator[Frame]:
        """See :class:`_Reader`."""
        for number in range(-(-start // every) * every, self.num_frames, every):
            path = self.paths[number]
            try:
                image = read_image(path)
            except ValueError as error:
                if self.kind == 'image':
                    raise
                self.warnings.append(f'{error}; left out')
                continue
            yield Frame(image, number, float(number), self.names[number], path)

    def _first_size(self) -> tuple[int, int]:
        """Size of the first image whose header can be read."""
        for path in self.paths:
            try:
                return read_image_size(path)
            except ValueError as error:
                problem = error
        if self.kind == 'image':
            raise problem
        raise ValueError(f'{self.path}: none of its {self.num_frames} images can be read')


class _WebcamReader:
    """A webcam through OpenCV, which knows the drivers of each system."""

    kind, path, num_frames, exact_count = 'stream', None, None, False

    def __init__(self, index: int):
        self.name = f'webcam_{index}'
        self.warnings: list[str] = []
        self.size_changes: list[tuple[int, int, int]] = []
        self._capture = cv2.VideoCapture(index)
        grabbed, self._first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not grabbed:
            self._capture.release()
            raise ValueError(f'webcam:{index}: no such webcam, or it gives no picture')
        self.height, self.width = self._first.shape[:2]
        self.frame_rate = self._capture.get(cv2.CAP_PROP_FPS) or 30.0

    def close(self) -> None:
        """Free the webcam."""
        self._capture.release()

    def read(self, start: int, every: int) -> Iterator[Frame]:
        """See :class:`_Reader`."""
        image, number, began = self._first, 0, time.monotonic()
        while image is not None:
            if number >= start and number % every == 0:
                yield Frame(image, number, time.monotonic() - began, f'{self.name}_{number:06d}', None)
            number += 1
            image = self._capture.read()[1]
        self.warnings.append(f'{self.name}: no more pictures after {number}')


def _natural(name: str) -> tuple[list[tuple[bool, int | str]], str]:
    """Sorts ``2.jpg`` before ``10.jpg``."""
    pieces = [piece for piece in re.split(r'([0-9]+)', name.lower()) if piece]
    return [(piece[0] not in '0123456789', int(piece) if piece[0] in '0123456789' else piece) for piece in pieces], name
