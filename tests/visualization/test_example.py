# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import stereopose_mm
from stereopose_mm.datasets.pair_synthesis import MEAN_BONE_LENGTHS
from stereopose_mm.geometry import H36M_17, Camera
from stereopose_mm.visualization import example_scene
from stereopose_mm.visualization.example_scene import SCENES, coco_joints, pose_body, to_camera, two_bone_joint
from stereopose_mm.visualization.make_example import write_example
from stereopose_mm.visualization.mannequin import sculpt
from stereopose_mm.visualization.scene_render import render_scene

ASSETS = Path(stereopose_mm.__file__).parent / 'assets' / 'example'
FIGURES = [figure for figures in SCENES for figure in figures]


@pytest.fixture(scope='module')
def records():
    return json.loads((ASSETS / 'detections.json').read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def truth():
    return dict(np.load(ASSETS / 'truth.npz'))


def test_detections_are_coco_results(records):
    assert len(records) == len(FIGURES)
    assert [r['image_id'] for r in records] == [1, 2, 2, 3]
    for record in records:
        assert record['category_id'] == 1 and len(record['keypoints']) == 51
        keypoints = np.reshape(record['keypoints'], (17, 3))
        x, y, width, height = record['bbox']
        assert (keypoints[:, 0] >= x).all() and (keypoints[:, 0] <= x + width).all()
        assert (keypoints[:, 1] >= y).all() and (keypoints[:, 1] <= y + height).all()
        assert (keypoints[:, 2] > 0.5).all() and (keypoints[:, 2] < 1).all()
        assert 0 <= x and 0 <= y and x + width <= 1280.1 and y + height <= 720.1


def body_names():
    parts = ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')
    return [f'{side}_{part}' for part in parts for side in ('left', 'right')]


def test_detections_lie_at_the_projected_truth_within_the_detector_s_noise(records, truth):
    camera = Camera(*truth['camera'].tolist())
    assert camera.fov_deg == pytest.approx(55)
    projected = camera.project(torch.from_numpy(truth['keypoints_cam'])).numpy()
    joints = [H36M_17.index(name.replace('ankle', 'foot')) for name in body_names()]
    errors = []
    for record, pixels in zip(records, projected, strict=True):
        errors.append(np.reshape(record['keypoints'], (17, 3))[5:, :2] - pixels[joints])
    errors = np.concatenate(errors)
    assert np.abs(errors).max() < 4.1
    assert 1.4 < errors.std() < 2.6


def test_pictures_are_small_and_of_the_camera_s_size(records):
    for name in {record['file_name'] for record in records}:
        assert (ASSETS / name).stat().st_size < 150_000
        assert cv2.imread(str(ASSETS / name)).shape == (720, 1280, 3)


def test_figures_stand_where_the_truth_says(records):
    """Every shoulder, hip and knee lies on clothes, not on the grey studio."""
    for record in records:
        image = cv2.imread(str(ASSETS / record['file_name'])).astype(int)
        keypoints = np.reshape(record['keypoints'], (17, 3))[[5, 6, 11, 12, 13, 14], :2]
        for x, y in keypoints.round().astype(int):
            pixel = image[y, x]
            assert np.ptp(pixel) > 30 or pixel.max() < 110, (record['image_id'], x, y, pixel)


def test_making_it_again_gives_the_same_files(tmp_path, truth):
    written = list(write_example(tmp_path / 'example', pictures=False))
    assert [path.name for path in written] == ['detections.json', 'truth.npz']
    assert written[0].read_bytes() == (ASSETS / 'detections.json').read_bytes()
    again = np.load(written[1])
    assert set(again) == set(truth)
    for key, value in truth.items():
        np.testing.assert_allclose(again[key], value, atol=1e-9)


def test_people_stand_upright_before_the_camera_on_the_ground(truth):
    poses = truth['keypoints_cam']
    assert (poses[..., 2] > 2).all()
    assert (poses[:, 10, 1] < poses[:, 0, 1]).all() and (poses[:, 0, 1] < poses[:, [3, 6], 1].max(1)).all()
    assert poses[2, 0, 2] > poses[1, 0, 2] + 1
    # All face the camera: their right side is on the image's left.
    assert (poses[:, 14, 0] < poses[:, 11, 0]).all() and (poses[:, 1, 0] < poses[:, 4, 0]).all()
    for figure in FIGURES:
        ends = sculpt(figure)
        lowest = np.minimum(ends.start[:, 1] - ends.radius[:, 0], ends.end[:, 1] - ends.radius[:, 1]).min()
        assert abs(lowest) < 0.02


@pytest.mark.parametrize('index', range(len(FIGURES)))
def test_bones_have_the_lengths_of_people(index):
    joints = pose_body(FIGURES[index].posture).joints
    lengths = {H36M_17.joint_names[c]: np.linalg.norm(joints[c] - joints[p]) for p, c in H36M_17.bones}
    bone_of = {
        'hip': 'hip', 'knee': 'thigh', 'foot': 'shin', 'spine': 'lower_spine', 'thorax': 'upper_spine',
        'neck_base': 'neck', 'head': 'head', 'shoulder': 'clavicle', 'elbow': 'upper_arm', 'wrist': 'forearm',
    }  # fmt: skip
    for name, length in lengths.items():
        bone = bone_of[name.removeprefix('left_').removeprefix('right_')]
        assert length == pytest.approx(MEAN_BONE_LENGTHS[bone], abs=1e-9), name


def test_two_bones_reach_their_target_and_bend_towards_the_pole():
    start, target, pole = np.zeros(3), np.array([0.0, -0.5, 0.1]), np.array([0.0, 0, 1])
    middle, end = two_bone_joint(start, target, 0.3, 0.35, pole)
    np.testing.assert_allclose(end, target, atol=1e-12)
    assert np.linalg.norm(middle) == pytest.approx(0.3) and np.linalg.norm(end - middle) == pytest.approx(0.35)
    assert middle[2] > 0.1
    _, far = two_bone_joint(start, 10 * target, 0.3, 0.35, pole)
    assert np.linalg.norm(far) == pytest.approx(0.649)


def test_the_face_looks_where_the_figure_faces():
    for figure in FIGURES:
        face = to_camera(coco_joints(pose_body(figure.posture)), figure)[:5]
        nose, left_ear, right_ear = face[0], face[3], face[4]
        assert nose[2] < (left_ear[2] + right_ear[2]) / 2


def test_mannequins_have_flesh_around_their_joints():
    for figure in FIGURES:
        parts = sculpt(figure)
        facing = example_scene.turn(0, 0, figure.facing_deg)
        world = pose_body(figure.posture).joints @ facing.T + [figure.ground[0], 0, figure.ground[1]]
        assert (parts.field(world) < 0).all()
        assert (parts.field(world + [0, 0, 1.5]) > 0.3).all()


def test_a_rendered_figure_covers_its_joints_and_casts_a_shadow():
    empty = render_scene([], supersample=1, size_divisor=10).astype(int)
    picture = render_scene(SCENES[2], supersample=1, size_divisor=10).astype(int)
    assert picture.shape == (72, 128, 3)
    camera = example_scene.example_camera()
    pixels = camera.project(torch.from_numpy(to_camera(pose_body(FIGURES[3].posture).joints, FIGURES[3]))).numpy() / 10
    for x, y in pixels.astype(int):
        assert np.abs(picture[y, x] - empty[y, x]).max() > 25
    # The sun stands left: the floor right of the figure is darker, the one left of it is not.
    floor = np.s_[52:62]
    darker = empty[floor].mean(-1) - picture[floor].mean(-1)
    assert darker[:, 90:115].max() > 12 and np.abs(darker[:, :20]).max() < 4
