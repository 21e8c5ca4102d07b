# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Contact sheets of a set's best, median and worst labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from ..apis.image_files import ImageFolder
from ..datasets.wild3d_files import column_array
from ..geometry import H36M_17
from ..visualization.contact_sheet import SheetCell, draw_contact_sheet
from .set_statistics import read_batches

#: What sheets show: labels whose quality is nearest to these, in this order.
SHEETS = ('best', 'median', 'worst')
_COLUMNS = (
    'file_name', 'width', 'height', 'keypoints', 'visibility', 'keypoints_3d', 'label_quality', 'source',
    'source_record',
)  # fmt: skip
_FURTHER = ('input_keypoints', 'input_visibility', 'expected_error')


def draw_label_sheets(
    paths: Sequence[Path], median: float, images: str | Path | None = None, number: int = 12, columns: int = 4
) -> dict[str, np.ndarray]:
    """Draw the labels that quality puts first, in the middle and last.

    Dots are the 2D that labels were made from, limbs the 3D, projected and from the side.

    Args:
        paths: Shards of the set.
        median: Of the labels' quality.
        images: Folder of the images. What is not there is left blank, as all is without a folder.
        number: Labels on each sheet; those of equal quality in the order of their ids.
        columns: Of each sheet.

    Returns:
        ``(height, width, 3)`` BGR uint8 by name in :data:`SHEETS`; none where no label has 3D.

    Raises:
        ValueError: If a shard cannot be read, or there is no such folder.
    """
    if number < 1 or columns < 1:
        raise ValueError(f'number and columns take at least 1, got {number} and {columns}')
    folder = None if images is None else ImageFolder(images)
    chosen = choose_labels(paths, median, number)
    cells = _read_cells(paths, np.unique(np.concatenate(list(chosen.values())), axis=0), folder)
    return {
        name: draw_contact_sheet([cells[tuple(place)] for place in places.tolist()], H36M_17, _title(name), columns)
        for name, places in chosen.items()
        if len(places)
    }


def choose_labels(paths: Sequence[Path], median: float, number: int) -> dict[str, np.ndarray]:
    """Which labels sheets show.

    Args:
        paths: Shards.
        median: Of quality.
        number: How many, at most.

    Returns:
        ``(number, 2)`` int64 by name in :data:`SHEETS`: which shard, and which row of it.
    """
    # Distance, shard and row of the nearest so far.
    kept = {name: np.zeros((3, 0)) for name in SHEETS}
    ids = {name: np.zeros(0, np.int64) for name in SHEETS}
    for shard, path in enumerate(paths):
        for start, batch in read_batches(path, ('id', 'camera', 'label_quality')):
            quality = column_array(batch, 'label_quality').astype(np.float64)
            labelled = np.flatnonzero(column_array(batch, 'camera')[:, 0] > 0)
            for name, distance in zip(SHEETS, (1 - quality, np.abs(quality - median), quality), strict=True):
                new = np.stack([distance, np.full(len(batch), shard), start + np.arange(len(batch))])[:, labelled]
                both = np.concatenate([kept[name], new], 1)
                both_ids = np.concatenate([ids[name], column_array(batch, 'id')[labelled]])
                order = np.lexsort([both_ids, both[0]])[:number]
                kept[name], ids[name] = both[:, order], both_ids[order]
    return {name: kept[name][1:].T.astype(np.int64) for name in SHEETS}


def _title(name: str) -> str:
    return f'{name} labels, by quality'


def _read_cells(
    paths: Sequence[Path], places: np.ndarray, folder: ImageFolder | None
) -> Mapping[tuple[int, int], SheetCell]:
    """The labels at ``(M, 2)`` places: shard and row."""
    cells = {}
    for shard in np.unique(places[:, 0]):
        rows = places[places[:, 0] == shard, 1]
        for start, batch in read_batches(paths[shard], _COLUMNS, _FURTHER):
            here = rows[(rows >= start) & (rows < start + len(batch))]
            if len(here):
                part = pa.Table.from_batches([batch]).take(pa.array(here - start)).combine_chunks()
                cells |= {(int(shard), int(row)): cell for row, cell in zip(here, _cells(part, folder), strict=True)}
    return cells


def _cells(table: pa.Table, folder: ImageFolder | None) -> list[SheetCell]:
    given = 'input_keypoints' in table.schema.names
    projected, seen = column_array(table, 'keypoints'), column_array(table, 'visibility') > 0
    points = column_array(table, 'input_keypoints').reshape(len(table), -1, 2) if given else projected
    marked = column_array(table, 'input_visibility') > 0 if given else seen
    pose = column_array(table, 'keypoints_3d')
    known = pose[..., 3] > 0
    rows = table.drop_columns([n for n in table.schema.names if pa.types.is_fixed_size_list(table.field(n).type)])
    return [
        SheetCell(
            np.where(marked[i, :, None], points[i], np.nan),
            np.where(known[i, :, None], projected[i], np.nan),
            np.where(known[i, :, None], pose[i, :, :3], np.nan),
            _picture(folder, row['file_name'], (row['width'], row['height'])),
            _caption(row),
        )
        for i, row in enumerate(rows.to_pylist())
    ]


def _caption(row: Mapping) -> tuple[str, str]:
    expected = row.get('expected_error')
    words = [f'quality {row["label_quality"]:.2f}', '' if expected is None else f'{expected:.0f} mm expected']
    words += [row['source'] or '', row['source_record'] or '']
    return Path(row['file_name']).name, ' · '.join(filter(None, words))


def _picture(folder: ImageFolder | None, name: str, size: tuple[int, int]) -> np.ndarray | None:
    """An image of the size that the label tells, turned as that was annotated; None where there is none."""
    if folder is None or not name:
        return None
    try:
        path = folder.find(None, name)
    except ValueError:
        return None
    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
        image = cv2.imread(str(path), flags)
        if image is not None and image.shape[1::-1] == size:
            return image
    return None
