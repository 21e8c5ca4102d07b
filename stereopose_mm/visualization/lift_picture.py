# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""One picture of a lifted image: the photograph with the reprojected poses, beside the 3D poses from two sides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..geometry import H36M_17, Camera
from .canvas import Box, Canvas, Colour, Panel, bgr, mix
from .scene_view import Scene, View

Array = np.ndarray | Tensor

# The look of all pictures and videos of poses.
LEFT, RIGHT = bgr('#35b6ff'), bgr('#ff8a3c')
# Torso, head and label of each person in turn; none is near the colours of left and right.
PEOPLE = tuple(bgr(c) for c in ('#f6f1e7', '#8ce99a', '#d6adff', '#ffe27a', '#ff9cc2'))
BACKGROUND, PANEL, EMPTY = bgr('#0e1217'), bgr('#161b22'), bgr('#1d232c')
GROUND, GRID, OUTLINE = bgr('#202833'), bgr('#364252'), bgr('#0b0e13')
TEXT, MUTED, DETECTION, PILL = bgr('#e8edf3'), bgr('#8d9aab'), bgr('#ffffff'), bgr('#12161c')
# Detections scored below are not drawn: the lifter counts them as missing.
SHOWN_SCORE = 0.1

_MARGIN, _HEADER, _LEGEND, _GAP = 28, 32, 34, 20
_LEGEND_WIDTH = 380
_TITLES = ('Reprojected on the image', 'From the front right, raised', 'From the right side')
# More people than this get short, small labels.
FEW = 8
HEAD_RADIUS = 0.095
LIMB_WIDTH = 0.052
_FRONT, _SIDE = (38.0, 20.0), (90.0, 0.0)
_FRONT_PADDING, _SIDE_PADDING = (24, 18, 40, 40), (30, 28, 30, 46)


class _People(NamedTuple):
    """Who is drawn: detections of all, 3D of those that were lifted."""

    points: np.ndarray
    shown: np.ndarray
    lifted: np.ndarray
    poses: np.ndarray
    pixels: np.ndarray


def draw_lift_picture(
    image: np.ndarray | None,
    keypoints_2d: Array,
    keypoints_cam: Array,
    camera: Camera,
    scores: Array | None = None,
    width: int = 1600,
) -> np.ndarray:
    """Draw the lifted people of one image.

    Left, the photograph with each 3D pose reprojected and the 2D detections as dots; right, all people in one scene
    in metres, from the front right above and from the right side. Left limbs are blue, right limbs orange.

    Args:
        image: ``(H, W, 3)`` BGR uint8 photograph, of the camera's size, or ``None`` for a dark canvas.
        keypoints_2d: ``(P, K, 2)`` pixels, the detections of P people, in any skeleton. P may be 0.
        keypoints_cam: ``(P, 17, 3)`` metres, H36M-17 in the camera frame. A person with a value that is not finite
            or a joint behind the camera was not lifted: only the detections show, faintly.
        camera: The image's camera, a single one.
        scores: ``(P, K)`` of the detections; those scored below 0.1 are not drawn.
        width: Width of the picture in pixels, at least 800.

    Returns:
        ``(height, width, 3)`` BGR uint8; the height follows from the image's shape.

    Raises:
        ValueError: For a wrong shape, a batch of cameras, or an image of another size than the camera's.
    """
    people = _checked_people(keypoints_2d, keypoints_cam, camera, scores)
    photo_size = _checked_size(image, camera)
    if width < 800:
        raise ValueError(f'width takes at least 800 pixels, got {width}')
    scene = Scene.from_camera_frame(people.poses) if len(people.poses) else None
    photo_box, front_box, side_box = _layout(width, photo_size, scene)
    # The legend stands below the photograph, or below all where the photograph is too narrow for it.
    legend_below_photo = photo_box.width >= _LEGEND_WIDTH
    bottom = side_box.top + side_box.height + (0 if legend_below_photo else _LEGEND)
    canvas = Canvas(width, bottom + _MARGIN, BACKGROUND)
    frame = canvas.panel(Box(0, 0, width, bottom + _MARGIN))
    photo = canvas.panel(photo_box, EMPTY)
    if image is not None:
        photo.picture(image)
    for box, words in zip((photo_box, front_box, side_box), _TITLES, strict=True):
        frame.text((box.left, box.top - 15), words, TEXT, 15, bold=True)
    _draw_legend(frame, (photo_box.top + photo_box.height if legend_below_photo else bottom - _LEGEND) + 21)
    _draw_photo(photo, people, camera, photo_box.width / photo_size[0])
    front, side = canvas.panel(front_box, PANEL), canvas.panel(side_box, PANEL)
    if scene is None:
        note = 'no person in this image' if not len(people.points) else 'no pose could be lifted'
        for panel in (front, side):
            panel.text((panel.box.width / 2, panel.box.height / 2), note, MUTED, 15, 'mm')
    else:
        names = [f'#{k + 1}' for k in people.lifted.nonzero()[0]]
        colours = [person_colour(k) for k in people.lifted.nonzero()[0]]
        _draw_front(front, scene, names, colours)
        _draw_side(side, scene, names, colours)
    return canvas.finish()


def _checked_people(keypoints_2d, keypoints_cam, camera, scores) -> _People:
    points, poses = _as_array(keypoints_2d), _as_array(keypoints_cam)
    if points.ndim != 3 or points.shape[2] != 2:
        raise ValueError(f'keypoints_2d takes (P, K, 2), got {points.shape}')
    if poses.shape != (len(points), H36M_17.num_keypoints, 3):
        raise ValueError(f'keypoints_cam takes ({len(points)}, 17, 3) for these keypoints_2d, got {poses.shape}')
    if not isinstance(camera, Camera) or camera.batch_size is not None:
        raise ValueError(f'camera takes one single Camera, got {camera!r}')
    scores = np.ones(points.shape[:2]) if scores is None else _as_array(scores)
    if scores.shape != points.shape[:2]:
        raise ValueError(f'scores takes {points.shape[:2]}, got {scores.shape}')
    lifted = np.isfinite(poses).all((1, 2)) & (poses[..., 2] > 0).all(1)
    pixels = camera.project(torch.from_numpy(poses[lifted])).numpy()
    shown = (scores >= SHOWN_SCORE) & np.isfinite(points).all(-1)
    return _People(points, shown, lifted, poses[lifted], pixels)


def _as_array(values: Array) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    return np.asarray(values, np.float64)


def _checked_size(image: np.ndarray | None, camera: Camera) -> tuple[int, int]:
    size = round(camera.width), round(camera.height)
    if image is not None:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f'image takes (H, W, 3) uint8, got {image.shape} {image.dtype}')
        if (image.shape[1], image.shape[0]) != size:
            raise ValueError(
                f"image takes the camera's size, {size[0]}x{size[1]}, got {image.shape[1]}x{image.shape[0]}"
            )
    return size


def person_colour(index: int) -> Colour:
    """Colour of a person's torso, head and label."""
    return PEOPLE[index % len(PEOPLE)]


def _layout(width: int, photo_size: tuple[int, int], scene: Scene | None) -> tuple[Box, Box, Box]:
    """Boxes of the photograph and the two views: whichever arrangement shows the people larger."""
    shrink = min(0.6 * width / photo_size[0], 0.375 * width / photo_size[1])
    photo_width, photo_height = (max(1, round(v * shrink)) for v in photo_size)
    top = _MARGIN - 8 + _HEADER
    height = max(photo_height + (_LEGEND if photo_width >= _LEGEND_WIDTH else 0), round(0.34 * width))
    left = 2 * _MARGIN + photo_width
    column = width - _MARGIN - left
    half = (column - _GAP) // 2
    beside = Box(left, top, half, height), Box(left + half + _GAP, top, column - half - _GAP, height)
    upper = round(0.54 * (height - _HEADER))
    stacked = (
        Box(left, top, column, upper),
        Box(left, top + upper + _HEADER, column, height - upper - _HEADER),
    )
    views = stacked
    if scene is not None:
        views = max(
            stacked, beside, key=lambda boxes: _front_view(scene, boxes[0]).scale * _side_view(scene, boxes[1]).scale
        )
    return Box(_MARGIN, top, photo_width, photo_height), *views


def _front_view(scene: Scene, box: Box) -> View:
    return View.fit(scene.extent(), *_FRONT, (box.width, box.height), _FRONT_PADDING)


def _side_view(scene: Scene, box: Box) -> View:
    size = box.width, box.height
    view = View.fit(scene.extent(), *_SIDE, size, _SIDE_PADDING)
    # The camera comes into the view where that costs the people no size.
    with_camera = View.fit(np.concatenate([scene.extent(), np.zeros((1, 3))]), *_SIDE, size, _SIDE_PADDING)
    return with_camera if with_camera.scale > 0.97 * view.scale else view


def _draw_legend(frame: Panel, y: float) -> None:
    x = _MARGIN
    for words, colour in (('left limbs', LEFT), ('right limbs', RIGHT)):
        frame.line([(x + 3, y), (x + 19, y)], colour, 5)
        x += 52 + frame.text((x + 29, y), words, MUTED, 13)
    frame.disc((x + 4, y), 3.5, DETECTION)
    frame.text((x + 16, y), 'detected keypoints', MUTED, 13)


def _draw_photo(panel: Panel, people: _People, camera: Camera, scale: float) -> None:
    numbers = people.lifted.nonzero()[0]
    for points, shown in zip(people.points[~people.lifted], people.shown[~people.lifted], strict=True):
        for x, y in points[shown] * scale:
            panel.disc((x, y), 3, MUTED, 1)
    order = np.argsort(-people.poses[:, 0, 2], kind='stable')
    for k in order:
        pixels = people.pixels[k] * scale
        # As thick as the limbs of a body that far away, within what reads well.
        height = np.ptp(pixels[np.isfinite(pixels).all(1)], axis=0).max()
        limb = float(np.clip(0.016 * height, 1.6, 5))
        # Image depth orders the limbs: near ones are painted last.
        _draw_person(panel, pixels, people.poses[k, :, 2], person_colour(numbers[k]), limb, head_radius=None)
        index = numbers[k]
        for x, y in people.points[index][people.shown[index]] * scale:
            panel.disc((x, y), 0.65 * limb + 0.8, OUTLINE)
            panel.disc((x, y), 0.65 * limb, DETECTION)
    for k in order[::-1]:
        # Hands reach this much farther than their wrists, hair than the head keypoint.
        above = 0.19 * camera.fy / people.poses[k, 0, 2] * scale + 3
        words = f'#{numbers[k] + 1}  {people.poses[k, 0, 2]:.1f} m'
        _label_person(panel, people.pixels[k] * scale, above, words, person_colour(numbers[k]), len(order), PILL)
    for index in (~people.lifted).nonzero()[0]:
        points = people.points[index][people.shown[index]] * scale
        if len(points):
            panel.label(label_places(points, 12), f'#{index + 1}  not lifted', MUTED, PILL, bold=False)


def _label_person(
    panel: Panel, pixels: np.ndarray, above: float, words: str, colour: Colour, crowd: int, crowd_pill: Colour | None
) -> None:
    places = label_places(pixels, above)
    if crowd <= FEW:
        panel.label(places, words, colour, PILL, 12)
    else:
        # Among many, a label stays small and right above its person, or would hide others.
        panel.label(places[:3], words.split()[0], colour, crowd_pill, 10)


def label_places(pixels: np.ndarray, above: float, x: float | None = None) -> list[tuple[float, float, str]]:
    """Where a person's label may go: above the highest joint, or above ``x``; else beside it, else below."""
    pixels = pixels[np.isfinite(pixels).all(1)]
    highest, y = pixels[pixels[:, 1].argmin()]
    x = highest if x is None else x
    low, high = pixels.min(0), pixels.max(0)
    return [
        (x, y - above, 'mb'), (x + 10, y - above, 'lb'), (x - 10, y - above, 'rb'), (high[0] + 14, y, 'lt'),
        (low[0] - 14, y, 'rt'), (x, y - above - 26, 'mb'), (x, high[1] + above, 'mt'),
    ]  # fmt: skip


def _draw_person(
    panel: Panel, pixels: np.ndarray, depth: np.ndarray, colour: Colour, limb: float, head_radius: float | None
) -> None:
    """Bones from far to near, each with a dark rim that shows which of two crossing limbs is in front.

    Args:
        panel: What to draw on.
        pixels: ``(17, 2)``.
        depth: ``(17,)`` distance from the viewer.
        colour: The person's.
        limb: Width of a limb, pixels.
        head_radius: Pixels of a disc for the head, or ``None``.
    """
    span = max(float(np.ptp(depth)), 1e-6)
    for parent, child in sorted(H36M_17.bones, key=lambda bone: -(depth[bone[0]] + depth[bone[1]])):
        start, end = pixels[parent], pixels[child]
        hue = LEFT if child in H36M_17.left else RIGHT if child in H36M_17.right else colour
        far = ((depth[parent] + depth[child]) / 2 - depth.min()) / span
        # The rim ends short of the joints, or it would cut into the neighbouring bones.
        rim = [start + 0.12 * (end - start), end - 0.12 * (end - start)]
        panel.line(rim, OUTLINE, limb + max(2.0, 0.45 * limb))
        panel.line([start, end], mix(hue, OUTLINE, 0.28 * far), limb)
    if head_radius is not None:
        centre = (pixels[9] + pixels[10]) / 2
        panel.disc(centre, head_radius + 1.2, OUTLINE)
        panel.disc(centre, head_radius, colour)


def _draw_scene_people(panel: Panel, scene: Scene, view: View, colours: list[Colour]) -> None:
    limb = float(np.clip(LIMB_WIDTH * view.scale, 1.6, 9))
    order = np.argsort(-view.depth(scene.joints[:, 0]), kind='stable')
    for k in order:
        joints = scene.joints[k]
        lowest = joints[joints[:, 1].argmin()]
        stem = view.project(np.stack([lowest, scene.on_ground(lowest[[0, 2]])]))
        if np.linalg.norm(stem[1] - stem[0]) > 3:
            panel.line(stem, GRID, 1.2)
        _draw_person(
            panel, view.project(joints), view.depth(joints), colours[k], limb, max(2.0, HEAD_RADIUS * view.scale)
        )


def _draw_front(panel: Panel, scene: Scene, names: list[str], colours: list[Colour]) -> None:
    view = _front_view(scene, panel.box)
    panel.polygon(view.project(scene.corners()), GROUND)
    for line in view.project(scene.grid_lines()):
        panel.line(line, GRID, 1)
    bones = scene.joints[:, np.array(H36M_17.bones)].reshape(-1, 2, 3)
    panel.shadow(view.project(scene.on_ground(bones[..., [0, 2]])), max(2.0, 0.11 * view.scale), 0.55)
    for tick in scene.distance_ticks():
        # The grid's right edge carries the ticks: nothing stands in front of it.
        x, y = view.project(scene.on_ground(np.array([scene.high[0], tick])))
        panel.label([(x + 6, y + 4, 'lt')], f'{tick:g}', MUTED, None, 12, bold=False)
    panel.text((panel.box.width - 14, panel.box.height - 16), 'distance from camera, m', MUTED, 12, 'rm')
    _draw_scene_people(panel, scene, view, colours)
    for k in np.argsort(scene.joints[:, 0, 2], kind='stable'):
        pixels, above = view.project(scene.joints[k]), 6 + HEAD_RADIUS * view.scale
        _label_person(panel, pixels, above, f'{names[k]}  {scene.joints[k, 0, 2]:.1f} m', colours[k], len(names), None)


def _draw_side(panel: Panel, scene: Scene, names: list[str], colours: list[Colour]) -> None:
    view = _side_view(scene, panel.box)
    width, height = panel.box.width, panel.box.height
    floor = view.project(scene.corners())[0, 1]
    panel.polygon([(0, floor), (width, floor), (width, height), (0, height)], GROUND)
    panel.line([(0, floor), (width, floor)], GRID, 1.5)
    last = (width - 14 - view.origin[0]) / view.scale
    step = max(1.0, scene.step)
    for tick in np.arange(0, last, step):
        x = view.origin[0] + tick * view.scale
        panel.line([(x, 0), (x, floor)], mix(PANEL, GRID, 0.45), 1)
        panel.line([(x, floor), (x, floor + 5)], MUTED, 1)
        panel.label([(x, floor + 8, 'mt')], f'{tick:g}', MUTED, None, 12, bold=False)
    panel.text((width / 2, floor + 33), 'distance from camera, m', MUTED, 12, 'mm')
    if view.origin[0] > 12:
        _draw_camera(panel, view)
    _draw_scene_people(panel, scene, view, colours)
    for k in np.argsort(scene.joints[:, 0, 2], kind='stable'):
        pixels, above = view.project(scene.joints[k]), 6 + HEAD_RADIUS * view.scale
        _label_person(panel, pixels, above, names[k], colours[k], len(names), None)


def _draw_camera(panel: Panel, view: View) -> None:
    x, y = view.origin
    panel.polygon([(x - 13, y - 7), (x - 2, y - 7), (x - 2, y + 7), (x - 13, y + 7)], MUTED)
    panel.polygon([(x - 3, y), (x + 6, y - 6), (x + 6, y + 6)], MUTED)
