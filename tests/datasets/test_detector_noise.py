# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import math
from dataclasses import asdict, fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from stereopose_mm.datasets import DetectorNoise, imitate_detector
from stereopose_mm.datasets.detector_noise import _FACTOR, _GROSS, COCO_GROUPS, MEASURED, body_size
from stereopose_mm.geometry import COCO_17, H36M_17, MPI_INF_3DHP_17

QUIET = DetectorNoise(clean_prob=0.0, jitter=0.0, swap_prob=0.0, missing_prob=0.0)
LIMBS = {
    'h36m': ([1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 15, 16]),
    'coco': ([11, 12, 13, 14, 15, 16], [5, 6, 7, 8, 9, 10]),
}
both_skeletons = pytest.mark.parametrize('skeleton', [H36M_17, COCO_17], ids=lambda s: s.name)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def spread_keypoints(num=4000):
    """``(N, 17, 2)`` pixels of bodies of one size, all alike."""
    return torch.randn(17, 2, generator=generator(5)).mul(100).add(500).expand(num, 17, 2)


def share(mask):
    return mask.float().mean().item()


@both_skeletons
def test_clean_pairs_are_exact_and_certain(skeleton):
    keypoints = spread_keypoints()
    noisy, scores = imitate_detector(keypoints, replace(MEASURED, clean_prob=0.6), generator(), skeleton)
    exact = (noisy == keypoints).flatten(1).all(1)
    assert share(exact) == pytest.approx(0.6, abs=0.03)
    assert (scores[exact] == 1).all() and (scores[~exact] < 1).all()
    noisy, scores = imitate_detector(keypoints, DetectorNoise(), generator(), skeleton)
    assert torch.equal(noisy, keypoints) and (scores == 1).all()


@both_skeletons
def test_jitter_is_its_level_times_the_joints_factor(skeleton):
    keypoints = spread_keypoints(20000)
    error = imitate_detector(keypoints, replace(QUIET, jitter=0.1), generator(), skeleton)[0] - keypoints
    # Levels are uniform below 0.1 of the size: the mean square of the level is a third of the greatest.
    factor = error.square().mean((0, 2)).sqrt() / body_size(keypoints[:1]) / (0.1 / math.sqrt(3))
    limbs = sum(LIMBS[skeleton.name], [])
    assert factor[limbs].square().mean().sqrt().item() == pytest.approx(1, rel=0.02)
    for group, joints in COCO_GROUPS.items() if skeleton is COCO_17 else [('knees', (2, 5)), ('wrists', (13, 16))]:
        for joint in joints:
            assert factor[joint].item() == pytest.approx(_FACTOR[group], rel=0.05)
    level = error.square().mean((1, 2)).sqrt() / body_size(keypoints)
    assert level.quantile(0.25).item() < 0.6 * level.median().item()  # levels differ, more than chance among 34 numbers


def test_jitter_grows_with_the_body_and_the_level():
    keypoints, noise = spread_keypoints(), replace(QUIET, jitter=0.1, scores=False)
    error = imitate_detector(keypoints, noise, generator())[0] - keypoints
    bigger = imitate_detector(3 * keypoints, noise, generator())[0] - 3 * keypoints
    torch.testing.assert_close(bigger, 3 * error, rtol=1e-3, atol=1e-2)
    noisier = imitate_detector(keypoints, replace(noise, level=2.0), generator())[0] - keypoints
    torch.testing.assert_close(noisier, 2 * error, rtol=1e-3, atol=1e-2)


@both_skeletons
def test_gross_errors(skeleton):
    keypoints = spread_keypoints(20000)
    noise = replace(QUIET, gross_prob=0.1, gross_scale=0.5)
    error = imitate_detector(keypoints, noise, generator(), skeleton)[0] - keypoints
    gross = (error != 0).any(-1)
    limbs = sum(LIMBS[skeleton.name], [])
    assert share(gross[:, limbs]) == pytest.approx(0.1, rel=0.05)
    wrists = [13, 16] if skeleton is H36M_17 else [9, 10]
    assert share(gross[:, wrists]) == pytest.approx(0.1 * _GROSS['wrists'], rel=0.08)
    assert (error[gross].std() / body_size(keypoints[:1])).item() == pytest.approx(0.5, rel=0.03)
    more = imitate_detector(keypoints, replace(noise, level=3.0), generator(), skeleton)[0] - keypoints
    assert share((more != 0).any(-1)[:, limbs]) == pytest.approx(0.3, rel=0.05)


@both_skeletons
def test_inversions_are_at_the_mirror_joints_place(skeleton):
    keypoints = spread_keypoints(20000)
    noisy, scores = imitate_detector(keypoints, replace(QUIET, inversion_prob=0.1), generator(), skeleton)
    moved = (noisy != keypoints).any(-1)
    limbs = sorted(sum(LIMBS[skeleton.name], []))
    assert share(moved[:, limbs]) == pytest.approx(0.1, rel=0.05)
    assert not moved[:, [k for k in range(17) if k not in limbs]].any()
    mirrored = keypoints[:, list(skeleton.flip_indices)]
    torch.testing.assert_close(noisy[moved], mirrored[moved])
    # Two of a pair are inverted independently: mostly both are then found at one place.
    a, b = limbs[0], skeleton.flip_indices[limbs[0]]
    assert share(moved[:, a] & moved[:, b]) == pytest.approx(0.01, abs=0.004)
    assert scores[moved].mean() < scores[~moved].mean() - 0.2


@both_skeletons
def test_swaps_are_of_legs_arms_or_all(skeleton):
    keypoints = spread_keypoints(6000)
    noisy, _ = imitate_detector(keypoints, replace(QUIET, swap_prob=0.3), generator(), skeleton)
    moved = (noisy != keypoints).any(-1)
    legs, arms = LIMBS[skeleton.name]
    for limbs in (legs, arms):
        assert torch.equal(moved[:, limbs].all(1), moved[:, limbs].any(1))
    leg, arm = legs[0], arms[0]
    kinds = [moved[:, leg] & ~moved[:, arm], ~moved[:, leg] & moved[:, arm], moved[:, leg] & moved[:, arm]]
    for kind in kinds:
        assert share(kind) == pytest.approx(0.1, abs=0.015)
    mirrored = keypoints[:, list(skeleton.flip_indices)]
    torch.testing.assert_close(noisy[kinds[2]], mirrored[kinds[2]])
    others = [k for k in range(17) if k not in legs + arms]
    assert not moved[kinds[0] | kinds[1]][:, others].any()


def test_a_swapped_limb_keeps_its_scores():
    keypoints, noise = spread_keypoints(), replace(QUIET, gross_prob=0.3)
    noise, swapping = (replace(noise, swap_prob=p) for p in (1e-9, 1.0))
    straight, scores = imitate_detector(keypoints, noise, generator())
    swapped, swapped_scores = imitate_detector(keypoints, swapping, generator())
    moved = (swapped != straight).any(-1)
    mirror = list(H36M_17.flip_indices)
    assert share(moved) > 0.3
    assert torch.equal(swapped[moved], straight[:, mirror][moved])
    assert torch.equal(swapped_scores[moved], scores[:, mirror][moved])


def test_missing_joints():
    noise = replace(QUIET, clean_prob=0.25, missing_prob=0.1)
    keypoints = spread_keypoints()
    noisy, scores = imitate_detector(keypoints, noise, generator())
    missing = scores == 0
    assert not missing[:, 0].any()
    assert share(missing[:, 1:]) == pytest.approx(0.75 * 0.1, rel=0.05)
    # They lie at the root: nothing of them is left in the picture.
    assert torch.equal(noisy[missing], keypoints[:, :1].expand_as(keypoints)[missing])
    assert torch.equal(noisy[~missing], keypoints[~missing])
    half = imitate_detector(keypoints, replace(noise, level=0.5), generator())[1] == 0
    assert share(half[:, 1:]) == pytest.approx(0.75 * 0.05, rel=0.07)


def test_missing_joints_of_coco_lie_at_the_centre_of_the_others():
    keypoints = spread_keypoints(1000)
    noisy, scores = imitate_detector(keypoints, replace(QUIET, missing_prob=0.3), generator(), COCO_17)
    missing = scores == 0
    assert share(missing[:, 0]) == pytest.approx(0.3, abs=0.05)
    for k in range(20):
        centre = keypoints[k][~missing[k]].mean(0)
        torch.testing.assert_close(noisy[k][missing[k]], centre.expand(int(missing[k].sum()), 2))


@both_skeletons
def test_exactly_so_many_joints_go_missing(skeleton):
    noise = replace(QUIET, missing_count=(1, 5), missing_prob=0.9)
    _, scores = imitate_detector(spread_keypoints(), noise, generator(), skeleton)
    number = (scores == 0).sum(1)
    for count in range(1, 6):
        assert share(number == count) == pytest.approx(0.2, abs=0.03)
    by_joint = (scores == 0).float().mean(0)
    can = list(range(17)) if skeleton.root is None else list(range(1, 17))
    assert by_joint[can].sub(3 / len(can)).abs().max() < 0.03
    assert skeleton.root is None or by_joint[skeleton.root] == 0
    _, scores = imitate_detector(spread_keypoints(), replace(noise, missing_count=[2, 2], clean_prob=0.5), generator())
    assert set((scores == 0).sum(1).tolist()) == {0, 2}


def test_joints_that_coco_lacks():
    noise = replace(QUIET, coco_prob=0.5, scores=False)
    _, visible = imitate_detector(spread_keypoints(), noise, generator())
    names = [H36M_17.joint_names[k] for k in range(17) if (visible[:, k] == 0).any()]
    assert names == ['spine', 'head']
    assert torch.equal(visible[:, 7], visible[:, 10])
    assert share(visible[:, 7]) == pytest.approx(0.5, abs=0.03)
    assert (imitate_detector(spread_keypoints(), noise, generator(), COCO_17)[1] == 1).all()


@both_skeletons
def test_the_pictures_edge_cuts_bodies(skeleton):
    keypoints = 400 + 80 * torch.randn(4000, 17, 2, generator=generator(3))
    noise = replace(QUIET, truncate_prob=0.5, missing_prob=0.1)
    _, scores = imitate_detector(keypoints, replace(noise, missing_prob=0.0), generator(), skeleton)
    missing = scores == 0
    cut = missing.any(1)
    assert share(cut) == pytest.approx(0.5, abs=0.03)
    free = torch.ones(17, dtype=torch.bool)
    if skeleton.root is not None:
        free[skeleton.root] = False
        assert not missing[:, skeleton.root].any()
    fits = []
    for edge in ((0, 1), (1, 0), (-1, 0), (0, -1)):
        outward = keypoints @ torch.tensor(edge, dtype=torch.float32)
        inside = outward.masked_fill(missing | ~free, -math.inf).amax(1)
        fits.append((inside < outward.masked_fill(~missing, math.inf).amin(1)) & cut)
    fits = torch.stack(fits)
    assert torch.equal(fits.any(0), cut)
    alone = fits[:, fits.sum(0) == 1]
    assert share(alone[0]) / share(alone.any(0)) == pytest.approx(0.7, abs=0.05)
    assert ((~missing).sum(1) >= 4).all()
    # With other joints missing as well, four of the rest stay.
    _, scores = imitate_detector(keypoints, replace(noise, truncate_prob=1.0), generator(), skeleton)
    left = (scores > 0).sum(1)
    assert left.min() == 4
    standing = torch.linspace(0, 900, 17)[:, None] * torch.tensor([0.0, 1.0])
    _, scores = imitate_detector(standing.expand(4000, 17, 2), replace(QUIET, truncate_prob=1.0), generator(), COCO_17)
    below = scores[(scores[:, 0] > 0) & (scores == 0).any(1)]
    # From below, what stands in the picture is between 45 and 95 % of the body.
    assert (below[:, :8] > 0).all() and (below[:, 16] == 0).all()
    assert 0.05 < share(below[:, 8] == 0) < 0.2


def test_scores_fall_with_the_error():
    keypoints = spread_keypoints(20000)
    noisy, scores = imitate_detector(keypoints, replace(MEASURED, swap_prob=0.0, level=1.0), generator())
    found = scores > 0
    assert scores[found].min() >= 0.05 and scores.max() < 1
    error = (noisy - keypoints).norm(dim=-1) / body_size(keypoints)[:, None]
    error, score = error[found], scores[found]
    assert spearmanr(error, score)[0] == pytest.approx(-0.45, abs=0.1)
    edges = (0, 0.05, 0.1, 0.2, 0.4, 0.8, 3)
    medians = [
        score[(error >= low) & (error < high)].median().item() for low, high in zip(edges, edges[1:], strict=False)
    ]
    assert medians == sorted(medians, reverse=True) and medians[0] - medians[-1] > 0.3
    plain, visible = imitate_detector(keypoints, replace(MEASURED, scores=False), generator())
    assert set(visible.unique().tolist()) == {0.0, 1.0}


def test_pairs_are_calibrated_differently():
    # Without errors, scores of one pair differ less than scores of different pairs.
    _, scores = imitate_detector(spread_keypoints(), QUIET, generator())
    logit = scores.logit()
    assert logit.mean(1).std() > 0.7
    assert logit.std(1).mean() == pytest.approx(0.79, rel=0.05)


@both_skeletons
def test_same_seed_same_detections(skeleton):
    keypoints = spread_keypoints(50)
    noise = replace(MEASURED, clean_prob=0.2, truncate_prob=0.2)
    one, other, third = (imitate_detector(keypoints, noise, generator(s), skeleton) for s in (1, 1, 2))
    for k in range(2):
        assert torch.equal(one[k], other[k])
        assert not torch.equal(one[k], third[k])


fraction = st.floats(0, 1)


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        DetectorNoise, clean_prob=fraction, jitter=fraction, swap_prob=fraction, missing_prob=st.floats(0, 0.5),
        coco_prob=fraction, gross_prob=fraction, gross_scale=st.floats(0, 2), inversion_prob=fraction,
        missing_count=st.none() | st.tuples(st.integers(0, 4), st.integers(4, 13)), truncate_prob=fraction,
        scores=st.booleans(), level=st.floats(0, 3),
    ),
    st.sampled_from([H36M_17, COCO_17]),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 2**31),
)  # fmt: skip
def test_any_noise(noise, skeleton, dtype, seed):
    keypoints = torch.randn(20, 17, 2, generator=generator(seed)).mul(100).to(dtype)
    keypoints[0] = 7.0  # a body without size
    noisy, scores = imitate_detector(keypoints, noise, generator(seed), skeleton)
    assert noisy.shape == keypoints.shape and scores.shape == keypoints.shape[:2]
    assert noisy.dtype == scores.dtype == dtype
    assert noisy.isfinite().all() and ((scores == 0) | ((scores >= 0.05) & (scores <= 1))).all()
    assert noise.scores or set(scores.unique().tolist()) <= {0.0, 1.0}
    assert skeleton.root is None or (scores[:, skeleton.root] > 0).all()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(gross_prob=1.5), 'gross_prob takes 0 … 1.0, got 1.5'),
        (dict(truncate_prob=-0.1), 'truncate_prob'),
        (dict(inversion_prob=math.nan), 'inversion_prob'),
        (dict(level=math.inf), 'level takes a finite number of at least 0, got inf'),
        (dict(gross_scale=-1.0), 'gross_scale takes'),
        (dict(missing_count=(3, 1)), r'missing_count takes \(low, high\), whole numbers in 0 … 13, got \(3, 1\)'),
        (dict(missing_count=(0, 14)), 'missing_count'),
        (dict(missing_count=(0.5, 1)), 'missing_count'),
        (dict(missing_count=3), 'missing_count'),
    ],
)
def test_bad_noise_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DetectorNoise(**arguments)


def test_bad_keypoints_are_named():
    with pytest.raises(ValueError, match='skeleton takes H36M-17 or COCO-17, got mpi_inf_3dhp'):
        imitate_detector(spread_keypoints(2), QUIET, generator(), MPI_INF_3DHP_17)
    with pytest.raises(ValueError, match=r'keypoints takes \(N, 17, 2\), got \(2, 16, 2\)'):
        imitate_detector(spread_keypoints(2)[:, 1:], QUIET, generator())


def test_the_models_numbers_are_those_on_the_page(project_root):
    page = json.loads((project_root / 'docs/results/detector_noise.json').read_text())
    assert DetectorNoise(**page['model']) == MEASURED
    assert set(page['model']) == {field.name for field in fields(DetectorNoise)}
    measured = {name: measure['value'] for name, measure in page['measures'].items()}
    model = asdict(MEASURED)
    measured['missing_prob'] = measured['score_below_0.1']
    for name in ('jitter', 'gross_prob', 'gross_scale', 'inversion_prob', 'swap_prob', 'missing_prob'):
        assert model[name] == pytest.approx(measured[name], rel=0.06), name
    for group in COCO_GROUPS:
        assert _FACTOR[group] == pytest.approx(measured[f'factor/{group}'], abs=0.006)
        assert _GROSS[group] == pytest.approx(measured[f'gross/{group}'] / measured['gross_prob'], abs=0.02)
    recall = {row['detector']: row['average_recall'] for row in page['imitation']}
    good = page['published_average_recall']['HRNet-W32, 256×192']
    assert recall[f'imitated, level {MEASURED.level:g}'] == pytest.approx(good, abs=0.02)
