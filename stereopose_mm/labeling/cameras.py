# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The camera of each annotated person: given, from the photograph's EXIF data, or the prior."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..apis.image_files import ImageFolder, read_image_size
from ..geometry import Camera
from ..geometry.exif import read_exif_intrinsics
from .annotations import Annotations
from .config import CameraPrior

#: What the cameras are from.
ORIGINS = ('given', 'exif', 'prior')
# What reading a damaged image or its EXIF data raises.
_IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_EXIF_ERRORS = (*_IMAGE_ERRORS, struct.error, KeyError, TypeError, ZeroDivisionError, OverflowError)
# Horizontal fields of view of lenses, degrees.
_LENSES = (2.0, 150.0)


@dataclass(frozen=True, eq=False)
class FoundCameras:
    """Cameras of n people.

    Attributes:
        camera: n cameras; where there is a problem, one without meaning.
        image_size: ``(n, 2)`` int32 pixels.
        origin: ``(n,)`` one of :data:`ORIGINS`.
        problem: ``(n,)`` why a person has no camera, as in :class:`~.annotations.Annotations`.
    """

    camera: Camera
    image_size: np.ndarray
    origin: np.ndarray
    problem: np.ndarray


@dataclass(frozen=True)
class _Photograph:
    """What an image's file tells: size as displayed, whether it is turned for that, focal lengths, a problem."""

    size: tuple[int, int] = (0, 0)
    turned: bool = False
    focal: tuple[float, float] | None = None
    problem: str = ''


def find_cameras(annotations: Annotations, prior: CameraPrior, images: str | Path | None = None) -> FoundCameras:
    """Give each person a camera.

    With a folder of images each image has to be there, and of the size that the annotations tell. A photograph of which
    a part was cut off, or which tells no focal length, is taken as any other without EXIF data.

    Args:
        annotations: The people.
        prior: Where cameras come from.
        images: Folder of the images; None to do without.

    Raises:
        ValueError: If there is no such folder.
    """
    folder = None if images is None else ImageFolder(images)
    names, image = np.unique(annotations.file_name, return_inverse=True)
    photographs = [_Photograph() if folder is None else _photograph(folder, str(n), prior.exif) for n in names]
    problem = np.array([p.problem for p in photographs], object)[image]
    if prior.broken_exif == 'prior':
        problem[np.char.startswith(problem.astype(str), 'broken EXIF')] = ''
    shown = np.array([p.size for p in photographs], np.int32).reshape(-1, 2)[image]
    turned = np.array([p.turned for p in photographs], bool)[image]
    size, problem = _image_sizes(annotations, shown, turned, prior, problem)
    problem[(problem == '') & (annotations.file_name == '')] = 'no image: the file does not name it'

    focal = np.array([p.focal or (0, 0) for p in photographs], np.float64).reshape(-1, 2)[image]
    as_stored = turned & (size != shown).any(1)
    focal[as_stored] = focal[as_stored, ::-1]
    safe = np.maximum(size, 1)
    if prior.given is not None:
        camera, origin = prior.given.expand(len(image)), np.full(len(image), 'given')
        other = (size != [prior.given.width, prior.given.height]).any(1)
        for row in np.flatnonzero(other & (problem == '')):
            problem[row] = f'image of another size than the camera: {size[row, 0]} x {size[row, 1]}'
        return FoundCameras(camera, size, origin, problem)
    known = focal[:, 0] > 0
    half = np.tan(np.radians(prior.fov_deg) / 2)
    focal = np.where(known[:, None], focal, safe[:, :1] / 2 / half)
    values = [torch.from_numpy(v) for v in (*focal.T, *(safe.T / 2), *safe.T.astype(np.float64))]
    return FoundCameras(Camera(*values), size, np.where(known, 'exif', 'prior'), problem)


def _image_sizes(
    annotations: Annotations, shown: np.ndarray, turned: np.ndarray, prior: CameraPrior, problem: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``(n, 2)`` sizes: those annotated, of the files, or the prior's, and problems."""
    size = annotations.image_size.astype(np.int32)
    told, read = (size > 0).all(1), (shown > 0).all(1)
    # Some tools annotate photographs as they are stored, not as they are displayed.
    same = (size == shown).all(1) | (turned & (size == shown[:, ::-1]).all(1))
    for row in np.flatnonzero(told & read & ~same & (problem == '')):
        problem[row] = 'image of another size: {} x {}, annotated on {} x {}'.format(*shown[row], *size[row])
    size = np.where(told[:, None], size, shown)
    fallback = prior.image_size
    if fallback is None and prior.given is not None:
        fallback = (prior.given.width, prior.given.height)
    if fallback is not None:
        size = np.where((size > 0).all(1, keepdims=True), size, np.array(fallback, np.int32))
    problem[(size <= 0).any(1) & (problem == '')] = 'unknown image size: neither annotations nor an image tell it'
    return size.astype(np.int32), problem


def _photograph(folder: ImageFolder, name: str, exif: bool) -> _Photograph:
    if not name:
        return _Photograph()
    try:
        path = folder.find(None, name)
    except ValueError:
        return _Photograph(problem=f'missing image: {name}')
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        try:
            with Image.open(path) as image:
                size, data, is_tiff = image.size, image.info.get('exif'), image.format == 'TIFF'
        except _IMAGE_ERRORS as error:
            return _Photograph(problem=f'unreadable image: {_short(error, path)}')
        if data is None and not is_tiff:
            return _Photograph(size)
        shown, focal, broken = _exif(path, size, data)
    # Of EXIF data; that an image is large is another warning.
    told = [warning.message for warning in said if issubclass(warning.category, UserWarning)]
    if focal is None and told:
        broken = broken or _short(told[0], path)
    if focal is not None:
        angle = 2 * np.degrees(np.arctan(shown[0] / 2 / focal[0]))
        if not _LENSES[0] <= angle <= _LENSES[1]:
            broken = f'a field of view of {angle:.3g} degrees'
    if not exif:
        return _Photograph(shown, shown != size)
    if broken:
        return _Photograph(shown, shown != size, problem=f'broken EXIF: {broken}')
    return _Photograph(shown, shown != size, focal)


def _exif(
    path: Path, size: tuple[int, int], data: bytes | None
) -> tuple[tuple[int, int], tuple[float, float] | None, str]:
    """Size as displayed, focal lengths if they are told, and what is broken."""
    try:
        if data is not None:
            Image.Exif().load(data)  # Pillow says what is wrong once, and swallows it where it opens JPEG
        shown = read_image_size(path)
    except _EXIF_ERRORS as error:
        return size, None, _short(error, path)
    try:
        found = read_exif_intrinsics(path)
    except ValueError:
        return shown, None, ''  # tells no focal length, or was cropped
    except _EXIF_ERRORS as error:
        return shown, None, _short(error, path)
    return shown, (found.fx, found.fy), ''


def _short(error: BaseException | str, path: Path) -> str:
    """What was said, without the folder of the image."""
    return ' '.join(str(error).replace(str(path), path.name).split())[:200]
