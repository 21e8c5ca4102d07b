# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The camera files of MMPose's dataset converters, which are pickles."""

from __future__ import annotations

from collections.abc import Hashable
from os import PathLike

import numpy as np

from .plain_pickle import load_plain_pickle


def read_camera_table(path: str | PathLike) -> dict[Hashable, dict]:
    """Read the cameras that MMPose's ``preprocess_h36m.py`` and ``preprocess_mpi_inf_3dhp.py`` write.

    Args:
        path: ``cameras.pkl`` (keys are subject and camera, ``('S1', '54138969')``), ``cameras_train.pkl``
            (``'S1_Seq1_Cam0'``) or ``cameras_test.pkl`` (``'TS1'``).

    Returns:
        MMPose's ``camera_param`` dicts by key.

    Raises:
        ValueError: If the file is missing, truncated, names anything but arrays, numbers and text, or is not a dict
            of dicts with ``f`` and ``c``; names the file and the camera.
    """
    try:
        with open(path, 'rb') as file:
            table = load_plain_pickle(file.read())
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from error
    except Exception as error:  # a broken pickle can fail in any way
        raise ValueError(f'{path}: not a camera file of MMPose: {error}') from error
    if not isinstance(table, dict) or not table:
        raise ValueError(f'{path}: takes a dict of cameras, has {type(table).__name__}')
    for name, camera in table.items():
        if not isinstance(camera, dict) or not {'f', 'c', 'w', 'h'} <= camera.keys():
            has = sorted(camera) if isinstance(camera, dict) else type(camera).__name__
            raise ValueError(f'{path}: camera {name!r} takes f, c, w and h, has {has}')
        if not np.isfinite(np.concatenate([np.ravel(camera['f']), np.ravel(camera['c'])])).all():
            raise ValueError(f'{path}: camera {name!r} has an f or c that is not finite')
    return table
