# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from stereopose_mm.datasets.detector_noise import SWAPPED, swapped_indices
from stereopose_mm.geometry import COCO_17, H36M_17
from stereopose_mm.labeling.calibration import lift_population, load_label_model, measure_labels
from stereopose_mm.labeling.judgement import judge_labels
from stereopose_mm.labeling.quality import PARTS, GateThresholds, label_quality
from stereopose_mm.labeling.side_check import SideModel, fit_sides, side_evidence

LEGS = ('hip', 'knee', 'ankle', 'foot')


@pytest.fixture(scope='module')
def annotated(measured):
    """A lifter and 198 people as annotators mark them."""
    lifter, people, _, _ = measured
    rows = torch.from_numpy(np.flatnonzero(people.kind == 'annotated'))
    chosen = (value[rows] for value in (people.keypoints, people.scores, people.camera, people.truth))
    return lifter, type(people)(people.kind[rows.numpy()], *chosen)


def exchanged(people, swap):
    index = swapped_indices('coco')[SWAPPED.index(swap)]
    return replace(people, keypoints=people.keypoints[:, index], scores=people.scores[:, index])


def judged(lifter, people, model, thresholds=None):
    lifted = lift_population(lifter, people)
    parts = measure_labels(lifter, people, lifted, model.body).parts
    return judge_labels(
        lifter, model, people.keypoints.numpy(), people.scores.numpy(), people.camera, lifted, parts,
        thresholds or GateThresholds(),
    )  # fmt: skip


@pytest.mark.parametrize('skeleton', [COCO_17, H36M_17])
def test_what_is_exchanged(skeleton):
    index = swapped_indices(skeleton.name)
    names = np.array(skeleton.joint_names)
    assert torch.equal(index.gather(1, index), torch.arange(17).expand(3, -1))
    for swap, row in zip(SWAPPED, index.tolist(), strict=True):
        for name, other in zip(names, names[row], strict=True):
            sided = any(part in name for part in ('left', 'right'))
            leg = any(part in name for part in LEGS)
            head = any(part in name for part in ('eye', 'ear', 'nose'))
            moves = sided and (swap == 'all' or (swap == 'legs') == leg and not head)
            mirrored = name.replace('left', '#').replace('right', 'left')
            assert other == (mirrored.replace('#', 'right') if moves else name)


def test_evidence_of_an_exchange_is_against_exchanging_back(annotated):
    lifter, people = annotated
    for i, swap in enumerate(SWAPPED):
        other = exchanged(people, swap)
        both = [
            side_evidence(
                lifter, each.keypoints.numpy(), each.scores.numpy(), each.camera, lift_population(lifter, each)
            )
            for each in (people, other)
        ]
        assert both[0].shape == (len(people), 3, 3)
        np.testing.assert_allclose(both[0][:, i], -both[1][:, i], atol=1e-3)
        assert both[0][:, i].mean() < 0


def test_confused_sides_are_found_and_named(annotated, model):
    lifter, people = annotated
    right = judged(lifter, people, model)
    assert (right.sides != '').mean() < 0.03 and (right.reason == 'left and right probably confused').mean() < 0.03
    for swap in ('legs', 'arms'):
        wrong = judged(lifter, exchanged(people, swap), model)
        found = wrong.reason == 'left and right probably confused'
        assert found.sum() > 10 * max(1, (right.reason == 'left and right probably confused').sum())
        assert ((wrong.sides != '') == found).all() and (wrong.sides[found] == swap).mean() > 0.75
        doubt = wrong.parts['side_doubt']
        assert (doubt[found] > 0.5).all() and ((doubt >= 0) & (doubt <= 1)).all()
        plain, _ = label_quality(model.quality, wrong.parts)
        np.testing.assert_allclose(wrong.quality, plain * (1 - doubt))
        # Without a look they pass for as good as others.
        blind = judged(lifter, exchanged(people, swap), model, GateThresholds(max_side_doubt=1.0))
        assert (blind.reason[found] == '').all() and not blind.parts['side_doubt'].any() and (blind.sides == '').all()


def test_the_fit_finds_weights_that_evidence_was_made_with():
    generator = np.random.default_rng(0)
    evidence = generator.normal(-0.5, 0.5, (40000, 3, 3))
    evidence[..., 2] = generator.normal(0, 0.5, (40000, 3))
    true = SideModel(dict(uncertainty=4.0, residual=2.0, unused=0.0), -3.0, dict.fromkeys(PARTS, 0.0), 0.0)
    chance, _ = true.doubt(evidence)
    confused = generator.random(40000) < chance
    parts = {name: np.exp(generator.normal(0, 1, 40000)) for name in PARTS}
    parts['residual'] *= np.exp(2 * (chance > 0.5))
    fitted = fit_sides(evidence, confused, parts)
    np.testing.assert_allclose(list(fitted.weights.values()), [4, 2, 0], atol=0.35)
    assert fitted.intercept == pytest.approx(-3, abs=0.2)
    found = confused & (fitted.doubt(evidence)[0] > 0.5)
    looks = fitted.looks_at(parts)
    assert looks[found].mean() == pytest.approx(0.9, abs=0.01) and looks.mean() < 0.6
    assert max(fitted.screen, key=lambda name: abs(fitted.screen[name])) == 'residual'


def test_who_cannot_be_lifted_with_an_exchange_is_not_doubted(annotated, model):
    lifter, people = annotated
    evidence = np.full((1, 3, 3), -10.0)
    doubt, _ = model.sides.doubt(evidence)
    assert doubt[0] < 1e-6
    alone = people.scores.clone()
    alone[:, 5:] = 0
    lifted = lift_population(lifter, replace(people, scores=alone))
    found = side_evidence(lifter, people.keypoints.numpy(), alone.numpy(), people.camera, lifted)
    assert np.isfinite(found).all()


def test_wrong_models_and_thresholds_are_named(tmp_path):
    weights, screen = dict(uncertainty=1.0, residual=1.0, unused=1.0), dict.fromkeys(PARTS, 1.0)
    with pytest.raises(ValueError, match=r'weights takes .*none negative'):
        SideModel(dict(weights, uncertainty=-1.0), 0.0, screen, 0.5)
    with pytest.raises(ValueError, match='screen takes'):
        SideModel(weights, 0.0, weights, 0.5)
    with pytest.raises(ValueError, match='takes finite numbers, got .*nan'):
        SideModel(weights, float('nan'), screen, 0.5)
    for confused, evidence, message in (
        (0, 0.0, 'people of both kinds, got 0 of 4'),
        (1, -1.0, 'none of the 1 confused'),
    ):
        with pytest.raises(ValueError, match=message):
            fit_sides(np.full((4, 3, 3), evidence), np.arange(4) < confused, {name: np.ones(4) for name in PARTS})
    with pytest.raises(ValueError, match='max_side_doubt takes a number of at least 0, got -1'):
        GateThresholds(max_side_doubt=-1)
    stored = json.loads((load_label_model.__globals__['MODEL_FILE']).read_text())
    del stored['coco']['sides']['weights']['unused']
    file = tmp_path / 'models.json'
    file.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r'models.json: no calibration of labels from .coco. keypoints: weights takes'):
        load_label_model('coco', file)
