# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from stereopose_mm.apis.clips import stages
from stereopose_mm.apis.clips.finish import ClipFinisher
from stereopose_mm.apis.clips.store import Stage
from stereopose_mm.visualization import ClipPainter

from ...made_sequence import make_sequence


@pytest.fixture
def opencv_threads():
    """Three threads for OpenCV, as another part of a program may have asked for."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield 3
    cv2.setNumThreads(before)


@pytest.mark.parametrize('breaks', [False, True])
def test_drawing_takes_one_opencv_thread_and_gives_the_others_back(tmp_path, opencv_threads, breaks):
    lifted, clip, seen = Stage(tmp_path, 'lifted'), make_sequence(1, 4), []
    lifted.append(clip, {})
    finisher = ClipFinisher(lifted, constant_bones=False, smooth=False, ground=False)
    painter = ClipPainter(finisher.bounds, stages.PICTURE_SIZE, clip.skeleton)
    finishing = stages.FinishStage(lifted, Stage(tmp_path, 'finished'), finisher, painter)
    finishing.restore()

    def images():
        for k in range(4):
            seen.append(cv2.getNumThreads())
            yield np.zeros((720, 1280, 1 if breaks and k == 2 else 3), np.uint8)

    if breaks:
        with pytest.raises(ValueError, match='image takes'):
            finishing.run(images(), lambda n: None)
    else:
        finishing.run(images(), lambda n: None)
    assert set(seen) == {1}
    assert cv2.getNumThreads() == opencv_threads
    assert finishing.stage.file(0, '.mp4').is_file() is not breaks
