# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""A sheet of many 2D-3D pairs, to look through a data set at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry.skeletons import Skeleton
from .canvas import Box, Canvas, Colour, Panel, bgr
from .lift_picture import LEFT, RIGHT

_BACKGROUND, _PANEL, _CELL = bgr('#0e1217'), bgr('#161b22'), bgr('#1d232c')
_TEXT, _MUTED, _FLAGGED, _MIDDLE, _DOT = bgr('#e8edf3'), bgr('#8d9aab'), bgr('#ff6b6b'), bgr('#f6f1e7'), bgr('#ffffff')
_SIDE, _CAPTION, _GAP, _MARGIN, _HEADER = 230, 44, 14, 24, 66
# The person fills this share of the picture's cell, and of the side view.
_FILL = 0.72


@dataclass
class SheetCell:
    """One pair.

    Attributes:
        keypoints: ``(K, 2)`` pixels, drawn as dots; NaN where missing.
        projected: ``(K, 2)`` pixels, the 3D pose in the image, drawn as limbs; NaN where not known.
        pose: ``(K, 3)`` metres, camera frame, drawn from the side; NaN where not known.
        image: ``(H, W, 3)`` BGR uint8, or ``None`` where it is missing.
        caption: Two short lines.
        flagged: Whether something is wrong with it.
    """

    keypoints: np.ndarray
    projected: np.ndarray
    pose: np.ndarray
    image: np.ndarray | None
    caption: tuple[str, str]
    flagged: bool = False


def draw_contact_sheet(cells: Sequence[SheetCell], skeleton: Skeleton, title: str, columns: int = 4) -> np.ndarray:
    """Draw pairs in a grid: the picture cut to the person, and the pose from the side.

    Dots are the 2D keypoints, limbs the projected 3D pose: where they come apart, camera, lens or labels are wrong.
    Left limbs are blue, right limbs orange.

    Args:
        cells: The pairs, at least one.
        skeleton: Keypoint set of all of them.
        title: Headline.
        columns: Cells in a row.

    Returns:
        ``(height, width, 3)`` BGR uint8.

    Raises:
        ValueError: If there is no cell.
    """
    if not cells:
        raise ValueError('cells takes at least one pair, got none')
    rows, columns = -(-len(cells) // columns), min(columns, len(cells))
    cell_width, cell_height = 2 * _SIDE, _SIDE + _CAPTION
    width = max(2 * _MARGIN + columns * (cell_width + _GAP) - _GAP, 640)
    height = _HEADER + rows * (cell_height + _GAP) + _MARGIN - _GAP
    canvas = Canvas(width, height, _BACKGROUND)
    frame = canvas.panel(Box(0, 0, width, height))
    frame.text((_MARGIN, 24), title, _TEXT, 16, bold=True)
    x = _MARGIN
    for words, colour in (
        ('dots: 2D', _DOT), ('limbs: 3D projected', _MIDDLE), ('left', LEFT), ('right', RIGHT),
        ('right half: from the side, camera to the left', _MUTED),
    ):  # fmt: skip
        x += frame.text((x, 48), words, colour, 12) + 20
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        left, top = _MARGIN + column * (cell_width + _GAP), _HEADER + row * (cell_height + _GAP)
        _draw_image(canvas.panel(Box(left, top, _SIDE, _SIDE), _CELL), cell, skeleton)
        _draw_side(canvas.panel(Box(left + _SIDE, top, _SIDE, _SIDE), _PANEL), cell, skeleton)
        colour = _FLAGGED if cell.flagged else _TEXT
        frame.text((left + 2, top + _SIDE + 13), _shorten(cell.caption[0]), colour, 12, bold=cell.flagged)
        frame.text((left + 2, top + _SIDE + 31), _shorten(cell.caption[1]), _FLAGGED if cell.flagged else _MUTED, 12)
    return canvas.finish()


def _shorten(words: str, length: int = 60) -> str:
    return words if len(words) <= length else f'… {words[-length + 2 :]}'


def _draw_image(panel: Panel, cell: SheetCell, skeleton: Skeleton) -> None:
    both = np.concatenate([cell.keypoints, cell.projected])
    both = both[np.isfinite(both).all(-1)]
    if not len(both):
        panel.text((_SIDE / 2, _SIDE / 2), 'no keypoint', _MUTED, 12, 'mm')
        return
    low, high = both.min(0), both.max(0)
    size = max((high - low).max() / _FILL, 8.0)
    corner = (low + high - size) / 2
    if cell.image is not None:
        panel.picture(_cut(cell.image, corner, size))
    scale = _SIDE / size
    _draw_limbs(panel, (cell.projected - corner) * scale, skeleton, 2.2)
    for point in (cell.keypoints - corner) * scale:
        panel.disc(point, 3.6, _BACKGROUND)
        panel.disc(point, 2.5, _DOT)
    if cell.image is None:
        panel.text((6, _SIDE - 9), 'no image', _MUTED, 11)


def _cut(image: np.ndarray, corner: np.ndarray, size: float) -> np.ndarray:
    """The square from ``corner``, filled up with dark where it leaves the image."""
    (left, top), side = np.round(corner).astype(int), max(1, round(size))
    cut = np.empty((side, side, 3), np.uint8)
    cut[:] = _CELL
    height, width = image.shape[:2]
    rows = slice(max(top, 0), max(min(top + side, height), 0))
    across = slice(max(left, 0), max(min(left + side, width), 0))
    part = image[rows, across]
    cut[rows.start - top :, across.start - left :][: part.shape[0], : part.shape[1]] = part
    return cut


def _draw_side(panel: Panel, cell: SheetCell, skeleton: Skeleton) -> None:
    side = cell.pose[:, [2, 1]]
    known = side[np.isfinite(side).all(-1)]
    if not len(known):
        panel.text((_SIDE / 2, _SIDE / 2), 'no 3D', _MUTED, 12, 'mm')
        return
    low, high = known.min(0), known.max(0)
    scale = _SIDE * _FILL / max((high - low).max(), 1e-3)
    _draw_limbs(panel, (side - (low + high) / 2) * scale + _SIDE / 2, skeleton, 3.2)


def _draw_limbs(panel: Panel, points: np.ndarray, skeleton: Skeleton, width: float) -> None:
    for outline in (True, False):
        for start, end in skeleton.bones:
            colour = _BACKGROUND if outline else _limb_colour(skeleton, start, end)
            panel.line(points[[start, end]], colour, width + 2 if outline else width)


def _limb_colour(skeleton: Skeleton, start: int, end: int) -> Colour:
    if {start, end} & set(skeleton.left):
        return LEFT
    return RIGHT if {start, end} & set(skeleton.right) else _MIDDLE
