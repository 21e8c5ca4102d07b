# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The images that detections were made on."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

#: Suffixes of photographs, in small letters.
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


class ImageFolder:
    """Finds images by the names and ids that detection files give.

    Args:
        path: The folder.

    Raises:
        ValueError: If it is no folder.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_dir():
            raise ValueError(f'{self.path}: no such folder of images')

    def find(self, image_id: int | str | None, file_name: str | None) -> Path:
        """The image of a record.

        A file name may have leading folders that do not exist here, as in ``val2017/000000000785.jpg``. Without a file
        of that name, image 785 is ``000000000785.jpg``, a file whose stem is 785 with any zeros before it, or one
        whose stem ends so after an underscore: ``COCO_val2014_000000000785.jpg``.

        Raises:
            ValueError: If there is none, or more than one.
        """
        if file_name is None and image_id is None:
            raise ValueError('has neither file_name nor image_id to find its image by')
        found = self._by_name(file_name) if file_name is not None else None
        if found is None and image_id is not None:
            found = self._by_id(image_id)
        if found is None:
            names = [repr(name) for name in (file_name, image_id) if name is not None]
            raise ValueError(f'image {" / ".join(names)} not found in {self.path}')
        return found

    def _by_name(self, file_name: str) -> Path | None:
        parts = [p for p in PurePosixPath(file_name.replace('\\', '/')).parts if p not in ('/', '..')]
        candidates = (self.path.joinpath(*parts[start:]) for start in range(len(parts)))
        return next((path for path in candidates if os.path.isfile(path)), None)

    def _by_id(self, image_id: int | str) -> Path | None:
        padded = f'{image_id:012d}' if isinstance(image_id, int) else image_id
        for suffix in ('', *IMAGE_SUFFIXES):
            found = self._by_name(padded + suffix)
            if found is not None:
                return found
        matches = self._ids.get(str(image_id), [])
        if len(matches) > 1:
            raise ValueError(f'image {image_id!r} is ambiguous: {matches[0].name} or {matches[1].name}')
        return matches[0] if matches else None

    @cached_property
    def _ids(self) -> dict[str, list[Path]]:
        """Images by the number that their stem is or ends with."""
        ids: dict[str, list[Path]] = {}
        for path in sorted(self.path.iterdir()):
            number = re.search(r'(?:^|_)0*(\d+)$', path.stem)
            if number and path.suffix.lower() in IMAGE_SUFFIXES:
                ids.setdefault(number[1], []).append(path)
        return ids


def image_stem(file: str) -> str:
    """File name without the suffix of an image: ``'a.b'`` of ``'a.b.jpg'`` and of itself."""
    stem, dot, suffix = file.rpartition('.')
    return stem if dot + suffix.lower() in IMAGE_SUFFIXES else file


def unicode_name(name: str) -> str:
    """Name of a file as it can be written and shown: its bytes need not be UTF-8, those of JSON and of pages must."""
    return os.fsencode(name).decode('utf-8', 'replace')


def read_image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image displayed the right way up, from its header.

    Raises:
        ValueError: If the file is no readable image; names it.
    """
    try:
        with Image.open(path) as image:
            if image.format == 'TIFF':  # Pillow turns it itself, some versions only when it is loaded
                image.load()
                return image.size
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            return image.size[::-1] if turned else image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'{path}: no readable image: {error}') from error


def read_image(path: Path) -> np.ndarray:
    """Read a photograph.

    Returns:
        ``(H, W, 3)`` uint8 BGR, the right way up as EXIF says.

    Raises:
        ValueError: If the file is no readable image; names it.
    """
    # OpenCV does not turn WebP.
    image = None if path.suffix.lower() == '.webp' else _decode_with_opencv(path)
    if image is not None:
        return image
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened).convert('RGB')
            return np.ascontiguousarray(np.asarray(upright)[..., ::-1])
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'{path}: no readable image: {error}') from error


def _decode_with_opencv(path: Path) -> np.ndarray | None:
    try:
        # Not imread, which cannot take every file name on every system.
        return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
