# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The plots of papers, one column wide: PCK curve, errors by joint, by distance and by joint depth, differences.

Bars and whiskers are 95 % confidence intervals of means. Sequences, where the poses have them, are what is taken as
independent.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..files import whole_file
from ..geometry.skeletons import get_skeleton
from .bootstrap import mean_interval
from .joint_errors import clusters_of, is_absolute, joint_errors, pck_curve
from .leaderboard_tables import error_of, mean
from .pose_errors import JOINTS_14
from .predictions_file import Predictions
from .tables import Interval

# Okabe and Ito's colours, which colour-blind readers tell apart as well.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_WIDTH = 3.35  # inches: a column of the usual two-column papers
_STYLE = {
    'font.size': 8,
    'axes.labelsize': 8,
    'legend.fontsize': 7,
    'xtick.labelsize': 7,
    'ytick.labelsize': 7,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.linewidth': 0.6,
    'axes.axisbelow': True,
    'axes.grid': True,
    'grid.color': '#dddddd',
    'grid.linewidth': 0.5,
    'lines.linewidth': 1.2,
    'legend.edgecolor': 'none',
    'legend.framealpha': 0.9,
    'legend.borderpad': 0.2,
    # Publishers refuse Type 3 fonts.
    'pdf.fonttype': 42,
    'savefig.dpi': 300,
}
_MAX_MM = 200
# What fits on a line of a legend.
_LEGEND_LETTERS = 60
# A bin of fewer is drawn hollow: its mean says little.
_FEW = 30
_GREY = '#9aa0a6'


def styled(style: Mapping) -> Callable[[Callable], Callable]:
    """Decorator of functions that draw in a style and leave matplotlib's settings as they are.

    Args:
        style: Settings of matplotlib.
    """

    def decorate(draw: Callable) -> Callable:
        @functools.wraps(draw)
        def drawn(*args, **kwargs):
            with matplotlib.rc_context(style):
                return draw(*args, **kwargs)

        return drawn

    return decorate


_styled = styled(_STYLE)


@_styled
def pck_figure(runs: Mapping[str, Predictions]) -> Figure:
    """PCK of thresholds up to 200 mm, with the AUC in the legend; of one run, of its 14 joints as well.

    Args:
        runs: Predictions by the name of the method.

    Returns:
        The figure.
    """
    figure, axes = _figure(2.4)
    thresholds = np.arange(_MAX_MM + 1)
    several = len(runs) > 1
    drawn = 0
    for name, run in runs.items():
        for joints, what, label in _joint_sets(run)[: 1 if several else None]:
            curve = pck_curve(run, thresholds, joints)
            auc = mean(error_of(run, label))
            text = f'{name if several else what}' + ('' if np.isnan(auc) else f' (AUC {auc:.1f} %)')
            axes.plot(thresholds, curve, color=COLOURS[drawn % len(COLOURS)], label=text, linestyle=_dashes(drawn))
            drawn += 1
    threshold = float(next(iter(runs.values())).pck_threshold)
    axes.axvline(threshold, color=_GREY, linewidth=0.8, linestyle=':')
    axes.annotate(f'{threshold:g} mm', (threshold, 2), xytext=(-3, 0), textcoords='offset points', ha='right', size=7)
    axes.set(xlim=(0, _MAX_MM), ylim=(0, 100), xlabel='threshold, mm', ylabel='joints within threshold, %')
    axes.legend(loc='lower right', bbox_to_anchor=(1, 0.1))
    return figure


@_styled
def joint_figure(run: Predictions) -> Figure:
    """MPJPE and P-MPJPE of each joint.

    Args:
        run: Predictions.

    Returns:
        The figure.
    """
    names = get_skeleton(run.skeleton).joint_names
    cluster, num, unit = clusters_of(run)
    figure, axes = _figure(0.6 + 0.17 * len(names))
    place = np.arange(len(names))
    for i, (label, aligned) in enumerate((('MPJPE', False), ('P-MPJPE', True))):
        error = joint_errors(run, aligned)
        half = mean_interval(error, cluster, num)
        means = _column_means(error)
        axes.barh(
            place + 0.4 * (i - 0.5), means, 0.38, xerr=np.nan_to_num(half), color=COLOURS[i], label=label,
            error_kw=dict(elinewidth=0.6, capsize=1.2, capthick=0.6, ecolor='#222222'),
        )  # fmt: skip
    axes.set_yticks(place, [name.replace('_', ' ') for name in names])
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel='error, mm', xlim=(0, None))
    axes.grid(False, axis='y')
    axes.tick_params(axis='y', length=0)
    _legend_above(axes, num, unit)
    return figure


@_styled
def root_distance_figure(run: Predictions) -> Figure:
    """MPJPE and P-MPJPE by the distance of the person from the camera, with the number of poses.

    Args:
        run: Predictions, with ground truth in front of the camera.

    Returns:
        The figure.

    Raises:
        ValueError: If a root is not in front of the camera: the ground truth is not absolute.
    """
    used = run.labelled & run.valid
    if not is_absolute(run):
        raise ValueError('target_root is not in front of the camera; takes absolute ground truth')
    distance = np.linalg.norm(run.target_root.astype(np.float64), axis=-1)
    # From the joints: the file need not have these errors.
    errors = np.stack([np.nanmean(joint_errors(run, aligned)[used], axis=1) for aligned in (False, True)], axis=1)
    return _binned_figure(run, distance[used], errors, used, 'distance of the root from the camera, m', 'poses')


@_styled
def joint_depth_figure(run: Predictions) -> Figure:
    """Joint error, before and after Procrustes alignment, by the joint's true depth relative to the root.

    The root itself, whose depth is nil and whose error is nil, is left out.

    Args:
        run: Predictions.

    Returns:
        The figure.
    """
    used = run.labelled & run.valid
    others = np.delete(np.arange(run.pred.shape[1]), run.root_index)
    depth = run.target[used][:, others, 2]
    errors = np.stack([joint_errors(run, aligned)[used][:, others] for aligned in (False, True)], axis=-1)
    label = 'depth of the joint relative to the root, m'
    return _binned_figure(run, depth.reshape(-1), errors.reshape(-1, 2), used, label, 'joints')


@_styled
def difference_figure(
    differences: Mapping[str, Sequence[tuple[str, Interval]]], first: str, what: str, better: int, averages: int = 0
) -> Figure:
    """Differences to a first run with their intervals, as a forest plot.

    Args:
        differences: For each other run, names of groups and their differences.
        first: Name of the first run.
        what: The error and its unit, as ``'MPJPE, mm'``.
        better: -1 where lower is better, else 1.
        averages: How many of the last groups are averages, set apart by a line.

    Returns:
        The figure.
    """
    names = [name for name, _ in next(iter(differences.values()))]
    figure, axes = _figure(0.8 + 0.12 * len(differences) + len(names) * (0.1 + 0.06 * len(differences)))
    place = np.arange(len(names))
    # The first run has the first colour in the other plots.
    for i, (run, rows) in enumerate(differences.items(), start=1):
        value, low, high = np.array([[d.value, d.low, d.high] for _, d in rows], dtype=float).T
        shift = 0.5 * ((i - 0.5) / len(differences) - 0.5)
        label = textwrap.fill(f'{run} − {first}', _LEGEND_LETTERS)
        colour = COLOURS[i % len(COLOURS)]
        axes.hlines(place + shift, low, high, color=colour, linewidth=1)
        filled = ~np.isnan(low)
        axes.plot(value[filled], place[filled] + shift, 'o', color=colour, markersize=3, label=label)
        axes.plot(value[~filled], place[~filled] + shift, 'o', color=colour, markersize=3, markerfacecolor='white')
    axes.axvline(0, color='#222222', linewidth=0.8)
    if 0 < averages < len(names):
        axes.axhline(len(names) - averages - 0.5, color=_GREY, linewidth=0.6)
    axes.set_yticks(place, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(False, axis='y')
    axes.tick_params(axis='y', length=0)
    limit = 1.08 * max(abs(end) for end in axes.get_xlim())
    axes.set_xlim(-limit, limit)
    sides = ('better', 'worse') if better < 0 else ('worse', 'better')
    for x, text, align in zip((0, 1), (f'← {sides[0]}', f'{sides[1]} →'), ('left', 'right'), strict=True):
        axes.text(x, 1.01, text, transform=axes.transAxes, ha=align, va='bottom', size=7, color='#444444')
    axes.set_xlabel(f'difference in {what}')
    figure.legend(loc='outside lower center')
    return figure


@_styled
def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PDF and PNG.

    Args:
        figure: The figure.
        folder: Folder, which is there; files that are there are replaced.
        name: Stem of the files.

    Returns:
        The files: PDF and PNG.
    """
    paths = [folder / f'{name}.pdf', folder / f'{name}.png']
    # The same figure is the same file: no date in it.
    for path, metadata in zip(paths, (dict(CreationDate=None), None), strict=True):
        with whole_file(path) as file:
            figure.savefig(file, metadata=metadata)
    return paths


def _figure(height: float, rows: Sequence[float] = (1,)) -> tuple:
    """A figure one column wide, and its axes, which share x."""
    figure = Figure((_WIDTH, height), layout='constrained')
    return figure, figure.subplots(len(rows), 1, sharex=True, height_ratios=rows)


def _binned_figure(
    run: Predictions, x: np.ndarray, errors: np.ndarray, used: np.ndarray, label: str, counted: str
) -> Figure:
    """Means of errors ``(M, 2)`` in bins of x ``(M,)``, over a histogram. M is a multiple of the poses used."""
    cluster, num, unit = clusters_of(run)
    known = ~np.isnan(errors).any(axis=1)
    cluster = np.repeat(cluster[used], len(x) // used.sum())[known]
    x, errors = x[known], errors[known]
    edges = MaxNLocator(nbins=12, steps=[1, 2, 2.5, 5, 10]).tick_values(x.min(), x.max())
    index = np.clip(np.searchsorted(edges, x, side='right') - 1, 0, len(edges) - 2)
    counted_in = np.bincount(index, minlength=len(edges) - 1)
    middle = (edges[1:] + edges[:-1]) / 2
    figure, (axes, histogram) = _figure(2.7, (3, 1))
    filled = np.flatnonzero(counted_in)
    means, half = np.full((2, 2, len(middle)), np.nan)
    for b in filled:
        part = errors[index == b]
        means[:, b] = part.mean(axis=0)
        half[:, b] = mean_interval(part, cluster[index == b], num)
    many = counted_in >= _FEW
    # A few wild joints in a bin of their own would press all else against the axis: the axis ends above the others.
    top = 1.15 * np.nanmax((means + np.nan_to_num(half))[:, many] if many.any() else means)
    for i, name in enumerate(('MPJPE', 'P-MPJPE') if counted == 'poses' else ('as predicted', 'after Procrustes')):
        x_i = middle + (i - 0.5) * 0.12 * (edges[1] - edges[0])
        style = dict(color=COLOURS[i], markersize=3.5)
        axes.plot(x_i[filled], means[i, filled], color=COLOURS[i], label=name)
        axes.errorbar(
            x_i[filled], means[i, filled], np.nan_to_num(half[i, filled]), fmt='none', elinewidth=0.8, capsize=1.5,
            ecolor=COLOURS[i],
        )  # fmt: skip
        few = filled[~many[filled]]
        axes.plot(x_i[many], means[i, many], 'o', **style)
        axes.plot(x_i[few], means[i, few], 'o', markerfacecolor='white', **style)
        above = few[means[i, few] > top]
        axes.plot(x_i[above], np.full(len(above), 0.97 * top), '^', markerfacecolor='white', **style)
    axes.set_ylim(0, top or 1)
    axes.set_ylabel('error, mm')
    _legend_above(axes, num, unit)
    histogram.bar(middle, counted_in, 0.9 * np.diff(edges), color=_GREY)
    _count_axis(histogram, counted_in, middle)
    histogram.set(xlabel=label, ylabel=counted)
    return figure


def _count_axis(axes: Axes, counts: np.ndarray, middle: np.ndarray) -> None:
    """Counts on a logarithmic axis, where a bin of a few is still seen."""
    axes.set_yscale('log')
    axes.set_ylim(0.6, 3 * max(counts.max(), 1))
    axes.grid(False, axis='x')
    for x, count in zip(middle, counts, strict=True):
        if 0 < count < _FEW:
            axes.annotate(str(count), (x, count), xytext=(0, 1), textcoords='offset points', ha='center', size=6)


def _column_means(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.where(known, values, 0).sum(axis=0) / np.where(count, count, np.nan)


def _joint_sets(run: Predictions) -> list[tuple[Sequence[int] | None, str, str]]:
    """Joints, their name and the label of their AUC."""
    return [
        (None, f'{run.pred.shape[1]} joints', '3DAUC'),
        (JOINTS_14[run.skeleton], '14 joints', '3DAUC-14'),
    ]


def _dashes(number: int) -> str:
    return ('-', '--', '-.', ':')[number % 4]


def _legend_above(axes: Axes, num: int, unit: str) -> None:
    """The legend over the axes, where no bar or line is, and what the intervals are."""
    axes.legend(loc='lower left', bbox_to_anchor=(-0.02, 0.98), ncols=2, handlelength=1.4, columnspacing=1.2)
    axes.annotate(
        f'95 % intervals,\n{num:,} {unit}', (1, 1), xytext=(0, 3), xycoords='axes fraction', ha='right',
        textcoords='offset points', size=6, color='#555555', linespacing=1.1,
    )  # fmt: skip
