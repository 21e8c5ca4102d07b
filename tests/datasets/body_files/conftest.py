# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from stereopose_mm.datasets.body_files import AnnyRig

from ..mocap_files.conftest import deepmimic_skeleton, make_amc, make_asf, make_bvh, make_deepmimic

__all__ = ['deepmimic_skeleton', 'make_amc', 'make_asf', 'make_bvh', 'make_deepmimic']


@pytest.fixture(scope='session')
def rig():
    """The body model of the package."""
    return AnnyRig.load()


@pytest.fixture(scope='session')
def bodies(rig):
    """Six adults unlike each other."""
    phenotypes = np.random.default_rng(0).uniform(0.1, 0.9, (6, len(rig.phenotype_names)))
    phenotypes[:, rig.phenotype_names.index('age')] = 0.7
    return rig.bodies(phenotypes)
