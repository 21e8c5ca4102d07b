# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from stereopose_mm.geometry import H36M_COCO

# A person who stands facing +z, y up, metres: H36M-17.
STANDING = np.array(
    [
        [0, 0, 0], [-0.13, 0, 0], [-0.13, -0.44, 0.02], [-0.13, -0.89, 0], [0.13, 0, 0], [0.13, -0.44, 0.02],
        [0.13, -0.89, 0], [0, 0.23, 0], [0, 0.49, 0], [0, 0.6, 0.05], [0, 0.72, 0], [0.15, 0.49, 0], [0.18, 0.22, 0],
        [0.18, -0.03, 0.05], [-0.15, 0.49, 0], [-0.18, 0.22, 0], [-0.18, -0.03, 0.05],
    ]
)  # fmt: skip
CLIPS = ('cmu01/01_02.bvh', 'cmu02/02_01.bvh', 'cmu02/02_01.amc', 'cmu12/12_02.bvh')


@pytest.fixture(scope='session')
def mocap_files(tmp_path_factory):
    """A file of motion capture and one of bodies, as the converters write them: four clips of 12 frames."""
    folder = tmp_path_factory.mktemp('mocap')
    rng = np.random.default_rng(0)
    frames = 12 * len(CLIPS)
    body = STANDING + 0.03 * rng.standard_normal((frames, 17, 3))
    # Each of COCO's keypoints a little off the joint that it is nearest to.
    coco = body[:, list(H36M_COCO.parents[17:])] + 0.03 + 0.01 * rng.standard_normal((frames, 17, 3))
    arrays = dict(
        clip_index=np.repeat(np.arange(len(CLIPS)), 12),
        clip_names=np.array(CLIPS),
        clip_subjects=np.array([clip.split('/')[0] for clip in CLIPS]),
    )
    np.savez(folder / 'mocap.npz', joints=body.astype(np.float32), **arrays)
    np.savez(
        folder / 'bodies.npz',
        joints=np.concatenate([body, coco], 1).astype(np.float32),
        body_index=np.arange(frames) // 6,
        body_phenotypes=np.array([[0.1, 0.8], [0.9, 0.8], [0.5, 0.8], [0.5, 0.3]] * 2),
        phenotype_names=np.array(['gender', 'age']),
        **arrays,
    )
    return str(folder / 'mocap.npz'), str(folder / 'bodies.npz')


@pytest.fixture
def test_config(mocap_files):
    """The reference test set on the small file."""
    return dict(
        type='MocapDataset',
        ann_file=mocap_files[0],
        num_pairs=1,
        subjects=['cmu02', 'cmu12'],
        proportions=dict(bone_spread=0.04, body_spread=0.05),
        cameras=dict(image_size=(1920, 1080), focal=(600.0, 3000.0), pitch_deg=(-17.0, 40.0)),
        test_mode=True,
        seed=1,
    )
