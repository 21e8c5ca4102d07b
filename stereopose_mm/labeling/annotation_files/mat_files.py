# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Annotations in MATLAB files: MPII's own release, LSP and LSPET."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .people import Person
from .records import mpii_box
from .sources import SOURCES

_NUM_MPII = len(SOURCES['mpii'].keypoints)


class MatFile:
    """People of a MATLAB file, all of which are read at once: these sets are small.

    Args:
        path: ``mpii_human_pose_v1_u12_1.mat`` or one of its layout; or ``joints.mat`` of LSP or LSPET.

    Raises:
        ValueError: If it is no MATLAB file, or not in one of the layouts; names file and key.
    """

    def __init__(self, path: Path):
        content = _load(path)
        if 'RELEASE' in content:
            self.source, read = SOURCES['mpii'], _mpii_people(path, content['RELEASE'])
        elif 'joints' in content:
            self.source, read = _lsp_people(path, np.asarray(content['joints']))
        else:
            names = [name for name in content if not name.startswith('__')]
            raise ValueError(f"{path}: takes MPII's RELEASE or LSP's joints, has {names}")
        people = list(read)
        self._people = [p for p in people if any(p.keypoints[2::3])]
        self.num_people = len(self._people)
        self.num_unmarked = len(people) - len(self._people)
        self.num_other = 0

    def people(self) -> Iterator[Person]:
        """The people of the file who have keypoints, in its order."""
        return iter(self._people)


def _load(path: Path) -> dict:
    from scipy.io import loadmat

    try:
        data = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from error
    try:
        return loadmat(data, squeeze_me=True, struct_as_record=False)
    except NotImplementedError as error:
        raise ValueError(f'{path}: takes MATLAB files of version 5 to 7, this is one of version 7.3') from error
    except Exception as error:  # a broken file makes the reader run into whatever
        raise ValueError(f'{path}: no readable MATLAB file: {error}') from error


def _lsp_people(path: Path, joints: np.ndarray) -> tuple[Any, Iterator[Person]]:
    """LSP's ``joints``, 3 x 14 x N, or LSPET's, 14 x 3 x N; which of the two the shape tells.

    The third number is 1 in LSP for what is hidden (though its README calls it visibility), and all joints are marked;
    in LSPET it is 1 for what is marked. (Johnson and Everingham, BMVC 2010 and CVPR 2011; http://sam.johnson.io.)
    """
    if joints.ndim == 2:  # of one person; MATLAB drops the last axis
        joints = joints[..., None]
    if joints.dtype.kind not in 'iuf' or joints.ndim != 3 or joints.shape[:2] not in ((3, 14), (14, 3)):
        raise ValueError(f'{path}: joints takes 3 x 14 x N numbers (LSP) or 14 x 3 x N (LSPET), is {joints.shape}')
    extended = joints.shape[0] == 14
    values = np.transpose(joints, (2, 0, 1) if extended else (2, 1, 0)).astype(np.float64)
    third = values[..., 2]
    meanings = {0: 0, 1: 2} if extended else {0: 2, 1: 1}
    values[..., 2] = np.select([third == flag for flag in meanings], list(meanings.values()), third)
    source, digits = (SOURCES['lspet'], 5) if extended else (SOURCES['lsp'], 4)
    people = (
        Person(str(row), keypoints, None, f'im{row + 1:0{digits}}.jpg', (0, 0), source.name)
        for row, keypoints in enumerate(values.reshape(len(values), -1).tolist())
    )
    return source, people


def _mpii_people(path: Path, release: Any) -> Iterator[Person]:
    """The people of MPII's training images: annolist(i).annorect(j).annopoints.point with x, y, id and is_visible.

    The layout stands on http://human-pose.mpi-inf.mpg.de/#download. Test images have no keypoints. A record is named by
    its image's and its person's number in MATLAB, as MPII's evaluation does.
    """
    for name in ('annolist', 'img_train'):
        if not hasattr(release, name):
            raise ValueError(f'{path}: RELEASE has no {name}')
    images, training = np.atleast_1d(release.annolist), np.atleast_1d(release.img_train)
    if len(images) != len(training):
        raise ValueError(f'{path}: RELEASE has {len(images)} in annolist, {len(training)} in img_train')
    for row in np.flatnonzero(training == 1):
        name = getattr(getattr(images[row], 'image', None), 'name', None)
        if not isinstance(name, str) or not name:
            raise ValueError(f'{path}: RELEASE.annolist({row + 1}).image.name takes text')
        for person, rect in enumerate(_structs(getattr(images[row], 'annorect', None))):
            yield Person(f'{row + 1}/{person + 1}', _mpii_keypoints(rect), _mpii_rect(rect), name, (0, 0), 'mpii')


def _structs(value: Any) -> list:
    """A struct array of MATLAB, which comes as one struct, several, or empty."""
    return [item for item in np.atleast_1d(value).ravel() if hasattr(item, '_fieldnames')]


def _mpii_keypoints(rect: Any) -> list[float]:
    keypoints = [0.0] * (3 * _NUM_MPII)
    annopoints = _structs(getattr(rect, 'annopoints', None))
    for point in _structs(getattr(annopoints[0], 'point', None)) if annopoints else []:
        index, x, y = (_number(getattr(point, key, None)) for key in ('id', 'x', 'y'))
        if index in range(_NUM_MPII):
            # Hidden is what says so; head top and neck say nothing. It comes as text, too.
            hidden = _number(getattr(point, 'is_visible', None)) == 0
            keypoints[3 * int(index) : 3 * int(index) + 3] = [x, y, 1 if hidden else 2]
    return keypoints


def _mpii_rect(rect: Any) -> list | None:
    position = _structs(getattr(rect, 'objpos', None))
    scale = _number(getattr(rect, 'scale', None))
    if not position or not np.isfinite(scale):
        return None
    return mpii_box([_number(getattr(position[0], 'x', None)), _number(getattr(position[0], 'y', None))], scale)


def _number(value: Any) -> float:
    """A number of MATLAB, or text that is one; NaN for anything else, as the empty array that stands for nothing."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float('nan')
