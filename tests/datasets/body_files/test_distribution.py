# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from stereopose_mm.datasets.body_files import SEGMENTS, BodyDistribution


def test_draws_follow_the_population(rig):
    phenotypes, factors = BodyDistribution(child_prob=0.25, limb_spread=0.05).draw(4000, rig, np.random.default_rng(0))
    column = {name: phenotypes[:, i] for i, name in enumerate(rig.phenotype_names)}
    adult = rig.age_phenotype(np.array([18.0]))[0]
    assert (column['age'] < adult).mean() == pytest.approx(0.25, abs=0.03)
    assert column['gender'].mean() == pytest.approx(0.5, abs=0.02)
    assert phenotypes.min() >= 0 and phenotypes.max() <= 1
    men = (column['gender'] < 0.5) & (column['age'] >= adult)
    alpha, beta = (values[0] for values in rig.beta_parameters('height', np.array([0.8]), np.array([0.2])))
    assert column['height'][men].mean() == pytest.approx(alpha / (alpha + beta), abs=0.01)
    np.testing.assert_allclose(np.log(factors).std(axis=0), 0.05, rtol=0.06)
    for index, name in enumerate(SEGMENTS):
        if name.startswith('left_'):
            np.testing.assert_array_equal(factors[:, index], factors[:, SEGMENTS.index(name.replace('left', 'right'))])


def test_one_generator_state_one_draw(rig):
    first, again = (BodyDistribution().draw(5, rig, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'child_prob': 1.5}, 'child_prob takes 0 … 1, got 1.5'),
        ({'adult_age': (50, 20)}, 'adult_age takes'),
        ({'child_age': (float('nan'), 20)}, 'child_age takes'),
        ({'limb_spread': -0.1}, 'limb_spread takes 0 … 0.2, got -0.1'),
    ],
)
def test_impossible_populations_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        BodyDistribution(**arguments)
