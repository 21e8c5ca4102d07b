# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The benchmark's plots: error against proportions and against distance from the training poses."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ...evaluation.plots import COLOURS
from ...files import whole_file

_STYLE = {
    'font.size': 8,
    'legend.fontsize': 7,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '#dddddd',
    'grid.linewidth': 0.5,
    'legend.edgecolor': 'none',
    'savefig.dpi': 150,
}
_AXES = {
    'stature': 'length along the bones, foot to head top, m',
    'leg_to_trunk': 'leg over trunk',
    'arm_to_leg': 'arm over leg',
}


def write_plots(results: dict, page: Path) -> list[str]:
    """Write the plots that the results have numbers for.

    Args:
        results: The benchmark's.
        page: The page they are for: they are written beside it.

    Returns:
        Names of the files.
    """
    titles = column_titles(results)
    plots = {}
    if 'pose_distance' in results:
        label = 'mean joint distance from the nearest training pose, mm'
        plots['pose_distance'] = ({label: results['pose_distance']}, 3.6)
    if 'proportions' in results:
        binned = {_AXES[measure]: bins for measure, bins in results['proportions'].items()}
        plots['proportions'] = (binned, 3.2 * len(binned))
    names = []
    for name, (panels, width) in plots.items():
        with matplotlib.rc_context(_STYLE):
            figure = _figure(panels, width, titles)
            path = page.with_name(f'{page.stem}_{name}.png')
            with whole_file(path) as file:
                figure.savefig(file)
        names.append(path.name)
    return names


def column_titles(results: dict) -> dict[str, str]:
    """Titles of the tables' columns by their key in the errors."""
    titles = {}
    for name, model in results['models'].items():
        if model['coarse_title']:
            titles[f'{name}/coarse'] = model['coarse_title']
        titles[name] = model['title']
    return titles


def _figure(panels: dict[str, dict], width: float, titles: dict[str, str]) -> Figure:
    """One panel for each binned quantity: lines for the networks, bands for the deviation over their seeds."""
    figure = Figure((width, 3.0), layout='constrained')
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    keys = [key for key in titles if all(key in binned['errors'] for binned in panels.values())]
    for axes, (label, binned) in zip(all_axes, panels.items(), strict=True):
        for i, key in enumerate(keys):
            values = np.array(binned['errors'][key])
            mean, spread = values.mean(0), values.std(0, ddof=min(1, len(values) - 1))
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(binned['means'], mean, 'o-', color=colour, markersize=3, linewidth=1.2, label=titles[key])
            axes.fill_between(binned['means'], mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
        axes.set(xlabel=label, ylim=(0, None))
    all_axes[0].set_ylabel('P-MPJPE, mm')
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside upper center', ncols=2 if len(panels) == 1 else 4)
    return figure
