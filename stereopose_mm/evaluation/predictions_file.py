# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The file of raw predictions that tables, plots and comparisons of runs are made from."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from ..files import whole_file

VERSION = 1
_GROUP = 'group_'
_KINDS = dict(f='floating point', b='bool', i='integer', U='text')
# Kind and shape of each array; N poses, K joints, M errors.
_SCALARS = dict(version='i', skeleton='U', root_index='i', pck_threshold='f')
_ARRAYS = dict(
    name=('U', 'N'),
    pred=('f', 'NK3'),
    target=('f', 'NK3'),
    mask=('b', 'NK'),
    target_root=('f', 'N3'),
    labelled=('b', 'N'),
    valid=('b', 'N'),
    errors=('f', 'NM'),
    error_labels=('U', 'M'),
)
_OPTIONAL = dict(
    pred_root=('f', 'N3'),
    pred_cam=('f', 'NK3'),
    reprojection_error=('f', 'N'),
    sequence=('U', 'N'),
    frame=('i', 'N'),
)
_SINGLE = ('pred', 'target', 'target_root', 'pred_root', 'pred_cam', 'reprojection_error')


@dataclass(eq=False)
class Predictions:
    """Predictions of one run on one test set, with their ground truth and errors.

    Note:
        - number of poses, in the order they were collected in: N
        - number of keypoints: K
        - number of errors: M

    Attributes:
        skeleton: Name of the keypoint set, for example ``'h36m'``.
        root_index: Joint number of the root.
        pck_threshold: Threshold of the 3DPCKs, millimetres.
        name: What identifies each pose, text ``(N,)``: the image's path, or else the data sample's number; ``#0``,
            ``#1``, .. follow where several poses have the same.
        pred: Predicted poses relative to the root, ``(N, K, 3)`` metres.
        target: Ground truth relative to the root, ``(N, K, 3)`` metres; anything where it is not labelled.
        mask: Labelled joints, bool ``(N, K)``; none of a pose whose root is not.
        target_root: Ground-truth root in the camera frame, ``(N, 3)`` metres.
        labelled: Poses with ground truth, bool ``(N,)``.
        valid: Those of them whose prediction is finite, bool ``(N,)``: the ones that averages count.
        errors: ``(N, M)`` in reported units; NaN where an error does not apply or the pose is not valid.
        error_labels: What each error is called, text ``(M,)``.
        pred_root: Predicted root in the camera frame, ``(N, 3)`` metres, if predicted.
        pred_cam: Predicted poses in the camera frame, ``(N, K, 3)`` metres, if predicted.
        reprojection_error: ``(N,)`` pixels, if predicted.
        sequence: Which sequence each pose is in, text ``(N,)``, if known.
        frame: Frame number within it, integer ``(N,)``, if known.
        groups: By group key, for example ``'action'``, the label of each pose, text ``(N,)``.
    """

    skeleton: str
    root_index: int
    pck_threshold: float
    name: np.ndarray
    pred: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    target_root: np.ndarray
    labelled: np.ndarray
    valid: np.ndarray
    errors: np.ndarray
    error_labels: np.ndarray
    pred_root: np.ndarray | None = None
    pred_cam: np.ndarray | None = None
    reprojection_error: np.ndarray | None = None
    sequence: np.ndarray | None = None
    frame: np.ndarray | None = None
    groups: dict[str, np.ndarray] = field(default_factory=dict)


def write_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write predictions to an NPZ, whole or not at all.

    Its keys are the attributes of :class:`Predictions`; ``version``, 1; and ``group_G`` for each group key G. Poses
    are written in float32, errors in float64. What is not known is left out.

    Args:
        path: The file; its folder is made.
        predictions: What to write.

    Raises:
        ValueError: If an array has the wrong kind or shape or does not go with the others; nothing is written then.
    """
    arrays = dict(version=np.int64(VERSION))
    for attribute in fields(predictions):
        value = getattr(predictions, attribute.name)
        if attribute.name != 'groups' and value is not None:
            arrays[attribute.name] = np.asarray(value, np.float32 if attribute.name in _SINGLE else None)
    arrays['pck_threshold'] = np.float64(predictions.pck_threshold)
    arrays.update({_GROUP + key: np.asarray(labels) for key, labels in predictions.groups.items()})
    try:
        _check(arrays)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        np.savez(temporary, **arrays)


def read_predictions(path: str | Path) -> Predictions:
    """Read what :func:`write_predictions` wrote.

    Args:
        path: The NPZ. It is not unpickled.

    Returns:
        The predictions.

    Raises:
        ValueError: If it is no such file: it names the file, and the key and record that are wrong.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: _read(file, key) for key in file.files}
        _check(arrays)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
    except (OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f'{path}: cannot be read as NPZ: {error}') from error
    groups = {key.removeprefix(_GROUP): arrays[key] for key in arrays if key.startswith(_GROUP)}
    scalars = {key: arrays[key].item() for key in _SCALARS if key != 'version'}
    optional = {key: arrays[key] for key in _OPTIONAL if key in arrays}
    return Predictions(**scalars, **{key: arrays[key] for key in _ARRAYS}, **optional, groups=groups)


def distinct_names(names: Sequence[str]) -> np.ndarray:
    """Tell apart poses of the same name: ``#0``, ``#1``, .. in their order follow it.

    Args:
        names: N names.

    Returns:
        Text ``(N,)``, no two the same, unless such a name is there already.
    """
    names = np.asarray(names, dtype=str)
    _, index, counts = np.unique(names, return_inverse=True, return_counts=True)
    order = np.argsort(index, kind='stable')
    place = np.empty_like(order)
    place[order] = np.arange(len(names)) - np.repeat(np.cumsum(counts) - counts, counts)
    numbered = np.char.add(names, np.char.add('#', place.astype(str)))
    return np.where(counts[index] > 1, numbered, names)


def _read(file: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    try:
        return file[key]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f'{key} cannot be read: {error}') from None


def _check(arrays: dict[str, np.ndarray]) -> None:
    """Check that the arrays are all there, of the right kind and shape, and go with one another."""
    missing = [key for key in (*_SCALARS, *_ARRAYS) if key not in arrays]
    if missing:
        raise ValueError(f'has no {missing[0]!r}; has {sorted(arrays)}')
    if (arrays.get('sequence') is None) != (arrays.get('frame') is None):
        raise ValueError("has one of 'sequence' and 'frame'; takes both or none")
    if arrays['pred'].ndim != 3 or arrays['error_labels'].ndim != 1:
        raise ValueError(f'pred is {arrays["pred"].shape}, error_labels {arrays["error_labels"].shape}')
    num_poses, num_joints = arrays['pred'].shape[:2]
    sizes = dict(N=num_poses, K=num_joints, M=len(arrays['error_labels']), **{'3': 3})
    takes = {key: (kind, '') for key, kind in _SCALARS.items()} | _ARRAYS | _OPTIONAL
    takes |= {key: ('U', 'N') for key in arrays if key.startswith(_GROUP)}
    for key, (kind, axes) in takes.items():
        if key not in arrays:
            continue
        array, shape = arrays[key], tuple(sizes[axis] for axis in axes)
        if array.dtype.kind != kind or array.shape != shape:
            raise ValueError(f'{key} is {array.dtype} {array.shape}; takes {_KINDS[kind]} {shape}')
    if arrays['version'] != VERSION:
        raise ValueError(f'version is {arrays["version"]}; takes {VERSION}')
    if not -num_joints <= arrays['root_index'] < num_joints:
        raise ValueError(f'root_index is {arrays["root_index"]}; pred has {num_joints} joints')
    _check_values(arrays)


def _check_values(arrays: dict[str, np.ndarray]) -> None:
    mask, labelled, valid = arrays['mask'], arrays['labelled'], arrays['valid']
    wrong = dict(
        labelled=('does not go with mask', labelled != mask.any(axis=1)),
        valid=('has no ground truth', valid & ~labelled),
        target=('is not finite at a labelled joint', (~np.isfinite(arrays['target']).all(axis=-1) & mask).any(axis=1)),
        target_root=('is not finite', ~np.isfinite(arrays['target_root']).all(axis=-1) & labelled),
        pred=(
            'is not finite at a labelled joint of a valid pose',
            (~np.isfinite(arrays['pred']).all(axis=-1) & mask).any(axis=1) & valid,
        ),
        errors=('has numbers for a pose that is not valid', ~np.isnan(arrays['errors']).all(axis=1) & ~valid),
    )
    for key, (what, where) in wrong.items():
        if where.any():
            record = int(np.flatnonzero(where)[0])
            raise ValueError(f'{key} {what}: record {record}, {arrays["name"][record]}')
