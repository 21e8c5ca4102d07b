# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Confidence intervals of averages over poses that are not independent.

Note:
    - number of poses: N
    - number of clusters, the units that are drawn: C
    - number of values that are averaged, as those of several runs: Q
    - number of groups: G
    - number of resamples: B

The frames of a video resemble each other: an interval that takes them as independent is far too narrow. Whole
sequences are drawn instead (the cluster bootstrap: Davison and Hinkley, "Bootstrap Methods and their Application",
1997, section 3.8; Field and Welsh, JRSS B 2007), and an average is the sum over the drawn sequences by their count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

LEVEL = 0.95
# Of the standard normal distribution, for LEVEL.
_Z = 1.959964
# Draws that are held at once.
_CHUNK = 4_000_000


def cluster_sums(values: np.ndarray, cluster: np.ndarray, num_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum values over clusters and count them.

    Args:
        values: ``(N, Q)``; NaN where there is none.
        cluster: Number of the cluster of each pose, integer ``(N,)``.
        num_clusters: Number of clusters C.

    Returns:
        Sums and counts, ``(C, Q)`` each.
    """
    known = ~np.isnan(values)
    columns = range(values.shape[1])
    sums = [np.bincount(cluster, np.where(known[:, q], values[:, q], 0), num_clusters) for q in columns]
    counts = [np.bincount(cluster, known[:, q], num_clusters) for q in columns]
    return np.stack(sums, axis=1), np.stack(counts, axis=1)


def mean_interval(values: np.ndarray, cluster: np.ndarray, num_clusters: int) -> np.ndarray:
    """Half widths of the 95 % confidence intervals of means, by their linearised standard error.

    Args:
        values: ``(N, Q)``; NaN where there is none.
        cluster: Number of the cluster of each pose, integer ``(N,)``.
        num_clusters: Number of clusters C.

    Returns:
        Half widths ``(Q,)``; NaN where fewer than two clusters have a value.
    """
    sums, counts = cluster_sums(values, cluster, num_clusters)
    used = (counts > 0).sum(axis=0)
    total = np.where(used > 1, counts.sum(axis=0), np.nan)
    # var(sum_c s_c / sum_c n_c) ~ C / (C - 1) sum_c (s_c - m n_c)^2 / (sum_c n_c)^2
    residual = sums - sums.sum(axis=0) / total * counts
    return _Z * np.sqrt(used / np.maximum(used - 1, 1) * (residual**2).sum(axis=0)) / total


def bootstrap_means(
    sums: np.ndarray,
    counts: np.ndarray,
    resamples: int,
    seed: int = 0,
    track: Callable[[Iterable], Iterable] = iter,
) -> np.ndarray:
    """Averages of resamples of the clusters, drawn with replacement.

    The same clusters are drawn for every average, which makes the differences of averages paired.

    Args:
        sums: Sums of Q values over the part of a cluster that is in each of G groups, ``(C, Q, G)``.
        counts: Numbers of poses in these parts, ``(C, G)``.
        resamples: Number of resamples B.
        seed: Seed of the draw.
        track: Wraps what is iterated over, to show progress.

    Returns:
        Averages ``(B, Q, G)``; NaN where a resample has no pose of a group.

    Raises:
        ValueError: If there is no cluster, or ``resamples`` is not positive.
    """
    if resamples < 1:
        raise ValueError(f'resamples is {resamples}; takes a positive number')
    if not len(sums):
        raise ValueError('sums is empty; takes at least one cluster')
    num = len(sums)
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // num)
    averages = []
    for start in track(range(0, resamples, step)):
        rows = min(step, resamples - start)
        drawn = rng.integers(num, size=(rows, num)) + num * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * num).reshape(rows, num).astype(np.float64)
        count = times @ counts
        total = (times @ sums.reshape(num, -1)).reshape(rows, *sums.shape[1:])
        averages.append(total / np.where(count > 0, count, np.nan)[:, None])
    return np.concatenate(averages)


def percentile_interval(draws: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Percentile intervals of resamples.

    Args:
        draws: ``(B, ...)``; NaN where a resample has no value.
        level: Share of the resamples that is inside.

    Returns:
        Lower and upper ends, ``(...)`` each; NaN where no resample has a value.
    """
    flat = draws.reshape(len(draws), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    known = ~np.isnan(flat)
    whole, part = known.all(axis=0), known.any(axis=0) & ~known.all(axis=0)
    shares = [(1 - level) / 2, (1 + level) / 2]
    # quantile is a good deal faster than nanquantile.
    ends[:, whole] = np.quantile(flat[:, whole], shares, axis=0)
    ends[:, part] = np.nanquantile(flat[:, part], shares, axis=0)
    return ends[0].reshape(draws.shape[1:]), ends[1].reshape(draws.shape[1:])
