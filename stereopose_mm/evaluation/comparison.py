# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Comparing runs on the same poses: means, paired differences and their intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .bootstrap import bootstrap_means, percentile_interval
from .leaderboard_tables import (
    AVERAGE_OF_FRAMES,
    average_of_groups,
    error_of,
    group_index,
    known_labels,
    plural,
    sort_groups,
)
from .pairing import pair_poses
from .predictions_file import Predictions
from .protocols import protocol_of
from .tables import Column, Interval, Table

# Intervals from fewer clusters than these are rough: Field and Welsh, JRSS B 2007; Cameron et al., 2008.
_FEW_CLUSTERS = 20


@dataclass(frozen=True)
class Comparison:
    """Differences of runs to the first one, with 95 % percentile intervals of a paired bootstrap.

    Attributes:
        label: Label of the error.
        better: -1 where lower is better, else 1.
        runs: Names of the R runs.
        rows: Names of the G groups, then of the averages.
        means: Mean of each run in each row, ``R`` lists of intervals.
        differences: Difference of each run to the first in each row; nothing for the first.
        shares: Percent of the resamples in which each run is better than the first, ``(R, G + averages)``.
        counts: Number of poses in each row; of an average over groups, of all.
        key: Group key, or None.
        unit: What is resampled: ``'sequences'``, ``'poses'``, or a key's groups, as ``'subjects'``.
        num_units: How many there are.
        left_out: Poses that are labelled, but have no number for one of the runs.
        resamples: Number of resamples.
        seed: Seed of the draw.
    """

    label: str
    better: int
    runs: tuple[str, ...]
    rows: tuple[str, ...]
    means: tuple[tuple[Interval, ...], ...]
    differences: tuple[tuple[Interval, ...], ...]
    shares: np.ndarray
    counts: tuple[int, ...]
    key: str | None
    unit: str
    num_units: int
    left_out: int
    resamples: int
    seed: int

    def overall_table(self) -> Table:
        """A row a run, of each average: its mean, its difference to the first run, and how often it is better."""
        protocol, first = protocol_of(self.label), self.runs[0]
        columns = [
            Column('method'),
            Column('average'),
            Column(self.label, protocol.unit, protocol.decimals),
            Column(f'difference to {first}', protocol.unit, protocol.decimals, signed=True),
            Column('better in', '% of resamples'),
        ]
        rows = []
        for j in range(len(self.rows))[-self._num_averages :]:
            for i, run in enumerate(self.runs):
                difference = (self.differences[i][j], float(self.shares[i, j])) if i else (np.nan, np.nan)
                rows.append((run, self.rows[j], self.means[i][j], *difference))
        title = f'{self.label}: runs compared with {first}'
        return Table(f'comparison_{self.label}', title, tuple(columns), tuple(rows))

    def group_table(self) -> Table:
        """A row a group: each run's mean, and its difference to the first run."""
        protocol = protocol_of(self.label)
        columns = [Column(self.key), Column('poses')]
        columns += [Column(run, protocol.unit, protocol.decimals) for run in self.runs]
        for run in self.runs[1:]:
            columns += [
                Column(f'{run} − {self.runs[0]}', protocol.unit, protocol.decimals, signed=True),
                Column(f'{run} better in', '% of resamples'),
            ]
        rows = []
        for j, name in enumerate(self.rows):
            row = [name, self.counts[j], *(self.means[i][j].value for i in range(len(self.runs)))]
            for i in range(1, len(self.runs)):
                row += [self.differences[i][j], float(self.shares[i, j])]
            rows.append(tuple(row))
        title = f'{self.label} by {self.key}: runs compared with {self.runs[0]}'
        return Table(f'comparison_{self.key}_{self.label}', title, tuple(columns), tuple(rows))

    def notes(self) -> list[str]:
        """How the numbers came about, in sentences."""
        whole = '' if self.unit == 'poses' else 'whole '
        drawn = f'{self.num_units:,} {whole}{self.unit}'
        notes = [
            f'95 % percentile intervals of {self.resamples:,} bootstrap resamples (seed {self.seed}) of {drawn}; '
            f'differences are paired: the same {self.unit} are drawn for every run.'
        ]
        if self.unit == 'poses':
            notes.append('The files name no sequences: poses are taken as independent, which those of a video are not.')
        if self.num_units < _FEW_CLUSTERS:
            notes.append(f'Intervals from fewer than {_FEW_CLUSTERS} {self.unit} are rough, and rather too narrow.')
        counted = f'{self.counts[-1]:,} poses have {self.label} in every run'
        notes.append(f'{counted}; {self.left_out:,} labelled poses that have not are left out.')
        return notes

    @property
    def _num_averages(self) -> int:
        return 1 if self.key is None else 2


def compare(
    runs: Mapping[str, Predictions],
    label: str = 'MPJPE',
    group_by: str | None = None,
    cluster_by: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Comparison:
    """Compare runs on the same poses, with intervals from a paired bootstrap.

    Poses of a video are not independent: whole sequences are drawn, where the files name them.

    Args:
        runs: Predictions by the name of the run, of the same poses in any order; the first is what the others are
            compared with.
        label: Label of the error.
        group_by: Group key, as ``'action'``. Default: no groups.
        cluster_by: Group key whose groups are drawn whole, as ``'subject'``. Default: the sequences, or else the poses.
        resamples: Number of resamples.
        seed: Seed of the draw.
        progress: Wraps what is iterated over.

    Returns:
        The comparison.

    Raises:
        ValueError: If fewer than two runs are given, a run has not the poses, the ground truth or the threshold of the
            first, or a run has no such error or key.
    """
    if len(runs) < 2:
        raise ValueError(f'runs has {len(runs)}; takes two or more')
    protocol = protocol_of(label)
    names, runs = tuple(runs), list(pair_poses(runs).values())
    _check_settings(names, runs, label)
    first = runs[0]
    errors, counted = _errors_of(names, runs, label)
    cluster, num_clusters, unit = _clusters(names[0], first, counted, cluster_by)

    groups: dict[str, str] = {}
    index = np.zeros(counted.sum(), dtype=int)
    if group_by is not None:
        _check_key(names[0], first, group_by)
        groups = sort_groups(np.unique(first.groups[group_by][counted]).tolist())
        index = group_index(first.groups[group_by][counted], groups)
    averages = (AVERAGE_OF_FRAMES,) if group_by is None else (average_of_groups(group_by), AVERAGE_OF_FRAMES)

    # Averages: runs, then differences to the first; of each the groups, then all. A difference is summed up as one, so
    # that equal runs differ by nothing at all.
    errors = errors[counted]
    values = np.concatenate([errors, errors[:, 1:] - errors[:, :1]], axis=1)
    num_groups = len(groups)
    sums, counts = _sums_by_group(values, cluster, num_clusters, index, num_groups)
    draws = _with_group_average(bootstrap_means(sums, counts, resamples, seed, progress), num_groups)
    point = _with_group_average((sums.sum(axis=0) / counts.sum(axis=0))[None], num_groups)[0]
    low, high = percentile_interval(draws)
    # What is all in one cluster is the same in every resample that has it: no interval.
    several = (counts > 0).sum(axis=0) > 1
    several = np.concatenate([several[:-1], [num_clusters > 1] * len(averages)])
    low, high = np.where(several, low, np.nan), np.where(several, high, np.nan)
    intervals = [
        tuple(Interval(*map(float, cell)) for cell in zip(*row, strict=True))
        for row in zip(point, low, high, strict=True)
    ]
    shares = np.zeros((len(runs), point.shape[1]))
    known = np.maximum((~np.isnan(draws[:, len(runs) :])).sum(axis=0), 1)
    shares[1:] = 100 * (protocol.better * draws[:, len(runs) :] > 0).sum(axis=0) / known
    total = counts.sum(axis=0).astype(int).tolist()
    return Comparison(
        label=label,
        better=protocol.better,
        runs=names,
        rows=(*groups, *averages),
        means=tuple(intervals[: len(runs)]),
        differences=((), *intervals[len(runs) :]),
        shares=shares,
        counts=tuple(total[:-1] + total[-1:] * len(averages)),
        key=group_by,
        unit=unit,
        num_units=num_clusters,
        left_out=int((first.labelled & ~counted).sum()),
        resamples=resamples,
        seed=seed,
    )


def _check_settings(names: Sequence[str], runs: Sequence[Predictions], label: str) -> None:
    for name, run in zip(names, runs, strict=True):
        if label not in [str(known) for known in run.error_labels]:
            raise ValueError(f'{name}: has no {label}; has {[str(known) for known in run.error_labels]}')
        if 'PCK' in label and run.pck_threshold != runs[0].pck_threshold:
            raise ValueError(
                f'{name}: {label} is at {run.pck_threshold:g} mm; that of {names[0]} at {runs[0].pck_threshold:g} mm'
            )


def _errors_of(names: Sequence[str], runs: Sequence[Predictions], label: str) -> tuple[np.ndarray, np.ndarray]:
    """Errors ``(N, R)`` of the poses in each run, and which poses have one in every run, bool ``(N,)``."""
    errors = np.stack([error_of(run, label) for run in runs], axis=1)
    for name, run, error in zip(names, runs, errors.T, strict=True):
        if np.isnan(error).all():
            raise ValueError(f'{name}: has no {label}; has {known_labels({name: run})}')
    counted = ~np.isnan(errors).any(axis=1)
    if not counted.any():
        raise ValueError(f'no pose has {label} in every run')
    return errors, counted


def _check_key(name: str, run: Predictions, key: str) -> None:
    if key not in run.groups:
        raise ValueError(f'{name}: has no groups by {key!r}; has {sorted(run.groups)}')


def _clusters(name: str, run: Predictions, counted: np.ndarray, key: str | None) -> tuple[np.ndarray, int, str]:
    """Number of the cluster of each pose that counts, the number of clusters, and what they are."""
    if key is not None:
        _check_key(name, run, key)
        labels, unit = run.groups[key], plural(key)
    elif run.sequence is not None:
        labels, unit = run.sequence, 'sequences'
    else:
        return np.arange(counted.sum()), int(counted.sum()), 'poses'
    unique, index = np.unique(labels[counted], return_inverse=True)
    return index, len(unique), unit


def _sums_by_group(
    values: np.ndarray, cluster: np.ndarray, num_clusters: int, index: np.ndarray, num_groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums ``(C, Q, G + 1)`` of values ``(N, Q)`` over clusters, by group and in all, and counts ``(C, G + 1)``."""
    cell, num_cells = cluster * num_groups + index, num_clusters * num_groups

    def by_group(weights: np.ndarray | None) -> np.ndarray:
        parts = [np.bincount(cluster, weights, num_clusters)[:, None]]
        if num_groups:
            parts.insert(0, np.bincount(cell, weights, num_cells).reshape(num_clusters, num_groups))
        return np.concatenate(parts, axis=1)

    return np.stack([by_group(column) for column in values.T], axis=1), by_group(None)


def _with_group_average(values: np.ndarray, num_groups: int) -> np.ndarray:
    """Put, where there are groups, their mean before the last of the averages ``(B, Q, G + 1)``."""
    if not num_groups:
        return values
    groups = values[..., :num_groups]
    known = ~np.isnan(groups)
    average = np.where(known, groups, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return np.concatenate([groups, average[..., None], values[..., num_groups:]], axis=-1)
