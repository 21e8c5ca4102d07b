# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from stereopose_mm.geometry import H36M_17
from stereopose_mm.labeling.agreement import disagreement, record_noise
from stereopose_mm.labeling.calibration import (
    POPULATION,
    fit_quality,
    load_label_model,
    save_label_models,
)
from stereopose_mm.labeling.joint_limits import JointLimits, joint_angles, joint_excess
from stereopose_mm.labeling.quality import LIMITED, PARTS, GateThresholds, gate, label_quality

from ..engine.accuracy.conftest import STANDING

BODY = torch.from_numpy(STANDING)
JOINT = {name: H36M_17.index(name) for name in H36M_17.joint_names}


def moved(**places):
    pose = BODY.clone()
    for name, place in places.items():
        pose[JOINT[name]] = torch.tensor(place, dtype=pose.dtype)
    return pose[None]


def test_a_standing_person_is_within_all_limits():
    assert float(joint_excess(BODY[None])) == 0
    angles = joint_angles(BODY[None])
    assert {name: tuple(angle.shape) for name, angle in angles.items()} == {
        name: (1, 1 + (name.split('_')[0] in ('elbow', 'knee', 'hip', 'shoulder'))) for name in vars(JointLimits())
    }
    assert float(angles['spine_twist']) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ('limit', 'side', 'places', 'angle'),
    [
        # She faces +z, her left is +x: shins to the front and to the back, a thigh, and arms.
        ('knee_extension', 0, dict(right_foot=[-0.13, -0.44, 0.47]), 90),
        ('knee_extension', 1, dict(left_foot=[0.13, -0.44, -0.43]), -90),
        ('knee_flexion', 1, dict(left_foot=[0.13, -0.44, -0.43]), 90),
        ('hip_flexion', 1, dict(left_knee=[0.13, 0.0, 0.44]), 90),
        ('hip_extension', 0, dict(right_knee=[-0.13, 0.0, -0.44]), 90),
        ('hip_adduction', 0, dict(right_knee=[0.31, 0.0, 0.0]), 90),
        ('hip_adduction', 1, dict(left_knee=[0.57, 0.0, 0.0]), -90),
        ('shoulder_extension', 1, dict(left_elbow=[0.15, 0.49, -0.27]), 90),
        ('shoulder_adduction', 0, dict(right_elbow=[0.12, 0.49, 0.0]), 90),
        ('elbow_flexion', 0, dict(right_wrist=[-0.15, 0.49, 0.0]), 180),
    ],
)
def test_angles_of_bent_joints(limit, side, places, angle):
    pose = moved(**places)
    assert float(joint_angles(pose)[limit][0, side]) == pytest.approx(angle, abs=8)
    beyond = math.radians(max(0, angle - 8 - getattr(JointLimits(), limit)))
    assert float(joint_excess(pose)) >= beyond
    mirrored = pose[:, list(H36M_17.flip_indices)] * torch.tensor([-1.0, 1, 1])
    assert torch.allclose(joint_angles(mirrored)[limit].flip(1), joint_angles(pose)[limit], atol=1e-3)


def test_a_twisted_and_a_folded_trunk_are_beyond_their_limits():
    swapped = BODY[None].clone()
    swapped[:, [11, 12, 13, 14, 15, 16]] = swapped[:, [14, 15, 16, 11, 12, 13]]
    assert float(joint_angles(swapped)['spine_twist']) == pytest.approx(180, abs=1)
    assert float(joint_excess(swapped)) > math.radians(90)
    folded = moved(thorax=[0, 0.0, 0.05])
    assert float(joint_angles(folded)['spine_bend']) > 150


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), size=st.floats(0.3, 3))
def test_limits_do_not_depend_on_place_direction_or_size(seed, size):
    generator = torch.Generator().manual_seed(seed)
    pose = BODY + 0.2 * torch.randn(17, 3, generator=generator, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    turn = turn * turn.det()
    other = size * pose @ turn.T + 3
    assert torch.allclose(joint_excess(pose[None]), joint_excess(other[None]), atol=1e-6)


def test_noise_depends_on_the_record_and_the_seed_alone():
    keys = np.array([5, 2**63 + 1, 7, 8] * 500, np.uint64) + np.arange(2000, dtype=np.uint64) // 4 * 16
    normal, uniform = record_noise(keys, 3, 4, 17)
    assert normal.shape == (2000, 4, 17, 2) and uniform.shape == (2000, 4, 17)
    for row in (0, 1999):
        alone = record_noise(keys[row : row + 1], 3, 4, 17)
        assert torch.equal(alone[0][0], normal[row]) and torch.equal(alone[1][0], uniform[row])
    assert not torch.equal(record_noise(keys, 4, 4, 17)[0], normal)
    flat = normal.flatten()
    assert abs(float(flat.mean())) < 0.01 and float(flat.std()) == pytest.approx(1, abs=0.01)
    assert float(flat.pow(4).mean()) == pytest.approx(3, abs=0.1)
    assert (
        float(uniform.min()) >= 0 and float(uniform.max()) < 1 and float(uniform.mean()) == pytest.approx(0.5, abs=0.01)
    )
    # No two passes, keypoints or records alike.
    assert len(torch.unique(uniform)) > 0.9 * uniform.numel()
    correlation = np.corrcoef(np.concatenate([normal[..., 0].flatten(1).T, uniform.flatten(1).T]))
    assert np.abs(correlation - np.eye(len(correlation))).max() < 0.12


def test_disagreement_is_of_the_record_and_grows_with_doubt(measured):
    lifter, people, _, _ = measured
    keys = np.arange(len(people), dtype=np.uint64)
    exact = people.kind == 'exact'
    arguments = people.keypoints[exact], people.scores[exact], people.camera[torch.from_numpy(exact)]
    sure = disagreement(lifter, *arguments, keys[exact])
    unsure = disagreement(lifter, arguments[0], 0.3 * arguments[1], arguments[2], keys[exact])
    assert (sure > 0).all() and float((unsure > sure).float().mean()) > 0.8
    part = disagreement(lifter, *(a[3:9] for a in arguments), keys[exact][3:9])
    assert torch.allclose(part, sure[3:9], atol=1e-5)
    odd = disagreement(lifter, *(a[3:9] for a in arguments), keys[exact][3:9], num_passes=3)
    assert (odd > 0).all() and not torch.equal(odd, part)
    with pytest.raises(ValueError, match='num_passes takes 2 or more, got 1'):
        disagreement(lifter, *arguments, keys[exact], num_passes=1)
    with pytest.raises(ValueError, match=f'record_keys: takes {exact.sum()}, got 2'):
        disagreement(lifter, *arguments, keys[:2])


def test_quality_ranks_true_errors(measured, model):
    _, people, _, labels = measured
    quality, parts = label_quality(model.quality, labels.parts)
    good = labels.valid
    assert good.mean() > 0.95 and ((quality >= 0) & (quality <= 1)).all()
    assert spearmanr(quality[good], labels.errors['MPJPE'][good]).statistic < -0.6
    assert np.isfinite(parts['expected_error'][good]).all() and (quality[~good] == 0).all()
    kinds = {kind: quality[people.kind == kind].mean() for kind in POPULATION}
    assert kinds['exact'] > kinds['annotated'] > kinds['few']


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(PARTS), share=st.floats(0, 1), step=st.floats(0, 10))
def test_quality_never_rises_with_a_part(model, name, share, step):
    parts = {part: np.full(2, knots[0] + share * np.ptp(knots)) for part, knots in model.quality.knots.items()}
    parts[name] = parts[name] + np.array([0, step])
    quality, _ = label_quality(model.quality, parts)
    assert quality[1] <= quality[0]


def test_a_fit_is_monotone_reproducible_and_survives_its_file(measured, model, tmp_path):
    labels = measured[3]
    fitted = fit_quality(labels)
    again = fit_quality(labels)
    for name in PARTS:
        assert (np.diff(fitted.effects[name]) >= 0).all() and np.array_equal(fitted.effects[name], again.effects[name])
    expected = fitted.expected_error(labels.parts)[labels.valid]
    assert np.log(labels.errors['MPJPE'][labels.valid] / expected).mean() == pytest.approx(0, abs=0.02)
    quality = fitted.quality(fitted.expected_error(labels.parts))
    assert (quality >= fitted.min_quality).mean() == pytest.approx(0.8, abs=0.02)
    save_label_models([model], tmp_path / 'models.json')
    read = load_label_model('coco', tmp_path / 'models.json')
    assert read.fitted == model.fitted and read.quality.min_quality == model.quality.min_quality
    assert np.array_equal(label_quality(read.quality, labels.parts)[0], label_quality(model.quality, labels.parts)[0])


def good_parts(model, num=1):
    parts = {name: np.full(num, model.quality.knots[name][0]) for name in PARTS}
    limited = dict(zip(LIMITED, (1e-3, 4.0, 17, 0.9, 1.1, 1.0), strict=True))
    return {**parts, **{name: np.full(num, float(value)) for name, value in limited.items()}}


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('reprojection_error', 1.5, 'reprojection error above 1 px'),
        ('root_depth', 0.1, 'root depth outside 0.3 … 150 m'),
        ('root_depth', 500.0, 'root depth outside 0.3 … 150 m'),
        ('num_used', 3, 'fewer than 4 keypoints agree'),
        ('shortest_bone', 0.1, 'a bone outside 0.25 … 2.5 of its length'),
        ('longest_bone', 3.0, 'a bone outside 0.25 … 2.5 of its length'),
        ('body_size', 0.2, 'body size outside 0.4 … 1.6 of an adult'),
        ('joint_excess', 2.0, 'joints more than 60 degrees beyond their limits'),
        ('disagreement', np.nan, 'not lifted'),
        ('root_depth', np.nan, 'not lifted'),
    ],
)
def test_each_limit_rejects_by_itself(model, name, value, reason):
    parts = good_parts(model, 2)
    parts[name][1] = value
    quality, parts = label_quality(model.quality, parts)
    assert gate(quality, parts, GateThresholds(), model.quality).tolist() == ['', reason]


def test_the_least_quality_is_the_models_unless_told(model):
    parts = good_parts(model, 2)
    for name in PARTS[:5]:
        parts[name][1] = model.quality.knots[name][-1]
    quality, parts = label_quality(model.quality, parts)
    assert quality[1] < model.quality.min_quality < quality[0]
    reasons = gate(quality, parts, GateThresholds(), model.quality)
    assert reasons[0] == '' and reasons[1] == f'quality below {model.quality.min_quality:.3f}'
    assert gate(quality, parts, GateThresholds(min_quality=0.0), model.quality).tolist() == ['', '']
    assert gate(quality, parts, GateThresholds(min_quality=1.0), model.quality).tolist() == ['quality below 1.000'] * 2


def test_wrong_thresholds_and_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r'thresholds.min_quality takes 0 … 1 or None, got 2'):
        GateThresholds(min_quality=2)
    with pytest.raises(ValueError, match='root_depth takes 0 <= least < greatest'):
        GateThresholds(root_depth=(3, 1))
    with pytest.raises(ValueError, match='thresholds.bone_ratio takes 0 <= least < greatest, got 3'):
        GateThresholds(bone_ratio=3)
    with pytest.raises(ValueError, match="thresholds.min_keypoints takes a number of at least 0, got '4'"):
        GateThresholds(min_keypoints='4')
    file = tmp_path / 'models.json'
    with pytest.raises(ValueError, match='models.json: cannot be read as JSON'):
        load_label_model('coco', file)
    file.write_text('{}')
    with pytest.raises(ValueError, match="models.json: no calibration of labels from 'coco' keypoints"):
        load_label_model('coco', file)
    stored = json.loads((load_label_model.__globals__['MODEL_FILE']).read_text())
    stored['coco']['quality']['effects']['doubt'][0] = 9.0
    file.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match='doubt: takes rising knots and effects that never fall'):
        load_label_model('coco', file)
