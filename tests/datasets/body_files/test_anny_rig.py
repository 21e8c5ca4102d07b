# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stereopose_mm.datasets.body_files import SEGMENTS, AnnyRig, BodyDistribution
from stereopose_mm.geometry import COCO_17, H36M_17

# Published mean lengths in centimetres, by the joint at the bone's end.
PUBLISHED = {
    'left_hip': 13.3, 'left_knee': 44.3, 'left_foot': 45.4, 'spine': 23.3, 'thorax': 25.7, 'neck_base': 12.1,
    'head': 11.5, 'left_shoulder': 15.1, 'left_elbow': 27.9, 'left_wrist': 25.2,
}  # fmt: skip
turns = st.integers(0, 2**31).map(
    lambda seed: Rotation.random(6 * len(SEGMENTS), random_state=seed).as_matrix().reshape(6, len(SEGMENTS), 3, 3)
)


def lengths(poses):
    joints = range(1, H36M_17.num_keypoints)
    return np.linalg.norm(poses[:, joints] - poses[:, [H36M_17.parents[j] for j in joints]], axis=-1)


def t_pose(bodies):
    count = len(bodies.offsets)
    return bodies.pose(np.tile(np.eye(3), (count, len(SEGMENTS), 1, 1)), np.arange(count))


def test_the_t_pose(bodies):
    poses = t_pose(bodies)
    joint = {name: poses[:, i] for i, name in enumerate(H36M_17.joint_names)}
    coco = {name: poses[:, 17 + i] for i, name in enumerate(COCO_17.joint_names)}
    np.testing.assert_allclose(joint['root'], 0, atol=1e-12)
    for start, end, axis in (('shoulder', 'wrist', 0), ('hip', 'foot', 1)):
        for side, sign in (('left', 1), ('right', -1)):
            limb = joint[f'{side}_{end}'] - joint[f'{side}_{start}']
            level = np.delete(limb, axis, axis=1)
            np.testing.assert_allclose(level, 0, atol=1e-9)
            assert (limb[:, axis] * (sign if axis == 0 else -1) > 0.3).all()
    for name in ('eye', 'ear', 'shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle'):
        assert (coco[f'left_{name}'][:, 0] > 0.01).all() and (coco[f'right_{name}'][:, 0] < -0.01).all()
    ears = (coco['left_ear'] + coco['right_ear']) / 2
    assert (coco['nose'][:, 2] - ears[:, 2] > 0.06).all()
    assert (coco['left_eye'][:, 1] > coco['nose'][:, 1]).all()
    assert (joint['head'][:, 1] > coco['left_eye'][:, 1]).all()


def test_mean_lengths_are_near_published_ones(rig):
    adults = BodyDistribution(child_prob=0)
    made = lengths(t_pose(rig.bodies(*adults.draw(400, rig, np.random.default_rng(0))))).mean(axis=0) * 100
    found = np.array([made[H36M_17.index(name) - 1] for name in PUBLISHED])
    published = np.array(list(PUBLISHED.values()))
    # The people of Human3.6M are taller, and its hips wider and shoulders narrower than joints are.
    np.testing.assert_allclose(found, published, rtol=0.22)
    assert abs(found.sum() / published.sum() - 1) < 0.05
    thigh, shin = (list(PUBLISHED).index(name) for name in ('left_knee', 'left_foot'))
    assert found[thigh] / found[shin] == pytest.approx(44.3 / 45.4, abs=0.03)


@settings(max_examples=20)
@given(turns=turns)
def test_limbs_are_rigid_whatever_the_pose(bodies, turns):
    limbs = [H36M_17.index(f'left_{name}') - 1 for name in ('knee', 'foot', 'elbow', 'wrist')]
    posed = lengths(bodies.pose(turns, np.arange(6)))
    np.testing.assert_allclose(posed[:, limbs], lengths(t_pose(bodies))[:, limbs], atol=1e-9)


@settings(max_examples=20)
@given(turns=turns)
def test_turning_everything_turns_the_pose(bodies, turns):
    whole = turns[0, 0]
    np.testing.assert_allclose(
        bodies.pose(whole @ turns, np.arange(6)), bodies.pose(turns, np.arange(6)) @ whole.T, atol=1e-9
    )


def test_a_stretched_thigh_is_longer_and_nothing_else_is(rig):
    phenotypes = np.full((2, len(rig.phenotype_names)), 0.5)
    factors = np.ones((2, len(SEGMENTS)))
    factors[1, SEGMENTS.index('left_thigh')] = 1.1
    plain, longer = lengths(t_pose(rig.bodies(phenotypes, factors)))
    ratio = longer / plain
    assert ratio[H36M_17.index('left_knee') - 1] == pytest.approx(1.1)
    np.testing.assert_allclose(np.delete(ratio, H36M_17.index('left_knee') - 1), 1, atol=1e-9)


def test_blend_shapes_of_one_kind_share_a_weight_of_one(rig):
    phenotypes = np.random.default_rng(1).uniform(0, 1, (50, len(rig.phenotype_names)))
    weights = rig.coefficients(phenotypes)
    # A kind multiplies the same phenotypes; each of its shapes stands for one combination of their variations.
    column = {name: slice(first, last + 1) for name, (first, last) in zip(rig.phenotype_names, rig.steps, strict=True)}
    counts = {name: rig.mask[:, cut].any(axis=1) for name, cut in column.items()}
    used = counts['gender'] & counts['age'] & counts['muscle'] & counts['weight']
    body = used & ~counts['height'] & ~counts['proportions'] & ~counts['cupsize']
    assert body.sum() == 2 * 5 * 3 * 3
    np.testing.assert_allclose(weights[:, body].sum(axis=1), 1)
    np.testing.assert_allclose(weights[:, used & counts['height']].sum(axis=1), 1)
    assert (weights >= 0).all()


def test_taller_and_older_bodies_are_longer(rig):
    phenotypes = np.full((3, len(rig.phenotype_names)), 0.5)
    phenotypes[:, rig.phenotype_names.index('height')] = (0.2, 0.8, 0.5)
    phenotypes[2, rig.phenotype_names.index('age')] = 0.2
    short, tall, child = lengths(t_pose(rig.bodies(phenotypes))).sum(axis=1)
    assert child < 0.9 * short and short < 0.85 * tall


def test_wrong_phenotypes_are_named(rig):
    with pytest.raises(ValueError, match=r'phenotypes takes \(B, 11\), got \(2, 10\)'):
        rig.bodies(np.zeros((2, 10)))


def test_a_rig_is_read_as_it_was_written(rig, tmp_path):
    rig.save(tmp_path / 'rig.npz')
    again = AnnyRig.load(tmp_path / 'rig.npz')
    assert again.phenotype_names == rig.phenotype_names
    np.testing.assert_array_equal(again.shapes, rig.shapes)
    np.testing.assert_array_equal(again.population['female_height'], rig.population['female_height'])
