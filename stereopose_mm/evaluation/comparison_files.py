# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What ``tools/compare.py`` does: reads runs, compares them, prints and writes the comparison."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ..files import whole_file
from .comparison import Comparison, compare
from .leaderboard import PREDICTIONS_FILE, RUN_FILE
from .leaderboard_tables import group_tables, overall_table
from .plots import difference_figure, pck_figure, save_figure
from .predictions_file import Predictions, read_predictions
from .protocols import protocol_of
from .tables import Table


def compare_files(
    runs: Sequence[str],
    names: Sequence[str] | None = None,
    label: str = 'MPJPE',
    group_by: str | None = None,
    cluster_by: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    out: str | None = None,
) -> Comparison:
    """Compare runs that ``tools/test.py --leaderboard`` wrote; print the comparison and write it.

    Args:
        runs: Leaderboard folders, or files of predictions; the first is what the others are compared with.
        names: Names of the runs. Default: the methods' names in the folders, else the names of folders and files.
        label: See :func:`compare`, as for the next four.
        group_by: Group key.
        cluster_by: Group key whose groups are drawn whole.
        resamples: Number of resamples.
        seed: Seed of the draw.
        out: Folder for tables (Markdown, CSV, LaTeX, JSON) and plots (PDF, PNG). Default: nothing is written.

    Returns:
        The comparison.

    Raises:
        ValueError: As :func:`compare`, and if a run cannot be read, or names are not different.
    """
    if names is None:
        names = [_run_name(Path(run)) for run in runs]
    if len(names) != len(runs) or len(set(names)) != len(names):
        raise ValueError(f'names is {list(names)}; takes a different one for each of {len(runs)} runs (--names)')
    predictions = {
        name: read_predictions(Path(run, PREDICTIONS_FILE) if Path(run).is_dir() else Path(run))
        for name, run in zip(names, runs, strict=True)
    }
    status = Console(stderr=True)

    def progress(steps: Iterable) -> Iterable:
        return track(steps, 'resampling', console=status, transient=True, disable=not status.is_terminal)

    comparison = compare(predictions, label, group_by, cluster_by, resamples, seed, progress)
    tables = [comparison.overall_table()] + ([comparison.group_table()] if group_by else [])
    console = Console()
    if not console.is_terminal:
        # In a file a table is as wide as it needs to be.
        console = Console(width=400)
    for table in tables:
        table.print(console)
    for note in comparison.notes():
        console.print(note, soft_wrap=True, highlight=False)
    if out is not None:
        _write(Path(out), comparison, predictions, tables, list(runs))
        console.print(f'\nWritten to {Path(out, "index.md")}', soft_wrap=True, highlight=False)
    return comparison


def _write(
    folder: Path,
    comparison: Comparison,
    predictions: Mapping[str, Predictions],
    tables: list[Table],
    sources: list[str],
) -> None:
    """Write tables, plots and an index of a comparison."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = [*tables, overall_table(predictions)]
    if comparison.key:
        tables += group_tables(predictions, comparison.key, [comparison.label])
    page = [f'# {comparison.label}: {", ".join(comparison.runs)}\n\n']
    page += [f'{note}\n\n' for note in comparison.notes()]
    for table in tables:
        files = table.write(folder)
        links = ', '.join(f'[{path.suffix[1:]}]({path.name})' for path in files)
        page.append(f'## {table.title}\n\n{table.markdown()}\n{links}\n\n')
    first, *others = comparison.runs
    rows = {
        run: list(zip(comparison.rows, comparison.differences[i], strict=True)) for i, run in enumerate(others, start=1)
    }
    unit = protocol_of(comparison.label).unit
    what = f'{comparison.label}, {unit}' if unit else comparison.label
    figures = dict(
        differences=difference_figure(rows, first, what, comparison.better, 2 if comparison.key else 0),
        pck_curves=pck_figure(predictions),
    )
    for name, figure in figures.items():
        pdf, png = save_figure(figure, folder, name)
        page.append(f'![{name.replace("_", " ")}]({png.name})\n\n[pdf]({pdf.name})\n\n')
    about = dict(
        runs=dict(zip(comparison.runs, sources, strict=True)),
        metric=comparison.label,
        group_by=comparison.key,
        resampled=comparison.unit,
        clusters=comparison.num_units,
        resamples=comparison.resamples,
        seed=comparison.seed,
        poses=comparison.counts[-1],
        left_out=comparison.left_out,
    )
    with whole_file(folder / 'comparison.json') as file:
        file.write_text(json.dumps(about, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')
    with whole_file(folder / 'index.md') as file:
        file.write_text(''.join(page).rstrip('\n') + '\n', encoding='utf-8')


def _run_name(path: Path) -> str:
    """Name of the method, as the folder of a run says, else of the folder or the file."""
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or path.name == PREDICTIONS_FILE:
        try:
            return str(json.loads((folder / RUN_FILE).read_text(encoding='utf-8'))['name'])
        except (OSError, ValueError, KeyError, TypeError):
            return folder.resolve().name
    return path.stem
