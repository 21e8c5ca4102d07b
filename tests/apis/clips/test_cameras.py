# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of the camera of each frame."""

import pytest
from PIL import Image

from stereopose_mm.apis.clips.cameras import CameraSource
from stereopose_mm.geometry import DEFAULT_FOV_DEG, Camera


def test_a_given_camera_serves_frames_of_its_size():
    given = Camera(500, 510, 300, 200, 640, 480)
    source = CameraSource(given)
    assert source.camera(640, 480) is given
    other = source.camera(320, 240)
    assert other.width == 320 and other.fov_deg == pytest.approx(given.fov_deg)
    assert (source.num_resized, source.num_guessed) == (1, 0)


def test_a_field_of_view_serves_every_size():
    source = CameraSource(fov=70)
    assert source.camera(640, 480).fov_deg == pytest.approx(70)
    assert source.camera(640, 480) is source.camera(640, 480)
    assert source.camera(100, 200).fov_deg == pytest.approx(70)
    assert source.num_guessed == 0


def test_photographs_tell_and_others_are_guessed(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({41989: 35, 37386: 35.0})  # 35 mm on full frame
    Image.new('RGB', (360, 240)).save(tmp_path / 'told.jpg', exif=exif)
    Image.new('RGB', (360, 240)).save(tmp_path / 'untold.jpg')
    source = CameraSource()
    assert source.camera(360, 240, tmp_path / 'told.jpg').fx == pytest.approx(350, rel=0.02)
    assert source.num_guessed == 0
    assert source.camera(360, 240, tmp_path / 'untold.jpg').fov_deg == pytest.approx(DEFAULT_FOV_DEG)
    assert source.camera(360, 240).fov_deg == pytest.approx(DEFAULT_FOV_DEG)
    assert source.num_guessed == 2
