# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Focal length in pixels from the EXIF data of a photograph."""

from __future__ import annotations

import math
from os import PathLike
from typing import NamedTuple

from PIL import Image
from PIL.ExifTags import IFD, Base

# Diagonal of the 36 mm x 24 mm frame, 43.27 mm. Equal diagonal angles of view define the tag
# FocalLengthIn35mmFilm (CIPA guideline), whatever the aspect ratio of the sensor.
FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)

# FocalPlaneResolutionUnit; 4 and 5 are outside the EXIF standard but in use (TIFF/EP, some makers).
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
# Resizing rounds the shorter side; a larger change of shape is a crop.
_ASPECT_TOLERANCE = 0.02


class ExifIntrinsics(NamedTuple):
    """Focal lengths and size in pixels of an image displayed the right way up."""

    fx: float
    fy: float
    width: int
    height: int


def read_exif_intrinsics(path: str | PathLike) -> ExifIntrinsics:
    """Focal length of a photograph that was not cropped, from its EXIF data.

    ``FocalLengthIn35mmFilm`` is used first: f px = f35 · image diagonal px / 43.27 mm. Without it,
    ``FocalLength`` (mm) with ``FocalPlaneXResolution`` (and Y, and their unit: inches if not given), scaled by
    the ratio of the image's size to the recorded ``ExifImageWidth`` and ``ExifImageHeight`` where it was resized.

    Args:
        path: Image file.

    Returns:
        Intrinsics of the image as displayed, that is, after the EXIF orientation is applied, as
        ``cv2.imread`` and ``mmcv.imread`` load it. ``fx`` and ``fy`` can only differ in the second case.

    Raises:
        ValueError: The file is no readable image, has not these tags, or was cropped. Names the file.
    """
    (width, height), orientation, tags = _read_tags(path)
    scale, transposed = _resized_by(path, (width, height), tags)
    focal_35mm = _positive(tags, Base.FocalLengthIn35mmFilm)
    if focal_35mm is not None:
        fx = fy = focal_35mm * math.hypot(width, height) / FULL_FRAME_DIAGONAL_MM
    else:
        fx, fy = _focal_from_sensor(path, tags)
        fx, fy = (fy * scale, fx * scale) if transposed else (fx * scale, fy * scale)
    if orientation in (5, 6, 7, 8):  # displayed turned by 90 degrees
        fx, fy, width, height = fy, fx, height, width
    return ExifIntrinsics(fx, fy, width, height)


def _read_tags(path: str | PathLike) -> tuple[tuple[int, int], int, dict]:
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            return image.size, exif.get(Base.Orientation, 1), dict(exif.get_ifd(IFD.Exif))
    except (OSError, SyntaxError) as error:  # Pillow's errors for no such file, no image, broken EXIF
        raise ValueError(f'{path}: not a readable image: {error}') from error


def _resized_by(path: str | PathLike, size: tuple[int, int], tags: dict) -> tuple[float, bool]:
    """Image size over the size the camera recorded, and whether its sides were exchanged since."""
    recorded = (_positive(tags, Base.ExifImageWidth), _positive(tags, Base.ExifImageHeight))
    if None in recorded:
        return 1.0, False
    for transposed in (False, True):
        ratio_x, ratio_y = (now / then for now, then in zip(size, recorded[:: -1 if transposed else 1], strict=True))
        if abs(ratio_x / ratio_y - 1) < _ASPECT_TOLERANCE:
            return max(ratio_x, ratio_y), transposed
    raise ValueError(
        f'{path}: the image is {size[0]} x {size[1]} px but its EXIF data record '
        f'{recorded[0]:.0f} x {recorded[1]:.0f} px: it was cropped, so its EXIF focal length does not apply'
    )


def _focal_from_sensor(path: str | PathLike, tags: dict) -> tuple[float, float]:
    """Focal length in pixels of the recorded image size."""
    focal_mm = _positive(tags, Base.FocalLength)
    per_unit_x = _positive(tags, Base.FocalPlaneXResolution)
    unit = _MM_PER_UNIT.get(tags.get(Base.FocalPlaneResolutionUnit, 2))
    if focal_mm is None or per_unit_x is None or unit is None:
        raise ValueError(
            f'{path}: no focal length in its EXIF data; takes FocalLengthIn35mmFilm, or FocalLength '
            'with FocalPlaneXResolution'
        )
    per_unit_y = _positive(tags, Base.FocalPlaneYResolution) or per_unit_x
    return focal_mm * per_unit_x / unit, focal_mm * per_unit_y / unit


def _positive(tags: dict, tag: Base) -> float | None:
    """A tag's value, or None if it is absent, no number, or 0 (EXIF's "unknown")."""
    try:
        value = float(tags[tag])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) and value > 0 else None
