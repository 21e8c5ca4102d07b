# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The two stages of a job on a clip: people are lifted, then their poses are finished and drawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from torch import nn

from ...geometry import PoseSequence
from ...visualization import ClipPainter, VideoWriter, root_trails
from ..frame_source import Frame
from ..people import People2D
from ..tracking import PersonTracker
from .cameras import CameraSource
from .finish import ClipFinisher
from .interrupt import StopRequest
from .lift import lift_frames
from .store import Stage

# Frames of a part, and seconds after which a shorter one is written: what an interruption costs at the most.
_PART_FRAMES, _PART_SECONDS = 256, 20.0
PICTURE_SIZE = (1280, 720)
#: Of :class:`~stereopose_mm.visualization.VideoWriter`. Drawing and encoding share the cores: of one quality, the
#: quickest preset's files are a quarter larger.
ENCODING = dict(preset='ultrafast', crf=23)

PeopleOf = Callable[[Sequence[Frame]], list[People2D]]
Advance = Callable[[int], None]


@dataclass
class LiftStage:
    """Frames with their people become parts of lifted poses.

    Attributes:
        stage: Where the parts go.
        people_of: Finds the people of several frames.
        batch_size: How many frames at a time.
        lifter: From :func:`~stereopose_mm.apis.init_lifter`.
        cameras: Gives each frame its camera.
        tracker: Numbers the people of a video; None for photographs, where each person is another and the camera may
            be told by the file.
        skeleton: What the keypoints are.
        min_score: Keypoints scored below it count as missing.
        record: Whether to keep the frames, of a stream that cannot be read again.
    """

    stage: Stage
    people_of: PeopleOf
    batch_size: int
    lifter: nn.Module
    cameras: CameraSource
    tracker: PersonTracker | None
    skeleton: str
    min_score: float
    record: bool

    def restore(self) -> None:
        """Go on where the last part ended."""
        state = self.stage.state() or {'frames': 0, 'next': 0, 'people': 0, 'guessed': 0, 'resized': 0}
        self.num_frames, self.next_number, self._num_people = state['frames'], state['next'], state['people']
        self.cameras.num_guessed, self.cameras.num_resized = state['guessed'], state['resized']
        if self.tracker is not None and 'tracker' in state:
            self.tracker.load_state_dict(state['tracker'])

    def run(self, frames: Iterable[Frame], every: int, advance: Advance) -> bool:
        """Lift all frames.

        Args:
            frames: Those that are left.
            every: Step of their numbers.
            advance: Is told how many frames are done.

        Returns:
            Whether all were lifted; False if a signal asked to stop.
        """
        frames, part, begun = iter(frames), [], time.monotonic()
        with StopRequest() as stop:
            while not stop.asked and (batch := list(islice(frames, self.batch_size))):
                part.append((batch, self._lift(batch)))
                self.next_number = batch[-1].number + every
                advance(len(batch))
                count = sum(len(b) for b, _ in part)
                if count >= _PART_FRAMES or time.monotonic() - begun > _PART_SECONDS:
                    self._write(part)
                    part, begun = [], time.monotonic()
            if part:
                self._write(part)
        return not stop.asked

    def _lift(self, batch: list[Frame]) -> PoseSequence:
        people = self.people_of(batch)
        tracks = [self._number(group) for group in people]
        files = [frame.path if self.tracker is None else None for frame in batch]
        cameras = [self.cameras.camera(*f.size, file) for f, file in zip(batch, files, strict=True)]
        names = [frame.name if self.tracker is None else '' for frame in batch]
        return lift_frames(self.lifter, batch, names, people, tracks, cameras, self.skeleton, self.min_score)

    def _number(self, people: People2D) -> np.ndarray:
        if self.tracker is not None:
            return self.tracker.update(people)
        first = self._num_people
        self._num_people += len(people)
        return np.arange(first, self._num_people)

    def _write(self, part: list[tuple[list[Frame], PoseSequence]]) -> None:
        frames = [frame for batch, _ in part for frame in batch]
        self.num_frames += len(frames)
        if self.record:
            height, width = frames[0].image.shape[:2]
            path = self.stage.file(len(self.stage), '.mp4')
            with VideoWriter(path, width, height) as video:
                for frame in frames:
                    video.write(frame.image, frame.time)
        state = {
            'frames': self.num_frames,
            'next': self.next_number,
            'people': self._num_people,
            'guessed': self.cameras.num_guessed,
            'resized': self.cameras.num_resized,
        }
        if self.tracker is not None:
            state['tracker'] = self.tracker.state_dict()
        self.stage.append(PoseSequence.concatenate([lifted for _, lifted in part]), state)


@dataclass
class FinishStage:
    """Lifted parts become finished ones, each with its piece of the drawn video.

    Attributes:
        lifted: The lifted parts.
        stage: Where the finished ones go.
        finisher: What makes them so.
        painter: Draws the video; None for no video.
    """

    lifted: Stage
    stage: Stage
    finisher: ClipFinisher
    painter: ClipPainter | None

    def restore(self) -> None:
        """Go on where the last part ended."""
        state = self.stage.state()
        if state is not None:
            self.finisher.load_state_dict(state)
        self.num_frames = sum(self._size(index) for index in range(len(self.stage)))

    def _size(self, index: int) -> int:
        return self.lifted.read_array(index, 'frame_numbers').size

    def run(self, images: Iterator[np.ndarray | None] | None, advance: Advance) -> None:
        """Finish the parts that are left.

        Args:
            images: Of their frames, in order; None without a painter.
            advance: Is told how many frames are done.
        """
        for index in range(len(self.stage), len(self.lifted)):
            part = self.finisher.finish(self.lifted.read(index))
            if self.painter is None:
                advance(part.num_frames)
            else:
                self._draw(part, self.stage.file(index, '.mp4'), images, advance)
            self.stage.append(part, self.finisher.state_dict())
            self.num_frames += part.num_frames

    def _draw(self, part: PoseSequence, path: Path, images: Iterator[np.ndarray | None], advance: Advance) -> None:
        index = len(self.stage)
        before = self.stage.read(index - 1) if index else part.select_frames(slice(0, 0))
        clip, start = PoseSequence.concatenate([before, part]), before.num_frames
        with _opencv_in_one_thread(), VideoWriter(path, *PICTURE_SIZE, **ENCODING) as video:
            for row, image in zip(range(start, clip.num_frames), images, strict=False):
                frame, time = clip.select_frames(slice(row, row + 1)), clip.frame_times[row]
                video.write(self.painter.draw(image, frame, time, root_trails(clip, row)), time)
                advance(1)


@contextmanager
def _opencv_in_one_thread() -> Iterator[None]:
    """No threads for single pictures: decoding, drawing and encoding keep the cores busy, and would wait for them."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
