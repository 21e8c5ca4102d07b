# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Putting the poses of several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .predictions_file import Predictions

# Ground truth that went through another loader may differ by rounding, metres.
_SAME_TARGET = 1e-4


def pair_poses(runs: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """Put the poses of every run in the order of the first's, by their names.

    Args:
        runs: Predictions by the name of the run.

    Returns:
        The same, of N poses each.

    Raises:
        ValueError: If a run has not the poses, the joints or the ground truth of the first, or a pose twice; names the
            run and the first such pose.
    """
    (first_name, first), *others = runs.items()
    unique, order = np.unique(first.name, return_index=True)
    if len(unique) < len(first.name):
        twice = first.name[np.setdiff1d(np.arange(len(first.name)), order)[0]]
        raise ValueError(f'{first_name}: has pose {twice!r} twice; poses are paired by name')
    paired = {first_name: first}
    for name, run in others:
        missing, extra = np.setdiff1d(first.name, run.name), np.setdiff1d(run.name, first.name)
        if len(missing):
            raise ValueError(f'{name}: has no pose {str(missing[0])!r}, which {first_name} has ({len(missing)} in all)')
        if len(extra):
            raise ValueError(f'{first_name}: has no pose {str(extra[0])!r}, which {name} has ({len(extra)} in all)')
        if len(run.name) != len(first.name):
            raise ValueError(f'{name}: has {len(run.name)} poses of {len(first.name)} names; takes each once')
        # Position in the run of each of the first's poses.
        index = np.empty(len(first.name), dtype=int)
        index[order] = np.argsort(run.name)
        paired[name] = _take(run, index)
        _check_targets(first_name, first, name, paired[name])
    return paired


def _take(run: Predictions, index: np.ndarray) -> Predictions:
    """The poses of a run in another order."""
    parts = {key: value for key, value in vars(run).items() if key not in ('error_labels', 'groups')}
    arrays = {key: value[index] for key, value in parts.items() if isinstance(value, np.ndarray)}
    return replace(run, **arrays, groups={key: value[index] for key, value in run.groups.items()})


def _check_targets(first_name: str, first: Predictions, name: str, run: Predictions) -> None:
    if run.skeleton != first.skeleton or run.target.shape != first.target.shape:
        raise ValueError(f'{name}: has poses of {run.skeleton}; {first_name} has {first.skeleton}')
    differs = (run.mask != first.mask).any(axis=1) | (run.labelled != first.labelled)
    far = np.abs(run.target - first.target).max(axis=-1) > _SAME_TARGET
    differs |= (far & first.mask).any(axis=1) & first.labelled
    if differs.any():
        pose = first.name[differs.argmax()]
        raise ValueError(
            f'{name}: has another ground truth for pose {str(pose)!r} than {first_name} ({differs.sum()} in all)'
        )
