# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The labels of the original release, ``wild.npy``: file name, 2D and 3D keypoints of each person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa
import torch
from PIL import Image, UnidentifiedImageError

from ...geometry import Camera
from ...geometry.depth_search import search_root_depth
from ...geometry.skeletons import H36M_17
from ..plain_pickle import load_plain_pickle
from .schema import make_table

#: The intrinsics that the release takes for every photograph, and the image size of that camera.
RELEASE_CAMERA = Camera(1145.049, 1143.781, 512.0, 515.0, 1000, 1002)

LAYOUTS = ('auto', 'interleaved', 'planar')
_NAMES = ('file_name', 'filename', 'image', 'img', 'imgname', 'name')
_KEYPOINTS_2D = ('keypoints_2d', 'keypoints2d', 'kp2d', 'joints_2d', 'pose2d', '2d')
_KEYPOINTS_3D = ('keypoints_3d', 'keypoints3d', 'kp3d', 'joints_3d', 'pose3d', '3d')

_MILLIMETRES = 1000.0
# A scaled orthographic camera explains the picture of a person up to perspective, which is some percent.
_MAX_MISFIT = 0.15
# Root to the farthest keypoint, metres: a child that is curled up, a tall adult with arms raised.
_PLAUSIBLE_REACH = (0.2, 2.0)


def read_wild_npy(
    path: str | Path,
    images: str | Path | None = None,
    joint_order: Sequence[str] | None = None,
    layout: str = 'auto',
) -> pa.Table:
    """Read ``wild.npy`` of Wang et al. (ICCVW 2019): 9131 people of MPII and LSP.

    The file is an array of N rows of file name, 2K pixel and 3K millimetre coordinates: ``(9131, 86)`` for K = 17, as
    text or as Python objects. Also taken are N records of (file name, 2D, 3D), each a list, a tuple, a dict or a row of
    an array, and a dict of three arrays. Only numbers, text, arrays and containers are unpickled.

    A 3D pose that is relative to its root, which is what the release's search leaves, is put where its keypoints best
    project onto the 2D ones, with the intrinsics that the release takes for every picture; its shape is left as it is.

    Args:
        path: The file.
        images: Folder of the images, to read their sizes. Default: the size of Human3.6M's.
        joint_order: K names of keypoints of H36M-17 in the file's order; those not named are missing. Default:
            H36M-17, which is refused where the root of the 3D poses is another joint.
        layout: Order of the coordinates in a row: ``'interleaved'`` x y x y …, ``'planar'`` x x … y y …, or
            ``'auto'``: the one in which 2D and 3D are of one shape. Coordinates that come as ``(K, 2)`` or ``(2, K)``
            say it themselves.

    Returns:
        Table of :func:`~.schema.wild3d_schema`, H36M-17.

    Raises:
        ValueError: If the file is of another form, or its 2D and 3D do not agree in the camera frame (x right, y down),
            or a number is not finite, or an image is not there; names the file and the record.
    """
    path = Path(path)
    if layout not in LAYOUTS:
        raise ValueError(f'layout takes one of {LAYOUTS}, got {layout!r}')
    names, flat_2d, flat_3d, own_layout = _columns(_load(path), str(path))
    num_joints = flat_2d.shape[1] // 2
    order = _joint_order(joint_order, num_joints, str(path))
    for key, numbers in (('2D', flat_2d), ('3D', flat_3d)):
        bad = ~np.isfinite(numbers).all(1)
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(f'{path}: {key} keypoints of record {row} ({names[row]}) are not finite')
    keypoints, pose = _arranged(flat_2d, flat_3d, own_layout or layout, str(path))
    pose = pose / _MILLIMETRES
    reach = float(np.median(np.linalg.norm(pose - pose.mean(1, keepdims=True), axis=-1).max(1)))
    if not _PLAUSIBLE_REACH[0] < reach < _PLAUSIBLE_REACH[1]:
        raise ValueError(f'{path}: 3D keypoints takes millimetres; people of them would reach {reach:.3g} m')
    pose = _absolute(keypoints, pose, order, joint_order is not None, names, str(path))

    marked = np.isin(np.arange(H36M_17.num_keypoints), order)
    num = len(names)
    out_2d = np.zeros((num, H36M_17.num_keypoints, 2))
    out_3d = np.zeros((num, H36M_17.num_keypoints, 4))
    out_2d[:, order], out_3d[:, order, :3], out_3d[:, order, 3] = keypoints, pose, 1
    camera = RELEASE_CAMERA
    error = np.linalg.norm(camera.project(torch.from_numpy(pose)).numpy() - keypoints, axis=-1).mean(1)
    sizes = np.array([_image_size(images, name, row, str(path)) for row, name in enumerate(names)])
    return make_table(
        'h36m',
        dict(description='MPII and LSP with the 3D labels of Wang et al., ICCVW 2019'),
        file_name=names,
        width=sizes[:, 0],
        height=sizes[:, 1],
        keypoints=out_2d,
        visibility=np.tile(2 * marked, (num, 1)),
        keypoints_3d=out_3d,
        camera=np.tile([camera.fx, camera.fy, camera.cx, camera.cy], (num, 1)),
        reprojection_error=error,
        source=['mpii_lsp'] * num,
        source_record=[f'{path.name}:{row}' for row in range(num)],
        generator=['Wang et al. 2019'] * num,
    )


def _load(path: Path) -> object:
    """What the file holds, without running any code of it."""
    try:
        with open(path, 'rb') as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                header = np.lib.format.read_array_header_1_0(file)
            else:
                header = np.lib.format.read_array_header_2_0(file)
            shape, _, dtype = header
            if not dtype.hasobject:
                return np.load(path, allow_pickle=False)
            # Python 2 wrote the release's arrays.
            loaded = load_plain_pickle(file.read(), encoding='latin1')
            return np.asarray(loaded, dtype=object).reshape(shape)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from error
    except Exception as error:  # a broken pickle can fail in any way
        raise ValueError(f'{path}: no readable NPY of plain data: {error}') from error


def _columns(data: np.ndarray, path: str) -> tuple[list[str], np.ndarray, np.ndarray, str | None]:
    """Names, 2D ``(N, 2K)`` and 3D ``(N, 3K)`` as they stand, and their layout where the shape tells it."""
    if data.ndim == 0 and isinstance(data.item(), dict):
        parts = _pick(data.item(), path, 'the dict')
        lengths = [len(part) for part in parts]
        if len(set(lengths)) > 1:
            raise ValueError(f'{path}: file names, 2D and 3D have {lengths} entries; takes as many of each')
        records = list(zip(*parts, strict=True))
    elif not data.size:
        raise ValueError(f'{path}: holds no record')
    elif data.ndim == 2 and data.shape[1] > 3 and data.shape[1] % 5 == 1 and data.dtype.kind in 'UO':
        num = (data.shape[1] - 1) // 5
        try:
            numbers = data[:, 1:].astype(np.float64)
        except (ValueError, TypeError) as error:
            raise ValueError(f'{path}: record {_first_not_number(data)} holds what is no number: {error}') from error
        return _as_names(data[:, 0], path), numbers[:, : 2 * num], numbers[:, 2 * num :], None
    elif data.dtype == object and (data.ndim == 1 or data.ndim == 2 and data.shape[1] == 3):
        records = [_record(entry, path, row) for row, entry in enumerate(data)]
    else:
        raise ValueError(
            f'{path}: is an array {data.shape} of {data.dtype}; takes N rows of file name, 2K and 3K numbers, '
            'N records of (file name, 2D, 3D), or a dict of three arrays'
        )
    if not records:
        raise ValueError(f'{path}: holds no record')
    flat_2d, layout_2d = _stacked([record[1] for record in records], 2, path)
    flat_3d, layout_3d = _stacked([record[2] for record in records], 3, path)
    if flat_2d.shape[1] * 3 != flat_3d.shape[1] * 2:
        raise ValueError(
            f'{path}: has {flat_2d.shape[1]} numbers of 2D and {flat_3d.shape[1]} of 3D; takes 2 and 3 for a keypoint'
        )
    if layout_2d != layout_3d:
        raise ValueError(f'{path}: 2D is {layout_2d or "flat"} and 3D is {layout_3d or "flat"}; takes one layout')
    return _as_names([record[0] for record in records], path), flat_2d, flat_3d, layout_2d


def _first_not_number(data: np.ndarray) -> int:
    for row, record in enumerate(data[:, 1:]):
        try:
            record.astype(np.float64)
        except (ValueError, TypeError):
            return row
    return -1


def _pick(entry: dict, path: str, where: str) -> tuple:
    found = {str(key).lower(): value for key, value in entry.items()}
    parts = []
    for takes in (_NAMES, _KEYPOINTS_2D, _KEYPOINTS_3D):
        keys = [key for key in takes if key in found]
        if len(keys) != 1:
            raise ValueError(f'{path}: {where} takes one of the keys {list(takes)}, has {sorted(found)}')
        parts.append(found[keys[0]])
    return tuple(parts)


def _record(entry: object, path: str, row: int) -> tuple:
    if isinstance(entry, dict):
        return _pick(entry, path, f'record {row}')
    if isinstance(entry, list | tuple | np.ndarray) and len(entry) == 3:
        return tuple(entry)
    raise ValueError(f'{path}: record {row} is a {type(entry).__name__}; takes a dict or (file name, 2D, 3D)')


def _as_names(values: Sequence, path: str) -> list[str]:
    for row, value in enumerate(values):
        if not isinstance(value, str) or not value:
            raise ValueError(f'{path}: the file name of record {row} is {value!r}; takes text')
    return [str(value) for value in values]


def _stacked(values: list, dims: int, path: str) -> tuple[np.ndarray, str | None]:
    """Coordinates of each record in a row, and their layout if it shows."""
    try:
        arrays = [np.asarray(value, np.float64) for value in values]
    except (ValueError, TypeError) as error:
        raise ValueError(f'{path}: {dims}D keypoints hold what is no number: {error}') from error
    shape = arrays[0].shape
    for row, array in enumerate(arrays):
        if array.shape != shape:
            raise ValueError(f'{path}: {dims}D keypoints of record {row} are {array.shape}, of record 0 {shape}')
    if len(shape) == 1 and shape[0] % dims == 0:
        layout = None
    elif len(shape) == 2 and shape[1] == dims:
        layout = 'interleaved'
    elif len(shape) == 2 and shape[0] == dims:
        layout = 'planar'
    else:
        raise ValueError(f'{path}: {dims}D keypoints are {shape}; takes (K, {dims}), ({dims}, K) or {dims}K numbers')
    return np.stack(arrays).reshape(len(arrays), -1), layout


def _joint_order(names: Sequence[str] | None, num_joints: int, path: str) -> list[int]:
    """Index in H36M-17 of each keypoint of the file."""
    if names is None:
        if num_joints != H36M_17.num_keypoints:
            raise ValueError(f'{path}: has {num_joints} keypoints, not those of H36M-17: name them as joint_order')
        return list(range(num_joints))
    order = [H36M_17.index(name) for name in names]
    if len(order) != num_joints or len(set(order)) != num_joints or H36M_17.root not in order:
        raise ValueError(
            f'joint_order takes {num_joints} different names with {H36M_17.joint_names[H36M_17.root]!r} among them, '
            f'got {list(names)}'
        )
    return order


def _arranged(flat_2d: np.ndarray, flat_3d: np.ndarray, layout: str, path: str) -> tuple[np.ndarray, np.ndarray]:
    """``(N, K, 2)`` and ``(N, K, 3)`` of the layout in which the picture is one of the pose."""
    found = {}
    for name in LAYOUTS[1:] if layout == 'auto' else (layout,):
        pair = _split(flat_2d, 2, name), _split(flat_3d, 3, name)
        found[name] = (_misfit(*pair), pair)
    misfit, pair = min(found.values(), key=lambda entry: entry[0])
    if not misfit < _MAX_MISFIT:
        shown = {name: round(entry[0], 3) for name, entry in found.items()}
        raise ValueError(
            f'{path}: 2D is no picture of 3D in the camera frame (x right, y down): they differ by {shown} of their '
            f'size, by layout; takes less than {_MAX_MISFIT}'
        )
    return pair


def _split(flat: np.ndarray, dims: int, layout: str) -> np.ndarray:
    if layout == 'planar':
        return flat.reshape(len(flat), dims, -1).swapaxes(1, 2)
    return flat.reshape(len(flat), -1, dims)


def _misfit(keypoints: np.ndarray, pose: np.ndarray) -> float:
    """Median part of the 2D keypoints' size that a scaled orthographic camera leaves unexplained."""
    picture = keypoints - keypoints.mean(1, keepdims=True)
    seen = pose[..., :2] - pose[..., :2].mean(1, keepdims=True)
    size = np.square(picture).sum((1, 2))
    scale = (picture * seen).sum((1, 2)) / np.maximum(np.square(seen).sum((1, 2)), 1e-12)
    # A mirrored picture is none.
    scale = np.maximum(scale, 0)[:, None, None]
    left = np.square(picture - scale * seen).sum((1, 2))
    return float(np.median(np.sqrt(left / np.maximum(size, 1e-12))))


def _absolute(
    keypoints: np.ndarray, pose: np.ndarray, order: list[int], named: bool, names: list[str], path: str
) -> np.ndarray:
    """Poses in the camera frame."""
    at_origin = np.flatnonzero(np.abs(pose).max((0, 2)) < 1e-6)
    root = order.index(H36M_17.root)
    if not len(at_origin):
        if (pose[..., 2] <= 0).any():
            row = int((pose[..., 2] <= 0).any(1).argmax())
            raise ValueError(
                f'{path}: 3D keypoints of record {row} ({names[row]}) are neither before the camera nor relative to a '
                'keypoint'
            )
        return pose
    if root not in at_origin:
        what = 'joint_order has the root' if named else 'H36M-17 has the root'
        raise ValueError(
            f'{path}: 3D is relative to keypoint {at_origin[0]}, but {what} at {root}: name the order as joint_order'
        )
    rays = RELEASE_CAMERA.unproject(torch.from_numpy(keypoints))
    depth, _, valid = search_root_depth(torch.from_numpy(pose), rays, root_index=root, on_invalid='nan')
    if not valid.all():
        row = int((~valid).int().argmax())
        raise ValueError(f'{path}: 2D keypoints of record {row} ({names[row]}) are all at one point')
    position = torch.cat([rays[:, root], torch.ones_like(depth)[:, None]], -1) * depth[:, None]
    return pose + position.numpy()[:, None]


def _image_size(images: str | Path | None, name: str, row: int, path: str) -> tuple[int, int]:
    if images is None:
        return int(RELEASE_CAMERA.width), int(RELEASE_CAMERA.height)
    file = Path(images) / PurePath(name)
    try:
        with Image.open(file) as image:
            return image.size
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f'{path}: record {row}: {file} is no readable image: {error}') from error
