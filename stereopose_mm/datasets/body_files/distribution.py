# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Whose bodies are drawn: ages, sexes, builds and limb lengths."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .anny_rig import AnnyRig
from .retarget import SEGMENTS

_BY_AGE = ('height', 'weight', 'muscle', 'proportions')


@dataclass
class BodyDistribution:
    """A population of bodies.

    Heights, weights, muscles and proportions follow Anny's own distributions given age and sex, which are fitted to
    the World Health Organization's growth charts and to body mass statistics. The other phenotypes are uniform.

    Attributes:
        child_prob: Share of children.
        child_age: Least and greatest age of children in years.
        adult_age: The same of adults.
        limb_spread: Standard deviation of the factor on each segment's length, the same left and right; the phenotypes
            vary few of them on their own.
    """

    child_prob: float = 0.1
    child_age: tuple[float, float] = (4.0, 17.0)
    adult_age: tuple[float, float] = (18.0, 75.0)
    limb_spread: float = 0.04

    def __post_init__(self) -> None:
        if not 0 <= self.child_prob <= 1:
            raise ValueError(f'child_prob takes 0 … 1, got {self.child_prob}')
        for name in ('child_age', 'adult_age'):
            low, high = getattr(self, name)
            if not (math.isfinite(low) and math.isfinite(high) and 0 <= low <= high <= 110):
                raise ValueError(f'{name} takes (low, high) years with 0 <= low <= high <= 110, got {(low, high)}')
        if not 0 <= self.limb_spread <= 0.2:
            raise ValueError(f'limb_spread takes 0 … 0.2, got {self.limb_spread}')

    def draw(self, num: int, rig: AnnyRig, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw bodies.

        Args:
            num: How many.
            rig: Whose phenotypes.
            generator: Source of randomness.

        Returns:
            Phenotypes ``(num, P)`` and factors on the segments' lengths ``(num, S)``, as :meth:`AnnyRig.bodies`
            takes them.
        """
        child = generator.random(num) < self.child_prob
        years = np.where(child, generator.uniform(*self.child_age, num), generator.uniform(*self.adult_age, num))
        sex = generator.random(num)
        values = {'age': rig.age_phenotype(years), 'gender': sex}
        for name in _BY_AGE:
            values[name] = generator.beta(*rig.beta_parameters(name, values['age'], sex))
        for name in rig.phenotype_names:
            if name not in values:
                values[name] = generator.random(num)
        factors = np.exp(generator.normal(0, self.limb_spread, (num, len(SEGMENTS))))
        right = [i for i, name in enumerate(SEGMENTS) if name.startswith('right_')]
        factors[:, right] = factors[:, [SEGMENTS.index(SEGMENTS[i].replace('right', 'left')) for i in right]]
        return np.stack([values[name] for name in rig.phenotype_names], axis=1), factors
