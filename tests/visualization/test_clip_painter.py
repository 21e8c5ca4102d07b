# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.geometry import H36M_17, Camera, to_h36m_mapping
from stereopose_mm.visualization import clip_pen
from stereopose_mm.visualization.clip_bounds import SceneBounds
from stereopose_mm.visualization.clip_painter import ClipPainter, root_trails
from stereopose_mm.visualization.clip_view import PerspectiveView, PlanView
from stereopose_mm.visualization.lift_picture import LEFT, MUTED, PEOPLE, RIGHT

from ..made_sequence import make_sequence


def one_frame(clip, index=0):
    return clip.select_frames(slice(index, index + 1))


def painter_of(clip, **kwargs):
    return ClipPainter(SceneBounds.of_clip(clip), skeleton=clip.skeleton, **kwargs)


def image_of(painter, picture, camera_size=(1280, 720)):
    """The part of a frame that shows the image, and its scale."""
    box = painter._layout.image
    scale = min(box.width / camera_size[0], box.height / camera_size[1])
    across, down = (round(v * scale) for v in camera_size)
    left, top = box.left + (box.width - across) // 2, box.top + (box.height - down) // 2
    return picture[top : top + down, left : left + across], scale


def views_of(painter, picture):
    return [picture[b.top : b.top + b.height, b.left : b.left + b.width] for b, _ in painter._views]


def is_near(colour, goal, tolerance=60):
    return np.abs(colour.astype(int) - goal).max(-1) <= tolerance


def leads(pixel):
    """How much bluer than red a pixel is."""
    return int(pixel[0]) - int(pixel[2])


def as_coco(clip):
    """The clip with COCO-17 keypoints in place of H36M-17's; each is the H36M joint it belongs to."""
    joint = np.full(17, 9)
    for k, sources in to_h36m_mapping('coco').items():
        if len(sources) == 1:
            joint[sources[0]] = k
    return replace(
        clip, skeleton='coco', keypoints_2d=clip.keypoints_2d[:, joint],
        input_keypoints_cam=clip.input_keypoints_cam[:, joint],
    )  # fmt: skip


@pytest.mark.parametrize('convert', [lambda clip: clip, as_coco])
def test_limbs_are_painted_where_they_project_in_their_side_s_colour(convert):
    clip = convert(make_sequence(3, 12))
    painter = painter_of(clip)
    frame = one_frame(clip, 10)
    picture, scale = image_of(painter, painter.draw(None, frame, 0.0))
    pixels = make_sequence(3, 12).keypoints_2d[frame.track + 3 * 10] * scale
    # Knees, feet, elbows and wrists; limbs of one person may cross, so the far ones count by majority.
    for person in pixels:
        right_side = []
        for child in (2, 3, 5, 6, 12, 13, 15, 16):
            parent = H36M_17.parents[child]
            for share in (0.3, 0.5, 0.7):
                x, y = ((1 - share) * person[parent] + share * person[child]).astype(int)
                lead = leads(picture[y, x])
                right_side.append((lead > 40) if child in H36M_17.left else (lead < -40))
        assert np.mean(right_side) > 0.75


def test_what_is_reprojected_is_the_limbs_and_what_is_detected_the_rings():
    clip = one_frame(make_sequence(1, 1))
    moved = replace(clip, keypoints_2d=clip.keypoints_2d + np.float32([200, 0]))
    painter = painter_of(clip)
    picture, scale = image_of(painter, painter.draw(None, moved, 0.0))
    shin = clip.keypoints_2d[0, [5, 6]].mean(0) * scale
    assert leads(picture[tuple(shin[::-1].astype(int))]) > 60
    x, y = (moved.keypoints_2d[0, 6] * scale).astype(int)
    around = picture[y - 6 : y + 7, x - 6 : x + 7]
    assert is_near(around, (255, 255, 255), 60).sum() >= 6
    assert not is_near(around, LEFT).any()
    low = replace(moved, scores_2d=np.full_like(moved.scores_2d, 0.05))
    picture, _ = image_of(painter, painter.draw(None, low, 0.0))
    assert not is_near(picture[y - 6 : y + 7, x - 6 : x + 7], (255, 255, 255), 120).any()


def test_bodies_in_the_scene_stand_where_the_view_projects_them():
    clip = make_sequence(2, 5)
    painter = painter_of(clip)
    frame = one_frame(clip, 3)
    scene, plan = views_of(painter, painter.draw(None, frame, 0.0))
    view = painter._views[0][1]._view
    seen = view.project(frame.keypoints_world.astype(float))
    for person, colour in zip(seen, PEOPLE, strict=False):
        x, y = ((person[9] + person[10]) / 2)[:2].astype(int)
        # Hazy with distance: its own colour all the same.
        shown = scene[y, x].astype(float)
        assert np.corrcoef(shown, colour)[0, 1] > 0.7 or np.ptp(colour) < 20
        assert shown.max() > 120
    for panel in (scene, plan):
        for colour in (LEFT, RIGHT):
            assert is_near(panel, colour, 70).any()


def test_the_same_arguments_draw_the_same_whatever_was_drawn_before():
    clip = make_sequence(3, 30, noise=0.02)
    background = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    straight, resumed = painter_of(clip, orbit=20.0), painter_of(clip, orbit=20.0)

    def draw(painter, k):
        return painter.draw(background, one_frame(clip, k), clip.frame_times[k], root_trails(clip, k))

    pictures = [draw(straight, k) for k in (0, 10, 20, 29)]
    kept = [picture.copy() for picture in pictures]
    assert (draw(resumed, 29) == pictures[3]).all()
    assert (draw(straight, 10) == pictures[1]).all()
    assert all((a == b).all() for a, b in zip(pictures, kept, strict=True)), 'a picture was drawn on later'
    assert (pictures[0] != pictures[1]).any()
    assert background.shape == (720, 1280, 3)


def test_a_part_of_a_clip_gives_the_same_trails():
    clip = make_sequence(2, 90)
    whole = root_trails(clip, 80)
    part = root_trails(clip.select_frames(slice(40, 90)), 40)
    assert set(whole) == set(part) == {0, 1}
    assert all((whole[track] == part[track]).all() for track in whole)
    assert len(whole[0]) in (38, 39), '1.5 s at 25 frames a second, and this frame'
    np.testing.assert_array_equal(whole[1][-1], clip.keypoints_world[clip.rows_of_frame(80)][1, 0])


def test_trails_show_on_the_ground_behind_people():
    clip = make_sequence(1, 60)
    painter = painter_of(clip)
    frame = one_frame(clip, 50)
    without = painter.draw(None, frame, 2.0)
    behind = {0: clip.keypoints_world[:, 0] + np.linspace(-1.5, 0, 60)[:, None] * np.array([1.0, 0, 0])}
    changed = (painter.draw(None, frame, 2.0, behind) != without).any(-1)
    scene, plan = views_of(painter, changed)
    image, _ = image_of(painter, changed)
    assert scene.sum() > 50 and plan.sum() > 50 and not image.any()


@pytest.fixture
def labels(monkeypatch):
    """Words and boxes of the labels that are set, in the order of their pens."""
    found = []
    make, label = clip_pen.text_sprite.__wrapped__, clip_pen.Pen.label
    words_of = {}

    def text_sprite(words, *args, **kwargs):
        sprite = make(words, *args, **kwargs)
        words_of[id(sprite)] = (words, sprite)
        return sprite

    def set_label(self, candidates, sprite):
        placed = label(self, candidates, sprite)
        if placed:
            found.append((self, words_of[id(sprite)][0], self._taken[-1]))
        return placed

    monkeypatch.setattr(clip_pen.Pen, 'label', set_label)
    for module in ('clip_image', 'clip_scene', 'clip_floor'):
        monkeypatch.setattr(f'stereopose_mm.visualization.{module}.text_sprite', text_sprite)
    return found


def test_each_person_has_its_number_and_distance(labels):
    clip = make_sequence(3, 1)
    clip = replace(clip, track=np.array([4, 7, 12]))
    painter_of(clip).draw(None, clip, 0.0)
    metres = np.linalg.norm(clip.keypoints_cam[:, 0], axis=-1)
    for track, distance in zip(clip.track, metres, strict=True):
        words = f'#{track}  {distance:.1f} m'
        assert [w for _, w, _ in labels].count(words) == 2, 'on the image and in the scene'
        assert [w for _, w, _ in labels].count(f'#{track}') == 1, 'on the plan'


def test_forty_people_have_small_labels_that_never_overlap(labels):
    clip = make_sequence(40, 1)
    picture = painter_of(clip).draw(np.zeros((720, 1280, 3), np.uint8), clip, 0.0)
    assert picture.shape == (720, 1280, 3)
    assert sum(words.startswith('#') for _, words, _ in labels) > 60
    for k, (pen, _, a) in enumerate(labels):
        assert a[3] - a[1] <= 20
        for other, _, b in labels[:k]:
            assert pen is not other or a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_people_that_were_not_lifted_show_faintly_in_2d_only(labels):
    clip = make_sequence(2, 1)
    clip = replace(clip, keypoints_cam=clip.keypoints_cam.copy(), valid=np.array([True, False]))
    clip.keypoints_cam[1] = np.nan
    clip.input_keypoints_cam[1] = np.nan
    painter = painter_of(clip)
    frame = painter.draw(None, clip, 0.0)
    picture, scale = image_of(painter, frame)
    x, y = (clip.keypoints_2d[1].mean(0) * scale).astype(int)
    theirs = picture[y - 90 : y + 90, x - 40 : x + 40]
    assert is_near(theirs, MUTED, 40).sum() > 50
    assert not is_near(theirs, LEFT).any() and not is_near(theirs, RIGHT).any()
    assert '#1  not lifted' in [words for _, words, _ in labels]
    alone = painter.draw(None, clip.select([0]), 0.0)
    for a, b in zip(views_of(painter, frame), views_of(painter, alone), strict=True):
        assert (a == b).all()


def test_no_person_leaves_the_image_and_an_empty_scene():
    clip = make_sequence(2, 3)
    image = np.full((720, 1280, 3), 77, np.uint8)
    nobody = one_frame(clip.select(clip.frame != 1), 1)
    painter = painter_of(clip)
    frame = painter.draw(image, nobody, 0.0)
    picture, _ = image_of(painter, frame)
    assert (picture == 77).all()
    assert not any(is_near(panel, LEFT).any() or is_near(panel, RIGHT).any() for panel in views_of(painter, frame))
    never = ClipPainter(SceneBounds.of(np.zeros((0, 3))), skeleton='h36m')
    assert (image_of(never, never.draw(image, nobody, 0.0))[0] == 77).all()


@pytest.mark.parametrize('size', [(720, 1280), (640, 480), (1000, 1000), (2000, 300), (96, 64)])
def test_images_of_any_shape_show_whole_in_one_layout_and_evenly_shrunk(size):
    clip = make_sequence(1, 1)
    camera = Camera.from_fov(60.0, *size)
    pixels = camera.project(torch.from_numpy(clip.keypoints_cam)).numpy()
    other = replace(clip, cameras=camera.expand(1), keypoints_2d=pixels)
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, : size[0] // 2], image[:, size[0] // 2 :] = (10, 120, 240), (240, 20, 20)
    painter = painter_of(clip)
    for frame in (clip, other):
        given = None if frame is clip else image
        picture, _ = image_of(painter, painter.draw(given, frame, 0.0), size)
    # Corners: the image's, to the pixel; beside it the panel's.
    assert is_near(picture[0, 0], (10, 120, 240), 2) and is_near(picture[-1, -1], (240, 20, 20), 2)
    smaller = painter.draw(image[::2, ::2], other, 0.0)
    assert is_near(image_of(painter, smaller, size)[0][-1, -1], (240, 20, 20), 2)
    fitting = painter_of(clip, aspect=size[0] / size[1])
    assert image_of(fitting, fitting.draw(image, other, 0.0), size)[0].size > 0.98 * picture.size


def test_values_that_are_not_finite_or_huge_never_stop_a_clip():
    clip = make_sequence(6, 1)
    names = ('keypoints_2d', 'keypoints_cam', 'input_keypoints_cam')
    clip = replace(clip, **{name: getattr(clip, name).copy() for name in (*names, 'scores_2d')})
    clip.keypoints_cam[0, 3], clip.input_keypoints_cam[1, 4] = np.inf, np.nan
    clip.keypoints_2d[2, 5], clip.scores_2d[3] = np.nan, np.nan
    clip.keypoints_2d[4] = 1e30
    clip.keypoints_cam[4] *= 1e6
    clip.keypoints_cam[5, :, 2] -= 20
    for trails in (None, {0: np.full((5, 3), np.nan), 1: np.zeros((0, 3)), 99: np.zeros((4, 3))}):
        picture = painter_of(clip).draw(None, clip, float('nan'), trails)
        assert is_near(picture, LEFT).any()
    painter = ClipPainter(SceneBounds.of(np.full((5, 3), np.nan)), skeleton='h36m')
    assert painter.draw(None, clip, 1e9).shape == (720, 1280, 3)


@settings(max_examples=10)
@given(
    width=st.integers(160, 1000), height=st.integers(90, 600), aspect=st.floats(0.05, 20), num=st.integers(0, 3),
    orbit=st.sampled_from([0.0, 30.0]),
)  # fmt: skip
def test_frames_of_any_size(width, height, aspect, num, orbit):
    clip = make_sequence(3, 1)
    size = 2 * width, 2 * height
    picture = painter_of(clip, size=size, aspect=aspect, orbit=orbit, title='A long title ' * 20).draw(
        None, clip.select(slice(num)), 12.3
    )
    assert picture.shape == (size[1], size[0], 3) and picture.dtype == np.uint8 and picture.flags.c_contiguous


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000), azimuth=st.floats(-3.2, 3.2), raised=st.floats(0, 1.2),
    width=st.integers(60, 900), height=st.integers(60, 900),
)  # fmt: skip
def test_views_show_all_points_as_large_as_they_fit(seed, azimuth, raised, width, height):
    points = np.random.default_rng(seed).normal(0, 3, (20, 3)) + [0, 8, 0]
    padding = 5, 6, 7, 8
    low, high = np.array(padding[:2]), np.array([width, height]) - padding[2:]
    view = PerspectiveView.fit(points, azimuth, raised, (width, height), padding)
    plan = PlanView.fit(points, azimuth, (width, height), padding)
    for seen in (view.project(points), plan.project(points)):
        room = np.stack([seen[:, :2].min(0) - low, high - seen[:, :2].max(0)])
        assert room.min() > -1e-6
        assert abs(room).max(0).min() < 1e-6, 'tight in one direction'
    np.testing.assert_allclose(view.axes @ view.axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(view.axes) == pytest.approx(1)
    up = view.project(np.stack([points, points + [0, 0, 0.01]]))
    assert (up[1, :, 1] < up[0, :, 1]).all() or raised > 0.9


def test_a_turn_about_the_people_keeps_their_middle_in_place():
    points = np.random.default_rng(0).normal(0, 1, (20, 3)) + [0, 8, 0]
    view = PerspectiveView.fit(points, 0.3, 0.4, (400, 300), (9, 9, 9, 9))
    middle = view.centre[None]
    for angle in (0.5, 2.0, 2 * np.pi):
        np.testing.assert_allclose(view.turned(angle).project(middle), view.project(middle), atol=1e-9)
    np.testing.assert_allclose(view.turned(2 * np.pi).project(points), view.project(points), atol=1e-9)


def test_people_stay_in_the_scene_while_it_turns():
    clip = make_sequence(3, 1)
    painter = painter_of(clip, orbit=90.0)
    drawer = painter._views[0][1]
    for seconds in np.arange(0, 4, 0.25):
        seen = drawer._view.turned(drawer._orbit * seconds).project(clip.keypoints_world.astype(float))[..., :2]
        assert (seen > 0).all() and (seen < drawer._size).all()


def test_bounds_of_parts_are_those_of_the_whole():
    random = np.random.default_rng(1)
    parts = [random.normal([k, 5, 1], 0.5, (7000, 3)) for k in range(6)]
    merged = SceneBounds.of(parts[0])
    for part in parts[1:]:
        merged = merged.merge(SceneBounds.of(part))
    whole = SceneBounds.of(np.concatenate(parts))
    assert merged.count == whole.count == 42000 and len(merged.sample) <= 8192
    np.testing.assert_allclose(merged.box, whole.box, atol=0.15)
    small = SceneBounds.of(parts[0][:10]).merge(SceneBounds.of(np.zeros((0, 3)))).merge(SceneBounds.of(parts[1][:5]))
    assert small.count == len(small.sample) == 15


def test_a_wild_pose_does_not_widen_the_bounds():
    clip = make_sequence(5, 100)
    points = clip.keypoints_world.reshape(-1, 3)
    wild = np.concatenate([points, np.full((17, 3), 500.0), np.full((3, 3), np.inf)])
    np.testing.assert_allclose(SceneBounds.of(wild).box, SceneBounds.of(points).box, atol=0.05)
    assert SceneBounds.of(wild).count == len(points) + 17


def test_the_ground_is_z_0_where_it_is_known_and_below_the_feet_elsewhere():
    clip = make_sequence(5, 20)
    assert SceneBounds.of_clip(clip).floor == pytest.approx(-1.5, abs=0.02)
    raised = replace(clip, world_translation=np.array([0, 0, 1.5]), grounded=True)
    assert SceneBounds.of_clip(raised).floor == 0
    np.testing.assert_array_equal(SceneBounds.of_clip(raised).camera, [0, 0, 1.5])
    # The same scene, the same view.
    one, other = (painter_of(c).draw(None, one_frame(c, 3), 0.1) for c in (clip, raised))
    box = painter_of(clip)._layout.image
    assert (one[:, : box.width] == other[:, : box.width])[: box.height].all()


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(size=(1281, 720)), 'size takes even'),
        (dict(size=(318, 180)), '318 x 180'),
        (dict(skeleton='body25'), "unknown skeleton 'body25'"),
        (dict(aspect=0.0), 'aspect takes a positive'),
        (dict(orbit=float('nan')), 'orbit a finite'),
    ],
)
def test_a_bad_painter_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        ClipPainter(SceneBounds.of(np.zeros((0, 3))), **change)


@pytest.mark.parametrize(
    'image, change, message',
    [
        (np.zeros((720, 1280, 3)), {}, 'uint8'),
        (np.zeros((720, 1280), np.uint8), {}, r'takes \(H, W, 3\)'),
        (np.zeros((720, 720, 3), np.uint8), {}, '1280x720, got 720x720'),
        (None, dict(skeleton='coco'), "takes 'h36m' keypoints, got 'coco'"),
    ],
)
def test_a_bad_frame_is_named(image, change, message):
    clip = make_sequence(1, 1)
    with pytest.raises(ValueError, match=message):
        painter_of(clip).draw(image, replace(clip, **change), 0.0)


def test_more_frames_than_one_and_points_of_another_shape_are_named():
    clip = make_sequence(1, 2)
    with pytest.raises(ValueError, match='one frame, got 2'):
        painter_of(clip).draw(None, clip, 0.0)
    with pytest.raises(ValueError, match=r'points_world takes \(M, 3\), got \(2, 17, 3\)'):
        SceneBounds.of(clip.keypoints_world)


@pytest.mark.parametrize('corner', [(-6, -5), (38, 50), (-6, 50), (200, 20)])
def test_texts_and_rings_across_an_edge_are_cut_there(corner):
    whole = np.random.default_rng(0).integers(0, 255, (120, 120, 3), np.uint8)
    part = whole[40:90, 40:90].copy()
    sprite = clip_pen.text_sprite('#12  3.4 m', (10, 200, 90), 12, pill=(20, 20, 20))
    centre = np.array([corner]) + 0.3
    for pixels, shift in ((whole, 40), (part, 0)):
        pen = clip_pen.Pen(pixels)
        pen.text((corner[0] + shift, corner[1] + shift), sprite, 'lt')
        pen.rings(centre + shift, np.array([5.0]), (255, 255, 255))
    np.testing.assert_array_equal(part, whole[40:90, 40:90])


def test_another_camera_moves_the_camera_in_the_scene_and_the_first_one_moves_it_back():
    clip = make_sequence(2, 1)
    turned = replace(clip, world_translation=clip.world_translation + [0.5, 0, 0])
    painter = painter_of(clip)
    before, other, after = (painter.draw(None, frame, 0.0) for frame in (clip, turned, clip))
    assert (before == after).all()
    assert (other == painter_of(clip).draw(None, turned, 0.0)).all()
    assert all((a != b).any() for a, b in zip(views_of(painter, before), views_of(painter, other), strict=True))
