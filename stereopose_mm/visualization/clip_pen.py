# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Drawing straight onto pixels, smooth and fast enough for video: no supersampling, texts kept as small pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .canvas import Colour, font, overlap
from .lift_picture import OUTLINE, label_places

# OpenCV's fixed-point coordinates; nothing farther out can show.
_SHIFT = 4
_FAR_OUT = 30000.0
# Corners of each round end of a limb.
_CORNERS = 7
_TURNS = np.linspace(np.pi / 2, 1.5 * np.pi, _CORNERS)
_CAP = np.stack([np.cos(_TURNS), np.sin(_TURNS)], -1)


class Sprite(NamedTuple):
    """A small picture ``(h, w, 3)`` uint8: what it adds, and 255 times what it keeps of the pixels below."""

    adds: np.ndarray
    keeps: np.ndarray


class Pen:
    """Draws on a part of a picture; coordinates are pixels from its upper left corner, (0, 0) the corner itself.

    Args:
        pixels: ``(height, width, 3)`` BGR uint8, drawn upon in place.
    """

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels
        self.size = pixels.shape[1], pixels.shape[0]
        self._taken: list[tuple[float, float, float, float]] = []

    def polygons(self, corners: np.ndarray, colours: Sequence[Colour]) -> None:
        """Filled convex polygons ``(n, M, 2)``, in this order; nothing where a corner is not finite."""
        finite = np.isfinite(corners).all((1, 2))
        for corner, colour, shown in zip(_fixed(corners), colours, finite.tolist(), strict=True):
            if shown:
                cv2.fillConvexPoly(self.pixels, corner, colour, cv2.LINE_AA, _SHIFT)

    def lines(self, ends: np.ndarray, colours: Sequence[Colour], width: float = 1) -> None:
        """Segments ``(n, 2, 2)``; nothing where an end is not finite."""
        finite, width = np.isfinite(ends).all((1, 2)), max(1, round(width))
        # By columns: lists of thousands of small lists would keep the garbage collector busy.
        columns = _fixed(ends).reshape(-1, 4).T.tolist()
        for x, y, end_x, end_y, colour, shown in zip(*columns, colours, finite.tolist(), strict=True):
            if shown:
                cv2.line(self.pixels, (x, y), (end_x, end_y), colour, width, cv2.LINE_AA, _SHIFT)

    def paths(self, points: np.ndarray, colours: Sequence[Colour], width: float = 1) -> None:
        """Lines through points ``(n, M, 2)``; nothing where a point is not finite."""
        finite = np.isfinite(points).all((1, 2))
        for path, colour, shown in zip(_fixed(points), colours, finite.tolist(), strict=True):
            if shown:
                cv2.polylines(self.pixels, [path], False, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)

    def discs(self, centres: np.ndarray, radius: float, colour: Colour) -> None:
        """Discs of one colour at ``(n, 2)``; nothing where a centre is not finite."""
        for centre in _fixed(centres[np.isfinite(centres).all(1)]).tolist():
            cv2.circle(self.pixels, centre, round(radius * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)

    def rings(self, centres: np.ndarray, radii: np.ndarray, colour: Colour) -> None:
        """Small rings with dark rims around ``(n, 2)``, radii ``(n,)``; nothing where a centre is not finite."""
        near = (abs(centres) < _FAR_OUT).all(1)
        # As exact as the eye: a sixteenth of the pixels' area each, radii by quarters of a pixel.
        quarters, sizes = (np.floor(v[near] * 4 + 0.5).astype(int) for v in (centres, radii))
        columns = (*(quarters // 4).T, *(quarters % 4).T, sizes)
        for x, y, phase_x, phase_y, size in zip(*(column.tolist() for column in columns), strict=True):
            sprite = _ring_sprite(size, phase_x, phase_y, colour)
            half = sprite.keeps.shape[0] // 2
            self._stamp(x - half, y - half, sprite)

    def shadows(self, lines: np.ndarray, widths: np.ndarray, strength: float) -> None:
        """Soft dark traces below the segments of n bodies, ``(n, M, 2, 2)``, of widths ``(n,)`` pixels."""
        shown = np.isfinite(lines).all((1, 2, 3)) & np.isfinite(widths)
        if not shown.any():
            return
        lines, widths = lines[shown], widths[shown]
        reach = 2 * widths.max() + 4
        left, top = np.clip(np.floor(lines.min((0, 1, 2)) - reach), 0, self.size).astype(int)
        right, bottom = np.clip(np.ceil(lines.max((0, 1, 2)) + reach), 0, self.size).astype(int)
        if right - left < 4 or bottom - top < 4:
            return
        # A shadow has no edges to lose: drawn small, blurred, enlarged, and only where there is one.
        part = self.pixels[top:bottom, left:right]
        mask = np.zeros(((bottom - top) // 4 + 1, (right - left) // 4 + 1), np.uint8)
        for body, width in zip(_fixed((lines - [left, top]) / 4), widths / 4, strict=True):
            cv2.polylines(mask, list(body), False, 255, max(1, round(width)), cv2.LINE_AA, _SHIFT)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, 0.12 * float(np.median(widths))))
        keep = cv2.convertScaleAbs(mask, alpha=-strength, beta=255.0)
        keep = cv2.resize(keep, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR)
        part[:] = cv2.multiply(part, cv2.merge([keep] * 3), scale=1 / 255)

    def text(self, at: Sequence[float], sprite: Sprite, anchor: str = 'lm') -> None:
        """Set a text.

        Args:
            at: Where its anchor goes.
            sprite: The text, of :func:`text_sprite`.
            anchor: Which point of it: ``l``, ``m`` or ``r``, then ``t``, ``m`` or ``b``.
        """
        left, top, _, _ = _text_box(at, sprite, anchor)
        self._stamp(left, top, sprite)

    def label(self, candidates: Sequence[tuple[float, float, str]], sprite: Sprite) -> bool:
        """Set a text at the first place that is inside and free of others.

        Args:
            candidates: ``(x, y, anchor)``, the best first.
            sprite: The text, of :func:`text_sprite`.

        Returns:
            Whether there was such a place.
        """
        for x, y, anchor in candidates:
            if not (0 <= x <= self.size[0] and math.isfinite(y)):
                continue
            left, top, right, bottom = _text_box((float(x), float(y)), sprite, anchor)
            if anchor[0] == 'm':
                # At the sides a label may stand off centre.
                push = max(2 - left, 0) + min(self.size[0] - 2 - right, 0)
                left, right = left + push, right + push
            box = left, top, right, bottom
            inside = left >= 2 and top >= 2 and right <= self.size[0] - 2 and bottom <= self.size[1] - 2
            if inside and not any(overlap(box, other) for other in self._taken):
                self._taken.append(box)
                self._stamp(left, top, sprite)
                return True
        return False

    def keep_free(self, heads: np.ndarray, margins: np.ndarray) -> None:
        """Keep labels off n heads: points ``(n, M, 2)`` and margins ``(n,)`` around them."""
        boxes = np.concatenate([heads.min(1) - margins[:, None], heads.max(1) + margins[:, None]], 1)
        self._taken += [tuple(box) for box in boxes[np.isfinite(boxes).all(1)].tolist()]

    def _stamp(self, left: int, top: int, sprite: Sprite) -> None:
        height, width = sprite.keeps.shape[:2]
        right, bottom = min(left + width, self.size[0]), min(top + height, self.size[1])
        x, y = max(left, 0), max(top, 0)
        if x >= right or y >= bottom:
            return
        part = self.pixels[y:bottom, x:right]
        if part.shape != sprite.keeps.shape:
            sprite = Sprite(*(v[y - top : bottom - top, x - left : right - left] for v in sprite))
        cv2.multiply(part, sprite.keeps, part, 1 / 255)
        cv2.add(part, sprite.adds, part)


def stacked_places(pixels: np.ndarray, above: float, x: float | None, line: float) -> list[tuple[float, float, str]]:
    """Where a person's label may go: above it, rather higher than aside, where the next person may stand.

    Args:
        pixels: ``(n, 2)`` of the person.
        above: Pixels from the highest to the label.
        x: Above which it stands. Default: above the highest.
        line: Pixels of a line of text.
    """
    first, *others = label_places(pixels, above, x)
    stack = [(first[0], first[1] - share * line, 'mb') for share in (0, 0.6, 1.2, 1.8, 2.4)]
    return stack + others


def mixed(colours: np.ndarray, other: Colour, shares: np.ndarray) -> list[Colour]:
    """Colours ``(n, 3)`` or ``(3,)``, each with its share ``(n,)`` of another in it."""
    colours = np.asarray(colours, np.float64)
    return np.rint(colours + (np.array(other) - colours) * shares[:, None]).tolist()


def limb_shapes(start: np.ndarray, end: np.ndarray, start_radius: np.ndarray, end_radius: np.ndarray) -> np.ndarray:
    """Outlines of limbs with round ends.

    Args:
        start: ``(..., 2)`` pixels.
        end: ``(..., 2)`` pixels.
        start_radius: ``(...)`` pixels.
        end_radius: ``(...)`` pixels.

    Returns:
        ``(..., 14, 2)`` pixels.
    """
    along = end - start
    length = np.hypot(along[..., :1], along[..., 1:])
    along = np.where(length > 1e-6, along / np.maximum(length, 1e-6), [1.0, 0.0])
    across = along[..., ::-1] * [-1, 1]
    cap = _CAP @ np.stack([along, across], -2)
    start_cap, end_cap = (radius[..., None, None] * cap for radius in (start_radius, end_radius))
    return np.concatenate([start[..., None, :] + start_cap, end[..., None, :] - end_cap], -2)


@lru_cache(maxsize=2048)
def text_sprite(words: str, colour: Colour, size: int, bold: bool = True, pill: Colour | None = None) -> Sprite:
    """A text as a small picture, on a pill if that has a colour.

    Args:
        words: The text.
        colour: Its colour.
        size: Font size, pixels.
        bold: Whether it is bold.
        pill: Colour of the pill.
    """
    pad_x, pad_y = (max(3, round(0.6 * size)), max(2, round(0.3 * size))) if pill is not None else (1, 1)
    width = int(np.ceil(font(size, bold).getlength(words))) + 2 * pad_x
    height = size + 2 * pad_y
    mask = Image.new('L', (width, height))
    ImageDraw.Draw(mask).text((width / 2, height / 2), words, 255, font(size, bold), anchor='mm')
    ink = np.asarray(mask, np.float32)[..., None] / 255
    below = np.zeros((height, width), np.uint8)
    if pill is not None:
        ends = _fixed(np.array([[height / 2, height / 2], [width - height / 2, height / 2]])).tolist()
        cv2.line(below, *ends, 255, height - 1, cv2.LINE_AA, _SHIFT)
    below = below[..., None].astype(np.float32) / 255 * (1 - ink)
    return _sprite(ink * np.array(colour) + below * np.array(pill or colour), 1 - ink - below)


@lru_cache(maxsize=1024)
def _ring_sprite(quarter_radius: int, phase_x: int, phase_y: int, colour: Colour) -> Sprite:
    radius, fine = quarter_radius / 4, 8
    half = int(np.ceil(radius + 2.2))
    at = (np.arange(2 * half * fine) + 0.5) / fine - half
    distance = np.hypot(at - phase_x / 4, at[:, None] - phase_y / 4)

    def share(inside: np.ndarray) -> np.ndarray:
        return inside.reshape(2 * half, fine, 2 * half, fine).mean((1, 3))[..., None]

    ring = share((distance <= radius) & (distance > max(radius - 1.3, 0)))
    rim = share((distance <= radius + 1) & (distance > max(radius - 1.9, 0))) - ring
    return _sprite(ring * np.array(colour) + 0.8 * rim * np.array(OUTLINE), 1 - ring - 0.8 * rim)


def _sprite(adds: np.ndarray, keeps: np.ndarray) -> Sprite:
    # All three channels are kept apart: OpenCV multiplies pictures of one shape.
    keeps = np.repeat(np.rint(255 * keeps), 3, axis=2)
    return Sprite(np.rint(adds).astype(np.uint8), keeps.astype(np.uint8))


def _text_box(at: Sequence[float], sprite: Sprite, anchor: str) -> tuple[int, int, int, int]:
    height, width = sprite.keeps.shape[:2]
    left = round(at[0] - width * {'l': 0, 'm': 0.5, 'r': 1}[anchor[0]])
    top = round(at[1] - height * {'t': 0, 'm': 0.5, 'b': 1}[anchor[1]])
    return left, top, left + width, top + height


def _fixed(points: np.ndarray) -> np.ndarray:
    """Points in OpenCV's fixed-point coordinates; a pixel's centre is at a whole number there, at a half here."""
    with np.errstate(invalid='ignore'):  # points that are not finite are left out by all callers
        return np.rint((points - 0.5).clip(-_FAR_OUT, _FAR_OUT) * 2**_SHIFT).astype(np.int32)
