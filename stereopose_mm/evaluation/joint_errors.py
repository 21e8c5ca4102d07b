# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What plots need beside the metrics' numbers: errors joint by joint, and what is independent of what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..geometry.alignment import procrustes_align
from .pose_errors import MILLIMETRES
from .predictions_file import Predictions


def joint_errors(run: Predictions, aligned: bool = False) -> np.ndarray:
    """Errors of the joints of all poses.

    Args:
        run: Predictions.
        aligned: Whether each pose is aligned to its target first, as P-MPJPE does.

    Returns:
        ``(N, K)`` millimetres; NaN for a joint that is not labelled and for a pose that is not valid.
    """
    mask = run.mask & (run.labelled & run.valid)[:, None]
    pred, target = run.pred.astype(np.float64), run.target.astype(np.float64)
    if aligned:
        pred = procrustes_align(torch.from_numpy(pred), torch.from_numpy(target), torch.from_numpy(mask)).numpy()
    error = MILLIMETRES * np.linalg.norm(pred - target, axis=-1)
    return np.where(mask, error, np.nan)


def pck_curve(run: Predictions, thresholds: np.ndarray, joints: Sequence[int] | None = None) -> np.ndarray:
    """3DPCK by threshold, averaged as the metric does: over poses, of the share of each one's labelled joints.

    Args:
        run: Predictions.
        thresholds: Ascending, T millimetres.
        joints: Joint numbers that count. Default: all.

    Returns:
        Percent, ``(T,)``.
    """
    error = joint_errors(run)[:, slice(None) if joints is None else list(joints)]
    known = ~np.isnan(error)
    count = known.sum(axis=1, keepdims=True)
    weight = np.broadcast_to(1 / np.where(count, count, 1), error.shape)[known]
    # The first threshold that a joint is nearer than.
    first = np.searchsorted(thresholds, error[known], side='right')
    total = np.bincount(first, weights=weight, minlength=len(thresholds) + 1)[: len(thresholds)].cumsum()
    num = (count > 0).sum()
    return 100 * total / num if num else np.full(len(thresholds), np.nan)


def clusters_of(run: Predictions) -> tuple[np.ndarray, int, str]:
    """What is taken as independent: the sequences of the poses, or else the poses.

    Args:
        run: Predictions.

    Returns:
        Number of the cluster of each pose ``(N,)``, the number of clusters, and what one is called.
    """
    if run.sequence is None:
        return np.arange(len(run.name)), len(run.name), 'poses'
    names, index = np.unique(run.sequence, return_inverse=True)
    return index, len(names), 'sequences'


def is_absolute(run: Predictions) -> bool:
    """Whether every labelled pose's true root is in front of the camera, as the metric asks of absolute errors."""
    used = run.labelled & run.valid
    return bool(used.any() and (run.target_root[used][:, 2] > 0).all())
