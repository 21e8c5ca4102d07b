# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import math

import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

from stereopose_mm.geometry.camera import Camera

# A 24 mm x 16 mm sensor of 600 x 400 px: 25 px/mm.
SENSOR = {Base.FocalLength: 35.0, Base.FocalPlaneXResolution: 635.0, Base.FocalPlaneYResolution: 635.0}


def write_photo(path, tags, size=(600, 400), orientation=None):
    exif = Image.Exif()
    exif[Base.Make] = 'maker'
    if orientation:
        exif[Base.Orientation] = orientation
    exif.get_ifd(IFD.Exif).update(tags)
    Image.new('RGB', size).save(path, exif=exif)
    return path


def test_focal_length_in_35mm_film_is_matched_on_the_diagonal(tmp_path):
    path = write_photo(tmp_path / 'photo.jpg', {Base.FocalLengthIn35mmFilm: 50})
    camera = Camera.from_exif(path)  # 3 : 2, the shape of the 36 mm x 24 mm frame
    assert camera.fx == camera.fy == pytest.approx(600 * 50 / 36)
    assert (camera.cx, camera.cy, camera.width, camera.height) == (300, 200, 600, 400)
    path = write_photo(tmp_path / 'square.png', {Base.FocalLengthIn35mmFilm: 26}, size=(400, 400))
    assert Camera.from_exif(path).fx == pytest.approx(26 * 400 * math.sqrt(2) / 43.2666, rel=1e-5)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation_gives_the_size_as_displayed(tmp_path, orientation):
    tags = {**SENSOR, Base.FocalPlaneYResolution: 1270.0}
    path = write_photo(tmp_path / 'photo.jpg', tags, orientation=orientation)
    camera = Camera.from_exif(str(path))
    got = (camera.fx, camera.fy, camera.width, camera.height)
    expected = (1750, 875, 400, 600) if orientation >= 5 else (875, 1750, 600, 400)
    assert got == pytest.approx(expected)


@pytest.mark.parametrize('unit, per_unit', [(None, 635.0), (2, 635.0), (3, 250.0), (4, 25.0)])
def test_focal_length_with_sensor_resolution(tmp_path, unit, per_unit):
    tags = {Base.FocalLength: 35.0, Base.FocalPlaneXResolution: per_unit}
    if unit:
        tags[Base.FocalPlaneResolutionUnit] = unit
    camera = Camera.from_exif(write_photo(tmp_path / 'photo.jpg', tags))
    assert camera.fx == camera.fy == pytest.approx(35 * 25)


def test_resized_photo_scales_the_recorded_focal_length(tmp_path):
    tags = {**SENSOR, Base.FocalPlaneYResolution: 1270.0, Base.ExifImageWidth: 600, Base.ExifImageHeight: 400}
    camera = Camera.from_exif(write_photo(tmp_path / 'half.jpg', tags, size=(300, 200)))
    assert (camera.fx, camera.fy, camera.width, camera.height) == pytest.approx((437.5, 875, 300, 200))
    # Turned by 90 degrees by software that kept the recorded size.
    camera = Camera.from_exif(write_photo(tmp_path / 'turned.jpg', tags, size=(200, 300)))
    assert (camera.fx, camera.fy, camera.width, camera.height) == pytest.approx((875, 437.5, 200, 300))


def test_zero_35mm_focal_length_means_unknown(tmp_path):
    path = write_photo(tmp_path / 'photo.jpg', {**SENSOR, Base.FocalLengthIn35mmFilm: 0})
    assert Camera.from_exif(path).fx == pytest.approx(35 * 25)


@pytest.mark.parametrize(
    'tags',
    [
        {},
        {Base.FocalLength: 35.0},
        {Base.FocalLengthIn35mmFilm: 0},
        {**SENSOR, Base.FocalLength: 0.0},
        {**SENSOR, Base.FocalPlaneResolutionUnit: 1},  # no absolute unit
    ],
)
def test_absent_focal_length_is_an_error_that_names_the_file(tmp_path, tags):
    path = write_photo(tmp_path / 'photo.jpg', tags)
    with pytest.raises(ValueError, match=r'photo\.jpg: no focal length in its EXIF data'):
        Camera.from_exif(path)


def test_photo_without_exif_or_cropped_or_no_photo_is_an_error_that_names_the_file(tmp_path):
    Image.new('RGB', (8, 8)).save(tmp_path / 'plain.png')
    with pytest.raises(ValueError, match=r'plain\.png: no focal length'):
        Camera.from_exif(tmp_path / 'plain.png')
    tags = {Base.FocalLengthIn35mmFilm: 28, Base.ExifImageWidth: 600, Base.ExifImageHeight: 400}
    path = write_photo(tmp_path / 'cropped.jpg', tags, size=(400, 400))
    with pytest.raises(ValueError, match=r'cropped\.jpg: .* was cropped'):
        Camera.from_exif(path)
    (tmp_path / 'text.jpg').write_text('no image')
    for name in ('text.jpg', 'missing.jpg'):
        with pytest.raises(ValueError, match=f'{name}: not a readable image'):
            Camera.from_exif(tmp_path / name)
