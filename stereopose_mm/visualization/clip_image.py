# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The 2D side of a video frame: the image with reprojected poses, detections and labels."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from ..geometry import H36M_17, Camera, PoseSequence, to_h36m_mapping
from .clip_pen import Pen, stacked_places, text_sprite
from .clip_scene import SMALL, LiftedPeople, draw_limbs
from .lift_picture import (
    DETECTION,
    EMPTY,
    FEW,
    HEAD_RADIUS,
    LEFT,
    MUTED,
    OUTLINE,
    PILL,
    RIGHT,
    SHOWN_SCORE,
)

# Share of the outline's colour in limbs to keypoints that the lifter filled in.
_FILLED_IN = 0.5
# Shrinking by more than this takes the mean of the pixels that a pixel covers.
_LARGE_SHRINK = 1.8


class ImageDrawer:
    """Draws the image of each frame with its people.

    Args:
        skeleton: Of the 2D keypoints.
        scale: Of texts and widths.
    """

    def __init__(self, skeleton: str, scale: float):
        self._scale = scale
        mapping = to_h36m_mapping(skeleton)
        # Limbs are those of H36M-17 as far as the keypoints have them; a joint is the mean of two keypoints.
        self._sources = np.array([(mapping.get(k, (0,)) * 2)[:2] for k in range(H36M_17.num_keypoints)])
        self._bones = np.array([(_known_parent(k, mapping), k) for k in mapping if H36M_17.parents[k] >= 0])
        self._sides = [LEFT if k in H36M_17.left else RIGHT if k in H36M_17.right else None for k in self._bones[:, 1]]

    def draw(self, panel: np.ndarray, image: np.ndarray | None, people: PoseSequence, lifted: LiftedPeople) -> None:
        """Draw on a panel, the image as large as it fits.

        Args:
            panel: ``(height, width, 3)`` pixels.
            image: ``(H, W, 3)`` BGR uint8 or ``None``.
            people: One frame.
            lifted: Those of its people that have a pose.

        Raises:
            ValueError: If the image has another type or another shape than the camera's.
        """
        camera = lifted.camera
        width, height = float(camera.width), float(camera.height)
        shrink = min(panel.shape[1] / width, panel.shape[0] / height)
        across, down = max(1, round(width * shrink)), max(1, round(height * shrink))
        left, top = (panel.shape[1] - across) // 2, (panel.shape[0] - down) // 2
        part = panel[top : top + down, left : left + across]
        if image is None:
            cv2.rectangle(part, (0, 0), (across, down), EMPTY, -1)
        else:
            _shrink(image, camera, part)
        pen = Pen(part)
        points = people.keypoints_2d.astype(np.float64) * shrink
        shown = (people.scores_2d >= SHOWN_SCORE) & np.isfinite(points).all(-1)
        limb = self._limb_widths(points, shown)
        self._draw_unlifted(pen, points[~lifted.rows], shown[~lifted.rows])
        given, posed = _projected(people, lifted, shrink)
        self._draw_lifted(pen, people, lifted, limb[lifted.rows], given)
        rows, keypoints = (shown & lifted.rows[:, None]).nonzero()
        pen.rings(points[rows, keypoints], 0.5 * limb[rows] + 1.3 * self._scale, DETECTION)
        self._draw_labels(pen, people, lifted, posed, points, shown, shrink)

    def _limb_widths(self, points: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """As thick as the limbs of a body of that height, within what reads well; pixels."""
        low = np.where(shown[..., None], points, np.inf).min(1, initial=np.inf)
        high = np.where(shown[..., None], points, -np.inf).max(1, initial=-np.inf)
        height = np.where(shown.any(1), (high - low).max(-1), 0)
        return np.clip(0.017 * height, 2.0 * self._scale, 5 * self._scale)

    def _joints(self, points: np.ndarray) -> np.ndarray:
        """H36M-17 joints of keypoints ``(n, 17, ...)``; without meaning where no bone ends."""
        return (points[:, self._sources[:, 0]] + points[:, self._sources[:, 1]]) / 2

    def _both(self, flags: np.ndarray) -> np.ndarray:
        """``(n, B)``, whether all keypoints that a bone comes from are flagged ``(n, 17)``."""
        return flags[:, self._sources].all(-1)[:, self._bones].all(-1)

    def _draw_unlifted(self, pen: Pen, points: np.ndarray, shown: np.ndarray) -> None:
        ends = self._joints(points)[:, self._bones][self._both(shown)]
        pen.lines(ends, [MUTED] * len(ends), self._scale)
        pen.rings(points[shown], np.full(shown.sum(), 2.8 * self._scale), MUTED)

    def _draw_lifted(
        self, pen: Pen, people: PoseSequence, lifted: LiftedPeople, limb: np.ndarray, given: np.ndarray
    ) -> None:
        if not len(limb):
            return
        joints = self._joints(given)
        start, end = (joints[:, k].reshape(-1, 3) for k in self._bones.T)
        away = np.where(np.isfinite(start + end).all(1), start[:, 2] + end[:, 2], np.nan)
        radius = np.repeat(limb / 2, len(self._bones))
        hues = [side or colour for colour in lifted.colours for side in self._sides]
        faint = np.where(self._both(people.used[lifted.rows]), 0.0, _FILLED_IN).reshape(-1)
        draw_limbs(pen, start[:, :2], end[:, :2], radius, radius, hues, away, faint, OUTLINE)

    def _draw_labels(
        self, pen: Pen, people: PoseSequence, lifted: LiftedPeople, posed: np.ndarray, points: np.ndarray,
        shown: np.ndarray, shrink: float,
    ) -> None:  # fmt: skip
        few = len(people) <= FEW and self._scale >= SMALL
        size = max(8, round((12 if few else 10) * self._scale))
        pixels, metre = posed[..., :2], float(lifted.camera.fy) * shrink / posed[..., 2]
        if few:
            pen.keep_free(pixels[:, [9, 10]], HEAD_RADIUS * metre[:, 10])
        inside = ((pixels >= 0) & (pixels <= pen.size)).all(-1)
        for k in np.argsort(lifted.distances, kind='stable'):
            words = f'#{lifted.tracks[k]}' + f'  {lifted.distances[k]:.1f} m' * few
            # Hair reaches this much farther than the head keypoint.
            above = 0.15 * float(metre[k, 0]) + 3 * self._scale
            if inside[k].any():
                head = float(pixels[k, 10, 0]) if inside[k, 10] else None
                places = stacked_places(pixels[k, inside[k]], above, head, 1.8 * size)
                pen.label(places if few else places[:3], text_sprite(words, lifted.colours[k], size, pill=PILL))
        for k in (~lifted.rows).nonzero()[0]:
            seen = points[k][shown[k] & ((points[k] >= 0) & (points[k] <= pen.size)).all(1)]
            if len(seen):
                sprite = text_sprite(f'#{people.track[k]}  not lifted', MUTED, size, False, PILL)
                pen.label(stacked_places(seen, 12 * self._scale, None, 1.8 * size), sprite)


def _projected(people: PoseSequence, lifted: LiftedPeople, shrink: float) -> tuple[np.ndarray, np.ndarray]:
    """Input keypoints and joints of the V lifted people, ``(V, 17, 3)`` each: pixels on the panel, and metres ahead."""
    joints = np.concatenate([poses[lifted.rows] for poses in (people.input_keypoints_cam, people.keypoints_cam)])
    joints = joints.astype(np.float64)
    if len(joints):
        joints[..., :2] = lifted.camera.project(torch.from_numpy(joints)).numpy() * shrink
    given, posed = np.split(joints, 2)
    return given, posed


def _known_parent(joint: int, mapping: dict) -> int:
    """The nearest joint above that the keypoints have."""
    parent = H36M_17.parents[joint]
    return parent if parent in mapping or parent <= 0 else _known_parent(parent, mapping)


def _shrink(image: np.ndarray, camera: Camera, part: np.ndarray) -> None:
    """Fill a part of the panel with the image."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'image takes (H, W, 3) uint8, got {image.shape} {image.dtype}')
    (height, width), (down, across) = image.shape[:2], part.shape[:2]
    wanted = float(camera.width), float(camera.height)
    # A smaller or larger copy will do; half a pixel is what rounding its size can cost.
    if abs(width * wanted[1] - height * wanted[0]) > 0.5 * max(sum(wanted), width + height):
        raise ValueError(f"image takes the shape of the camera's, {wanted[0]:g}x{wanted[1]:g}, got {width}x{height}")
    shrink = max(width / across, height / down)
    kind = cv2.INTER_AREA if shrink > _LARGE_SHRINK else cv2.INTER_LINEAR if shrink > 1 else cv2.INTER_CUBIC
    cv2.resize(image, (across, down), part, interpolation=kind)
