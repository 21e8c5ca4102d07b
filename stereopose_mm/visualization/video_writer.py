# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Writing H.264 videos, encoded in a thread, and joining their parts without encoding again."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from ..files import whole_file

# Ticks a second, the clock of MPEG: whole for 24, 25, 30, 50, 60 and 100 frames a second.
_TICKS = 90000
_TIME_BASE = Fraction(1, _TICKS)
# The movie's own clock, in which the start of a part is written, counts milliseconds by default.
_CONTAINER_OPTIONS = {'movflags': '+faststart', 'movie_timescale': str(_TICKS)}
# A keyframe every so many frames, so that scrubbing in a browser is quick.
_KEYFRAMES = 30
# Frames that may wait for the encoder.
_WAITING = 8
_DEFAULT_RATE = 25.0
# Part of all presets but 'ultrafast', where even grounds would show stains and edges of blocks.
_KIND_TO_EVEN_GROUNDS = {'aq-mode': '1', 'deblock': '0:0'}
# Colours as OpenCV reads them from any video: BT.601, said so for players that would take BT.709 for larger pictures.
_MATRIX, _PRIMARIES, _TRANSFER = Colorspace.ITU601, 1, 1
# Videos keep U and V within 16 to 240, OpenCV's Cb and Cr are within 0 to 255; 128 is grey in both.
_CHROMA_RANGE = 224 / 255


class VideoWriter:
    """Writes an MP4 with H.264 that browsers, OpenCV and editors play: yuv420p, its index at the front.

    The file appears when :meth:`close` has succeeded or the ``with`` block is left without an error; else nothing is
    left behind. A part of a video keeps its times: the first may be later than 0; see :func:`concatenate_videos`.

    Example:
        >>> with VideoWriter('out.mp4', 1280, 720, frame_rate=30) as video:
        ...     video.write(image)

    Args:
        path: The file; one that is there is replaced.
        width: Pixels. An odd width or height is made even by repeating the last column or row.
        height: Pixels.
        frame_rate: Frames a second where :meth:`write` is given no times; 25 by default. It also tells for how long
            the last frame is shown.
        crf: Quality of libx264, 0 to 51; lower is better and larger.
        preset: Speed of libx264, ``'ultrafast'`` to ``'placebo'``.
        threads: Of the encoder; 0 for as many as suit the machine.
        keyframe_every: Frames from one keyframe to the next at most: few let a browser scrub quickly.

    Raises:
        ValueError: If an argument is wrong.
        OSError: If the file cannot be written; names it. :meth:`write` and :meth:`close` raise it too, also for what
            went wrong in the thread since.
    """

    def __init__(
        self,
        path: str | Path,
        width: int,
        height: int,
        frame_rate: float | None = None,
        crf: int = 20,
        preset: str = 'veryfast',
        threads: int = 0,
        keyframe_every: int = _KEYFRAMES,
    ):
        self.path, self.width, self.height = Path(path), width, height
        self.frame_rate = float(frame_rate or _DEFAULT_RATE)
        if width < 1 or height < 1 or self.frame_rate <= 0:
            raise ValueError(
                f'{path}: takes positive width, height and frame rate, got {width}, {height}, {frame_rate}'
            )
        if not 0 <= crf <= 51:
            raise ValueError(f'crf: takes 0 to 51, got {crf}')
        self.num_frames = 0
        self._last = -1
        self._error: BaseException | None = None
        self._queue: queue.Queue[tuple[np.ndarray, int] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name='video', daemon=True)
        self._stack, self._closed = ExitStack(), False
        try:
            with _named_errors(self.path):
                self._container = self._stack.enter_context(_new_mp4(self.path))
                self._stream = self._add_stream(crf, preset, threads, keyframe_every)
                self._container.start_encoding()
        except BaseException as error:
            self._abort(error)
            raise
        self._thread.start()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if error is None:
            self.close()
        else:
            self._abort(error)

    def write(self, image: np.ndarray, time: float | None = None) -> None:
        """Add a frame; it waits only where the encoder is more than a few frames behind.

        Args:
            image: ``(height, width, 3)`` uint8 BGR. It may be changed afterwards.
            time: When it is shown, seconds, later than the frame before by 1/90000 s at least. Default: one step of
                ``frame_rate`` after it.

        Raises:
            ValueError: If the image or the time is wrong.
            OSError: If a frame before could not be written.
        """
        self._check_thread()
        if self._closed:
            raise ValueError(f'{self.path}: is closed, takes no more frames')
        if image.shape != (self.height, self.width, 3) or image.dtype != np.uint8:
            takes = f'({self.height}, {self.width}, 3) uint8'
            raise ValueError(f'{self.path}: frame {self.num_frames}: takes {takes}, got {image.shape} {image.dtype}')
        ticks = self._next_ticks() if time is None else round(time * _TICKS)
        if ticks <= self._last:
            raise ValueError(
                f'{self.path}: frame {self.num_frames}: takes a time after {self._last / _TICKS:g} s, got {time:g} s'
                if self._last >= 0
                else f'{self.path}: frame 0: takes a time of 0 s or later, got {time:g} s'
            )
        # Its colours are converted in the thread, as they take a third of the encoding's time.
        self._queue.put((image.copy(), ticks))
        self._last = ticks
        self.num_frames += 1

    def close(self) -> None:
        """Encode what waits and put the file in its place.

        Raises:
            OSError: If it could not be written; nothing is left behind then.
            ValueError: If it has no frames.
        """
        if self._closed:
            return
        try:
            self._end_thread()
            self._check_thread()
            if not self.num_frames:
                raise ValueError(f'{self.path}: no frame was written')
            with _named_errors(self.path):
                self._stack.close()
        except BaseException as error:
            self._abort(error)
            raise
        self._closed = True

    def _add_stream(self, crf: int, preset: str, threads: int, keyframe_every: int) -> av.VideoStream:
        # Without B-frames frames are stored in the order of their times, so that parts join without a seam.
        options = {'crf': str(crf), 'preset': preset, 'bf': '0', **_KIND_TO_EVEN_GROUNDS}
        rate = Fraction(self.frame_rate).limit_denominator(1001)
        stream = self._container.add_stream('libx264', rate=rate, options=options)
        stream.width, stream.height = self.width + self.width % 2, self.height + self.height % 2
        stream.pix_fmt = 'yuv420p'
        codec = stream.codec_context
        stream.time_base = codec.time_base = _TIME_BASE
        codec.gop_size, codec.thread_count = keyframe_every, threads
        codec.colorspace, codec.color_range = int(_MATRIX), int(ColorRange.MPEG)
        codec.color_primaries, codec.color_trc = _PRIMARIES, _TRANSFER
        return stream

    def _next_ticks(self) -> int:
        step = _TICKS / self.frame_rate
        # From the number of the step: rounding must not add up.
        return 0 if self._last < 0 else round((round(self._last / step) + 1) * step)

    def _run(self) -> None:
        """Encode what :meth:`write` gives until None comes; nothing more after an error."""
        waiting = self._queue.get()
        while waiting is not None:
            self._encode(*waiting)
            waiting = self._queue.get()
        self._encode()

    def _encode(self, image: np.ndarray | None = None, ticks: int = 0) -> None:
        """Encode a frame, or what the encoder holds back; an error is kept for the caller."""
        if self._error is not None:
            return
        try:
            for packet in self._stream.encode(None if image is None else self._picture(image, ticks)):
                self._container.mux(packet)
        except BaseException as error:
            self._error = error

    def _picture(self, image: np.ndarray, ticks: int) -> av.VideoFrame:
        if self.width % 2 or self.height % 2:
            image = cv2.copyMakeBorder(image, 0, self.height % 2, 0, self.width % 2, cv2.BORDER_REPLICATE)
        picture = av.VideoFrame.from_ndarray(_to_yuv420(image), format='yuv420p')
        picture.pts, picture.time_base = ticks, _TIME_BASE
        picture.duration = round(_TICKS / self.frame_rate)
        return picture

    def _end_thread(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _check_thread(self) -> None:
        if self._error is not None:
            with _named_errors(self.path):
                raise self._error

    def _abort(self, error: BaseException) -> None:
        """End the thread and delete what was written."""
        self._closed = True
        self._error = self._error or error
        self._end_thread()
        # The trailer of a file that could not be written cannot be written either.
        with suppress(OSError, ValueError), self._stack:
            raise error


def concatenate_videos(parts: Sequence[str | Path], path: str | Path) -> None:
    """Join the parts of a video that :class:`VideoWriter` wrote, with the same settings and times that go on.

    Nothing is encoded again: frames and times are those of a video written in one go.

    Args:
        parts: The files, in their order.
        path: The file to write; one that is there is replaced.

    Raises:
        ValueError: If there are no parts, or one cannot be read, has other settings or starts before the end of the
            one before it; names it.
        OSError: If the file cannot be written; names it.
    """
    if not parts:
        raise ValueError(f'{path}: takes one part or more, got none')
    with _named_errors(path), _new_mp4(path) as container:
        stream, settings, last = None, None, -1
        for part in parts:
            with _open_part(part) as source:
                track = source.streams.video[0]
                if stream is None:
                    stream, settings = container.add_stream_from_template(track), _settings(track)
                if _settings(track) != settings:
                    raise ValueError(f'{part}: takes a video with the size and settings of {parts[0]}')
                for packet in source.demux(track):
                    if not packet.size:
                        continue
                    if packet.pts <= last:
                        raise ValueError(f'{part}: starts at {packet.pts / _TICKS:g} s, within the part before it')
                    last = packet.pts
                    packet.stream = stream
                    container.mux(packet)


@contextmanager
def _open_part(path: str | Path) -> Iterator[av.container.InputContainer]:
    """A video of H.264 without B-frames in this module's ticks."""
    try:
        container = av.open(f'file:{path}', format='mp4')
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f'{path}: no readable part of a video: {error.strerror}') from error
    with container:
        track = next(iter(container.streams.video), None)
        if track is None or (track.codec_context.name, track.time_base) != ('h264', _TIME_BASE):
            raise ValueError(f'{path}: takes a video that VideoWriter wrote')
        yield container


def _settings(track: av.VideoStream) -> tuple[int, int, bytes]:
    return track.codec_context.width, track.codec_context.height, bytes(track.codec_context.extradata or b'')


@contextmanager
def _new_mp4(path: str | Path) -> Iterator[av.container.OutputContainer]:
    """A container that becomes the file when all went well."""
    with whole_file(path) as temporary:
        with av.open(f'file:{temporary}', 'w', format='mp4', options=_CONTAINER_OPTIONS) as container:
            yield container


@contextmanager
def _named_errors(path: str | Path) -> Iterator[None]:
    """Errors of FFmpeg and of the system as OSError with the file's name."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f'cannot be written: {error.strerror or error}', str(path)) from error


def _to_yuv420(image: np.ndarray) -> np.ndarray:
    """Planes Y, U and V ``(H · 3 / 2, W)`` of a BGR image of even size; four times as fast as FFmpeg's own.

    OpenCV takes the colour of every second pixel; here it is the mean of four, so that thin lines keep theirs.
    """
    planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    _, red, blue = cv2.split(cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb))
    u, v = planes.reshape(-1)[height * width :].reshape(2, height // 2, width // 2)
    for chroma, plane in ((blue, u), (red, v)):
        cv2.convertScaleAbs(chroma, plane, _CHROMA_RANGE, 128 * (1 - _CHROMA_RANGE))
    return planes
