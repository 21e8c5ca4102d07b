# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Frames of video files and network streams, decoded by FFmpeg through PyAV."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
from av.video.frame import PictureType

from .frame_source import Frame
from .image_files import unicode_name

# Cover pictures of music files are video tracks with this mark.
_ATTACHED_PICTURE = 0x400
# Seconds that a stream may take to open, and then be silent.
_STREAM_TIMEOUT = (10.0, 10.0)
_DEFAULT_RATE = 25.0
# Containers with one picture size and a time stamp for each frame.
_INDEXED = ('mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm')
# These would have FFmpeg open other files.
_PLAYLISTS = (b'#EXTM3U', b'ffconcat')


class VideoReader:
    """Reads one video track; the other tracks are left alone.

    A frame's number is the rank of its time stamp among those of the file's packets, so a frame that cannot be decoded
    leaves a gap and moves no other. Where time stamps are missing or repeated, and for interlaced video, frames are
    counted as they are decoded.

    Args:
        source: A file, or the URL of a stream.
        live: Whether ``source`` is a stream: it is read once, without seeking, and ends at its first silence.
        pixels: Whether images are needed; without them, a file whose index tells its frames is not decoded.

    Raises:
        ValueError: If it has no video track, or not one frame can be decoded; names the file.
    """

    def __init__(self, source: str, live: bool = False, pixels: bool = True):
        self.source, self.live, self.pixels = source, live, pixels
        self.kind = 'stream' if live else 'video'
        self.path = None if live else Path(source)
        url = urlsplit(source) if live else None
        name = self.path.stem if url is None else PurePosixPath(url.path).stem or url.hostname or 'stream'
        self.name = unicode_name(name)
        self.warnings: list[str] = []
        self.size_changes: list[tuple[int, int, int]] = []
        self._container = self._open()
        try:
            self._describe()
        except BaseException:
            self._container.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def read(self, start: int, every: int) -> Iterator[Frame]:
        """Frames from number ``start`` on whose numbers are multiples of ``every``; the others are not converted."""
        times = None if self.pixels else self._times_of_packets()
        if times is not None:
            size = (self.width, self.height)
            for number in range(-(-start // every) * every, len(times), every):
                yield Frame(None, number, times[number], f'{self.name}_{number:06d}', self.path, size)
            return
        size = (self.width, self.height)
        for picture, number, time in self._timed(self._pictures_from(start)):
            if number < start:
                continue
            turned = _size(picture)
            if turned != size:
                size = turned
                self.size_changes.append((number, *size))
                self.warnings.append(f'{self.source}: from frame {number} on, frames are {size[0]} x {size[1]} pixels')
            if number % every == 0:
                yield Frame(_to_bgr(picture), number, time, f'{self.name}_{number:06d}', self.path)

    def _times_of_packets(self) -> list[float] | None:
        """Seconds of all frames; None where only decoding tells them."""
        if self.live or self._container.format.name not in _INDEXED or not self._ranks.ranked:
            return None
        with self._open() as scan:
            packets = [packet for packet in scan.demux(scan.streams[self._index]) if packet.size]
        if any(packet.pts is None for packet in packets):
            return None
        stamps = sorted(p.pts for p in packets if p.pts >= self._first_pts and not p.is_discard)
        if len(set(stamps)) < len(stamps):
            return None
        return [float((pts - self._first_pts) * self._time_base) for pts in stamps]

    def _open(self) -> av.container.InputContainer:
        """The container; local files are never taken for URLs, playlists or text art."""
        try:
            if self.live:
                options = {'rtsp_transport': 'tcp'} if self.source.startswith('rtsp') else {}
                return av.open(self.source, timeout=_STREAM_TIMEOUT, options=options)
            with open(self.path, 'rb') as file:
                head = file.read(8)
            if not head or head.startswith(_PLAYLISTS):
                problem = 'a playlist is not followed' if head else 'the file is empty'
                raise ValueError(f'{self.source}: no readable video: {problem}')
            container = av.open(f'file:{self.source}', options={'protocol_whitelist': 'file'})
        except av.error.FFmpegError as error:
            is_mp4 = not self.live and head[4:] == b'ftyp'
            hint = '; its index (moov) is missing or broken: was the recording cut off?' if is_mp4 else ''
            raise ValueError(f'{self.source}: no readable video: {_reason(error)}{hint}') from error
        except OSError as error:
            raise ValueError(f'{self.source}: cannot be read: {error.strerror or error}') from error
        if container.format.name == 'tty':
            container.close()
            raise ValueError(f'{self.source}: no readable video: it is a text')
        return container

    def _describe(self) -> None:
        """Decode the first frame, which tells size and start; :meth:`read` gives it again."""
        tracks = [s for s in self._container.streams.video if not int(s.disposition) & _ATTACHED_PICTURE]
        if not tracks:
            raise ValueError(f'{self.source}: has no video track')
        track = tracks[0]
        self._index, self._time_base = track.index, track.time_base
        self.frame_rate = float(track.average_rate or track.guessed_rate or _DEFAULT_RATE)
        self._promised, self._duration = track.frames, _duration(self._container, track)
        self.exact_count = track.frames > 0
        estimate = None if self.live or not self._duration else round(self._duration * self.frame_rate)
        self.num_frames = track.frames or estimate or None
        self._ranks = _Ranks()
        self._pictures = self._decode(self._container, self._ranks)
        first = next(self._pictures, None)
        if first is None:
            raise ValueError(f'{self.source}: not one frame can be decoded')
        self.width, self.height = _size(first.picture)
        self._first_pts = first.picture.pts
        self._pictures = _chain(first, self._pictures)

    def _decode(self, container: av.container.InputContainer, ranks: _Ranks, keyframe=None) -> Iterator[_Numbered]:
        """Decoded frames and their numbers; a frame that cannot be decoded is left out."""
        track = container.streams[self._index]
        track.thread_type = 'AUTO'
        waiting = keyframe is not None
        for packet in self._packets(container, track):
            # A seek may land on an earlier keyframe.
            waiting = waiting and packet is not None and packet.pts != keyframe.pts
            if waiting:
                continue
            if packet is not None:
                ranks.sent(packet)
            try:
                pictures = track.decode(packet)
            except av.error.InvalidDataError:
                ranks.failed += 1
                continue
            for picture in pictures:
                number = ranks.number_of(picture)
                if number is not None:
                    yield _Numbered(picture, number)
        self._warn_of_losses(ranks)

    def _packets(self, container: av.container.InputContainer, track: av.VideoStream) -> Iterator[av.Packet | None]:
        """The packets of a track, then None, which makes the decoder give what it holds back."""
        try:
            for packet in container.demux(track):
                if packet.size:
                    yield packet
        except av.error.FFmpegError as error:
            self.warnings.append(f'{self.source}: reading stopped: {_reason(error)}')
        yield None

    def _warn_of_losses(self, ranks: _Ranks) -> None:
        lost = ranks.lost + len(ranks.pending) if ranks.ranked else ranks.failed
        if lost:
            self.warnings.append(f'{self.source}: {lost} frames could not be decoded')
        read = ranks.next + len(ranks.pending) * ranks.ranked
        if read + ranks.discarded < self._promised:
            self.warnings.append(f'{self.source}: the file promises {self._promised} frames, {read} were read')
        elif not self._promised and not self.live and self._duration:
            promised = round(self._duration * self.frame_rate)
            # The promise is an estimate: a second, or a twentieth of the video, may be its error.
            if promised - read > max(self.frame_rate, 0.05 * promised):
                self.warnings.append(f'{self.source}: the file promises about {promised} frames, {read} were read')

    def _timed(self, pictures: Iterator[_Numbered]) -> Iterator[tuple[av.VideoFrame, int, float]]:
        """Frames with numbers and seconds from the first frame; seconds always grow."""
        last, step = None, 1 / self.frame_rate
        for picture, number in pictures:
            if picture.pts is None or self._first_pts is None:
                time = number * step if last is None else last + step
            else:
                time = float((picture.pts - self._first_pts) * self._time_base)
            if last is not None and time <= last:
                time = last + step / 2
            last = time
            yield picture, number, time

    def _pictures_from(self, start: int) -> Iterator[_Numbered]:
        """Frames from the last keyframe at or before number ``start``, or all where that would not be exact."""
        if start > 0 and not self.live and self._ranks.ranked:
            with self._open() as scan:
                keyframe = _find_keyframe(scan.demux(scan.streams[self._index]), start, self._first_pts)
            if keyframe is not None and keyframe.number > 0:
                container = self._open()
                container.seek(keyframe.dts, stream=container.streams[self._index])
                ranks = _Ranks(keyframe.number, keyframe.discarded)
                pictures = self._decode(container, ranks, keyframe)
                first = next(pictures, None)
                # Only an intra picture needs nothing that came before.
                if first is not None and first.picture.pts == keyframe.pts and first.picture.pict_type == PictureType.I:
                    self._container.close()
                    self._container = container
                    return _chain(first, pictures)
                container.close()
        return self._pictures


class _Numbered(NamedTuple):
    picture: av.VideoFrame
    number: int


class _Keyframe(NamedTuple):
    pts: int
    dts: int
    number: int
    discarded: int


class _Ranks:
    """Numbers decoded frames by the ranks of their time stamps among the packets'.

    Args:
        first: Number of the first frame to come.
        discarded: Packets before it that an edit list leaves out.
    """

    def __init__(self, first: int = 0, discarded: int = 0):
        self.next, self.discarded = first, discarded
        self.pending: list[int] = []
        self.ranked, self.started = True, False
        self.last: int | None = None
        self.lost = self.failed = 0

    def sent(self, packet: av.Packet) -> None:
        """Take note of a packet that goes to the decoder."""
        if packet.is_discard:
            self.discarded += 1
        elif packet.pts is None or packet.pts in self.pending or (self.last is not None and packet.pts <= self.last):
            self.ranked = False
        else:
            heapq.heappush(self.pending, packet.pts)

    def number_of(self, picture: av.VideoFrame) -> int | None:
        """Number of a decoded frame; None for one that no packet stands for."""
        if not self.started:
            self.started = True
            self.ranked &= not picture.interlaced_frame and picture.pts in self.pending
            # What cannot be shown before the first frame has no number.
            self.pending = sorted(pts for pts in self.pending if self.ranked and pts >= picture.pts)
        if self.ranked:
            while picture.pts is not None and self.pending and self.pending[0] < picture.pts:
                heapq.heappop(self.pending)
                self.next += 1
                self.lost += 1
            if picture.pts not in self.pending[:1]:
                return None
            self.last = heapq.heappop(self.pending)
        self.next += 1
        return self.next - 1


def _find_keyframe(packets: Iterator[av.Packet], start: int, first_pts: int) -> _Keyframe | None:
    """The last keyframe at or before frame ``start``; None if ranks of time stamps are not sure up to there.

    Args:
        packets: From the start of the file; they are not decoded.
        start: Frame number.
        first_pts: Time stamp of frame 0.
    """
    order: list[int] = []
    pending: list[int] = []
    keyframes: list[_Keyframe] = []
    discarded = 0
    for packet in packets:
        if not packet.size:
            continue
        if packet.pts is None or packet.dts is None:
            return None
        # No later packet has a time stamp before this one's decoding time.
        while pending and pending[0] < packet.dts:
            order.append(heapq.heappop(pending))
            if len(order) > 1 and order[-2] >= order[-1]:
                return None
        if len(order) > start:
            break
        discarded += packet.is_discard
        if packet.pts >= first_pts and not packet.is_discard:
            heapq.heappush(pending, packet.pts)
            if packet.is_keyframe:
                keyframes.append(_Keyframe(packet.pts, packet.dts, 0, discarded))
    order += sorted(pending)
    if not order or len(set(order)) < len(order):
        return None
    target = order[min(start, len(order) - 1)]
    usable = [keyframe for keyframe in keyframes if keyframe.pts <= target]
    return usable[-1]._replace(number=bisect_left(order, usable[-1].pts)) if usable else None


def _duration(container: av.container.InputContainer, track: av.VideoStream) -> float | None:
    """Seconds of a track, as its file says."""
    if track.duration and track.time_base:
        return float(track.duration * track.time_base)
    return float(Fraction(container.duration, av.time_base)) if container.duration else None


def _chain(first: _Numbered, rest: Iterator[_Numbered]) -> Iterator[_Numbered]:
    yield first
    yield from rest


def _display_matrix(picture: av.VideoFrame) -> np.ndarray | None:
    """How to turn a picture for display, 2 x 2: x' = M₀₀x + M₁₀y, y' = M₀₁x + M₁₁y; None for not at all."""
    if not picture.rotation and not picture.side_data:
        return None
    for data in picture.side_data:
        if data.type.name == 'DISPLAYMATRIX':
            matrix = np.frombuffer(bytes(data)[:36], np.int32).reshape(3, 3)[:2, :2] / 65536.0
            matrix = np.round(matrix).astype(int)
            # Turns by other than right angles are not made.
            return matrix if abs(matrix).sum() == 2 and abs(np.linalg.det(matrix)) == 1 else None
    return None


def _size(picture: av.VideoFrame) -> tuple[int, int]:
    """Width and height as displayed."""
    matrix = _display_matrix(picture)
    turned = matrix is not None and matrix[0, 0] == 0
    return (picture.height, picture.width) if turned else (picture.width, picture.height)


def _to_bgr(picture: av.VideoFrame) -> np.ndarray:
    """``(H, W, 3)`` uint8 BGR, the right way up."""
    # One thread: the decoder's threads keep the cores busy.
    image = picture.to_ndarray(format='bgr24', threads=1)
    matrix = _display_matrix(picture)
    if matrix is None:
        return image
    if matrix[0, 0] == 0:
        image = cv2.transpose(image)
    flip_x, flip_y = matrix.sum(0) < 0
    if flip_x or flip_y:
        image = cv2.flip(image, -1 if flip_x and flip_y else int(flip_x))
    return image


def _reason(error: av.error.FFmpegError) -> str:
    return (error.strerror or str(error)).lower()
