# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Averages of pose errors: over all poses, over groups of them, and over the groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def number_labels(labels: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Number labels in their sorted order.

    Args:
        labels: N labels.

    Returns:
        The different labels, sorted, and the number ``(N,)`` of each of N.
    """
    names = sorted(set(labels))
    numbers = {name: number for number, name in enumerate(names)}
    return names, np.fromiter((numbers[label] for label in labels), dtype=np.int64, count=len(labels))


def average(errors: Mapping[str, np.ndarray], labelled: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """Average errors over the poses that they apply to, and count the labelled and the invalid poses.

    Args:
        errors: Errors ``(N,)`` by label; NaN for a pose that one does not apply to.
        labelled: Which poses have ground truth, bool ``(N,)``.
        valid: Which of them have a finite prediction, bool ``(N,)``.

    Returns:
        The means, NaN of no poses, and the counts ``poses`` and ``invalid``.
    """
    everything = np.zeros(len(labelled), dtype=np.int64)
    return {label: values[0] for label, values in _average(errors, labelled, valid, everything, 1).items()}


def average_groups(
    errors: Mapping[str, np.ndarray],
    labelled: np.ndarray,
    valid: np.ndarray,
    groups: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """Average errors over each group of poses, and over the groups.

    Args:
        errors: As of :func:`average`.
        labelled: As of :func:`average`.
        valid: As of :func:`average`.
        groups: By key of meta information, the label of each of N poses.

    Returns:
        What :func:`average` gives, of each label's poses as ``MPJPE_S9``; and the mean of each error over the labels of
        a key as ``MPJPE_mean-over-subject``: every label weighs the same, one whose average is NaN is left out.

    Raises:
        ValueError: If two keys have a label in common, or a label is the name of a mean.
    """
    results, owners = {}, {f'mean-over-{key}': 'the name of a result' for key in groups}
    for key, labels in groups.items():
        names, index = number_labels(labels)
        for name in names:
            if name in owners:
                raise ValueError(f'{key} has the label {name!r}, which is {owners[name]} as well')
            owners[name] = f'a label of {key}'
        averages = _average(errors, labelled, valid, index, len(names))
        for i, name in enumerate(names):
            results.update({f'{label}_{name}': values[i] for label, values in averages.items()})
        for label in errors:
            known = [value for value in averages[label] if not np.isnan(value)]
            results[f'{label}_mean-over-{key}'] = float(np.mean(known)) if known else float('nan')
    return results


def _average(
    errors: Mapping[str, np.ndarray], labelled: np.ndarray, valid: np.ndarray, index: np.ndarray, num_groups: int
) -> dict[str, list]:
    """Means and counts of each of the groups that ``index`` ``(N,)`` numbers."""
    averages = {}
    for label, error in errors.items():
        applies = ~np.isnan(error)
        total = np.bincount(index[applies], error[applies], num_groups)
        count = np.bincount(index[applies], minlength=num_groups)
        with np.errstate(invalid='ignore'):
            averages[label] = (total / count).tolist()
    for label, counted in (('poses', labelled), ('invalid', labelled & ~valid)):
        # As floats: MMEngine's log of a test loses whole numbers.
        averages[label] = np.bincount(index[counted], minlength=num_groups).astype(float).tolist()
    return averages
