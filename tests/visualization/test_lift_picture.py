# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.geometry import H36M_17, Camera
from stereopose_mm.visualization import draw_lift_picture
from stereopose_mm.visualization.example_scene import true_poses
from stereopose_mm.visualization.lift_picture import LEFT, PEOPLE, RIGHT, _layout
from stereopose_mm.visualization.scene_view import Scene, View

CAMERA = Camera.from_fov(55, 1280, 720)
TRUTH = true_poses()['keypoints_cam']


def pixels_of(poses):
    return CAMERA.project(torch.as_tensor(poses)).numpy()


def crowd(num, seed=0):
    random = np.random.default_rng(seed)
    depth = random.uniform(4, 25, num)
    poses = TRUTH[np.arange(num) % len(TRUTH)]
    away = np.stack([random.uniform(-0.45, 0.45, num) * depth, np.full(num, 0.4), depth], -1)
    return poses - poses[:, :1] + away[:, None]


def photo_of(picture, poses):
    """The photograph's part of the picture, and its scale."""
    box = _layout(picture.shape[1], (1280, 720), Scene.from_camera_frame(poses))[0]
    return picture[box.top : box.top + box.height, box.left : box.left + box.width], box.width / 1280


def is_near(colour, goal, tolerance=60):
    return np.abs(colour.astype(int) - goal).max(-1) <= tolerance


def test_limbs_are_painted_where_they_project_in_their_side_s_colour():
    pose = TRUTH[3:4]
    picture = draw_lift_picture(None, np.full((1, 17, 2), np.nan), pose, CAMERA)
    photo, scale = photo_of(picture, pose)
    pixels = pixels_of(pose)[0] * scale
    for parent, child in H36M_17.bones:
        if child in H36M_17.left + H36M_17.right:
            # Colours of far limbs are darker, their hue stays: blue leads on the left, red on the right.
            x, y = (0.5 * (pixels[parent] + pixels[child])).astype(int)
            blue, _, red = photo[y, x].astype(int)
            assert (blue - red > 60) == (child in H36M_17.left), H36M_17.joint_names[child]
            assert (red - blue > 60) == (child in H36M_17.right), H36M_17.joint_names[child]


def test_the_reprojected_pose_is_drawn_not_the_detections():
    pose = TRUTH[3:4]
    detections = pixels_of(pose) + [150, 0]
    picture = draw_lift_picture(None, detections, pose, CAMERA)
    photo, scale = photo_of(picture, pose)
    knee = pixels_of(pose)[0, 5] * scale
    x, y = knee.astype(int)
    assert is_near(photo[y, x], LEFT, 90)
    x, y = (detections[0, 5] * scale).astype(int)
    assert is_near(photo[y, x], (255, 255, 255), 40)
    assert not is_near(photo[y : y + 12, x - 12 : x + 12], LEFT).any()


def test_keypoints_of_low_score_have_no_dot():
    pose = TRUTH[:1]
    detections = np.array([[[100.0, 100.0], [100.0, 200.0]]])
    picture = draw_lift_picture(None, detections, pose, CAMERA, scores=np.array([[0.9, 0.05]]))
    photo, scale = photo_of(picture, pose)
    x, seen, unseen = (round(v * scale) for v in (100, 100, 200))
    assert is_near(photo[seen, x], (255, 255, 255), 40)
    assert not is_near(photo[unseen - 6 : unseen + 6, x - 6 : x + 6], (255, 255, 255), 120).any()


def test_the_photograph_shows_unchanged_where_nobody_stands():
    image = np.zeros((720, 1280, 3), np.uint8)
    image[:, 1000:] = (10, 120, 240)
    picture = draw_lift_picture(image, pixels_of(TRUTH[:1]), TRUTH[:1], CAMERA)
    photo, scale = photo_of(picture, TRUTH[:1])
    assert np.abs(photo[:, round(1010 * scale) :].astype(int) - (10, 120, 240)).max() <= 1
    assert photo[:20, :20].max() == 0


def test_both_sides_and_the_person_s_colour_show_in_each_view():
    pose = TRUTH[3:4]
    picture = draw_lift_picture(None, pixels_of(pose), pose, CAMERA)
    for box in _layout(1600, (1280, 720), Scene.from_camera_frame(pose))[1:]:
        view = picture[box.top : box.top + box.height, box.left : box.left + box.width]
        for colour in (LEFT, RIGHT, PEOPLE[0]):
            assert is_near(view, colour).sum() > 100


def test_who_is_farther_stands_farther_right_in_the_side_view_and_higher_in_the_raised_one():
    scene = Scene.from_camera_frame(TRUTH[1:3])
    side = View.fit(scene.extent(), 90, 0, (500, 300), (10, 10, 10, 10))
    near, far = side.project(scene.joints[:, 0])
    metres = TRUTH[2, 0, 2] - TRUTH[1, 0, 2]
    assert metres > 1
    np.testing.assert_allclose(far[0] - near[0], metres * side.scale)
    raised = View.fit(scene.extent(), 38, 20, (500, 300), (10, 10, 10, 10))
    ground = raised.project(scene.on_ground(np.array([[0.0, 4.0], [0.0, 5.0]])))
    assert ground[1, 1] < ground[0, 1]


@pytest.mark.parametrize('azimuth, raised', [(38, 20), (90, 0), (0, 0)])
def test_views_keep_up_up_and_all_axes_to_scale(azimuth, raised):
    scene = Scene.from_camera_frame(TRUTH)
    view = View.fit(scene.extent(), azimuth, raised, (500, 300), (10, 20, 30, 40))
    np.testing.assert_allclose(view.axes @ view.axes.T, np.eye(3), atol=1e-12)
    assert (view.project(scene.joints[:, 10])[:, 1] < view.project(scene.joints[:, 0])[:, 1]).all()
    shown = view.project(scene.extent())
    assert (shown.min(0) >= [10 - 1e-6, 20 - 1e-6]).all() and (shown.max(0) <= [470 + 1e-6, 260 + 1e-6]).all()


def test_ground_lies_below_all_feet_and_the_grid_around_all_people():
    scene = Scene.from_camera_frame(TRUTH)
    assert scene.ground == pytest.approx(-TRUTH[..., 1].max())
    for axis, k in ((0, 0), (2, 1)):
        assert scene.low[k] < TRUTH[..., axis].min() and scene.high[k] > TRUTH[..., axis].max()
    assert scene.distance_ticks() == sorted(set(scene.distance_ticks()))
    assert len(scene.distance_ticks()) >= 3


def test_nobody_leaves_the_photograph_and_says_so():
    image = np.full((720, 1280, 3), 77, np.uint8)
    picture = draw_lift_picture(image, np.zeros((0, 17, 2)), np.zeros((0, 17, 3)), CAMERA)
    photo_box, front, _ = _layout(1600, (1280, 720), None)
    photo = picture[photo_box.top :][: photo_box.height, photo_box.left :][:, : photo_box.width]
    assert (photo == 77).all()
    note = picture[front.top : front.top + front.height, front.left : front.left + front.width]
    assert note.max() > 120


def test_people_that_were_not_lifted_keep_faint_detections_only():
    poses = TRUTH[[3, 3]].copy()
    poses[1, 4] = np.nan
    detections = pixels_of(TRUTH[[3, 3]]) + np.array([[[0.0, 0]], [[300.0, 0]]])
    picture = draw_lift_picture(None, detections, poses, CAMERA)
    photo, scale = photo_of(picture, poses[:1])
    right_half = photo[:, round(900 * scale) :]
    assert not is_near(right_half, LEFT).any() and not is_near(right_half, RIGHT).any()
    assert is_near(right_half, (171, 154, 141), 25).sum() > 50
    behind = TRUTH[[3]] - [0, 0, 8]
    empty = draw_lift_picture(None, detections[:1], behind, CAMERA)
    box = _layout(1600, (1280, 720), None)[0]
    assert not is_near(empty[box.top : box.top + box.height, : box.left + box.width], LEFT).any()


def test_forty_people_fit_and_labels_never_overlap(monkeypatch):
    from stereopose_mm.visualization import canvas

    boxes = []
    finish = canvas.Canvas.finish
    monkeypatch.setattr(canvas.Canvas, 'finish', lambda self: boxes.extend(t.box for t in self._texts) or finish(self))
    poses = crowd(40)
    start = time.process_time()
    picture = draw_lift_picture(None, pixels_of(poses), poses, CAMERA)
    assert time.process_time() - start < 3
    assert picture.shape[1] == 1600 and picture.dtype == np.uint8
    assert len(boxes) > 60
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@settings(max_examples=8, deadline=None)
@given(
    size=st.sampled_from([(1280, 720), (720, 1280), (500, 480), (4000, 700), (96, 64)]),
    num=st.integers(1, 6),
    width=st.sampled_from([800, 1200, 1600]),
    spread=st.sampled_from([0.0, 1.0, 300.0]),
)
def test_any_image_shape_and_any_spread_of_people(size, num, width, spread):
    camera = Camera.from_fov(55, *size)
    poses = TRUTH[np.arange(num) % 4] + np.arange(num)[:, None, None] * np.array([0.0, 0.0, spread])
    picture = draw_lift_picture(np.zeros((size[1], size[0], 3), np.uint8), pixels_of(poses), poses, camera, width=width)
    assert picture.shape[1] == width and 0.3 * width < picture.shape[0] < 0.55 * width
    assert is_near(picture, LEFT).any() and is_near(picture, RIGHT).any()


def test_tensors_of_single_precision_draw_the_same():
    pose = TRUTH[:1].astype(np.float32)
    detections = pixels_of(pose)
    arrays = draw_lift_picture(None, detections, pose, CAMERA)
    tensors = draw_lift_picture(None, torch.from_numpy(detections), torch.from_numpy(pose), CAMERA)
    assert (arrays == tensors).all()


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(keypoints_2d=np.zeros((17, 2))), r'keypoints_2d takes \(P, K, 2\)'),
        (dict(keypoints_cam=np.zeros((2, 17, 3))), r'keypoints_cam takes \(1, 17, 3\)'),
        (dict(scores=np.ones((1, 16))), r'scores takes \(1, 17\)'),
        (dict(camera=CAMERA.expand(1)), 'camera takes one single'),
        (dict(image=np.zeros((10, 20, 3), np.uint8)), '1280x720, got 20x10'),
        (dict(image=np.zeros((720, 1280, 3))), 'uint8'),
        (dict(width=100), 'width takes at least 800'),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = dict(image=None, keypoints_2d=np.zeros((1, 17, 2)), keypoints_cam=TRUTH[:1], camera=CAMERA, scores=None)
    with pytest.raises(ValueError, match=message):
        draw_lift_picture(**{**arguments, **change})
