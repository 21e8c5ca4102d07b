# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The folder that a lift leaves: all of it, or nothing."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
from torch import Tensor

from ..files import check_results_folder
from ..geometry import CAMERA_FIELDS, H36M_17, Camera
from .detections import Detections
from .lifting import LiftResult
from .views import View

JSON_FILE, NPZ_FILE, PICTURE_FOLDER = 'poses3d.json', 'poses3d.npz', 'pictures'
GENERATOR = 'StereoPose-MM lift'
_UNITS = {
    'keypoints_cam': 'metres, camera frame: x right, y down, z forward',
    'keypoints': 'metres, relative to the root',
    'input_keypoints_cam': 'metres, camera frame; on the rays of the 2D input, in the order of input_joint_names',
    'uncertainty': "metres, standard deviation of a joint's depth relative to the root's",
    'root_depth': 'metres, z of the root',
    'used': 'whether an input keypoint was put on its ray',
    'reprojection_error': 'pixels, mean over the keypoints used',
    'search_residual': 'metres',
    'camera': "pixels; distortion in OpenCV's order",
}
_ENTRIES = (JSON_FILE, NPZ_FILE, PICTURE_FOLDER)


def check_output(out: Path, images: str | Path | None = None) -> None:
    """Check that results can be put into a folder without destroying anything else.

    Args:
        out: The folder; it need not exist.
        images: Folder of the images that are read.

    Raises:
        ValueError: If ``out`` is, or lies in, a file; or has entries of the names of the results that are no earlier
            result.
    """
    check_results_folder(out, _ENTRIES, JSON_FILE, GENERATOR)
    if images is not None and (out / PICTURE_FOLDER).resolve() in Path(images, '_').resolve().parents:
        raise ValueError(f'{images}: would be replaced by the pictures in {out}; choose another output folder')


@contextmanager
def new_results(out: Path) -> Iterator[Path]:
    """Folder to write new results to; they are moved to ``out`` when the block ends without an exception.

    Earlier results in ``out`` are replaced, other files there are kept.

    Yields:
        The folder, on the same disk as ``out``.
    """
    out = out.absolute()
    nearest = next(path for path in (out, *out.parents) if path.is_dir())
    with tempfile.TemporaryDirectory(prefix='.lift-', dir=nearest) as temporary:
        new, old = Path(temporary, 'new'), Path(temporary, 'old')
        new.mkdir()
        old.mkdir()
        yield new
        with _signals_held():
            _replace(new, out, old)


def _replace(new: Path, out: Path, old: Path) -> None:
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        os.replace(new, out)
        return
    moved = []
    try:
        for name in _ENTRIES:
            for source, target in ((out, old), (new, out)):
                if (source / name).exists():
                    os.replace(source / name, target / name)
                    moved.append((target / name, source / name))
    except OSError:
        for now, before in reversed(moved):
            os.replace(now, before)
        raise


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait, where the system can."""
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def write_poses(
    folder: Path, info: dict, found: Detections, views: list[View], result: LiftResult, pictures: bool
) -> None:
    """Write ``poses3d.json`` and ``poses3d.npz``.

    Args:
        folder: Where to.
        info: What to say in the header besides the units and the names of the keypoints.
        found: The N people, in 2D.
        views: Their images.
        result: The N people, in 3D.
        pictures: Whether the views' pictures are drawn.
    """
    header = {'generator': GENERATOR, **info, 'units': _UNITS, 'joint_names': H36M_17.joint_names}
    with (folder / JSON_FILE).open('w', encoding='utf-8') as file:
        file.write(f'{{"info": {json.dumps(header, allow_nan=False)},\n"poses": [')
        for index, pose in enumerate(_poses(found, views, result, pictures)):
            file.write((',\n' if index else '\n') + json.dumps(pose, allow_nan=False))
        file.write('\n]}\n')
    np.savez_compressed(folder / NPZ_FILE, **_arrays(found, views, result))


def _poses(found: Detections, views: list[View], result: LiftResult, pictures: bool) -> Iterator[dict]:
    """The poses for JSON, in the order of the input; null for what could not be lifted."""
    places = {row: (view, person) for view in views for person, row in enumerate(view.rows)}
    values = {f.name: getattr(result, f.name) for f in fields(LiftResult)}
    values = {name: v if v.dtype == bool else v.astype(np.float64).round(6) for name, v in values.items()}
    if np.isnan(result.uncertainty[result.valid]).any():  # of a lifter that has none
        del values['uncertainty']
    for row, valid in enumerate(result.valid.tolist()):
        view, person = places[row]
        yield {
            'record': found.records[row],
            'image_id': found.image_ids[row],
            'file_name': found.file_names[row],
            'person': person,
            'score': found.person_scores[row],
            **{name: value[row].tolist() if valid else None for name, value in values.items()},
            'valid': valid,
            'camera': _camera_dict(view.camera),
            'picture': f'{PICTURE_FOLDER}/{view.picture}' if pictures else None,
        }


def _camera_dict(camera: Camera) -> dict:
    values = {f.name: getattr(camera, f.name) for f in fields(Camera)}
    return {name: v.tolist() if isinstance(v, Tensor) else v for name, v in values.items()}


def _arrays(found: Detections, views: list[View], result: LiftResult) -> dict[str, np.ndarray]:
    """The poses for NPZ, in the order of the input."""
    view_of_person, person = np.zeros((2, len(found)), np.int64)
    for index, view in enumerate(views):
        view_of_person[view.rows], person[view.rows] = index, range(len(view.rows))
    cameras = np.array([[getattr(view.camera, name) for name in CAMERA_FIELDS] for view in views], np.float64)
    ids = found.image_ids
    if not all(isinstance(i, int) and abs(i) < 2**63 for i in ids):
        ids = ['' if i is None else str(i) for i in ids]
    arrays = {f.name: getattr(result, f.name) for f in fields(LiftResult)}
    arrays |= {
        'record': np.array(found.records, np.int64),
        'image_id': np.array(ids),
        'file_name': np.array([name or '' for name in found.file_names], np.str_),
        'person': person,
        'keypoints_2d': found.keypoints,
        'scores_2d': found.scores,
        'camera': cameras.reshape(-1, len(CAMERA_FIELDS))[view_of_person],
        'camera_fields': np.array(CAMERA_FIELDS),
        'joint_names': np.array(H36M_17.joint_names),
    }
    if views and views[0].camera.distortion is not None:  # from a file, so of all images
        arrays['distortion'] = views[0].camera.distortion.numpy()
    return arrays
