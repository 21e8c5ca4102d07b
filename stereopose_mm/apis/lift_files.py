# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Detection files in, 3D poses and pictures out: what ``tools/lift.py`` does."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

from ..geometry import DEFAULT_FOV_DEG, Camera, get_skeleton
from .detections import Detections, read_detections
from .image_files import read_image
from .lifting import LiftResult, init_lifter, lift_keypoints, shipped_lifter
from .result_files import PICTURE_FOLDER, check_output, new_results, write_poses
from .views import View, cameras_of_people, make_views


@dataclass(frozen=True)
class LiftSummary:
    """What :func:`lift_detections` did.

    Attributes:
        num_images: Images that people were detected on.
        num_people: People with keypoints.
        num_lifted: People with a 3D pose.
        num_empty: Records left out, without any keypoint.
        num_other: Records left out, of another category than person.
        reprojection_error: Mean over the lifted people, pixels; NaN if there are none.
        num_pictures: Pictures drawn.
        out: The folder of the results.
    """

    num_images: int
    num_people: int
    num_lifted: int
    num_empty: int
    num_other: int
    reprojection_error: float
    num_pictures: int
    out: Path


def lift_detections(
    detections: str | Path,
    out: str | Path,
    *,
    images: str | Path | None = None,
    image_size: tuple[int, int] | None = None,
    camera: str | Path | None = None,
    camera_name: str | None = None,
    fov: float | None = None,
    skeleton: str = 'coco',
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: str = 'cpu',
    min_score: float = 0.1,
    pictures: bool = True,
) -> LiftSummary:
    """Lift the 2D detections of a file and write the 3D poses as JSON and NPZ, with a picture of each image.

    All input is checked first. The results come into place when all are written; nothing is left otherwise.

    Args:
        detections: File for :func:`~stereopose_mm.apis.detections.read_detections`.
        out: Folder to write ``poses3d.json``, ``poses3d.npz`` and ``pictures/`` to. Earlier results are replaced.
        images: Folder of the images, see :class:`~stereopose_mm.apis.image_files.ImageFolder`. Either this or
            ``image_size``.
        image_size: Width and height in pixels of all images, where there are none: poses are drawn on blank ones.
        camera: File of the camera of all images, for :func:`~stereopose_mm.apis.camera_files.read_camera`.
        camera_name: Which camera of the file, where it has several.
        fov: Horizontal field of view in degrees instead of a camera. Default: what the EXIF data of each image
            tell, otherwise :data:`~stereopose_mm.geometry.DEFAULT_FOV_DEG` with a line of warning on stderr.
        skeleton: ``'coco'``, ``'h36m'`` or ``'mpi_inf_3dhp'``.
        config: For :func:`init_lifter`, as ``checkpoint``. Default: the shipped lifter of the skeleton.
        checkpoint: See ``config``.
        device: Where to run, for example ``'cuda'``.
        min_score: Keypoints scored below it count as missing.
        pictures: Whether to draw.

    Returns:
        :class:`LiftSummary`.

    Raises:
        ValueError: For input that cannot be used; a file error names the file and the record.
    """
    out = Path(out)
    if not (math.isfinite(min_score) and min_score >= 0):
        raise ValueError(f'min_score: takes a number of at least 0, got {min_score}')
    check_output(out, images)
    found = read_detections(detections, skeleton)
    views = make_views(found, detections, images, image_size, camera, fov, camera_name)
    lifter = load_lifter(config, checkpoint, device, skeleton)
    _warn_of_guesses(views)
    cameras = cameras_of_people(views, len(found))
    result = lift_keypoints(lifter, found.keypoints, found.scores, skeleton, cameras, min_score)
    shipped = shipped_lifter(skeleton)
    info = {
        'input_skeleton': skeleton,
        'config': Path(config or shipped[0]).name,
        'checkpoint': Path(checkpoint or shipped[1]).name,
        'input_joint_names': get_skeleton(lifter.head.decoder.keypoint_set).joint_names,
    }
    try:
        with new_results(out) as folder:
            write_poses(folder, info, found, views, result, pictures)
            if pictures:
                _draw(folder / PICTURE_FOLDER, found, views, result)
    except OSError as error:
        raise ValueError(f'{out}: cannot be written: {error.strerror or error}') from error
    errors = result.reprojection_error[result.valid]
    return LiftSummary(
        len(views), len(found), len(errors), found.num_empty, found.num_other,
        float(errors.mean()) if len(errors) else math.nan, len(views) if pictures else 0, out,
    )  # fmt: skip


def _warn_of_guesses(views: list[View]) -> None:
    guessed = sum(view.guessed for view in views)
    if guessed:
        print(
            f'warning: {guessed} of {len(views)} images tell no focal length: took a horizontal field of view of '
            f'{DEFAULT_FOV_DEG:g} degrees. Depth scales with the focal length: give --camera or --fov if you can.',
            file=sys.stderr,
        )


def load_lifter(config: str | Path | None, checkpoint: str | Path | None, device: str, skeleton: str) -> nn.Module:
    """:func:`init_lifter` for a command's arguments: whatever is wrong with them becomes a line of a ``ValueError``."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f'device: cannot run on {device!r}: {_first_line(error)}') from error
    try:
        return init_lifter(config, checkpoint, device, skeleton)
    # A config is Python code and a checkpoint a pickle: anything may go wrong in them.
    except Exception as error:
        files = ', '.join(str(path) for path in (config or 'the shipped config', checkpoint) if path)
        raise ValueError(f'{files}: no lifter: {_first_line(error)}') from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    if lines and isinstance(error, ValueError):
        return lines[0]
    return f'{type(error).__name__}: {lines[0]}' if lines else type(error).__name__


def _draw(folder: Path, found: Detections, views: list[View], result: LiftResult) -> None:
    from ..visualization import draw_lift_picture  # matplotlib: only where it is needed

    folder.mkdir()
    columns = (TextColumn('pictures'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for view in progress.track(views):
            image = None if view.path is None else _read_image(view.path, view.camera)
            people = found.keypoints[view.rows], result.keypoints_cam[view.rows]
            picture = draw_lift_picture(image, *people, view.camera, found.scores[view.rows])
            if not cv2.imwrite(str(folder / view.picture), picture):
                raise OSError(f'{view.picture} was not written')


def _read_image(path: Path, camera: Camera) -> np.ndarray:
    image = read_image(path)
    if image.shape[:2] != (camera.height, camera.width):
        raise ValueError(f'{path}: {image.shape[1]} x {image.shape[0]} px, but its header says otherwise')
    return image
