# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The plots of a data card: poses, cameras and quality of a set's labels; dark as the contact sheets beside them."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ..evaluation.plots import styled
from ..files import whole_file
from .histogram import Histogram
from .set_statistics import DENSITY_REACH, SetStatistics

_BACKGROUND, _PANEL, _GRID, _TEXT, _MUTED = '#0e1217', '#161b22', '#2a323d', '#e8edf3', '#8d9aab'
# Okabe and Ito's colours that stand out from the dark.
BLUE, ORANGE, GREEN, GREY = '#56B4E9', '#E69F00', '#2fc99a', '#8d9aab'
_STYLE = {
    'font.size': 9,
    'axes.titlesize': 9.5,
    'axes.titlelocation': 'left',
    'axes.titlecolor': _TEXT,
    'axes.labelsize': 8.5,
    'legend.fontsize': 8,
    'xtick.labelsize': 8,
    'ytick.labelsize': 8,
    'figure.facecolor': _BACKGROUND,
    'savefig.facecolor': _BACKGROUND,
    'axes.facecolor': _PANEL,
    'axes.edgecolor': _GRID,
    'axes.labelcolor': _MUTED,
    'text.color': _TEXT,
    'xtick.color': _MUTED,
    'ytick.color': _MUTED,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.axisbelow': True,
    'axes.grid': True,
    'grid.color': _GRID,
    'grid.linewidth': 0.6,
    'legend.frameon': False,
    'savefig.dpi': 150,
}
# Empty bins that are drawn beside the filled ones.
_MARGIN = 2
# Of fewer numbers so many bins are drawn as one.
_COARSE = ((500, 4), (5000, 2))
# Of fewer joints two cells by two are drawn as one.
_FEW_JOINTS = 200_000


_styled = styled(_STYLE)


@_styled
def pose_figure(statistics: SetStatistics) -> Figure:
    """Where joints are relative to the root, where bodies face, hands, bends and leans."""
    figure, axes = _figure(2, polar=2)
    for panel, view, across in zip(axes[:2], statistics.density, ('x, m (to the right)', 'z, m (away)'), strict=True):
        _draw_density(panel, view, across)
    axes[0].set_title('joints about the root, as the camera sees them')
    axes[1].set_title('… from the side, camera to the left')
    _draw_facing(axes[2], statistics.measures['facing_deg'])
    measures = statistics.measures
    _draw(axes[3], {'': measures['hand_height']}, 'height of hands along the trunk', 'share of hands, %')
    for height, name in ((0, 'hips'), (1, 'neck')):
        axes[3].axvline(height, color=_MUTED, linewidth=0.9, linestyle=':')
        axes[3].annotate(
            name, (height, 1), xycoords=('data', 'axes fraction'), xytext=(3, -9), textcoords='offset points',
            color=_MUTED, size=8,
        )  # fmt: skip
    bends = {'elbows': measures['elbow_flexion_deg'], 'knees': measures['knee_flexion_deg']}
    _draw(axes[4], bends, 'bend, degrees (0: stretched)', 'share of joints, %')
    _draw(axes[5], {'': measures['lean_deg']}, 'trunk to the vertical of the picture, degrees', 'share of labels, %')
    for panel, title in zip(axes[3:], ('hands', 'elbows and knees', 'lean'), strict=True):
        panel.set_title(title)
    return figure


@_styled
def camera_figure(statistics: SetStatistics) -> Figure:
    """Fields of view, distances, and sizes of people."""
    figure, axes = _figure(1)
    for panel, (name, title, label, log) in zip(
        axes,
        (
            ('field_of_view_deg', 'field of view', 'horizontal, degrees', False),
            ('root_depth_m', 'distance', 'depth of the root, m', True),
            ('person_height_px', 'size in the picture', 'height of the box, pixels', True),
        ),
        strict=True,
    ):
        _draw(panel, {'': statistics.measures[name]}, label, 'share of labels, %', log)
        panel.set_title(title)
    return figure


@_styled
def quality_figure(statistics: SetStatistics) -> Figure:
    """Quality of labels and of what was rejected, the errors that it lets expect, and what was moved to fit."""
    measures, rejected = statistics.measures, statistics.rejected_quality
    figure, axes = _figure(1)
    kept = {'kept': measures['quality']} | ({'rejected': rejected} if rejected.total else {})
    _draw(axes[0], kept, 'quality', 'people', share=False)
    axes[0].set_title('quality')
    _draw(axes[1], {'': measures['expected_error_mm']}, 'error that quality lets expect, mm', 'share of labels, %')
    axes[1].set_title('expected error')
    moved = {'search, sideways': measures['search_residual_mm'], 'refinement, along rays': measures['refine_moved_mm']}
    _draw(axes[2], {name: h for name, h in moved.items() if h.total}, 'movement of joints, mm', 'share of labels, %')
    axes[2].set_title('joints moved to meet the 2D and a body')
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with matplotlib.rc_context(_STYLE), whole_file(path) as temporary:
        figure.savefig(temporary)


def _figure(rows: int, polar: int | None = None) -> tuple[Figure, list[Axes]]:
    """A figure of three panels in a row."""
    figure = Figure((10.8, 3.1 * rows), layout='constrained')
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    axes = [
        figure.add_subplot(rows, 3, place + 1, projection='polar' if place == polar else None)
        for place in range(3 * rows)
    ]
    return figure, axes


def _draw(
    axes: Axes, histograms: dict[str, Histogram], label: str, counted: str, log: bool = False, share: bool = True
) -> None:
    """Histograms over each other; shares are of each one's total, so that what lies outside is missed in the sum."""
    spans, edges = [], None
    least = min((histogram.total for histogram in histograms.values()), default=0)
    for (name, histogram), colour in zip(histograms.items(), (BLUE, ORANGE), strict=False):
        counts, edges = _coarse(histogram, least)
        filled = np.flatnonzero(counts)
        if not len(filled):
            continue
        height = counts * (100 / histogram.total if share else 1)
        axes.stairs(height, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(height, edges, color=colour, linewidth=1.3, label=name or None)
        spans.append((filled[0], filled[-1] + 1))
    axes.set(xlabel=label, ylabel=counted, ylim=(0, 1.1 * axes.get_ylim()[1]))
    axes.grid(False, axis='x')
    if not spans:
        axes.text(0.5, 0.5, 'not told', transform=axes.transAxes, ha='center', va='center', color=_MUTED)
        return
    if log:
        axes.set_xscale('log')
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    first, last = min(s for s, _ in spans) - _MARGIN, max(e for _, e in spans) + _MARGIN
    axes.set_xlim(edges[max(first, 0)], edges[min(last, len(edges) - 1)])
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=not share))
    if len(histograms) > 1:
        axes.legend(loc='upper right')


def _coarse(histogram: Histogram, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts and edges; of few numbers, with several bins as one."""
    several = next((bins for below, bins in _COARSE if total < below), 1)
    if np.count_nonzero(histogram.counts) <= several:
        several = 1  # a peak, such as the prior's field of view
    edges = histogram.edges
    starts = np.arange(0, len(edges) - 1, several)
    return np.add.reduceat(histogram.counts, starts), np.append(edges[starts], edges[-1])


def _draw_density(axes: Axes, counts: np.ndarray, across: str) -> None:
    sides = (-DENSITY_REACH, DENSITY_REACH)
    axes.set(xlabel=across, ylabel='y, m (down)', xlim=sides, ylim=sides[::-1])
    axes.set_aspect('equal')
    axes.grid(False)
    axes.set_facecolor('#05070a')
    if counts.sum() < _FEW_JOINTS:
        counts = counts.reshape(len(counts) // 2, 2, -1, 2).sum((1, 3))
    if counts.any():
        shown = np.ma.masked_equal(counts, 0)
        axes.imshow(
            shown, extent=(*sides, *sides[::-1]), cmap='magma', interpolation='nearest',
            norm=LogNorm(max(0.3, counts.max() * 1e-4), counts.max() + 1),
        )  # fmt: skip
    for colour, width in ((_BACKGROUND, 2.4), (_TEXT, 0.9)):
        axes.plot(0, 0, '+', color=colour, markersize=8, markeredgewidth=width)


def _draw_facing(axes: Axes, histogram: Histogram) -> None:
    """A rose of bodies' directions, as seen from above: the camera is below."""
    axes.set_title('where bodies face, from above', x=-0.3)
    axes.set_theta_zero_location('S')
    middle = np.radians((histogram.edges[1:] + histogram.edges[:-1]) / 2)
    share = 100 * histogram.counts / max(histogram.total, 1)
    axes.bar(middle, share, np.radians(np.diff(histogram.edges)), color=BLUE, alpha=0.55, edgecolor=BLUE, linewidth=0.8)
    axes.set_xticks(np.radians([0, 90, 180, 270]), ['camera', 'right', 'away', 'left'])
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g} %' if value else ''))
    axes.set_rlabel_position(45)
    axes.tick_params(axis='y', labelsize=7)
    axes.spines['polar'].set_color(_GRID)
