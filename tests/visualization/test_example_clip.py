# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import stereopose_mm
from stereopose_mm.geometry import H36M_17, Camera
from stereopose_mm.visualization.clip_detections import clip_truth, imitate_clip_detections, see_clip
from stereopose_mm.visualization.clip_render import ClipRenderer
from stereopose_mm.visualization.example_clip import (
    CLIP_SIZE,
    FRAME_RATE,
    NUM_FRAMES,
    Foothold,
    bodies_of,
    clip_figures,
    clip_times,
    curve,
    foot_path,
)
from stereopose_mm.visualization.example_scene import SCENES, turn
from stereopose_mm.visualization.make_example import encode_video
from stereopose_mm.visualization.mannequin import SHOES, SOLES, sculpt
from stereopose_mm.visualization.scene_render import render_scene

ASSETS = Path(stereopose_mm.__file__).parent / 'assets' / 'example'
WALKER, SQUATTER, WAVER = range(3)


@pytest.fixture(scope='module')
def records():
    return json.loads((ASSETS / 'clip_keypoints.json').read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def truth():
    return dict(np.load(ASSETS / 'clip_truth.npz'))


@pytest.fixture(scope='module')
def seen():
    return see_clip()


@pytest.fixture(scope='module')
def world():
    """Joints ``(F, P, 17, 3)`` in the world: x right, y up, z towards the camera."""
    joints = []
    for figures in clip_figures():
        bodies = bodies_of(figures)
        places = [np.array([f.ground[0], 0, f.ground[1]]) for f in figures]
        joints.append(
            [b.joints @ turn(0, 0, f.facing_deg).T + p for b, f, p in zip(bodies, figures, places, strict=True)]
        )
    return np.array(joints)


def keypoints_of(records):
    return np.array([r['keypoints'] for r in records]).reshape(-1, 17, 3)


def bend(joints, first, middle, last):
    """Degrees by which a limb is bent."""
    upper, lower = joints[..., middle, :] - joints[..., first, :], joints[..., last, :] - joints[..., middle, :]
    cosine = (upper * lower).sum(-1) / np.linalg.norm(upper, axis=-1) / np.linalg.norm(lower, axis=-1)
    return np.degrees(np.arccos(cosine))


def test_detections_are_coco_results(records):
    frames = [r['image_id'] for r in records]
    assert frames == sorted(frames) and set(frames) == set(range(NUM_FRAMES))
    for record in records:
        assert set(record) == {'image_id', 'category_id', 'keypoints', 'score', 'bbox'} and record['category_id'] == 1
        x, y, width, height = record['bbox']
        assert 0 <= x and 0 <= y and x + width <= CLIP_SIZE[0] + 0.1 and y + height <= CLIP_SIZE[1] + 0.1
        keypoints = np.reshape(record['keypoints'], (17, 3))
        assert ((keypoints[:, :2] >= 0) & (keypoints[:, :2] < CLIP_SIZE)).all()
        assert ((keypoints[:, 2] > 0) & (keypoints[:, 2] < 1)).all()


def test_making_it_again_gives_the_same_files(records, truth, seen):
    again, people = imitate_clip_detections(seen)
    assert again == records
    arrays = clip_truth(seen, again, people)
    assert set(arrays) == set(truth)
    for key, value in truth.items():
        np.testing.assert_allclose(arrays[key], value, atol=1e-6, err_msg=key)


def test_another_seed_gives_other_errors(records, seen):
    other = keypoints_of(imitate_clip_detections(seen, seed=1)[0])
    mine = keypoints_of(records)
    assert other.shape == mine.shape and not np.allclose(other, mine, atol=0.5)


def test_detections_lie_at_the_true_keypoints_within_the_detector_s_noise(records, truth, seen):
    frames = [r['image_id'] for r in records]
    person = truth['record_person']
    found = keypoints_of(records)
    plain = (seen.inside & ~seen.behind_others & ~seen.behind_self)[frames, person]
    error = found[..., :2] - seen.pixels[frames, person]
    assert 0.8 < error[plain].std() < 1.8
    # Errors go on from frame to frame, as a detector's do.
    mine = error[person == SQUATTER]
    steps = np.diff(mine, axis=0)[(plain[person == SQUATTER])[1:]]
    assert steps.std() < mine.std()
    score, hidden = found[..., 2], seen.behind_others[frames, person]
    assert np.median(score[plain]) > 0.85 and np.median(score[hidden]) < 0.5
    assert score[~seen.inside[frames, person]].max() < 0.1


def test_keypoints_are_coco_s_not_human36m_s(truth, seen):
    camera = Camera(*truth['camera'].tolist())
    joints = camera.project(torch.from_numpy(truth['keypoints_cam'].astype(np.float64))).numpy()
    # Shoulders higher than Human3.6M's, hips nearer to each other; wrists the same.
    assert (seen.pixels[..., [5, 6], 1] < joints[..., [11, 14], 1]).mean() > 0.9
    front = np.s_[-20:, WAVER]
    assert (np.abs(np.diff(seen.pixels[front][:, [11, 12], 0])) < np.abs(np.diff(joints[front][:, [4, 1], 0]))).all()
    np.testing.assert_allclose(seen.pixels[..., [9, 10], :], joints[..., [13, 16], :], atol=1e-3)


def test_one_comes_in_passes_before_one_and_behind_the_other_and_stays_to_the_edge(truth):
    detected, hidden = truth['detected'], truth['hidden']
    assert not detected[0, WALKER] and detected[10:, WALKER].all()
    assert detected[:, [SQUATTER, WAVER]].all()
    depth, column = truth['keypoints_cam'][:, :, 0, 2], truth['keypoints_cam'][:, :, 0, 0]
    assert (np.diff(column[:, WALKER]) > 0).all()
    assert (depth[:, WALKER] < depth[:, SQUATTER]).all() and (depth[:, WALKER] > depth[:, WAVER]).all()
    assert hidden[:, SQUATTER].sum(1).max() >= 8 and hidden[:, WALKER].sum(1).max() >= 8
    assert not hidden[:, WAVER].any()


def test_bones_keep_their_lengths(truth):
    parents, children = np.array(H36M_17.bones).T
    lengths = np.linalg.norm(np.diff(truth['keypoints_cam'][:, :, [parents, children]], axis=2), axis=-1)
    assert np.ptp(lengths, axis=0).max() < 1e-5
    assert 0.05 < lengths.min() and lengths.max() < 0.55
    # Three different people.
    assert np.abs(np.diff(lengths[0, :, 0], axis=0)).max(-1).min() > 0.01


def test_feet_stand_still_on_the_ground(world):
    for person in range(3):
        motion = [figures[person] for figures in clip_figures()]
        for side, ankle in enumerate((6, 3)):
            pitch = np.array([figure.posture.toes[side][1] for figure in motion])
            height = world[:, person, ankle, 1]
            flat = (np.abs(pitch) < 0.05) & (np.abs(height - 0.086) < 1e-3)
            stays = flat[1:] & flat[:-1]
            assert stays.sum() >= 8
            slid = np.linalg.norm(np.diff(world[:, person, ankle], axis=0), axis=-1)[stays]
            assert slid.max() < 1e-3
    # The walker goes on by whole steps; the one who squats never leaves the place.
    assert np.ptp(world[:, WALKER, 0, 0]) > 4.5 and np.ptp(world[:, SQUATTER, [3, 6]], axis=0).max() < 0.15


def test_shoes_stay_above_the_ground_and_somebody_always_stands():
    for figures in clip_figures()[::4]:
        for figure in figures:
            parts = sculpt(figure)
            shoe = np.isin(parts.material, (SHOES, SOLES))
            ends = np.concatenate([parts.start[shoe, 1], parts.end[shoe, 1]])
            lowest = (ends - np.concatenate(parts.radius[shoe].T)).min()
            assert -0.03 < lowest < 0.03


def test_joints_bend_as_people_s_do_and_move_smoothly(world):
    for hip, knee, foot in ((1, 2, 3), (4, 5, 6)):
        angles = bend(world, hip, knee, foot)
        assert angles.min() > 5 and angles.max() < 145
        # A walker's knee bends well when the leg swings, and hardly when it stands.
        assert angles[:, WALKER].max() > 50 and angles[:, WALKER].min() < 20
        # Knees bend forwards.
        ahead = np.cross(world[..., 11, :] - world[..., 14, :], [0, 1, 0])
        middle = world[..., knee, :] - (world[..., hip, :] + world[..., foot, :]) / 2
        assert ((middle * ahead).sum(-1) > -0.02).all()
    for shoulder, elbow, wrist in ((11, 12, 13), (14, 15, 16)):
        angles = bend(world, shoulder, elbow, wrist)
        assert angles.min() > 5 and angles.max() < 145
    acceleration = np.linalg.norm(np.diff(world, 2, axis=0), axis=-1) * FRAME_RATE**2
    assert acceleration.max() < 45
    assert acceleration[:, :, [0, 7, 8, 9, 10, 11, 14]].max() < 6


def test_a_curve_meets_its_keys_and_does_not_overshoot():
    times = clip_times()
    values = curve(times, [(0.5, 0.0, 3.0), (1.5, 1.0, 3.0), (2.5, 1.0, 3.0)])
    assert values.shape == (NUM_FRAMES, 2) and values.min() >= 0 and values.max() <= 3 + 1e-9
    np.testing.assert_allclose(values[[0, -1], 0], [0, 1], atol=1e-6)
    assert (np.diff(values[:, 0]) >= -1e-9).all()


def test_a_foot_rolls_over_heel_and_ball_without_leaving_its_hold():
    times = np.linspace(0, 1.2, 241)
    holds = [
        Foothold(-1.0, 0.3, (0, 0), 0, heel_strike=18, push_off=45),
        Foothold(0.7, 3.0, (0.1, 0.6), 20, heel_strike=18, push_off=45),
    ]
    foot = foot_path(times, holds, lift=0.05)
    assert foot.pitch.max() > 45 and foot.pitch.min() < -10
    np.testing.assert_allclose(foot.ankle[-1], [0.1, 0.086, 0.6], atol=1e-3)
    # No jump anywhere, and the way is no detour.
    assert np.linalg.norm(np.diff(foot.ankle, axis=0), axis=-1).max() < 5 * 0.005
    np.testing.assert_allclose(foot.yaw[[0, -1]], [0, 20])
    # The ball stays where it is while the heel rises.
    rising = (times < 0.3) & (foot.pitch > 0)
    ball = [a + turn(p, 0, 0) @ [0, -0.070, 0.100] for a, p in zip(foot.ankle[rising], foot.pitch[rising], strict=True)]
    np.testing.assert_allclose(ball, np.tile([0, 0.016, 0.100], (len(ball), 1)), atol=1e-9)


def test_the_quick_pictures_are_those_of_the_exact_renderer():
    figures = SCENES[1]
    exact = render_scene(figures, supersample=1, size_divisor=10).astype(int)
    quick = ClipRenderer(width=128, supersample=1).draw(figures).astype(int)
    assert quick.shape == exact.shape
    assert (np.abs(quick - exact).max(-1) > 2).mean() < 1e-3


def test_the_video_is_written_as_h264(tmp_path):
    av = pytest.importorskip('av')
    ramp = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (48, 64, 3))
    encode_video(tmp_path / 'ramp.mp4', (np.roll(ramp, 4 * k, axis=1) for k in range(6)), 25.0)
    with av.open(str(tmp_path / 'ramp.mp4')) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ('h264', 'yuv420p')
        frames = [frame.to_ndarray(format='bgr24') for frame in container.decode(stream)]
    assert len(frames) == 6 and np.abs(frames[3].astype(int) - np.roll(ramp, 12, axis=1)).mean() < 8


def test_the_shipped_video_shows_the_people_where_the_truth_says(truth):
    av = pytest.importorskip('av')
    path = ASSETS / 'clip.mp4'
    assert path.stat().st_size <= 700_000
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ('h264', 'yuv420p')
        assert stream.average_rate == FRAME_RATE
        frames = [frame.to_ndarray(format='bgr24') for frame in container.decode(stream)]
    assert len(frames) == NUM_FRAMES and frames[0].shape == (CLIP_SIZE[1], CLIP_SIZE[0], 3)
    camera = Camera(*truth['camera'].tolist())
    pixels = camera.project(torch.from_numpy(truth['keypoints_cam'].astype(np.float64))).numpy()
    places = pixels[::9, :, [1, 4, 7, 8, 11, 14]].round().astype(int)
    inside = ((places >= 0) & (places < CLIP_SIZE)).all(-1)
    colours = np.stack(frames[::9])[np.nonzero(inside)[0], places[inside][:, 1], places[inside][:, 0]].astype(int)
    # Clothes are coloured or dark, the studio is grey and light; an edge may be in between.
    on_people = (np.ptp(colours, axis=1) > 25) | (colours.max(1) < 120)
    assert len(colours) > 150 and on_people.mean() > 0.97
    elsewhere = np.stack(frames[::9])[:, 20, 20].astype(int)
    assert (np.ptp(elsewhere, axis=1) < 25).all() and (elsewhere.max(1) > 120).all()
