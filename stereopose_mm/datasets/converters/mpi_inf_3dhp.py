# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The official test set of MPI-INF-3DHP (Mehta et al., 3DV 2017), six MATLAB files, to one NPZ."""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from scipy.optimize import least_squares

from ...files import whole_file
from ...geometry.distortion import distort
from ..progress import conversion_progress

SCHEMA_VERSION = 1
FILE_NAME = 'mpi_inf_3dhp_test.npz'
# Names are those of the official mpii_get_activity_name.m; its numbers start at 1.
ACTIVITIES = (
    'Standing/Walking', 'Exercising', 'Sitting', 'Reaching/Crouching', 'On The Floor', 'Sports', 'Miscellaneous',
)  # fmt: skip
# The test set's README: sequences 1 and 2 have the green screen, 3 and 4 the studio without, 5 and 6 are outdoors.
SCENES = {
    'TS1': 'green screen',
    'TS2': 'green screen',
    'TS3': 'studio',
    'TS4': 'studio',
    'TS5': 'outdoor',
    'TS6': 'outdoor',
}
# Width and height of the images.
IMAGE_SIZES = {name: (1920, 1080) if scene == 'outdoor' else (2048, 2048) for name, scene in SCENES.items()}
# Frames that count, as the README weighs the sequences: 2929 together.
VALID_FRAMES = {'TS1': 603, 'TS2': 540, 'TS3': 505, 'TS4': 553, 'TS5': 276, 'TS6': 452}
# Largest mean distance of the 2D annotations from the projected 3D ones, pixels.
MAX_RESIDUAL = 3.0

_JOINTS = 17
_KEYS = {'valid_frame': None, 'activity_annotation': None, 'annot2': 2, 'annot3': 3, 'univ_annot3': 3}
_MILLIMETRES = 1000.0
# MMPose's converter: the box of the joints and a margin, in units of 200 pixels.
_BOX_MARGIN, _BOX_UNIT = 1.2, 200.0
# Above this median residual (pixels) of a pinhole camera a lens is tried, and taken if it halves the mean one.
_PINHOLE_ENOUGH = 0.1
# Hips, pelvis and spine can be made apart in 2D and in 3D (in the training set they are, by up to 2 px): joints further
# off than this many medians do not shape the camera.
_OUTLIER = 3.0
_MAX_FIT_POINTS = 20000


@dataclass(frozen=True)
class SequenceSummary:
    """What was found in one sequence.

    Attributes:
        name: ``'TS1'`` to ``'TS6'``.
        frames: Frames in the file.
        valid: Frames that count.
        residual: Mean distance of the 2D annotations from the 3D ones through the fitted camera, pixels.
        worst: The largest one, pixels.
        worst_frame: Frame that has it, from 1 as the images are named.
        distorted: Whether the camera has a lens model.
    """

    name: str
    frames: int
    valid: int
    residual: float
    worst: float
    worst_frame: int
    distorted: bool

    def __str__(self) -> str:
        """One line for people."""
        lens = 'with lens distortion' if self.distorted else 'pinhole'
        official = VALID_FRAMES[self.name]
        note = '' if self.valid == official else f' (the official test set has {official})'
        return (
            f'{self.name}: {self.valid} of {self.frames} frames valid{note}, camera {lens}, 2D-3D residual '
            f'{self.residual:.3f} px, at most {self.worst:.3f} px in frame {self.worst_frame}'
        )


def convert_test_set(
    source: str | Path,
    out: str | Path,
    all_frames: bool = False,
    max_residual: float = MAX_RESIDUAL,
    report: Callable[[str], None] | None = None,
) -> list[SequenceSummary]:
    """Convert ``TS1`` … ``TS6/annot_data.mat`` to :data:`FILE_NAME`.

    The NPZ has N records, joints in the order of MPI-INF-3DHP-17:

    - MMPose's keys: ``imgname`` (``TS1/imageSequence/img_000001.jpg``), ``center`` ``(N, 2)``, ``scale`` ``(N,)``,
      ``part`` ``(N, 17, 3)`` pixels and 1 where inside the image, ``S`` ``(N, 17, 4)`` metres in the camera frame at
      the original scale and 1 where known;
    - ``S_univ``, like ``S``, at the universal scale; ``sequence``, ``frame`` (from 1), ``activity`` (1 to 7, 0 if it
      has none), ``valid``, ``(N,)`` each;
    - of the six cameras ``camera_name``, ``camera_matrix`` ``(6, 3, 3)``, ``camera_distortion`` ``(6, 5)`` in OpenCV's
      order, ``camera_size`` ``(6, 2)`` width and height, ``camera_residual`` ``(6, 2)`` mean and largest, pixels.

    The files hold no camera: the one that projects ``annot3`` nearest to ``annot2`` is fitted to the valid frames.
    Sequences that are done are kept in a folder beside the file until all are: a conversion that was stopped goes
    on where it was.

    Args:
        source: Folder ``mpi_inf_3dhp_test_set`` with ``TS1`` to ``TS6``.
        out: Folder to write to; made if it is not there.
        all_frames: Keep frames that do not count too, with ``valid`` false.
        max_residual: Largest mean residual of a sequence, pixels.
        report: Told of each sequence in one line; default prints it to stderr.

    Returns:
        What was found in each sequence.

    Raises:
        ValueError: If a file is missing or no such file, lacks a key, has arrays of different lengths or, in a valid
            frame, a number that is not finite, a joint behind the camera or an unknown activity, or no camera fits;
            names the file, the key and the frame. The NPZ is not written then, nor changed.
    """
    source, out = Path(source), Path(out)
    paths = {name: source / name / 'annot_data.mat' for name in SCENES}
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if missing:
        raise ValueError(f'{source}: takes the folders TS1 to TS6 of the test set; missing {", ".join(missing)}')
    if not max_residual > 0:
        raise ValueError(f'max_residual takes pixels above 0, got {max_residual}')
    out.mkdir(parents=True, exist_ok=True)
    parts_folder = out / f'.{FILE_NAME}.parts'
    parts, summaries = [], []
    with conversion_progress() as progress:
        for name, path in progress.track(paths.items(), description='converting'):
            stamp = _stamp(path, all_frames)
            finished = _read_part(parts_folder / f'{name}.npz', stamp)
            part = finished or _convert_sequence(name, path, all_frames) | dict(part_stamp=stamp)
            summary = _summary(part)
            if summary.residual > max_residual:
                raise ValueError(
                    f'{path}: annot2 is {summary.residual:.2f} px from the projection of annot3 on average, '
                    f'{summary.worst:.2f} px in frame {summary.worst_frame}; takes at most {max_residual:g} px'
                )
            if finished is None:
                parts_folder.mkdir(exist_ok=True)
                _save(parts_folder / f'{name}.npz', part)
            (report or progress.console.out)(str(summary))
            parts.append(part)
            summaries.append(summary)
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0] if not key.startswith('part_')}
    _save(out / FILE_NAME, arrays | dict(skeleton='mpi_inf_3dhp', schema_version=SCHEMA_VERSION))
    shutil.rmtree(parts_folder)
    return summaries


def _stamp(path: Path, all_frames: bool) -> str:
    """What a finished sequence depends on."""
    status = path.stat()
    return f'{SCHEMA_VERSION} {status.st_size} {status.st_mtime_ns} {all_frames}'


def _read_part(path: Path, stamp: str) -> dict[str, np.ndarray] | None:
    """Arrays of a sequence that an earlier run finished, if it was of the same file."""
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive) if archive['part_stamp'] == stamp else None
    return None


def _convert_sequence(name: str, path: Path, all_frames: bool) -> dict[str, np.ndarray]:
    data = read_annotations(path)
    valid = data['valid_frame'] > 0
    size = np.array(IMAGE_SIZES[name])
    matrix, distortion = fit_camera(data['annot3'][valid], data['annot2'][valid], path)
    residual = np.linalg.norm(_project(data['annot3'][valid], matrix, distortion) - data['annot2'][valid], axis=-1)
    worst = np.unravel_index(residual.argmax(), residual.shape)

    kept = np.ones_like(valid) if all_frames else valid
    frame = np.flatnonzero(kept) + 1
    pixels, known_2d = _known(data['annot2'][kept])
    inside = known_2d & ((pixels >= 0) & (pixels < size)).all(-1)
    low, high = pixels.min(1), pixels.max(1)
    activity = np.nan_to_num(data['activity_annotation'][kept])
    return dict(
        imgname=np.array([f'{name}/imageSequence/img_{number:06d}.jpg' for number in frame]),
        center=(low + high) / 2,
        scale=_BOX_MARGIN * (high - low).max(-1) / _BOX_UNIT,
        part=np.concatenate([pixels, inside[..., None]], -1),
        S=_metres(data['annot3'][kept]),
        S_univ=_metres(data['univ_annot3'][kept]),
        sequence=np.full(len(frame), name),
        frame=frame,
        activity=np.where((activity >= 1) & (activity <= len(ACTIVITIES)), activity, 0).astype(np.int64),
        valid=valid[kept],
        camera_name=np.array([name]),
        camera_matrix=matrix[None],
        camera_distortion=distortion[None],
        camera_size=size[None],
        camera_residual=np.array([[residual.mean(), residual.max()]]),
        part_frames=np.array([len(valid), valid.sum(), np.flatnonzero(valid)[worst[0]] + 1]),
    )


def _summary(part: dict[str, np.ndarray]) -> SequenceSummary:
    frames, valid, worst_frame = part['part_frames'].tolist()
    mean, largest = part['camera_residual'][0].tolist()
    return SequenceSummary(
        str(part['camera_name'][0]), frames, valid, mean, largest, worst_frame, bool(part['camera_distortion'].any())
    )


def read_annotations(path: str | Path) -> dict[str, np.ndarray]:
    """Read and check an ``annot_data.mat`` of the test set.

    Args:
        path: The file, HDF5 as MATLAB 7.3 writes it; arrays lie in it with their axes in reverse.

    Returns:
        ``valid_frame`` and ``activity_annotation`` ``(N,)``; ``annot2`` ``(N, 17, 2)`` pixels; ``annot3`` and
        ``univ_annot3`` ``(N, 17, 3)`` millimetres in the camera frame, at the original and the universal scale.

    Raises:
        ValueError: As :func:`convert_test_set` says.
    """
    try:
        with h5py.File(path, 'r') as file:
            missing = [key for key in _KEYS if key not in file]
            if missing:
                raise ValueError(f'{path}: no key {missing[0]!r}; it has {sorted(file)}')
            data = {key: _read_array(path, file, key, dims) for key, dims in _KEYS.items()}
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f'{path}: not a readable HDF5 file, as MATLAB 7.3 writes them: {error}') from error
    lengths = {key: len(array) for key, array in data.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f'{path}: takes the same number of frames in every array, has {lengths}')
    valid = data['valid_frame'] > 0
    if not valid.any():
        raise ValueError(f'{path}: valid_frame marks none of {len(valid)} frames')
    for key, array in data.items():
        _refuse(path, key, valid & ~np.isfinite(array.reshape(len(valid), -1)).all(-1), 'is not finite')
    activity = data['activity_annotation']
    known = np.isin(activity, np.arange(len(ACTIVITIES)) + 1)
    _refuse(path, 'activity_annotation', valid & ~known, f'is not one of 1 to {len(ACTIVITIES)}')
    _refuse(path, 'annot3', valid & (data['annot3'][..., 2] <= 0).any(-1), 'has a joint that is not before the camera')
    return data


def _read_array(path: str | Path, file: h5py.File, key: str, dims: int | None) -> np.ndarray:
    dataset = file[key]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in 'biuf':
        raise ValueError(f'{path}: {key} takes an array of numbers, is {getattr(dataset, "dtype", "a group")}')
    array = dataset[()].astype(np.float64)
    if dims is None:
        return array.reshape(-1)
    if array.ndim == 4 and array.shape[1] == 1:  # the axis of people, of whom there is one
        array = array[:, 0]
    if array.shape[1:] != (_JOINTS, dims):
        raise ValueError(f'{path}: {key} is {dataset.shape}; takes (N, 1, {_JOINTS}, {dims})')
    return array


def _refuse(path: str | Path, key: str, bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise ValueError(f'{path}: {key} of frame {bad.argmax() + 1}, which is valid, {what}')


def fit_camera(points: np.ndarray, pixels: np.ndarray, source: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Fit the camera that projects points nearest to their pixels.

    A pinhole camera, by linear least squares on pixels; and OpenCV's lens k1, k2, p1, p2 where one halves the
    residual (the calibration that comes with the test set gives the outdoor camera a lens).

    Args:
        points: ``(N, K, 3)`` in the camera frame, in front of it.
        pixels: ``(N, K, 2)``.
        source: Name of the file, for messages.

    Returns:
        ``(3, 3)`` intrinsic matrix and ``(5,)`` distortion, OpenCV's order, zeros for a pinhole camera.

    Raises:
        ValueError: If the points do not determine a camera.
    """
    rays = (points[..., :2] / points[..., 2:]).reshape(-1, 2)
    pixels = pixels.reshape(-1, 2)
    lens = np.zeros(5)
    matrix = _fit_pinhole(rays, pixels, source)
    for _ in range(5):
        residual = np.linalg.norm(_project_rays(rays, matrix, lens) - pixels, axis=-1)
        near = residual <= _OUTLIER * np.median(residual) + 1e-6
        matrix = _fit_pinhole(rays[near], pixels[near], source)
    residual = np.linalg.norm(_project_rays(rays, matrix, lens) - pixels, axis=-1)
    if np.median(residual) > _PINHOLE_ENOUGH:
        with_lens = _fit_lens(rays, pixels, matrix)
        if np.linalg.norm(_project_rays(rays, *with_lens) - pixels, axis=-1).mean() < residual.mean() / 2:
            return with_lens
    return matrix, lens


def _fit_pinhole(rays: np.ndarray, pixels: np.ndarray, source: str | Path) -> np.ndarray:
    matrix = np.eye(3)
    for axis in range(2):
        # u = f x + c
        design = np.stack([rays[:, axis], np.ones(len(rays))], -1)
        (focal, centre), _, rank, _ = np.linalg.lstsq(design, pixels[:, axis], rcond=None)
        if rank < 2 or not focal > 0:
            raise ValueError(f'{source}: annot2 and annot3 of the valid frames fit no camera: focal length {focal:g}')
        matrix[axis, axis], matrix[axis, 2] = focal, centre
    return matrix


def _fit_lens(rays: np.ndarray, pixels: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.linspace(0, len(rays) - 1, min(len(rays), _MAX_FIT_POINTS)).astype(int)

    def camera(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fx, fy, cx, cy, *lens = values
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), np.array([*lens, 0.0])

    def error(values: np.ndarray) -> np.ndarray:
        return (_project_rays(rays[chosen], *camera(values)) - pixels[chosen]).ravel()

    start = [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], 0.0, 0.0, 0.0, 0.0]
    found = least_squares(error, start, x_scale=[1e3] * 4 + [1e-1, 1e-1, 1e-2, 1e-2], loss='soft_l1')
    return camera(found.x)


def _project(points: np.ndarray, matrix: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    rays = points[..., :2] / points[..., 2:]
    return _project_rays(rays.reshape(-1, 2), matrix, distortion).reshape(rays.shape)


def _project_rays(rays: np.ndarray, matrix: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    if distortion.any():
        rays = distort(torch.from_numpy(rays), torch.from_numpy(distortion)).numpy()
    return rays * matrix[[0, 1], [0, 1]] + matrix[:2, 2]


def _known(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values with zeros where a joint is not finite, which only frames that do not count have, and which are."""
    known = np.isfinite(values).all(-1)
    return np.where(known[..., None], values, 0.0), known


def _metres(points: np.ndarray) -> np.ndarray:
    """Joints in metres and 1 where they are known."""
    points, known = _known(points)
    return np.concatenate([points / _MILLIMETRES, known[..., None]], -1)


def _save(path: Path, arrays: dict) -> None:
    # Opened here, as numpy adds a suffix to names that it opens.
    with whole_file(path) as temporary, open(temporary, 'wb') as file:
        np.savez_compressed(file, **arrays)
