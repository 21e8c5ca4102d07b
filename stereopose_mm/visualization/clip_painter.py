# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Frames of the annotated video: the image with the poses on it, beside all people in 3D."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..geometry import PoseSequence, get_skeleton
from .canvas import Box
from .clip_bounds import SceneBounds
from .clip_image import ImageDrawer
from .clip_pen import Pen, Sprite, limb_shapes, text_sprite
from .clip_scene import LiftedPeople, SceneDrawer, Trails, TrailSteps
from .lift_picture import BACKGROUND, DETECTION, LEFT, MUTED, PANEL, RIGHT, TEXT

_LEAST_SIZE = 320, 180
# Lengths in pixels are those of a frame of this size; others scale.
_DESIGN_SIZE = 1280, 720
_MARGIN, _HEADER, _LEGEND = 20, 46, 36
# A plan below the image takes at least this height.
_PLAN_HEIGHT = 110
# Share of the width that the image takes at most, with a plan below it and without.
_IMAGE_SHARE, _LARGE_IMAGE_SHARE = 0.58, 0.65
# Seconds that a trail goes back.
_TRAIL = 1.5


class _Layout(NamedTuple):
    image: Box
    scene: Box
    plan: Box | None
    legend_y: float


class ClipPainter:
    """Draws the frames of one clip, all in one layout and from one side.

    Left, the image with each person's reprojected keypoints and the 2D detections as rings, its track number and
    distance from the camera; below, a plan of the ground where there is room; right, all people in perspective. Left
    limbs are blue, right limbs orange; torso, head and label have the track's colour. Each frame is drawn from its
    arguments alone, so a clip may be drawn in parts and in any order.

    Args:
        bounds: Where the people of the clip are; the 3D views show that part of the world.
        size: Width and height of a frame in pixels, even, at least 320 x 180.
        skeleton: Of the 2D keypoints: ``'coco'``, ``'h36m'`` or ``'mpi_inf_3dhp'``.
        title: Shown above the image.
        aspect: Width over height of the clip's images, which the layout is made for; images of another shape show
            whole all the same.
        orbit: Degrees a second by which the 3D view turns about the people.

    Raises:
        ValueError: For a size that a video cannot have, an unknown skeleton, or numbers that are not finite.
    """

    def __init__(
        self,
        bounds: SceneBounds,
        size: tuple[int, int] = _DESIGN_SIZE,
        skeleton: str = 'coco',
        title: str = '',
        aspect: float = 16 / 9,
        orbit: float = 0.0,
    ):
        width, height = size
        if width % 2 or height % 2 or width < _LEAST_SIZE[0] or height < _LEAST_SIZE[1]:
            raise ValueError(f'size takes even numbers of pixels, at least 320 x 180, got {width} x {height}')
        if not (math.isfinite(aspect) and aspect > 0 and math.isfinite(orbit)):
            raise ValueError(f'aspect takes a positive number, orbit a finite one, got {aspect} and {orbit}')
        self.size, self.skeleton = (width, height), get_skeleton(skeleton).name
        self._scale = min(width / _DESIGN_SIZE[0], height / _DESIGN_SIZE[1])
        self._layout = _make_layout(self.size, self._scale, aspect)
        self._image = ImageDrawer(self.skeleton, self._scale)
        scene, plan = self._layout.scene, self._layout.plan
        self._views = [(scene, SceneDrawer(bounds, scene[2:], self._scale, False, math.radians(orbit)))]
        if plan is not None:
            self._views.append((plan, SceneDrawer(bounds, plan[2:], self._scale, plan=True)))
        self._backdrop = self._draw_backdrop(title)

    def draw(
        self, image: np.ndarray | None, people: PoseSequence, time: float, trails: Trails | None = None
    ) -> np.ndarray:
        """Draw one frame.

        Args:
            image: ``(H, W, 3)`` BGR uint8, of the frame's camera or scaled evenly; ``None`` for a dark one.
            people: One frame of the clip with its people, of which there may be none. Those who are not ``valid``,
                have a joint that is not finite, or one behind the camera, show in 2D only.
            time: Seconds, shown; with ``orbit`` the 3D view turns by them.
            trails: Where people came from, of :func:`root_trails`. Default: no trails.

        Returns:
            ``(height, width, 3)`` BGR uint8, a new array.

        Raises:
            ValueError: For more or fewer frames than one, another skeleton, or an image of another type or shape.
        """
        if people.num_frames != 1:
            raise ValueError(f'people takes one frame, got {people.num_frames}')
        if people.skeleton != self.skeleton:
            raise ValueError(f'people takes {self.skeleton!r} keypoints, got {people.skeleton!r}')
        lifted = LiftedPeople.of(people)
        for box, view in self._views:
            view.draw_still(_part(self._backdrop, box), people, lifted.camera, time)
        pixels = self._backdrop.copy()
        self._image.draw(_part(pixels, self._layout.image), image, people, lifted)
        steps = TrailSteps.of(lifted, trails or {})
        for box, view in self._views:
            view.draw(_part(pixels, box), lifted, time, steps)
        self._draw_state(Pen(pixels), len(people), time)
        return pixels

    def _draw_backdrop(self, title: str) -> np.ndarray:
        """What all frames share, but what stands still in the views."""
        pixels = np.full((self.size[1], self.size[0], 3), BACKGROUND, np.uint8)
        scale, left = self._scale, self._layout.image.left
        _part(pixels, self._layout.image)[:] = PANEL
        pen = Pen(pixels)
        pen.text((left, _HEADER * scale / 2), _fitted(title, self.size[0] - 300 * scale, self._points(16)))
        x, y = float(left), self._layout.legend_y
        for words, colour in (('left limbs', LEFT), ('right limbs', RIGHT), ('detected', DETECTION)):
            sprite = text_sprite(words, MUTED, self._points(12), False)
            if x + 27 * scale + sprite.keeps.shape[1] > left + self._layout.image.width:
                break
            if colour == DETECTION:
                pen.rings(np.array([[x + 10 * scale, y]]), np.array([3.5 * scale]), colour)
            else:
                ends, radius = np.array([[[x + 3 * scale, y]], [[x + 17 * scale, y]]]), np.array([2.5 * scale])
                pen.polygons(limb_shapes(*ends, radius, radius), [colour])
            pen.text((x + 27 * scale, y), sprite)
            x += 52 * scale + sprite.keeps.shape[1]
        return pixels

    def _draw_state(self, pen: Pen, num_people: int, time: float) -> None:
        y, right = _HEADER * self._scale / 2, self.size[0] - _MARGIN * self._scale
        count = f'{num_people} people' if num_people > 1 else 'one person' if num_people else 'no person'
        clock = text_sprite(_clock(time), TEXT, self._points(14))
        pen.text((right, y), clock, 'rm')
        # Digits differ in width: as far away as the widest ones need.
        far = max(92 * self._scale, clock.keeps.shape[1] + 20 * self._scale)
        pen.text((right - far, y), text_sprite(count, MUTED, self._points(13), False), 'rm')

    def _points(self, size: float) -> int:
        return max(8, round(size * self._scale))


def root_trails(clip: PoseSequence, index: int, seconds: float = _TRAIL) -> dict[int, np.ndarray]:
    """Where the people of a frame were shortly before, for :meth:`ClipPainter.draw`.

    Args:
        clip: Frames up to that one at least, from ``seconds`` before it.
        index: Row of the frame in the clip.
        seconds: How far back.

    Returns:
        By track number ``(n, 3)`` metres in the world, the pelvis on the way to this frame, the oldest first.
    """
    first = int(np.searchsorted(clip.frame_times, clip.frame_times[index] - seconds))
    rows = slice(*np.searchsorted(clip.frame, [first, index + 1]))
    roots = clip.keypoints_cam[rows, 0] @ clip.world_rotation.T + clip.world_translation
    shown = clip.valid[rows] & np.isfinite(roots).all(1)
    tracks, roots = clip.track[rows][shown], roots[shown]
    return {int(track): roots[tracks == track] for track in np.unique(clip.track[clip.rows_of_frame(index)])}


def _make_layout(size: tuple[int, int], scale: float, aspect: float) -> _Layout:
    width, height = size
    margin, top, legend = (round(v * scale) for v in (_MARGIN, _HEADER, _LEGEND))
    room = height - top - margin
    across = round(min(_IMAGE_SHARE * width, aspect * (room - legend)))
    plan_height = room - legend - round(across / aspect)
    plan = None
    if plan_height >= _PLAN_HEIGHT * scale:
        plan = Box(margin, height - margin - plan_height, across, plan_height)
    else:
        across = round(min(_LARGE_IMAGE_SHARE * width, aspect * (room - legend)))
    down = max(8, round(across / aspect))
    image = Box(margin, top, max(8, across), down)
    left = image.left + image.width + margin
    return _Layout(image, Box(left, top, width - margin - left, room), plan, top + down + legend / 2)


def _part(pixels: np.ndarray, box: Box) -> np.ndarray:
    return pixels[box.top : box.top + box.height, box.left : box.left + box.width]


def _fitted(words: str, width: float, size: int) -> Sprite:
    """A title in one line, shortened to a width."""
    words = shortened = ' '.join(words.split())
    while words and text_sprite(shortened, TEXT, size).keeps.shape[1] > width:
        words = words[:-1]
        shortened = words.rstrip() + '…'
    return text_sprite(shortened, TEXT, size)


def _clock(seconds: float) -> str:
    if not math.isfinite(seconds):
        return '–'
    hundredths = round(seconds * 100)
    minutes, rest = divmod(abs(hundredths), 6000)
    hours, minutes = divmod(minutes, 60)
    clock = f'{minutes:02d}:{rest / 100:05.2f}' if hours else f'{minutes}:{rest / 100:05.2f}'
    return '−' * (hundredths < 0) + f'{hours}:' * (hours > 0) + clock
