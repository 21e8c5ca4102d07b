# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Cameras from files: plain intrinsics, and the files of OpenCV, ROS, COLMAP and MMPose."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..datasets.plain_pickle import load_plain_pickle
from ..geometry import CAMERA_FIELDS, Camera

_PICKLES = ('.pkl', '.pickle')
# Parameters of COLMAP's camera models (src/colmap/sensor/models.h), in the order of its file; `f` is fx and fy.
_COLMAP = {
    'SIMPLE_PINHOLE': 'f cx cy',
    'PINHOLE': 'fx fy cx cy',
    'SIMPLE_RADIAL': 'f cx cy k1',
    'RADIAL': 'f cx cy k1 k2',
    'OPENCV': 'fx fy cx cy k1 k2 p1 p2',
    'FULL_OPENCV': 'fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6',
}
_DISTORTION = ('k1', 'k2', 'p1', 'p2', 'k3', 'k4', 'k5', 'k6')
# Sides that MMPose's converter of MPI-INF-3DHP gives its training images: it cuts the last digit of the height off.
_CUT_SIZE, _TRUE_HEIGHT = (2048, 204), 2048
# Cameras that a message lists.
_LISTED = 6


class _CalibrationLoader(yaml.SafeLoader):
    """Safe YAML that also knows OpenCV's matrices."""


def _opencv_matrix(loader: yaml.SafeLoader, node: yaml.Node) -> dict:
    return loader.construct_mapping(node, deep=True)


_CalibrationLoader.add_constructor('tag:yaml.org,2002:opencv-matrix', _opencv_matrix)


def read_camera(path: str | Path, name: str | None = None) -> Camera:
    """Read one camera from a file.

    JSON or YAML:

    - ``fx``, ``fy``, ``cx``, ``cy``, ``width``, ``height`` in pixels; optional ``distortion``, in OpenCV's order.
    - A calibration by OpenCV (``FileStorage``) or ROS: ``camera_matrix``, ``image_width``, ``image_height``; optional
      ``distortion_coefficients``.
    - MMPose's ``camera_param``: ``K``, or ``f`` and ``c``; ``w`` and ``h``; optional ``k`` and ``p``. Or several of
      them by name.

    Others:

    - COLMAP's ``cameras.txt`` (https://colmap.github.io/format.html): all models but those of fisheye lenses.
    - MMPose's pickles: ``cameras.pkl`` of Human3.6M, ``cameras_train.pkl`` and ``cameras_test.pkl`` of MPI-INF-3DHP, or
      one ``camera_param``. Read without running any code that they may hold.

    Pixels: an image's upper left corner is (0, 0) and its centre (width / 2, height / 2), so that the first pixel's
    centre is (0.5, 0.5). COLMAP counts so too. OpenCV counts from the centre of the first pixel, half a pixel less,
    and so may a detector: numbers are taken as they are, since half a pixel moves a point 10 m away by 5 mm at
    fx = 1000, and a keypoint is not that exact.

    Args:
        path: ``.json``, ``.yaml``, ``.yml``, ``.txt``, ``.pkl`` or ``.pickle``.
        name: Which of several cameras: COLMAP's ``CAMERA_ID``; a key of MMPose's, its parts joined by dots
            (``'S1.54138969'``), or its last part alone, where its cameras are the same one.

    Raises:
        ValueError: For a file that cannot be read, entries that are missing or out of range, a fisheye lens, a pickle
            of anything but plain data, and a camera that is not there, or of several not named; names the file.
    """
    path = Path(path)
    try:
        return _read(path, path.suffix.lower(), name)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from error
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def check_image_size(camera: Camera, width: float, height: float, what: str | Path, image: str | Path) -> None:
    """Check that a camera is for images of this size.

    Args:
        camera: One camera.
        width: Of the image, pixels.
        height: The same.
        what: The camera's file, for the message.
        image: The image, for the message.

    Raises:
        ValueError: If it is for another size; says how to make it fit where the shape is the same.
    """
    if (camera.width, camera.height) == (width, height):
        return
    factor = width / camera.width
    hint = ''
    if abs(camera.height * factor - height) <= 1:  # resizing rounds the other side
        hint = f'; scale fx, fy, cx and cy by {factor:.6g} if it is the same picture resized'
    own = f'{camera.width:g} x {camera.height:g} px'
    raise ValueError(f'{what}: is for images of {own}, but {image} is {width:g} x {height:g} px{hint}')


def _read(path: Path, suffix: str, name: str | None) -> Camera:
    if suffix in _PICKLES:
        return _from_mmpose(_unpickle(path.read_bytes()), name)
    if suffix == '.bin':
        raise ValueError('COLMAP text only: colmap model_converter --output_type TXT writes cameras.txt')
    text = path.read_text(encoding='utf-8-sig')
    if suffix == '.txt':
        return _from_colmap(text, name)
    data = _parse(text, suffix)
    if not isinstance(data, dict):
        raise ValueError(f'takes a mapping with {", ".join(CAMERA_FIELDS)}')
    is_table = bool(data) and all(isinstance(value, dict) and _is_camera_param(value) for value in data.values())
    if _is_camera_param(data) or is_table:
        return _from_mmpose(data, name)
    _check_only(name)
    return _from_calibration(data) if 'camera_matrix' in data else _from_fields(data)


def _unpickle(content: bytes) -> Any:
    try:
        return load_plain_pickle(content)
    except Exception as error:  # a broken pickle can fail in any way
        raise ValueError(f'no pickle of cameras: {error}') from error


def _is_camera_param(data: Any) -> bool:
    return isinstance(data, Mapping) and ('K' in data or 'f' in data or 'c' in data)


def _from_mmpose(data: Any, name: str | None) -> Camera:
    """One ``camera_param``, or that of a name among several."""
    if _is_camera_param(data):
        _check_only(name)
        return _from_camera_param(data)
    if not isinstance(data, Mapping) or not data:
        raise ValueError(f"takes MMPose's cameras, a dict of dicts with f, c, w and h, has {type(data).__name__}")
    cameras = {_joined(key): param for key, param in data.items()}
    if name is None and len(cameras) == 1:
        name = next(iter(cameras))
    chosen = [name] if name in cameras else [key for key in cameras if key.rpartition('.')[2] == name]
    found = [(key, _named_camera(key, cameras[key])) for key in chosen]
    if not found:
        raise ValueError(_no_such_camera(name, list(cameras)))
    for key, camera in found[1:]:
        if not _is_same(camera, found[0][1]):
            raise ValueError(f'camera {name!r} may be {found[0][0]} or {key}, which differ')
    return found[0][1]


def _joined(key: Hashable) -> str:
    """``'S1.54138969'`` of ``('S1', '54138969')``."""
    return '.'.join(map(str, key)) if isinstance(key, tuple) else str(key)


def _named_camera(key: str, param: Any) -> Camera:
    try:
        if not _is_camera_param(param):
            has = sorted(map(str, param)) if isinstance(param, Mapping) else type(param).__name__
            raise ValueError(f'takes K, or f and c, w and h, has {has}')
        return _from_camera_param(param)
    except ValueError as error:
        raise ValueError(f'camera {key}: {error}') from error


def _from_camera_param(param: Mapping) -> Camera:
    missing = [key for key in 'wh' if param.get(key) is None]
    if missing:
        raise ValueError(f'camera_param: has no {", ".join(missing)}, the image size in pixels')
    width, height = (_number(key, param[key]) for key in 'wh')
    if (width, height) == _CUT_SIZE:
        height = _TRUE_HEIGHT
    try:
        return Camera.from_mmpose(param, width, height)
    except (TypeError, KeyError) as error:
        raise ValueError(f'camera_param: takes numbers: {error}') from error


def _is_same(first: Camera, second: Camera) -> bool:
    same_lens = (first.distortion is None) == (second.distortion is None)
    if same_lens and first.distortion is not None:
        same_lens = first.distortion.tolist() == second.distortion.tolist()
    return same_lens and all(getattr(first, field) == getattr(second, field) for field in CAMERA_FIELDS)


def _from_colmap(text: str, name: str | None) -> Camera:
    lines = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith('#'):
            lines[words[0]] = number, words
    if not lines:
        raise ValueError("takes COLMAP's cameras.txt, holds no camera")
    name = next(iter(lines)) if name is None and len(lines) == 1 else name
    if name not in lines:
        raise ValueError(_no_such_camera(name, list(lines)))
    number, words = lines[name]
    try:
        return _colmap_camera(words)
    except ValueError as error:
        raise ValueError(f'line {number}: {error}') from error


def _colmap_camera(words: list[str]) -> Camera:
    if len(words) < 4:
        raise ValueError(f'takes CAMERA_ID, MODEL, WIDTH, HEIGHT and PARAMS, got {" ".join(words)!r}')
    _, model, width, height, *params = words
    if model not in _COLMAP:
        raise ValueError(f'takes a camera model of {", ".join(_COLMAP)}, got {model}')
    names = _COLMAP[model].split()
    if len(params) != len(names):
        raise ValueError(f'{model} takes {", ".join(names)}, got {len(params)} numbers')
    values = {key: _number(key, param) for key, param in zip(names, params, strict=True)}
    fx, fy = values.get('fx', values.get('f')), values.get('fy', values.get('f'))
    size = _number('WIDTH', width), _number('HEIGHT', height)
    distortion = [values.get(key, 0.0) for key in _DISTORTION]
    distortion = distortion[: 8 if any(distortion[4:]) else 4]
    return Camera(fx, fy, values['cx'], values['cy'], *size, distortion if any(distortion) else None)


def _no_such_camera(name: str | None, names: list[str]) -> str:
    listed = ', '.join(names[:_LISTED]) + (f', … ({len(names)} in all)' if len(names) > _LISTED else '')
    if name is None:
        return f'holds several cameras, name one of them: {listed}'
    return f'has no camera {name!r}, only {listed}'


def _check_only(name: str | None) -> None:
    if name is not None:
        raise ValueError(f'has no camera {name!r}: it holds one, without a name')


def _parse(text: str, suffix: str) -> Any:
    if suffix not in ('.json', '.yaml', '.yml'):
        raise ValueError('takes a .json, .yaml, .yml, .txt (COLMAP) or .pkl (MMPose) file')
    try:
        if suffix == '.json':
            return json.loads(text)
        # OpenCV's first line, `%YAML:1.0`, is no valid YAML directive.
        head, _, rest = text.partition('\n')
        return yaml.load(rest if head.startswith('%YAML') else text, Loader=_CalibrationLoader)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f'no readable {suffix[1:].upper()}: {" ".join(str(error).split())}') from error


def _from_fields(data: Mapping) -> Camera:
    missing = [name for name in CAMERA_FIELDS if name not in data]
    if missing:
        raise ValueError(f'has no {", ".join(missing)}; takes {", ".join(CAMERA_FIELDS)}, or camera_matrix, or K')
    values = [_number(name, data[name]) for name in CAMERA_FIELDS]
    return Camera(*values, _coefficients('distortion', data.get('distortion')))


def _from_calibration(data: Mapping) -> Camera:
    model = data.get('distortion_model', 'plumb_bob')
    if data.get('fisheye_model') or model not in ('plumb_bob', 'rational_polynomial'):
        raise ValueError('takes a pinhole camera with radial and tangential distortion, this one is a fisheye lens')
    sizes = []
    for name in ('image_width', 'image_height'):
        if name not in data:
            raise ValueError(f'has no {name}')
        sizes.append(_number(name, data[name]))
    matrix = _flat('camera_matrix', data['camera_matrix'])
    if len(matrix) != 9:
        raise ValueError(f'camera_matrix: takes 3 x 3 numbers, got {len(matrix)}')
    distortion = _coefficients('distortion_coefficients', data.get('distortion_coefficients'))
    try:
        return Camera.from_matrix(np.array(matrix).reshape(3, 3), *sizes, distortion)
    except ValueError as error:
        raise ValueError(f'camera_matrix: {error}') from error


def _coefficients(name: str, value: Any) -> list[float] | None:
    """OpenCV's coefficients; None where all are 0, which is faster."""
    values = [] if value is None else _flat(name, value)
    return values if any(values) else None


def _flat(name: str, value: Any) -> list[float]:
    """The numbers of a matrix in row order: nested lists, or a mapping with ``data``."""
    if isinstance(value, dict):
        value = value.get('data')
    if not isinstance(value, list):
        raise ValueError(f'{name}: takes a list of numbers or a matrix, got {type(value).__name__}')
    numbers = []
    for item in value:
        numbers += _flat(name, item) if isinstance(item, list) else [_number(name, item)]
    return numbers


def _number(name: str, value: Any) -> float:
    value = value.item() if isinstance(value, (np.generic, np.ndarray)) and value.size == 1 else value
    # YAML 1.1 takes `1e3` for text.
    if type(value) in (int, float, str):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise ValueError(f'{name}: takes a number, got {value!r}')
