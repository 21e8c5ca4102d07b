# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tables of results, as Markdown, CSV, LaTeX, JSON and on the terminal.

CSV and JSON hold every number in full; the others round as papers do.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ..files import whole_file

_LATEX = {
    '\\': r'\textbackslash{}', '&': r'\&', '%': r'\%', '$': r'\$', '#': r'\#', '_': r'\_', '{': r'\{', '}': r'\}',
    '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '<': r'\textless{}', '>': r'\textgreater{}',
    '−': r'$-$', '–': '--',
}  # fmt: skip
_NOTHING = '–'
# Points: the text of a two-column page, and a letter of a size of type.
_LATEX_WIDTH = 490
_LATEX_SIZES = (('footnotesize', 4.0, 3), ('scriptsize', 3.5, 2))


@dataclass(frozen=True)
class Interval:
    """A number with its confidence interval."""

    value: float
    low: float
    high: float


Cell = float | int | str | Interval


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its heading.
        unit: Unit of its numbers.
        decimals: How many are shown.
        better: -1 where lower is better, 1 where higher is, 0 where neither; the best of several rows is set in bold.
        signed: Whether numbers above 0 show their sign, as differences do.
        short: Heading in LaTeX, where columns are narrow. Default: name and unit.
    """

    name: str
    unit: str = ''
    decimals: int = 1
    better: int = 0
    signed: bool = False
    short: str = ''

    @property
    def heading(self) -> str:
        """Name and unit, unless the name ends in it."""
        return f'{self.name}, {self.unit}' if self.unit and not self.name.endswith(f'-{self.unit}') else self.name


@dataclass(frozen=True)
class Table:
    """A table of results: a first column of names, then numbers.

    Attributes:
        name: Stem of its files.
        title: What it shows; the caption.
        columns: Its columns, that of the names included.
        rows: Cells, one for each column; NaN where there is no number.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f'{self.name}: row {row[0]!r} has {len(row)} cells; takes {len(self.columns)}')

    def markdown(self) -> str:
        """The table as a Markdown table, without its title."""

        def escape(text: str) -> str:
            return text.replace('|', r'\|')

        cells = [[f'**{text}**' if bold else text for text, bold in row] for row in self._texts(escape)]
        head = [escape(column.heading) for column in self.columns]
        rule = ['---' if self._is_text(i) else '---:' for i in range(len(head))]
        return ''.join(f'| {" | ".join(row)} |\n' for row in (head, rule, *cells))

    def csv(self) -> str:
        """The table as CSV; a number with an interval takes three columns, one without a value is empty."""
        with_interval = [any(isinstance(row[i], Interval) for row in self.rows) for i in range(len(self.columns))]
        head, rows = [], [[] for _ in self.rows]
        for i, column in enumerate(self.columns):
            head += [column.heading] + [f'{column.heading}, {end}' for end in ('low', 'high')] * with_interval[i]
            for row, cells in zip(rows, self.rows, strict=True):
                row += [_plain(part) for part in _parts(cells[i], with_interval[i])]
        file = io.StringIO()
        csv.writer(file, lineterminator='\n').writerows([head, *rows])
        return file.getvalue()

    def latex(self) -> str:
        """The table as LaTeX's ``table*`` with booktabs' rules."""
        columns = self.columns
        directions = {column.better for column in columns[1:]}
        cells = [[rf'\textbf{{{text}}}' if bold else text for text, bold in row] for row in self._texts(_escape)]
        lengths = [max((len(row[i][0]) for row in self._texts(str)), default=0) for i in range(len(columns))]
        size, separation, upright = _fit(lengths, [(column.short or column.heading).split(' ') for column in columns])
        head = []
        for column in columns:
            words = _escape(column.short or column.heading).split(' ')
            stacked = r'\\'.join(words)
            name = rf'\shortstack{{{stacked}}}' if upright and len(words) > 1 else ' '.join(words)
            if len(directions) > 1 and column.better:
                name += r'\,$\downarrow$' if column.better < 0 else r'\,$\uparrow$'
            head.append(name if upright or column is columns[0] else rf'\rotatebox{{90}}{{{name}}}')
        title = _escape(self.title)
        if len(directions) == 1 and columns[1].better:
            title += f'; {"lower" if columns[1].better < 0 else "higher"} is better'
        packages = 'booktabs' if upright else 'booktabs and graphicx'
        lines = [
            f'% needs the packages {packages}',
            r'\begin{table*}[t]',
            rf'\centering\{size}\setlength{{\tabcolsep}}{{{separation}pt}}',
            rf'\caption{{{title}.}}',
            rf'\label{{tab:{re.sub(r"[^A-Za-z0-9]+", "-", self.name)}}}',
            rf'\begin{{tabular}}{{{"".join("l" if self._is_text(i) else "r" for i in range(len(head)))}}}',
            r'\toprule',
            ' & '.join(head) + r' \\',
            r'\midrule',
            *(' & '.join(row) + r' \\' for row in cells),
            r'\bottomrule',
            r'\end{tabular}',
            r'\end{table*}',
        ]
        return '\n'.join(lines) + '\n'

    def json(self) -> str:
        """The table as JSON: title, columns and rows by the columns' names; null where there is no number."""
        better = {-1: 'lower', 0: None, 1: 'higher'}
        columns = [dict(name=c.name, unit=c.unit, better=better[c.better]) for c in self.columns]
        names = [column.name for column in self.columns]
        rows = [dict(zip(names, map(_to_json, row), strict=True)) for row in self.rows]
        return json.dumps(dict(title=self.title, columns=columns, rows=rows), indent=2, ensure_ascii=False) + '\n'

    def print(self, console: Console) -> None:
        """Print the table to a terminal."""
        table = RichTable(title=self.title, title_justify='left')
        for i, column in enumerate(self.columns):
            table.add_column(column.heading, justify='left' if self._is_text(i) else 'right')
        for row in self._texts(str):
            table.add_row(*(Text(text, style='bold' if bold else '') for text, bold in row))
        console.print(table)

    def write(self, folder: Path) -> list[Path]:
        """Write the table in all four forms.

        Args:
            folder: Folder, which is there; files that are there are replaced.

        Returns:
            The files: Markdown, CSV, LaTeX and JSON.
        """
        stem = re.sub(r'[^\w.-]+', '-', self.name)
        texts = {
            '.md': f'# {self.title}\n\n{self.markdown()}',
            '.csv': self.csv(),
            '.tex': self.latex(),
            '.json': self.json(),
        }
        for suffix, text in texts.items():
            with whole_file(folder / (stem + suffix)) as file:
                file.write_text(text, encoding='utf-8')
        return [folder / (stem + suffix) for suffix in texts]

    def _is_text(self, index: int) -> bool:
        return all(isinstance(row[index], str) for row in self.rows)

    def _texts(self, escape: Callable[[str], str]) -> list[list[tuple[str, bool]]]:
        """Text of every cell, and whether it is the best of several in its column."""
        best = [self._best(i) for i in range(len(self.columns))]
        return [
            [
                (escape(_show(cell, column)), best[i] is not None and _show(cell, column) == best[i])
                for i, (cell, column) in enumerate(zip(row, self.columns, strict=True))
            ]
            for row in self.rows
        ]

    def _best(self, index: int) -> str | None:
        """What the best number of a column looks like: those that look the same are all the best."""
        column = self.columns[index]
        values = [_parts(row[index], False)[0] for row in self.rows]
        numbers = [v for v in values if not isinstance(v, str) and not math.isnan(v)]
        if not column.better or len(numbers) < 2:
            return None
        best = max(numbers, key=lambda v: column.better * v)
        return next(_show(row[index], column) for row, v in zip(self.rows, values, strict=True) if v == best)


def _fit(lengths: list[int], headings: list[list[str]]) -> tuple[str, int, bool]:
    """Size of type and separation of columns at which a table fits on a page, and whether its headings lie flat."""
    for size, letter, separation in _LATEX_SIZES:
        widths = [max(n, *map(len, words)) for n, words in zip(lengths, headings, strict=True)]
        if letter * sum(widths) + 2 * separation * len(widths) <= _LATEX_WIDTH:
            return size, separation, True
    return size, separation, False


def _parts(cell: Cell, with_interval: bool) -> list[float | int | str]:
    value = cell.value if isinstance(cell, Interval) else cell
    if not with_interval:
        return [value]
    return [value, cell.low, cell.high] if isinstance(cell, Interval) else [value, math.nan, math.nan]


def _show(cell: Cell, column: Column) -> str:
    if isinstance(cell, Interval):
        value = _show(cell.value, column)
        if math.isnan(cell.low):
            return value
        return f'{value} [{_show(cell.low, column)}, {_show(cell.high, column)}]'
    if not isinstance(cell, float):
        return str(cell)
    if math.isnan(cell):
        return _NOTHING
    # What rounds to nothing has no sign.
    text = f'{cell:{"+" if column.signed else ""}.{column.decimals}f}'
    return text.lstrip('+-') if float(text) == 0 else text.replace('-', '−')


def _plain(value: float | int | str) -> float | int | str:
    return '' if isinstance(value, float) and math.isnan(value) else value


def _to_json(cell: Cell) -> object:
    if isinstance(cell, Interval):
        return {key: _to_json(value) for key, value in vars(cell).items()}
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _escape(text: str) -> str:
    return ''.join(_LATEX.get(letter, letter) for letter in text)
