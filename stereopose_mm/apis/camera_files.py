# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Cameras from files: plain intrinsics, and OpenCV's and ROS's calibration files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..geometry import Camera

_FIELDS = ('fx', 'fy', 'cx', 'cy', 'width', 'height')
_PICKLES = ('.pkl', '.pickle', '.pth', '.pt')


class _CalibrationLoader(yaml.SafeLoader):
    """Safe YAML that also knows OpenCV's matrices."""


def _opencv_matrix(loader: yaml.SafeLoader, node: yaml.Node) -> dict:
    return loader.construct_mapping(node, deep=True)


_CalibrationLoader.add_constructor('tag:yaml.org,2002:opencv-matrix', _opencv_matrix)


def read_camera(path: str | Path) -> Camera:
    """Read one camera from a JSON or YAML file.

    Two layouts:

    - ``fx``, ``fy``, ``cx``, ``cy``, ``width``, ``height`` in pixels; optional ``distortion``, in OpenCV's order.
    - A calibration by OpenCV (``FileStorage``) or ROS: ``camera_matrix``, ``image_width``, ``image_height``; optional
      ``distortion_coefficients``.

    Args:
        path: ``.json``, ``.yaml`` or ``.yml``.

    Raises:
        ValueError: For a file that cannot be read, entries that are missing or out of range, a fisheye lens, or a
            pickle (such as MMPose's ``cameras.pkl``), which would run code; names the file.
    """
    path = Path(path)
    if path.suffix.lower() in _PICKLES:
        raise ValueError(
            f'{path}: pickles are not read, they can run code; write {", ".join(_FIELDS)} to a JSON or YAML file'
        )
    try:
        data = _parse(path.read_text(encoding='utf-8-sig'), path.suffix.lower())
        if not isinstance(data, dict):
            raise ValueError(f'takes a mapping with {", ".join(_FIELDS)}')
        return _from_calibration(data) if 'camera_matrix' in data else _from_fields(data)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from error
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def _parse(text: str, suffix: str) -> Any:
    if suffix not in ('.json', '.yaml', '.yml'):
        raise ValueError('takes a .json, .yaml or .yml file')
    try:
        if suffix == '.json':
            return json.loads(text)
        # OpenCV's first line, `%YAML:1.0`, is no valid YAML directive.
        head, _, rest = text.partition('\n')
        return yaml.load(rest if head.startswith('%YAML') else text, Loader=_CalibrationLoader)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f'no readable {suffix[1:].upper()}: {" ".join(str(error).split())}') from error


def _from_fields(data: Mapping) -> Camera:
    missing = [name for name in _FIELDS if name not in data]
    if missing:
        raise ValueError(f'has no {", ".join(missing)}; takes {", ".join(_FIELDS)}, or camera_matrix')
    values = [_number(name, data[name]) for name in _FIELDS]
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
    # YAML 1.1 takes `1e3` for text.
    if type(value) in (int, float, str):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise ValueError(f'{name}: takes a number, got {value!r}')
