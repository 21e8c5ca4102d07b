# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The camera of each frame of a clip."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ...geometry import DEFAULT_FOV_DEG, Camera


class CameraSource:
    """Gives each frame its camera: the one of a file, of a field of view, of the photograph's EXIF data, or a guess.

    Args:
        camera: The camera of all frames.
        fov: Horizontal field of view in degrees instead.

    Attributes:
        num_guessed: Frames of which nothing told the focal length.
        num_resized: Frames of another size than ``camera``'s: they get one with its field of view.
    """

    def __init__(self, camera: Camera | None = None, fov: float | None = None):
        self._camera, self._fov = camera, fov
        self._from_fov = cache(Camera.from_fov)
        self.num_guessed = self.num_resized = 0

    def camera(self, width: int, height: int, photograph: Path | None = None) -> Camera:
        """The camera of a frame.

        Args:
            width: Of the frame, pixels.
            height: Of the frame, pixels.
            photograph: Its file, where it is one.
        """
        given = self._camera
        if given is not None and (given.width, given.height) == (width, height):
            return given
        if given is not None:
            self.num_resized += 1
            return self._from_fov(given.fov_deg, width, height)
        if self._fov is not None:
            return self._from_fov(self._fov, width, height)
        if photograph is not None:
            try:
                return Camera.from_exif(photograph)
            except ValueError:
                pass
        self.num_guessed += 1
        return self._from_fov(DEFAULT_FOV_DEG, width, height)
