# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The tables that papers print: a row a method, a column an action, and the averages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .predictions_file import Predictions
from .protocols import protocol_of
from .tables import Column, Table

AVERAGE_OF_FRAMES = 'Avg (frames)'
# In the order of the papers' tables, with the short names of those. Human3.6M's actions; MPI-INF-3DHP's activities and
# scenes.
_ORDERS = (
    {
        'Directions': 'Dir.', 'Discussion': 'Disc.', 'Eating': 'Eat', 'Greeting': 'Greet', 'Phoning': 'Phone',
        'Photo': 'Photo', 'Posing': 'Pose', 'Purchases': 'Purch.', 'Sitting': 'Sit', 'SittingDown': 'SitD.',
        'Smoking': 'Smoke', 'Waiting': 'Wait', 'WalkDog': 'WalkD.', 'Walking': 'Walk', 'WalkTogether': 'WalkT.',
    },
    {
        'Standing/Walking': 'Stand/Walk', 'Exercising': 'Exercise', 'Sitting': 'Sit',
        'Reaching/Crouching': 'Reach/Crouch', 'On The Floor': 'On Floor', 'Sports': 'Sports', 'Miscellaneous': 'Misc.',
    },
    {'green screen': 'GS', 'studio': 'no GS', 'outdoor': 'Outdoor'},
)  # fmt: skip


def plural(key: str) -> str:
    """What the groups of a key are called: ``'actions'``, ``'activities'``."""
    return re.sub('y$', 'ie', key) + 's'


def average_of_groups(key: str) -> str:
    """Name of the average in which every group weighs the same: ``'Avg (actions)'``."""
    return f'Avg ({plural(key)})'


def sort_groups(groups: Iterable[str]) -> dict[str, str]:
    """Put the names of groups in the order of the papers' tables; others as people sort: TS2 before TS10.

    Args:
        groups: Names of groups.

    Returns:
        The names in order, with their short forms.
    """
    groups = set(groups)
    for order in _ORDERS:
        if groups <= order.keys():
            return {name: short for name, short in order.items() if name in groups}
    return {name: name for name in sorted(groups, key=_natural)}


def group_index(groups: np.ndarray, names: Iterable[str]) -> np.ndarray:
    """Number groups by their place among names.

    Args:
        groups: Names of groups, ``(N,)``.
        names: The G names in order.

    Returns:
        Numbers ``(N,)``; G for a group that is not named.
    """
    position = {name: i for i, name in enumerate(names)}
    unique, inverse = np.unique(groups, return_inverse=True)
    return np.array([position.get(name, len(position)) for name in unique.tolist()], dtype=int)[inverse]


def group_means(values: np.ndarray, index: np.ndarray, num_groups: int) -> np.ndarray:
    """Mean of each group's numbers.

    Args:
        values: ``(N,)``; NaN where there is none.
        index: Numbers of their groups, ``(N,)``; see :func:`group_index`.
        num_groups: Number of groups G.

    Returns:
        Means ``(G,)``; NaN for a group without numbers.
    """
    known = ~np.isnan(values)
    total = np.bincount(index[known], weights=values[known], minlength=num_groups + 1)
    count = np.bincount(index[known], minlength=num_groups + 1)
    return (total / np.where(count, count, np.nan))[:num_groups]


def mean(values: np.ndarray) -> float:
    """Mean of the numbers among values ``(N,)``; NaN where there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float('nan')


def error_of(predictions: Predictions, label: str) -> np.ndarray:
    """Errors ``(N,)`` by label; all NaN where the file has none of it."""
    labels = [str(name) for name in predictions.error_labels]
    if label not in labels:
        return np.full(len(predictions.name), np.nan)
    return predictions.errors[:, labels.index(label)]


def overall_table(runs: Mapping[str, Predictions]) -> Table:
    """Table of all errors over all poses, a row a run.

    Args:
        runs: Predictions by the name of the method.

    Returns:
        The table, with the number of poses that are averaged over.
    """
    labels = known_labels(runs)
    columns = (Column('method'), *(protocol_of(label).column(label) for label in labels), Column('poses'))
    rows = tuple(
        (name, *(mean(error_of(run, label)) for label in labels), int((run.labelled & run.valid).sum()))
        for name, run in runs.items()
    )
    return Table('overall', 'All errors, over all poses', columns, rows)


def group_tables(runs: Mapping[str, Predictions], key: str, labels: Sequence[str]) -> list[Table]:
    """Tables of errors by group, with the average of the groups and that of the frames.

    Args:
        runs: Predictions by the name of the method.
        key: Group key, as ``'action'``.
        labels: Labels of the errors, as ``'MPJPE'``.

    Returns:
        A table for each error.

    Raises:
        ValueError: If a run has no such groups.
    """
    for name, run in runs.items():
        if key not in run.groups:
            raise ValueError(f'{name}: has no groups by {key!r}; has {sorted(run.groups)}')
    names = sort_groups(name for run in runs.values() for name in np.unique(run.groups[key]).tolist())
    index = {name: group_index(run.groups[key], names) for name, run in runs.items()}
    heads = {**names, average_of_groups(key): '', AVERAGE_OF_FRAMES: ''}
    tables = []
    for label in labels:
        protocol = protocol_of(label)
        columns = [Column(name, '', protocol.decimals, protocol.better, short=short) for name, short in heads.items()]
        rows = []
        for name, run in runs.items():
            errors = error_of(run, label)
            means = group_means(errors, index[name], len(names))
            rows.append((name, *means.tolist(), mean(means), mean(errors)))
        title = f'{label} ({protocol.unit}) by {key}' if protocol.unit else f'{label} by {key}'
        tables.append(Table(f'{key}_{label}', title, (Column('method'), *columns), tuple(rows)))
    return tables


def leaderboard_tables(runs: Mapping[str, Predictions]) -> list[Table]:
    """All tables of some runs: the overall one, then one for each error and group key that every run has.

    Args:
        runs: Predictions by the name of the method.

    Returns:
        The tables; an error that is a number nowhere has none.
    """
    labels = known_labels(runs)
    return [overall_table(runs), *(table for key in _common_keys(runs) for table in group_tables(runs, key, labels))]


def results_page(
    title: str,
    runs: Mapping[str, Predictions],
    labels: Sequence[str] = ('MPJPE', 'P-MPJPE'),
    keys: Sequence[str] | None = None,
) -> str:
    """Write a page of results for the documentation: the overall table, those by group, and the protocols.

    Args:
        title: Its heading.
        runs: Predictions by the name of the method.
        labels: Labels of the errors that are given by group.
        keys: Group keys. Default: those that every run has.

    Returns:
        Markdown.

    Raises:
        ValueError: If a run has no groups by a key.
    """
    if keys is None:
        keys = _common_keys(runs)
    page = [f'# {title}\n']
    for table in [overall_table(runs), *(table for key in keys for table in group_tables(runs, key, labels))]:
        page.append(f'\n## {table.title}\n\n{table.markdown()}')
    lines = [f'- **{label}**: {sentence}\n' for label, sentence in protocol_sentences(runs).items()]
    return ''.join([*page, '\n## Protocols\n\n', *lines])


def protocol_sentences(runs: Mapping[str, Predictions]) -> dict[str, str]:
    """What each error of some runs means, by its label."""
    threshold = next(iter(runs.values())).pck_threshold
    return {label: protocol_of(label).sentence.format(threshold=threshold) for label in known_labels(runs)}


def known_labels(runs: Mapping[str, Predictions]) -> list[str]:
    """Labels of the errors that are a number anywhere, in the order of the files."""
    every = dict.fromkeys(str(label) for run in runs.values() for label in run.error_labels)
    return [label for label in every if any(not np.isnan(error_of(run, label)).all() for run in runs.values())]


def _common_keys(runs: Mapping[str, Predictions]) -> list[str]:
    first = next(iter(runs.values()))
    return [key for key in first.groups if all(key in run.groups for run in runs.values())]


def _natural(text: str) -> tuple[list[tuple[bool, int | str]], str]:
    pieces = [piece for piece in re.split(r'([0-9]+)', text) if piece]
    return [(piece[0] not in '0123456789', int(piece) if piece[0] in '0123456789' else piece) for piece in pieces], text
