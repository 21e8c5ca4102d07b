# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Histograms that grow a batch at a time."""

from __future__ import annotations

import numpy as np


class Histogram:
    """Counts of numbers in bins, with what is beyond them, and the exact mean and extremes.

    Args:
        edges: ``(B + 1,)`` rising. A number is in the bin from an edge up to, but not including, the next one; the last
            edge is in the last bin.
    """

    def __init__(self, edges: np.ndarray):
        self.edges = np.asarray(edges, np.float64)
        if self.edges.ndim != 1 or len(self.edges) < 2 or not (np.diff(self.edges) > 0).all():
            raise ValueError(f'edges takes two or more rising numbers, got {edges}')
        # Below, the bins, above.
        self._counts = np.zeros(len(self.edges) + 1, np.int64)
        self._sum = 0.0
        self.low, self.high = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        """Count numbers of any shape; NaN is left out."""
        values = np.asarray(values, np.float64).ravel()
        values = values[~np.isnan(values)]
        if not len(values):
            return
        place = np.searchsorted(self.edges, values, side='right')
        place[values == self.edges[-1]] = len(self.edges) - 1
        self._counts += np.bincount(place, minlength=len(self._counts))
        self._sum += float(values.sum())
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    @property
    def counts(self) -> np.ndarray:
        """``(B,)`` int64, in the bins."""
        return self._counts[1:-1]

    @property
    def below(self) -> int:
        """How many are below the first edge."""
        return int(self._counts[0])

    @property
    def above(self) -> int:
        """How many are above the last edge."""
        return int(self._counts[-1])

    @property
    def total(self) -> int:
        """How many numbers there are."""
        return int(self._counts.sum())

    @property
    def mean(self) -> float:
        """Mean of all numbers; NaN without any."""
        return self._sum / self.total if self.total else np.nan

    def quantile(self, share: float) -> float:
        """The number that a share of them is below, exact to a bin; NaN without any."""
        if not self.total:
            return np.nan
        if share <= 0:
            return self.low
        ends = np.clip([self.low, *self.edges, self.high], self.low, self.high)
        passed = np.concatenate([[0], np.cumsum(self._counts)])
        place = int(np.searchsorted(passed, share * self.total, side='left'))
        part = (share * self.total - passed[place - 1]) / (passed[place] - passed[place - 1])
        return float(ends[place - 1] + part * (ends[place] - ends[place - 1]))

    def summary(self) -> dict:
        """As JSON holds it: edges, counts, what is beyond, number, mean, extremes and quantiles."""
        told = dict(edges=self.edges.tolist(), counts=self.counts.tolist(), below=self.below, above=self.above)
        told['number'] = self.total
        if self.total:
            told |= dict(mean=self.mean, min=self.low, max=self.high)
            told |= {f'q{share:02d}': self.quantile(share / 100) for share in (5, 25, 50, 75, 95)}
        return told
