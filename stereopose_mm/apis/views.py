# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The images that people are seen on, and their cameras."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from ..geometry import DEFAULT_FOV_DEG, Camera
from .camera_files import check_image_size, read_camera
from .detections import Detections
from .image_files import ImageFolder, read_image_size


@dataclass(frozen=True)
class View:
    """One image.

    Attributes:
        path: Its file; None where there is none.
        rows: Positions of its people in :class:`~stereopose_mm.apis.detections.Detections`.
        camera: Its camera.
        picture: Name of the file to draw it to.
        guessed: Whether nothing told the focal length.
    """

    path: Path | None
    rows: list[int]
    camera: Camera
    picture: str
    guessed: bool


def make_views(
    found: Detections,
    detections: str | Path,
    images: str | Path | None = None,
    image_size: tuple[int, int] | None = None,
    camera: str | Path | None = None,
    fov: float | None = None,
    camera_name: str | None = None,
) -> list[View]:
    """Group people by image and give each image its camera.

    Args:
        found: The people. Those without image id and file name count as each on an image of its own.
        detections: Their file, for messages.
        images: Folder of the images. Either this or ``image_size``.
        image_size: Width and height of all images in pixels.
        camera: File of the camera of all images.
        fov: Horizontal field of view in degrees instead. Default: EXIF data, otherwise
            :data:`~stereopose_mm.geometry.DEFAULT_FOV_DEG`.
        camera_name: Which camera of the file, where it has several.

    Returns:
        The images in the order of their first person.

    Raises:
        ValueError: For an image that is missing or cannot be read, or a camera for images of another size.
    """
    if (images is None) == (image_size is None):
        raise ValueError('takes either images or image_size')
    if fov is not None and not 0 < fov < 180:
        raise ValueError(f'fov: takes degrees between 0 and 180, got {fov:g}')
    given = None if camera is None else read_camera(camera, camera_name)
    paths = [None] * len(found) if images is None else _find_images(found, detections, ImageFolder(images))
    from_fov = cache(Camera.from_fov)  # images of one size then share one camera
    views, taken = [], set()
    for rows in _group_by_image(found, paths):
        path = paths[rows[0]]
        size = image_size if path is None else read_image_size(path)
        if given is not None:
            check_image_size(given, *size, camera, path or '--image-size')
        known = given or (None if fov is not None or path is None else _exif_camera(path))
        view_camera = known or from_fov(fov or DEFAULT_FOV_DEG, *size)
        views.append(View(path, rows, view_camera, _name(path, found, rows[0], taken), known is None and fov is None))
    return views


def cameras_of_people(views: list[View], num_people: int) -> Camera:
    """The camera of each person, as a batch; or the one camera that all views share."""
    cameras = list({id(view.camera): view.camera for view in views}.values())
    if len(cameras) < 2:
        return cameras[0] if cameras else Camera.from_fov(DEFAULT_FOV_DEG, 1, 1)
    positions = {id(camera): position for position, camera in enumerate(cameras)}
    camera_of_person = np.empty(num_people, np.int64)
    for view in views:
        camera_of_person[view.rows] = positions[id(view.camera)]
    return Camera.stack(cameras)[camera_of_person]


def _find_images(found: Detections, detections: str | Path, folder: ImageFolder) -> list[Path]:
    """The image of each person."""
    paths, known = [], {}
    for row, key in enumerate(zip(found.image_ids, found.file_names, strict=True)):
        if key not in known:
            try:
                known[key] = folder.find(*key)
            except ValueError as error:
                raise ValueError(f'{detections}: record {found.records[row]}: {error}') from error
        paths.append(known[key])
    return paths


def _group_by_image(found: Detections, paths: list[Path | None]) -> list[list[int]]:
    groups: dict[object, list[int]] = {}
    for row, path in enumerate(paths):
        key = path or (found.image_ids[row], found.file_names[row])
        groups.setdefault(row if key == (None, None) else key, []).append(row)
    return list(groups.values())


def _exif_camera(path: Path) -> Camera | None:
    try:
        return Camera.from_exif(path)
    except ValueError:
        return None


def _name(path: Path | None, found: Detections, row: int, taken: set[str]) -> str:
    """Name of an image's picture."""
    name, image_id = found.file_names[row], found.image_ids[row]
    if path is not None:
        stem = path.stem
    elif name is not None:
        stem = PurePosixPath(name.replace('\\', '/')).stem
    else:
        stem = str(found.records[row] if image_id is None else image_id)
    return picture_name(stem, taken)


def picture_name(stem: str, taken: set[str]) -> str:
    """Name of the file to draw an image to: the image's stem, made unique.

    Args:
        stem: Of the image's name.
        taken: Names given so far, in small letters without suffix; this one is added.
    """
    for character in '/\\\0':
        stem = stem.replace(character, '_')
    stem = stem.encode('utf-8', 'replace')[:200].decode('utf-8', 'ignore') or 'image'
    unique, count = stem, 1
    while unique.lower() in taken:
        count += 1
        unique = f'{stem}_{count}'
    taken.add(unique.lower())
    return f'{unique}.png'
