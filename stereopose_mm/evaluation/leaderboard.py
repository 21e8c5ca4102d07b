# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The folder that ``tools/test.py --leaderboard`` leaves: predictions, tables, plots and a page that says what ran."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from ..files import whole_file
from .joint_errors import is_absolute
from .leaderboard_tables import error_of, known_labels, leaderboard_tables, mean, protocol_sentences
from .plots import joint_depth_figure, joint_figure, pck_figure, root_distance_figure, save_figure
from .pose_errors import POSE_ERRORS, PoseError
from .predictions_file import Predictions, read_predictions
from .protocols import protocol_of
from .tables import Cell, Column, Table

PREDICTIONS_FILE, RUN_FILE, INDEX_FILE = 'predictions.npz', 'run.json', 'index.md'
TABLE_FOLDER, PLOT_FOLDER = 'tables', 'plots'
_PLOTS = {
    'pck_curve': 'PCK curve',
    'joints': 'Error by joint',
    'root_distance': 'Error by distance from the camera',
    'joint_depth': "Error by the joint's depth relative to the root",
}
_PREDICTED = dict(pred_root='keypoints_cam', pred_cam='keypoints_cam', reprojection_error='reprojection_error')
_NOT_ASKED = "the configuration's MPJPEMetric has `metrics` without it"
_NO_POSE = 'no pose is labelled and has a finite prediction'
_NOT_ABSOLUTE = 'the ground truth is not in front of the camera, and so is not absolute'


def write_leaderboard(
    folder: str | Path, name: str, about: Mapping[str, object], asked: Collection[str] | None = None
) -> dict:
    """Write tables, plots and an index for the predictions in a folder.

    Files that are there are replaced one by one, ``index.md`` and ``run.json`` last: while these two are missing, the
    rest is not complete.

    Args:
        folder: Folder with the ``predictions.npz`` that ``MPJPEMetric(out_file=...)`` wrote.
        name: Name of the method, for the tables.
        about: What ran, for the index: text and numbers, or mappings of these.
        asked: Labels of the errors that were asked for. Default: all.

    Returns:
        What was written to ``run.json``.

    Raises:
        ValueError: If the predictions cannot be read.
    """
    folder = Path(folder)
    run = read_predictions(folder / PREDICTIONS_FILE)
    for file in (INDEX_FILE, RUN_FILE):
        (folder / file).unlink(missing_ok=True)
    for part in (TABLE_FOLDER, PLOT_FOLDER):
        (folder / part).mkdir(exist_ok=True)
    runs = {name: run}
    labels = known_labels(runs)
    tables = leaderboard_tables(runs)
    files = {table.name: table.write(folder / TABLE_FOLDER) for table in tables}
    used = run.labelled & run.valid
    plots = {}
    if used.any():
        plots |= dict(pck_curve=pck_figure(runs), joints=joint_figure(run), joint_depth=joint_depth_figure(run))
        if is_absolute(run):
            plots['root_distance'] = root_distance_figure(run)
    plot_files = {key: save_figure(plots[key], folder / PLOT_FOLDER, key) for key in _PLOTS if key in plots}
    record = dict(
        name=name,
        **about,
        skeleton=run.skeleton,
        poses=int(run.labelled.sum()),
        invalid=int((run.labelled & ~run.valid).sum()),
        sequences=None if run.sequence is None else len(set(run.sequence.tolist())),
        groups={key: len(set(names.tolist())) for key, names in run.groups.items()},
        metrics={label: mean(error_of(run, label)) for label in labels},
        absent=_absent(run, labels, plots, asked),
        tables={key: [_relative(path, folder) for path in paths] for key, paths in files.items()},
        plots={key: [_relative(path, folder) for path in paths] for key, paths in plot_files.items()},
    )
    with whole_file(folder / RUN_FILE) as file:
        file.write_text(json.dumps(record, indent=2, ensure_ascii=False, default=str) + '\n', encoding='utf-8')
    with whole_file(folder / INDEX_FILE) as file:
        file.write_text(_index(record, tables, protocol_sentences(runs)), encoding='utf-8')
    return record


def _absent(
    run: Predictions, labels: list[str], plots: Mapping[str, object], asked: Collection[str] | None
) -> list[str]:
    """What there is no table or plot of, and why."""
    rows = [row for row in POSE_ERRORS.values() if row.label not in labels]
    reasons: dict[str, list[str]] = {}
    for row in rows:
        chosen = asked is None or row.label in asked
        reasons.setdefault(_why_no_error(run, row) if chosen else _NOT_ASKED, []).append(row.label)
    absent = [f'{", ".join(missing)}: {reason}.' for reason, missing in reasons.items()]
    if not run.groups:
        absent.append("Tables by group: the configuration's MPJPEMetric has no `group_by`.")
    absent += [f'{_PLOTS[key]}: {_why_no_plot(run)}.' for key in _PLOTS if key not in plots]
    return absent


def _why_no_error(run: Predictions, row: PoseError) -> str:
    if not (run.labelled & run.valid).any():
        return _NO_POSE
    if row.skeletons and run.skeleton not in row.skeletons:
        return f'the skeleton {run.skeleton} has not its joints'
    if row.needs == 'frame':
        return (
            "the configuration's MPJPEMetric has no `sequence_key` and `frame_key`"
            if run.frame is None
            else 'no pose has its previous frame here'
        )
    if row.needs is not None and getattr(run, row.needs) is None:
        return f'the model predicts no `{_PREDICTED[row.needs]}`'
    return _NOT_ABSOLUTE if row.needs in ('pred_root', 'pred_cam') else 'no pose has the joints that it takes'


def _why_no_plot(run: Predictions) -> str:
    return _NOT_ABSOLUTE if (run.labelled & run.valid).any() else _NO_POSE


def _index(record: Mapping, tables: list[Table], sentences: Mapping[str, str]) -> str:
    """The page: what ran, the numbers, the tables, the plots, what is absent."""
    facts = [
        (key.replace('_', ' '), _fact(record[key]))
        for key in record
        if key not in ('name', 'metrics', 'absent', 'tables', 'plots', 'groups') and record[key] not in (None, {}, '')
    ]
    rows: list[tuple[Cell, ...]] = [
        (label, _number(label, record['metrics'][label]), sentence) for label, sentence in sentences.items()
    ]
    what = Table('facts', '', (Column('what'), Column('value')), tuple(facts))
    numbers = Table('metrics', '', (Column('metric'), Column('value'), Column('protocol')), tuple(rows))
    page = [f'# {record["name"]}\n\n', what.markdown(), '\n## All poses\n\n', numbers.markdown(), '\n']
    page.append(f'{_links("The same as a row of a table", record["tables"]["overall"])}\n')
    page.append(f'[Predictions]({PREDICTIONS_FILE}), [this page for machines]({RUN_FILE})\n')
    for table in tables[1:]:
        if table.name.endswith(('_MPJPE', '_P-MPJPE')):
            page.append(f'\n## {table.title}\n\n{table.markdown()}')
    if len(tables) > 1:
        page.append('\n## Tables by group\n\n')
        page += [f'- {_links(table.title, record["tables"][table.name])}\n' for table in tables[1:]]
    if record['plots']:
        page.append('\n## Plots\n')
    for key, (pdf, png) in record['plots'].items():
        page.append(f'\n{_PLOTS[key]} ([pdf]({pdf}))\n\n![{_PLOTS[key]}]({png})\n')
    if record['absent']:
        page.append('\n## Not here\n\n')
        page += [f'- {line}\n' for line in record['absent']]
    page.append('\nOther files in this folder, if there are any, are not of this run.\n')
    return ''.join(page)


def _links(title: str, paths: list[str]) -> str:
    return f'{title}: ' + ', '.join(f'[{path.rpartition(".")[2]}]({path})' for path in paths)


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return ', '.join(f'{key} {part}' for key, part in value.items())
    return f'{value:,}' if isinstance(value, int) else str(value)


def _number(label: str, value: float) -> str:
    protocol = protocol_of(label)
    return f'{value:.{protocol.decimals}f} {protocol.unit}'.strip()


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
