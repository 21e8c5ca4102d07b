# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.datasets import (
    CameraDistribution,
    DetectorNoise,
    PoseAugmentation,
    Proportions,
    augment_poses,
    imitate_detector,
    make_pairs,
)
from stereopose_mm.datasets.pair_synthesis import (
    MEAN_BONE_LENGTHS,
    assemble_pose,
    bone_directions,
    mirror_pose,
    place_in_view,
    world_to_camera_rotation,
)
from stereopose_mm.geometry import H36M_17

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
    arguments = dict(noise=DetectorNoise(clean_prob=0.3), augmentation=PoseAugmentation(0.5, 5.0, 5.0))
    directions = random_directions(40)
    one, other, third = (make_pairs(directions, generator(s), **arguments) for s in (1, 1, 2))
    for field in ('keypoints', 'keypoints_visible', 'pose_cam'):
        assert torch.equal(getattr(one, field), getattr(other, field))
        assert not torch.equal(getattr(one, field), getattr(third, field))
    assert torch.equal(one.camera.fx, other.camera.fx)


def spread_keypoints(num=4000):
    """``(N, 17, 2)`` pixels of bodies of one size, all alike."""
    return torch.randn(17, 2, generator=generator(5)).mul(100).add(500).expand(num, 17, 2)


def test_missing_joints():
    noise = DetectorNoise(clean_prob=0.25, jitter=0.0, swap_prob=0.0, missing_prob=0.1)
    keypoints = spread_keypoints()
    noisy, visible = imitate_detector(keypoints, noise, generator())
    assert (visible[:, 0] == 1).all()
    assert (1 - visible[:, 1:]).mean().item() == pytest.approx(0.75 * 0.1, rel=0.05)
    missing = visible == 0
    # They lie at the root: nothing of them is left in the picture.
    assert torch.equal(noisy[missing], keypoints[:, :1].expand_as(keypoints)[missing])
    assert torch.equal(noisy[~missing], keypoints[~missing])


def test_joints_that_coco_lacks():
    noise = DetectorNoise(clean_prob=0.0, jitter=0.0, swap_prob=0.0, missing_prob=0.0, coco_prob=0.5)
    _, visible = imitate_detector(spread_keypoints(), noise, generator())
    names = [H36M_17.joint_names[k] for k in range(17) if (visible[:, k] == 0).any()]
    assert names == ['spine', 'head']
    assert torch.equal(visible[:, 7], visible[:, 10])
    assert visible[:, 7].mean().item() == pytest.approx(0.5, abs=0.03)


def test_jitter_grows_with_the_body_and_never_beyond_its_level():
    noise = DetectorNoise(clean_prob=0.0, jitter=0.1, swap_prob=0.0, missing_prob=0.0)
    keypoints = spread_keypoints()
    size = (keypoints[0] - keypoints[0].mean(0)).square().sum(-1).mean().sqrt()
    error = imitate_detector(keypoints, noise, generator())[0] - keypoints
    # Levels are uniform below 0.1 of the size: the mean square of the level is a third of the greatest.
    hip_error = error[:, 1].square().mean().sqrt() / size
    assert hip_error.item() == pytest.approx(0.1 / math.sqrt(3), rel=0.05)
    assert error[:, [3, 6, 13, 16]].std() > 1.1 * error[:, [1, 4, 11, 14]].std()
    bigger = imitate_detector(3 * keypoints, noise, generator())[0] - 3 * keypoints
    torch.testing.assert_close(bigger, 3 * error, rtol=1e-3, atol=1e-2)


def test_clean_pairs_are_exact():
    keypoints = spread_keypoints()
    noisy, visible = imitate_detector(keypoints, DetectorNoise(clean_prob=0.6, missing_prob=0.0), generator())
    exact = (noisy == keypoints).flatten(1).all(1)
    assert exact.float().mean().item() == pytest.approx(0.6, abs=0.03)
    noisy, visible = imitate_detector(keypoints, DetectorNoise(), generator())
    assert torch.equal(noisy, keypoints) and (visible == 1).all()


def test_swaps_are_of_legs_arms_or_both():
    noise = DetectorNoise(clean_prob=0.0, jitter=0.0, swap_prob=0.3, missing_prob=0.0)
    keypoints = spread_keypoints(6000)
    noisy, _ = imitate_detector(keypoints, noise, generator())
    moved = (noisy != keypoints).any(-1)
    legs, arms = [1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 15, 16]
    assert not moved[:, [0, 7, 8, 9, 10]].any()
    for limbs in (legs, arms):
        assert torch.equal(moved[:, limbs].all(1), moved[:, limbs].any(1))
    kinds = [moved[:, 1] & ~moved[:, 11], ~moved[:, 1] & moved[:, 11], moved[:, 1] & moved[:, 11]]
    for kind in kinds:
        assert kind.float().mean().item() == pytest.approx(0.1, abs=0.015)
    swapped = kinds[2]
    assert torch.equal(noisy[swapped], keypoints[swapped][:, list(H36M_17.flip_indices)])


def test_augmentation_keeps_unit_directions():
    directions, others = random_directions(300, 1), random_directions(300, 2)
    for augmentation in (
        PoseAugmentation(mix_prob=1.0),
        PoseAugmentation(limb_jitter_deg=20.0),
        PoseAugmentation(tilt_deg=20.0),
        PoseAugmentation(0.5, 10.0, 10.0),
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
        (DetectorNoise, dict(missing_prob=1.5), 'missing_prob takes 0 … 1.0, got 1.5'),
        (DetectorNoise, dict(clean_prob=math.nan), 'clean_prob'),
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
