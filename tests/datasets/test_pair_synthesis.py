# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from stereopose_mm.apis import coco_to_h36m
from stereopose_mm.codecs import StereoPoseLifting
from stereopose_mm.datasets import (
    CameraDistribution,
    DetectorNoise,
    PoseAugmentation,
    Proportions,
    augment_poses,
    make_pairs,
)
from stereopose_mm.datasets.detector_noise import _table
from stereopose_mm.datasets.pair_synthesis import (
    MEAN_BONE_LENGTHS,
    assemble_pose,
    bone_directions,
    mirror_pose,
    place_in_view,
    split_bones,
    tell_camera,
    world_to_camera_rotation,
)
from stereopose_mm.geometry import COCO_17, H36M_17, H36M_COCO, Camera

LEFT_BONES = [k - 1 for k in H36M_17.left]
RIGHT_BONES = [k - 1 for k in H36M_17.right]
PARENTS = [parent for parent, _ in H36M_17.bones]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def standing(num=1):
    """Bone directions of people who stand facing +z, arms down, y up."""
    directions = torch.zeros(16, 3)
    down, up, left, right = ((0, -1, 0), (0, 1, 0), (1, 0, 0), (-1, 0, 0))
    towards = dict(zip(range(1, 4), (right, down, down), strict=True)) | {4: left, 5: down, 6: down}
    towards |= {7: up, 8: up, 9: up, 10: up, 11: left, 12: down, 13: down, 14: right, 15: down, 16: down}
    for joint, direction in towards.items():
        directions[joint - 1] = torch.tensor(direction)
    return directions.repeat(num, 1, 1)


def random_directions(num, seed=0):
    directions = standing(num) + 0.4 * torch.randn(num, 16, 3, generator=generator(seed))
    return directions / directions.norm(dim=-1, keepdim=True)


def bone_lengths(pose):
    return (pose[:, 1:] - pose[:, PARENTS]).norm(dim=-1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(['uniform', 'normal']))
def test_bone_lengths_come_out_as_drawn_and_left_equals_right(seed, distribution):
    proportions = Proportions(bone_spread=0.1, body_spread=0.1, distribution=distribution)
    lengths = proportions.sample(20, generator(seed))
    directions = random_directions(20, seed)
    pose = assemble_pose(directions, lengths)
    torch.testing.assert_close(bone_lengths(pose), lengths)
    torch.testing.assert_close(bone_directions(pose), directions, rtol=0, atol=2e-6)
    assert (pose[:, 0] == 0).all()
    assert torch.equal(lengths[:, LEFT_BONES], lengths[:, RIGHT_BONES])
    pose_cam = make_pairs(directions, generator(seed), proportions).pose_cam
    final = bone_lengths(pose_cam)
    torch.testing.assert_close(final[:, LEFT_BONES], final[:, RIGHT_BONES], rtol=0, atol=1e-5)


def test_proportions_are_those_asked_for():
    lengths = Proportions(bone_spread=0.0, body_spread=0.0).sample(3, generator())
    by_name = dict(zip(H36M_17.joint_names[1:], lengths[0].tolist(), strict=True))
    wanted = dict(right_hip='hip', left_knee='thigh', right_foot='shin', spine='lower_spine', thorax='upper_spine')
    wanted |= dict(neck_base='neck', head='head', left_shoulder='clavicle', right_elbow='upper_arm')
    wanted |= dict(left_wrist='forearm')
    for joint, bone in wanted.items():
        assert by_name[joint] == pytest.approx(MEAN_BONE_LENGTHS[bone])

    many = Proportions(bone_spread=0.05, body_spread=0.1).sample(20000, generator())
    ratio = many / lengths[0]
    assert ratio.min() >= 0.9 * 0.95 - 1e-6 and ratio.max() <= 1.1 * 1.05 + 1e-6
    # The variance of a product of independent uniform factors of mean 1.
    expected = math.sqrt((1 + 0.1**2 / 3) * (1 + 0.05**2 / 3) - 1)
    torch.testing.assert_close(ratio.std(0), torch.full((16,), expected), rtol=0.03, atol=0)
    torch.testing.assert_close(ratio.mean(0), torch.ones(16), rtol=0.005, atol=0)
    # A body's bones share its size: that is their covariance.
    covariance = torch.cov(ratio[:, [1, 6]].T)[0, 1]
    assert covariance.item() == pytest.approx(0.1**2 / 3, rel=0.1)

    normal = Proportions(bone_spread=0.05, body_spread=0.0, distribution='normal').sample(20000, generator())
    assert (normal / lengths[0]).std().item() == pytest.approx(0.05, rel=0.05)
    longer = Proportions(0.0, 0.0, mean_lengths=dict(thigh=0.5)).sample(1, generator())[0]
    assert longer[1] == longer[4] == 0.5 and longer[2] == lengths[0, 2]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_exact_pairs_reproject_onto_their_keypoints(seed):
    pairs = make_pairs(random_directions(50, seed), generator(seed))
    assert (pairs.pose_cam[..., 2] > 0).all()
    z = pairs.pose_cam[..., 2]
    for axis, (focal, centre) in enumerate(((pairs.camera.fx, pairs.camera.cx), (pairs.camera.fy, pairs.camera.cy))):
        expected = focal[:, None] * pairs.pose_cam[..., axis] / z + centre[:, None]
        torch.testing.assert_close(pairs.keypoints[..., axis], expected, rtol=1e-5, atol=5e-3)
    assert (pairs.keypoints_visible == 1).all()


def test_bodies_stand_upright():
    level = CameraDistribution(pitch_deg=(0, 0), roll_deg=(0, 0))
    pose = make_pairs(standing(100), generator(), cameras=level).pose_cam
    head, feet = pose[:, H36M_17.index('head')], pose[:, [H36M_17.index('left_foot'), H36M_17.index('right_foot')]]
    # y points down. The spine is vertical, whichever way the body faces.
    assert (head[:, 1] < feet[..., 1].amin(1) - 1.4).all()
    torch.testing.assert_close(head[:, [0, 2]], pose[:, 0, [0, 2]], rtol=0, atol=1e-5)
    tilted = make_pairs(standing(500), generator()).pose_cam
    assert (tilted[:, 10, 1] < tilted[:, 3, 1]).all()


def test_a_camera_that_looks_down_sees_the_head_nearest():
    def depth_of_head_minus_feet(pitch):
        cameras = CameraDistribution(pitch_deg=(pitch, pitch), roll_deg=(0, 0))
        pose, _ = place_in_view(
            assemble_pose(standing(50), Proportions(0, 0).sample(50, generator())), cameras, generator()
        )
        return pose[:, 10, 2] - pose[:, [3, 6], 2].mean(1)

    height = sum(MEAN_BONE_LENGTHS[b] for b in ('thigh', 'shin', 'lower_spine', 'upper_spine', 'neck', 'head'))
    for pitch in (-17.0, 0.0, 40.0):
        expected = torch.full((50,), -height * math.sin(math.radians(pitch)))
        torch.testing.assert_close(depth_of_head_minus_feet(pitch), expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.floats(-7, 7), st.floats(-1.5, 1.5), st.floats(-0.5, 0.5))
def test_world_to_camera_is_a_rotation(yaw, pitch, roll):
    rotation = world_to_camera_rotation(*(torch.tensor([a], dtype=torch.float64) for a in (yaw, pitch, roll)))[0]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(rotation).item() == pytest.approx(1)
    # World up is seen upward, tilted towards a camera that looks down.
    up = rotation[:, 1]
    assert up[2].item() == pytest.approx(-math.sin(pitch), abs=1e-12)
    assert up[:2].norm().item() == pytest.approx(math.cos(pitch), abs=1e-12)


def test_people_face_every_way():
    pose = make_pairs(
        standing(4000), generator(), cameras=CameraDistribution(pitch_deg=(0, 0), roll_deg=(0, 0))
    ).pose_cam
    across = pose[:, 11] - pose[:, 14]
    heading = torch.atan2(across[:, 2], across[:, 0])
    assert torch.histc(heading, 8, -math.pi, math.pi).min() > 400


def test_cameras_are_in_range():
    cameras = CameraDistribution(
        image_size=(1000, 800),
        focal=(700.0, 900.0),
        pitch_deg=(10.0, 20.0),
        roll_deg=(-3.0, 3.0),
        body_fraction=(0.3, 0.6),
        distance=(3.0, 5.0),
    )
    pairs = make_pairs(standing(3000), generator(), cameras=cameras)
    focal, depth = pairs.camera.fx, pairs.pose_cam[:, 0, 2]
    assert torch.equal(focal, pairs.camera.fy)
    assert focal.min() >= 700 and focal.max() <= 900 and focal.max() - focal.min() > 150
    assert depth.min() >= 3 - 1e-5 and depth.max() <= 5 + 1e-5
    for field, value in dict(width=1000, height=800, cx=500, cy=400).items():
        assert (getattr(pairs.camera, field) == value).all()
    spine = pairs.pose_cam[:, 8] - pairs.pose_cam[:, 0]
    spine = spine / spine.norm(dim=-1, keepdim=True)
    pitch = torch.rad2deg(torch.asin(-spine[:, 2]))
    assert 10 - 0.01 <= pitch.min() < 11 and 19 < pitch.max() <= 20 + 0.01
    roll = torch.rad2deg(torch.atan2(spine[:, 0], -spine[:, 1]))
    assert -3.01 <= roll.min() < -2.5 and 2.5 < roll.max() <= 3.01
    # Most of every body is in the picture, and roots stand everywhere in it.
    x, y = pairs.keypoints.unbind(-1)
    inside = (x > 0) & (x < 1000) & (y > 0) & (y < 800)
    assert inside.float().mean() > 0.97
    assert x[:, 0].std() > 100
    centred = make_pairs(standing(20), generator(), cameras=CameraDistribution(off_centre=0.0)).keypoints[:, 0]
    torch.testing.assert_close(centred, torch.tensor([960.0, 540.0]).expand(20, 2))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_nothing_stands_behind_a_near_camera(seed):
    cameras = CameraDistribution(focal=(100.0, 200.0), distance=(0.1, 0.2), body_fraction=(0.9, 0.9))
    assert (make_pairs(random_directions(50, seed), generator(seed), cameras=cameras).pose_cam[..., 2] > 0.49).all()


def test_mirror():
    pose = assemble_pose(random_directions(2), Proportions().sample(2, generator()))
    mirrored = mirror_pose(pose, torch.tensor([True, False]))
    assert torch.equal(mirrored[1], pose[1])
    flip = torch.tensor([-1.0, 1, 1])
    for left, right in zip(H36M_17.left, H36M_17.right, strict=True):
        assert torch.equal(mirrored[0, left], pose[0, right] * flip)
        assert torch.equal(mirrored[0, right], pose[0, left] * flip)
    assert torch.equal(mirrored[0, 9], pose[0, 9] * flip)
    assert torch.equal(mirror_pose(mirrored, torch.tensor([True, False])), pose)


def test_mirror_keeps_a_person_a_person():
    """Left stays the side on which the heart is: across the body × up is still to the back."""
    pose = assemble_pose(standing(2), Proportions().sample(2, generator()))
    pose[:, 13] += torch.tensor([0.0, 0.3, 0.2])
    both = mirror_pose(pose, torch.tensor([True, False]))
    for one in both:
        facing = torch.linalg.cross(one[11] - one[14], one[8] - one[0])
        assert facing[2] > 0
    lifted = both[:, [13, 16], 1].argmax(1)
    assert lifted.tolist() == [1, 0]


def test_share_of_mirrored_poses():
    raised = standing(2000)
    raised[:, 12 - 1] = torch.tensor([0.0, 1.0, 0.0])
    for prob in (0.0, 0.3, 1.0):
        pose = make_pairs(raised, generator(), mirror_prob=prob).pose_cam
        mirrored = (pose[:, 15, 1] < pose[:, 12, 1]).float().mean().item()
        assert mirrored == pytest.approx(prob, abs=0.04)


def test_same_seed_same_pairs():
    arguments = dict(noise=DetectorNoise(clean_prob=0.3), augmentation=PoseAugmentation(0.5, 5.0, 5.0, 5.0))
    directions = random_directions(40)
    one, other, third = (make_pairs(directions, generator(s), **arguments) for s in (1, 1, 2))
    for field in ('keypoints', 'keypoints_visible', 'pose_cam'):
        assert torch.equal(getattr(one, field), getattr(other, field))
        assert not torch.equal(getattr(one, field), getattr(third, field))
    assert torch.equal(one.camera.fx, other.camera.fx)


def test_augmentation_keeps_unit_directions():
    directions, others = random_directions(300, 1), random_directions(300, 2)
    for augmentation in (
        PoseAugmentation(mix_prob=1.0),
        PoseAugmentation(limb_turn_deg=20.0),
        PoseAugmentation(limb_jitter_deg=20.0),
        PoseAugmentation(tilt_deg=20.0),
        PoseAugmentation(mix_prob=0.5, limb_turn_deg=10.0, limb_jitter_deg=10.0, tilt_deg=10.0),
    ):
        new = augment_poses(directions, others, augmentation, generator())
        torch.testing.assert_close(new.norm(dim=-1), torch.ones(300, 16))
        assert not torch.equal(new, directions)
    assert torch.equal(
        augment_poses(directions, others, PoseAugmentation(), generator()),
        directions / directions.norm(dim=-1, keepdim=True),
    )


def limb_angles(directions, limbs, line, spine):
    """Cosines between limb bones, and of limb bones with the spine and the line across the body."""
    across = directions[:, line[0]] - directions[:, line[1]]
    across = across / across.norm(dim=-1, keepdim=True)
    up = directions[:, spine] - (directions[:, spine] * across).sum(-1, keepdim=True) * across
    up = up / up.norm(dim=-1, keepdim=True)
    axes = torch.stack([across, up, torch.linalg.cross(across, up)], 1)
    return directions[:, limbs] @ axes.mT, directions[:, limbs] @ directions[:, limbs].mT


def test_mixed_limbs_keep_their_angles_to_the_torso():
    directions, others = random_directions(100, 1), random_directions(100, 2)
    new = augment_poses(directions, others, PoseAugmentation(mix_prob=1.0), generator())
    kept = [0, 3, 6, 7, 8, 9, 10, 13]
    torch.testing.assert_close(new[:, kept], directions[:, kept])
    for part in (([1, 2, 4, 5], (0, 3), 6), ([11, 12, 14, 15], (10, 13), 7)):
        for found, wanted in zip(limb_angles(new, *part), limb_angles(others, *part), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_legs_and_arms_are_mixed_independently():
    directions, others = random_directions(3000, 1), random_directions(3000, 2)
    new = augment_poses(directions, others, PoseAugmentation(mix_prob=0.4), generator())
    changed = (new - directions).norm(dim=-1) > 1e-3
    legs, arms = changed[:, 1], changed[:, 11]
    assert legs.float().mean().item() == pytest.approx(0.4, abs=0.04)
    assert (legs & arms).float().mean().item() == pytest.approx(0.16, abs=0.03)


def test_sizes_of_jitter_and_tilt():
    directions = random_directions(4000)
    jittered = augment_poses(directions, directions, PoseAugmentation(limb_jitter_deg=5.0), generator())
    limbs = [1, 2, 4, 5, 11, 12, 14, 15]
    angle = torch.rad2deg(torch.acos((jittered * directions).sum(-1).clamp(-1, 1)))
    # Of the three random components, two turn the bone.
    assert angle[:, limbs].square().mean().sqrt().item() == pytest.approx(5 * math.sqrt(2), rel=0.05)
    assert angle[:, [0, 3, 6, 7, 8, 9, 10, 13]].max() < 0.1

    tilted = augment_poses(directions, directions, PoseAugmentation(tilt_deg=8.0), generator())
    torch.testing.assert_close(tilted @ tilted.mT, directions @ directions.mT, rtol=0, atol=1e-5)
    up = augment_poses(standing(4000), standing(4000), PoseAugmentation(tilt_deg=8.0), generator())[:, 7]
    lean = torch.rad2deg(torch.acos(up[:, 1].clamp(-1, 1)))
    assert lean.square().mean().sqrt().item() == pytest.approx(8 * math.sqrt(2), rel=0.05)


def test_a_bone_without_length_is_named():
    pose = assemble_pose(standing(3), Proportions().sample(3, generator()))
    pose[2, 12] = pose[2, 11]
    with pytest.raises(ValueError, match='pose 2: the bone to left_elbow has no length'):
        bone_directions(pose)


@pytest.mark.parametrize(
    ('kind', 'arguments', 'message'),
    [
        (Proportions, dict(bone_spread=0.6), 'bone_spread takes 0 … 0.5, got 0.6'),
        (Proportions, dict(body_spread=-0.1), 'body_spread'),
        (Proportions, dict(distribution='laplace'), "distribution takes .* got 'laplace'"),
        (Proportions, dict(mean_lengths=dict(tail=0.3)), 'mean_lengths takes .*tail'),
        (Proportions, dict(mean_lengths=dict(shin=0.0)), 'mean_lengths takes positive'),
        (CameraDistribution, dict(focal=(900.0, 600.0)), r'focal takes \(low, high\) .* got \(900.0, 600.0\)'),
        (CameraDistribution, dict(focal=(0.0, 600.0)), 'focal'),
        (CameraDistribution, dict(image_size=(0, 600)), 'image_size'),
        (CameraDistribution, dict(pitch_deg=(0.0, math.inf)), 'pitch_deg'),
        (CameraDistribution, dict(distance=(-1.0, 3.0)), 'distance'),
        (CameraDistribution, dict(off_centre=2.0), 'off_centre takes 0 … 1.0, got 2.0'),
        (Proportions, dict(own_share=1.5), 'own_share takes 0 … 1.0, got 1.5'),
        (Proportions, dict(wide_share=-0.1), 'wide_share'),
        (Proportions, dict(offset_spread=0.7), 'offset_spread takes 0 … 0.5, got 0.7'),
        (CameraDistribution, dict(wrong_focal_prob=2.0), 'wrong_focal_prob takes 0 … 1.0, got 2.0'),
        (CameraDistribution, dict(wrong_focal=(2.0, 0.5)), 'wrong_focal'),
        (CameraDistribution, dict(wrong_focal=(0.0, 2.0)), 'wrong_focal'),
        (CameraDistribution, dict(told_fov_deg=180.0), 'told_fov_deg takes degrees between 0 and 180, got 180'),
        (PoseAugmentation, dict(limb_turn_deg=61.0), 'limb_turn_deg takes 0 … 60.0, got 61'),
        (PoseAugmentation, dict(mix_prob=-1.0), 'mix_prob'),
        (PoseAugmentation, dict(tilt_deg=90.0), 'tilt_deg takes 0 … 45.0, got 90.0'),
    ],
)
def test_bad_arguments_are_named(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


def test_portrait_images():
    cameras = CameraDistribution(image_size=(720, 1280))
    assert (make_pairs(standing(3), generator(), cameras=cameras).camera.height == 1280).all()


def test_no_pairs():
    pairs = make_pairs(standing(0), generator(), noise=DetectorNoise(clean_prob=0.5))
    assert pairs.pose_cam.shape == (0, 17, 3) and pairs.camera.batch_size == 0


def random_bodies(num, seed=0):
    """``(N, 34, 3)`` people of H36M-17 and COCO-17, left and right of one length."""
    g = generator(seed)
    directions = torch.randn(num, 17, 3, generator=g)
    directions = torch.cat([random_directions(num, seed), directions / directions.norm(dim=-1, keepdim=True)], 1)
    offset = 0.02 + 0.1 * torch.rand(num, 17, generator=g)
    offset = (offset + offset[:, list(COCO_17.flip_indices)]) / 2
    return assemble_pose(directions, torch.cat([Proportions().sample(num, g), offset], 1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_bones_are_split_and_put_together(seed, coco):
    pose = random_bodies(10, seed)[:, : 34 if coco else 17]
    directions, lengths = split_bones(pose)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones_like(lengths))
    torch.testing.assert_close(assemble_pose(directions, lengths), pose, rtol=0, atol=2e-6)
    assert torch.equal(bone_directions(pose), directions)


def test_a_coco_keypoint_at_its_joint_is_named():
    pose = random_bodies(3)
    pose[1, 17 + 7] = pose[1, 12]
    with pytest.raises(ValueError, match='pose 1: the bone to coco_left_elbow has no length'):
        split_bones(pose)
    with pytest.raises(ValueError, match='takes poses of 17 joints .* got 20'):
        split_bones(pose[:, :20])


def test_own_lengths_are_kept_by_their_share():
    own = 0.1 + torch.rand(20000, 16, generator=generator(1))
    mean = Proportions(0.0, 0.0).sample(1, generator())
    lengths = Proportions(0.0, 0.0, own_share=0.3).sample(20000, generator(), own)
    keeps = (lengths == own).all(1)
    assert keeps.float().mean().item() == pytest.approx(0.3, abs=0.015)
    torch.testing.assert_close(lengths[~keeps], mean.expand(20000, 16)[~keeps])
    assert torch.equal(Proportions(0.0, 0.0, own_share=1.0).sample(20000, generator(), own), own)
    # Spread about their own lengths, each type of bone alike on both sides.
    spread = Proportions(bone_spread=0.05, body_spread=0.1, own_share=1.0).sample(20000, generator(), own) / own
    expected = math.sqrt((1 + 0.1**2 / 3) * (1 + 0.05**2 / 3) - 1)
    torch.testing.assert_close(spread.std(0), torch.full((16,), expected), rtol=0.03, atol=0)
    torch.testing.assert_close(spread[:, LEFT_BONES], spread[:, RIGHT_BONES])
    with pytest.raises(ValueError, match='own_share: 0.3 of the bodies keep their own lengths, but none are given'):
        Proportions(own_share=0.3).sample(4, generator())


WIDE = dict(
    hip=0.4, thigh=0.15, shin=0.15, lower_spine=0.5, upper_spine=0.3, neck=0.4, head=0.6, clavicle=0.4,
    upper_arm=0.15, forearm=0.25,
)  # fmt: skip
BONE_OF_JOINT = dict(
    right_hip='hip', left_knee='thigh', right_foot='shin', spine='lower_spine', thorax='upper_spine',
    neck_base='neck', head='head', left_shoulder='clavicle', right_elbow='upper_arm', left_wrist='forearm',
)  # fmt: skip


def test_wide_bodies():
    joints = [H36M_17.index(name) - 1 for name in BONE_OF_JOINT]
    width = torch.tensor([WIDE[bone] for bone in BONE_OF_JOINT.values()])
    mean = torch.tensor([MEAN_BONE_LENGTHS[bone] for bone in BONE_OF_JOINT.values()])
    lengths = Proportions(0.0, 0.0, wide_share=1.0).sample(20000, generator())
    ratio = lengths[:, joints] / mean - 1
    assert (ratio.abs() <= width + 1e-6).all()
    torch.testing.assert_close(ratio.std(0), width / math.sqrt(3), rtol=0.03, atol=0)
    assert ratio.mean(0).abs().max() < 0.01
    correlation = torch.corrcoef(ratio.T) - torch.eye(len(joints))
    assert correlation.abs().max() < 0.03, 'each bone is drawn on its own'
    assert torch.equal(lengths[:, LEFT_BONES], lengths[:, RIGHT_BONES])
    share = Proportions(0.0, 0.0, wide_share=0.35).sample(20000, generator())
    is_wide = (share[:, joints] - mean).abs().amax(1) > 1e-6
    assert is_wide.float().mean().item() == pytest.approx(0.35, abs=0.015)


def test_distances_to_coco_keypoints_are_the_bodys_own():
    own = split_bones(random_bodies(20000))[1]
    assert torch.equal(Proportions(0.0, 0.0, own_share=1.0).sample(20000, generator(), own), own)
    lengths = Proportions(bone_spread=0.3, body_spread=0.0, offset_spread=0.2).sample(20000, generator(), own)
    ratio = lengths[:, 16:] / own[:, 16:]
    assert ratio.min() >= 0.8 - 1e-5 and ratio.max() <= 1.2 + 1e-5
    torch.testing.assert_close(ratio.std(0), torch.full((17,), 0.2 / math.sqrt(3)), rtol=0.03, atol=0)
    torch.testing.assert_close(ratio[:, list(COCO_17.left)], ratio[:, list(COCO_17.right)])
    kinds = ratio[:, [0, *COCO_17.left]]
    correlation = torch.corrcoef(kinds.T) - torch.eye(9)
    assert correlation.abs().max() < 0.03, 'nose, eyes, ears … each on its own'
    # A larger body has larger distances, whatever its bones.
    larger = Proportions(bone_spread=0.0, body_spread=0.1).sample(20000, generator(), own)
    body = larger[:, 1] / MEAN_BONE_LENGTHS['thigh']
    torch.testing.assert_close(larger[:, 16:] / own[:, 16:], body[:, None].expand(-1, 17))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_mirrored_bodies_keep_coco_keypoints_with_their_joints(seed):
    pose = random_bodies(4, seed)
    mirrored = mirror_pose(pose, torch.tensor([True, False, True, False]))
    assert torch.equal(mirrored[1::2], pose[1::2])
    flip = torch.tensor([-1.0, 1, 1])
    assert torch.equal(mirrored[::2], pose[::2][:, list(H36M_COCO.flip_indices)] * flip)
    # The halves mirror as sets of their own, and sides stay those of one person.
    assert torch.equal(mirrored[0, 17:], pose[0, 17:][list(COCO_17.flip_indices)] * flip)
    for k, parent in enumerate(H36M_COCO.parents[17:], 17):
        other, other_parent = H36M_COCO.flip_indices[k], H36M_COCO.flip_indices[parent]
        torch.testing.assert_close(
            (mirrored[0, k] - mirrored[0, parent]), (pose[0, other] - pose[0, other_parent]) * flip
        )
    assert torch.equal(mirror_pose(mirrored, torch.tensor([True, False, True, False])), pose)


# Which of COCO's keypoints, by their joint, a limb carries along: knee and ankle, elbow and wrist.
LIMBS = {'right': ([1, 2], [14, 16], [14, 15], [8, 10]), 'left': ([4, 5], [13, 15], [11, 12], [7, 9])}
LIMB_BONES = [bones + [16 + k for k in coco] for side in LIMBS.values() for bones, coco in (side[:2], side[2:])]


def gram(directions):
    return directions @ directions.mT


@pytest.mark.parametrize('num_bones', [16, 33])
def test_turned_limbs_keep_elbows_knees_and_their_coco_keypoints(num_bones):
    directions = bone_directions(random_bodies(4000))[:, :num_bones]
    turned = augment_poses(directions, directions, PoseAugmentation(limb_turn_deg=10.0), generator())
    limbs = [[b for b in bones if b < num_bones] for bones in LIMB_BONES]
    for limb in limbs:
        # One turn of all that the limb is made of: every angle within it stays.
        torch.testing.assert_close(gram(turned[:, limb]), gram(directions[:, limb]), rtol=0, atol=1e-5)
    others = [b for b in range(num_bones) if all(b not in limb for limb in limbs)]
    torch.testing.assert_close(turned[:, others], directions[:, others], rtol=0, atol=1e-6)
    # A turn about a random axis by an angle of that root mean square: two of its three components move a bone.
    chord = (turned - directions)[:, [b for limb in limbs for b in limb[:2]]].norm(dim=-1)
    angle = torch.rad2deg(2 * torch.asin(chord / 2))
    assert angle.square().mean().sqrt().item() == pytest.approx(10 * math.sqrt(2 / 3), rel=0.05)
    # Each limb is turned on its own.
    moved = (turned - directions)[:, [limb[0] for limb in limbs]].flatten(1)
    assert (torch.corrcoef(moved.T) - torch.eye(12))[:3, 3:].abs().max() < 0.1


def test_mixed_limbs_bring_their_coco_keypoints():
    directions, others = (bone_directions(random_bodies(100, seed)) for seed in (1, 2))
    new = augment_poses(directions, others, PoseAugmentation(mix_prob=1.0), generator())
    for limb in LIMB_BONES:
        torch.testing.assert_close(gram(new[:, limb]), gram(others[:, limb]), rtol=0, atol=1e-5)
    kept = [b for b in range(33) if all(b not in limb for limb in LIMB_BONES)]
    torch.testing.assert_close(new[:, kept], directions[:, kept], rtol=0, atol=1e-6)


def test_a_body_leans_with_its_coco_keypoints():
    directions = bone_directions(random_bodies(100))
    leaning = augment_poses(directions, directions, PoseAugmentation(tilt_deg=10.0), generator())
    torch.testing.assert_close(gram(leaning), gram(directions), rtol=0, atol=1e-5)


def test_augmented_bodies_keep_their_distances_to_coco_keypoints():
    """Whatever the pose becomes, each keypoint stays as far from its joint as it was."""
    bodies = random_bodies(200)
    directions, lengths = split_bones(bodies)
    augmentation = PoseAugmentation(mix_prob=0.5, limb_turn_deg=20.0, limb_jitter_deg=5.0, tilt_deg=10.0)
    pairs = make_pairs(
        directions, generator(), Proportions(0.0, 0.0, own_share=1.0), augmentation=augmentation,
        own_lengths=lengths, keypoint_set='coco', mirror_prob=0.0,
    )  # fmt: skip
    torch.testing.assert_close(split_bones(pairs.pose_cam)[1], lengths, rtol=0, atol=1e-4)


def wrong_cameras(num=20000, seed=0, **arguments):
    focal = 600 * 5 ** torch.rand(num, generator=generator(9))
    true = Camera(focal, focal, 960.0, 540.0, 1920.0, 1080.0)
    return true, tell_camera(true, CameraDistribution(**arguments), generator(seed))


def test_cameras_told_wrongly():
    true, told = wrong_cameras(wrong_focal_prob=0.3, wrong_focal=(0.5, 2.0))
    factor = told.fx / true.fx
    wrong = factor != 1
    assert wrong.float().mean().item() == pytest.approx(0.3, abs=0.015)
    # Log-uniform: as often too long as too short, and half of them within a factor of the square root of 2.
    log = factor[wrong].log2()
    assert -1 - 1e-5 <= log.min() < -0.98 and 0.98 < log.max() <= 1 + 1e-5
    counts = torch.histc(log, 8, -1, 1) / len(log)
    assert (counts - 0.125).abs().max() < 0.02
    assert torch.equal(told.fy, told.fx)
    for field in ('cx', 'cy', 'width', 'height'):
        assert torch.equal(getattr(told, field), getattr(true, field))
    same = wrong_cameras(seed=0, wrong_focal_prob=0.3, wrong_focal=(0.5, 2.0))[1]
    assert torch.equal(same.fx, told.fx)
    assert wrong_cameras(wrong_focal_prob=0.0, wrong_focal=(0.5, 2.0))[1].fx.equal(true.fx)


def test_cameras_told_to_have_a_usual_field_of_view():
    true, told = wrong_cameras(wrong_focal_prob=0.6, told_fov_deg=55.0, wrong_focal=(3.0, 3.0))
    guessed = Camera.from_fov(55, 1920, 1080).fx
    wrong = told.fx != true.fx
    assert wrong.float().mean().item() == pytest.approx(0.6, abs=0.015)
    torch.testing.assert_close(told.fx[wrong], torch.full_like(told.fx[wrong], guessed))


def test_what_is_told_changes_neither_pose_nor_picture():
    directions = random_directions(400)
    right, wrong = (
        make_pairs(directions, generator(), cameras=CameraDistribution(wrong_focal_prob=p, wrong_focal=(0.5, 2.0)))
        for p in (0.0, 1.0)
    )
    assert torch.equal(wrong.pose_cam, right.pose_cam) and torch.equal(wrong.keypoints, right.keypoints)
    assert (wrong.camera.fx != right.camera.fx).all()
    # It is the camera of the pair that no longer fits.
    torch.testing.assert_close(right.camera.project(right.pose_cam), right.keypoints, rtol=1e-5, atol=5e-3)
    assert (wrong.camera.project(wrong.pose_cam) - wrong.keypoints).norm(dim=-1).mean() > 20


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 1.0]))
def test_coco_keypoints_are_the_projections_of_their_own_joints(seed, mirror_prob):
    directions, lengths = split_bones(random_bodies(30, seed))
    pairs = make_pairs(
        directions, generator(seed), Proportions(own_share=1.0), mirror_prob=mirror_prob, own_lengths=lengths,
        keypoint_set='coco',
    )  # fmt: skip
    assert pairs.pose_cam.shape == (30, 34, 3) and pairs.keypoints.shape == (30, 17, 2)
    torch.testing.assert_close(pairs.camera.project(pairs.pose_cam[:, 17:]), pairs.keypoints, rtol=1e-5, atol=5e-3)
    assert (pairs.keypoints_visible == 1).all()


@pytest.mark.parametrize('noise', [None, DetectorNoise(clean_prob=0.2, missing_prob=0.2, gross_prob=0.2)])
def test_coco_made_into_h36m_is_mmposes_conversion(noise):
    directions, lengths = split_bones(random_bodies(200))
    coco, converted = (
        make_pairs(
            directions, generator(), Proportions(own_share=1.0), noise=noise, own_lengths=lengths, keypoint_set=name
        )
        for name in ('coco', 'coco_as_h36m')
    )
    assert torch.equal(converted.pose_cam, coco.pose_cam[:, :17])
    keypoints, scores = coco_to_h36m(coco.keypoints.numpy(), coco.keypoints_visible.numpy())
    np.testing.assert_allclose(converted.keypoints_visible.numpy(), scores, rtol=1e-6)
    # MMPose puts something for spine and head top, too, which have no source in COCO.
    same = [k for k in range(17) if H36M_17.joint_names[k] not in ('spine', 'head')]
    np.testing.assert_allclose(converted.keypoints[:, same].numpy(), keypoints[:, same], rtol=1e-5, atol=2e-3)
    assert (converted.keypoints_visible[:, [H36M_17.index('spine'), H36M_17.index('head')]] == 0).all()


class CudaGenerator(torch.Generator):
    """A generator that says it is a GPU's; only what FakeTensorMode pretends to run takes it."""

    device = torch.device('cuda')


@pytest.mark.parametrize('keypoint_set', ['h36m', 'coco', 'coco_as_h36m'])
def test_pairs_and_their_encoding_stay_on_one_device(keypoint_set, monkeypatch):
    """Without a GPU: torch's pretended tensors raise where those of two devices meet."""
    # Values, which pretended tensors have not, are checked there.
    monkeypatch.setattr('stereopose_mm.geometry.camera.check_values', lambda *_, **__: None)
    # Nothing that is kept for later may be pretended, nor may what is pretended be kept.
    assert all(skeleton.path_matrix.device.type == 'cpu' for skeleton in (H36M_17, H36M_COCO))
    _table.cache_clear()
    codec = StereoPoseLifting(keypoint_set='coco' if keypoint_set == 'coco' else 'h36m')
    num_bones = 16 if keypoint_set == 'h36m' else 33
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            directions, lengths = (torch.empty(8, num_bones, *d, device='cuda') for d in ((3,), ()))
            with pytest.raises(RuntimeError, match='on the same device'):
                directions + torch.zeros(num_bones, 3)
            for noise, camera in (
                (dict(missing_prob=0.1, truncate_prob=0.2, coco_prob=0.3), dict(told_fov_deg=55.0)),
                (dict(missing_count=(1, 3), scores=False), dict(wrong_focal=(0.5, 2.0))),
            ):
                pairs = make_pairs(
                    directions,
                    CudaGenerator(),
                    Proportions(own_share=0.5, wide_share=0.5, offset_spread=0.1, distribution='normal'),
                    CameraDistribution(wrong_focal_prob=0.5, **camera),
                    DetectorNoise(clean_prob=0.5, gross_prob=0.2, inversion_prob=0.1, **noise),
                    PoseAugmentation(0.5, 10.0, 10.0, 10.0),
                    own_lengths=lengths,
                    keypoint_set=keypoint_set,
                )
                encoded = codec.encode_batch(pairs.keypoints, pairs.keypoints_visible, pairs.camera, pairs.pose_cam)
                made = [pairs.keypoints, pairs.keypoints_visible, pairs.pose_cam, pairs.camera.fx, *encoded.values()]
                assert {tensor.device.type for tensor in made} == {'cuda'}
    finally:
        _table.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('keypoint_set', ['h36m', 'coco', 'coco_as_h36m'])
def test_pairs_on_a_gpu(keypoint_set):
    directions, lengths = (b.cuda() for b in split_bones(random_bodies(64)))
    num_bones = 16 if keypoint_set == 'h36m' else 33
    pairs = make_pairs(
        directions[:, :num_bones],
        torch.Generator('cuda').manual_seed(0),
        Proportions(own_share=0.5, wide_share=0.5, offset_spread=0.1),
        noise=DetectorNoise(clean_prob=0.0, truncate_prob=0.5),
        augmentation=PoseAugmentation(0.5, 10.0, 10.0, 10.0),
        own_lengths=lengths[:, :num_bones],
        keypoint_set=keypoint_set,
    )
    assert pairs.keypoints.is_cuda and pairs.keypoints.isfinite().all() and (pairs.pose_cam[..., 2] > 0).all()
