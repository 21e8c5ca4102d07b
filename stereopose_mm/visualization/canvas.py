# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""A canvas with smooth lines and text that never overlaps, for pictures of any number of people."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

# Shapes are drawn this many times larger than shown, and with sub-pixel ends.
_FINE = 2
_SHIFT = 4
# OpenCV holds fixed-point coordinates in 32 bits; nothing farther out can show.
_FAR_OUT = 30000


def bgr(code: str) -> Colour:
    """BGR of a hex colour such as ``'#39c0ff'``."""
    return tuple(int(code[i : i + 2], 16) for i in (5, 3, 1))


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """``colour`` with this share of ``other`` in it."""
    return tuple(round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))


class Box(NamedTuple):
    """A rectangle in pixels: left, top, width, height."""

    left: int
    top: int
    width: int
    height: int


class _Text(NamedTuple):
    box: tuple[float, float, float, float]
    words: str
    size: int
    bold: bool
    colour: Colour
    pill: Colour | None


@cache
def font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """The font of all pictures, of a size in pixels."""
    # Matplotlib brings a font with it, so pictures look the same everywhere.
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', name)), size)


class Canvas:
    """A picture that panels draw on.

    Args:
        width: Pixels.
        height: Pixels.
        colour: Of the background.
    """

    def __init__(self, width: int, height: int, colour: Colour):
        self.size = width, height
        self._pixels = np.empty((height * _FINE, width * _FINE, 3), np.uint8)
        self._pixels[:] = colour
        self._texts: list[_Text] = []

    def panel(self, box: Box, colour: Colour | None = None) -> Panel:
        """A part of the canvas that clips what is drawn in it; filled with ``colour`` if that is given."""
        left, top, width, height = (v * _FINE for v in box)
        pixels = self._pixels[top : top + height, left : left + width]
        if colour is not None:
            pixels[:] = colour
        return Panel(pixels, box, self._texts)

    def finish(self) -> np.ndarray:
        """The picture, ``(height, width, 3)`` BGR uint8."""
        for text in self._texts:
            if text.pill is not None:
                left, top, right, bottom = text.box
                radius, middle = (bottom - top) / 2, (top + bottom) / 2
                ends = [(left + radius, middle), (right - radius, middle)]
                cv2.line(self._pixels, *_fixed(ends), text.pill, _thickness(2 * radius), cv2.LINE_AA, _SHIFT)
        shown = cv2.resize(self._pixels, self.size, interpolation=cv2.INTER_AREA)
        # Text goes on at its own size, where the font's hinting keeps it sharp.
        picture = Image.fromarray(shown[..., ::-1].copy())
        pen = ImageDraw.Draw(picture)
        for text in self._texts:
            left, top, right, bottom = text.box
            centre = ((left + right) / 2, (top + bottom) / 2)
            pen.text(centre, text.words, text.colour[::-1], font(text.size, text.bold), anchor='mm')
        return np.asarray(picture)[..., ::-1].copy()


class Panel:
    """A rectangle of a canvas; coordinates are pixels from its upper left corner."""

    def __init__(self, pixels: np.ndarray, box: Box, texts: list[_Text]):
        self._pixels, self.box, self._texts = pixels, box, texts

    def picture(self, image: np.ndarray) -> None:
        """Fill the panel with a picture, ``(H, W, 3)`` BGR uint8."""
        height, width = self._pixels.shape[:2]
        shrinks = image.shape[0] > height
        kind = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        self._pixels[:] = cv2.resize(image, (width, height), interpolation=kind)

    def line(self, points: Sequence, colour: Colour, width: float) -> None:
        """Lines through ``points`` ``(M, 2)`` with round ends; nothing where a point is not finite."""
        if np.isfinite(points).all():
            line = np.array(_fixed(points), np.int32)
            cv2.polylines(self._pixels, [line], False, colour, _thickness(width), cv2.LINE_AA, _SHIFT)

    def polygon(self, points: Sequence, colour: Colour) -> None:
        """A filled convex polygon, ``(M, 2)``."""
        cv2.fillConvexPoly(self._pixels, np.array(_fixed(points), np.int32), colour, cv2.LINE_AA, _SHIFT)

    def disc(self, centre: Sequence, radius: float, colour: Colour, width: float | None = None) -> None:
        """A disc, or with a ``width`` a ring; nothing where the centre is not finite."""
        if np.isfinite(centre).all():
            thickness = -1 if width is None else _thickness(width)
            reach = round(min(radius, _FAR_OUT) * _FINE * 2**_SHIFT)
            cv2.circle(self._pixels, _fixed([centre])[0], reach, colour, thickness, cv2.LINE_AA, _SHIFT)

    def shadow(self, lines: np.ndarray, width: float, strength: float) -> None:
        """Soft dark traces below segments ``(M, 2, 2)``."""
        # A shadow has no edges to lose: drawn small, blurred, enlarged.
        height, across = self._pixels.shape[:2]
        mask = np.zeros((height // 4, across // 4), np.uint8)
        fixed = np.round(lines * (_FINE / 4) * 2**_SHIFT).clip(-(2**30), 2**30).astype(np.int32)
        for segment in fixed:
            cv2.line(mask, *segment.tolist(), 255, max(1, round(width * _FINE / 4)), cv2.LINE_AA, _SHIFT)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, width * 0.12))
        keep = 255 - cv2.resize(mask, (across, height)).astype(np.float32) * strength
        self._pixels[:] = cv2.multiply(self._pixels, cv2.merge([keep] * 3), scale=1 / 255, dtype=cv2.CV_8U)

    def text(
        self, at: Sequence, words: str, colour: Colour, size: int = 13, anchor: str = 'lm', bold: bool = False
    ) -> float:
        """Set a line of text.

        Args:
            at: Where its anchor goes.
            words: The text.
            colour: Its colour.
            size: Font size, pixels.
            anchor: Which point of the text: ``l``, ``m`` or ``r``, then ``t``, ``m`` or ``b``.
            bold: Whether it is bold.

        Returns:
            The text's width, pixels.
        """
        box = self._text_box(at, words, size, anchor, bold)
        self._texts.append(_Text(box, words, size, bold, colour, None))
        return box[2] - box[0]

    def label(
        self, candidates: Sequence, words: str, colour: Colour, pill: Colour | None, size: int = 13, bold: bool = True
    ) -> bool:
        """Set a text, on a pill if that has a colour, at the first place that is inside the panel and free.

        Args:
            candidates: ``(x, y, anchor)``, the best first.
            words: The text.
            colour: Its colour.
            pill: Colour of the pill.
            size: Font size, pixels.
            bold: Whether it is bold.

        Returns:
            Whether there was such a place.
        """
        pad_x, pad_y = (8, 4) if pill is not None else (2, 1)
        left, top, width, height = self.box
        for x, y, anchor in candidates:
            if not np.isfinite([x, y]).all():
                continue
            box = self._text_box((x, y), words, size, anchor, bold, pad_x, pad_y)
            inside = box[0] >= left + 2 and box[1] >= top + 2 and box[2] <= left + width - 2
            if inside and box[3] <= top + height - 2 and not any(overlap(box, t.box) for t in self._texts):
                self._texts.append(_Text(box, words, size, bold, colour, pill))
                return True
        return False

    def _text_box(self, at, words, size, anchor, bold, pad_x=0, pad_y=0):
        width = font(size, bold).getlength(words) + 2 * pad_x
        height = size + 2 * pad_y
        left = self.box.left + at[0] - width * {'l': 0, 'm': 0.5, 'r': 1}[anchor[0]]
        top = self.box.top + at[1] - height * {'t': 0, 'm': 0.5, 'b': 1}[anchor[1]]
        return left, top, left + width, top + height


def _fixed(points: Sequence) -> list[tuple[int, int]]:
    """Points in OpenCV's fixed-point coordinates; a pixel's centre is at a whole number there, at a half here."""
    fine = (np.asarray(points, np.float64) * _FINE - 0.5).clip(-_FAR_OUT, _FAR_OUT)
    return [tuple(p) for p in np.round(fine * 2**_SHIFT).astype(int).tolist()]


def _thickness(width: float) -> int:
    return max(1, round(width * _FINE))


def overlap(box: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two boxes, each left, top, right and bottom, share a point."""
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
