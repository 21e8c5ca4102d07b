# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""A short video of walking people, and their keypoints."""

from pathlib import Path

import numpy as np
import pytest

from stereopose_mm.geometry import PoseSequence
from stereopose_mm.visualization import VideoWriter

from ...made_sequence import make_sequence


def write_video(path: Path, clip: PoseSequence, size=(320, 180)) -> Path:
    """Grey frames of the size with a bright square that moves."""
    with VideoWriter(path, *size, frame_rate=clip.frame_rate) as video:
        for index, time in enumerate(clip.frame_times):
            image = np.full((size[1], size[0], 3), 60, np.uint8)
            image[20:40, 5 * index % 280 : 5 * index % 280 + 20] = 230
            video.write(image, time)
    return path


def write_keypoints(path: Path, clip: PoseSequence, scale: float = 0.25) -> Path:
    """The clip's H36M-17 keypoints as NPZ, for images ``scale`` times the size of its camera's."""
    np.savez(path, keypoints=clip.keypoints_2d * scale, scores=clip.scores_2d, frame=clip.frame)
    return path


@pytest.fixture(scope='session')
def walk() -> PoseSequence:
    """Two people on 40 frames, seen at 1280 x 720."""
    return make_sequence(num_people=2, num_frames=40)


@pytest.fixture(scope='session')
def walk_files(walk, tmp_path_factory) -> tuple[Path, Path]:
    """The same at 320 x 180: its video and its keypoints."""
    folder = tmp_path_factory.mktemp('walk')
    return write_video(folder / 'walk.mp4', walk), write_keypoints(folder / 'walk.npz', walk)
