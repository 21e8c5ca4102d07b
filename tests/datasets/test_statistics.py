# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import pickle

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS, KEYPOINT_CODECS

from stereopose_mm.datasets.statistics import compute_statistics, write_statistics
from stereopose_mm.geometry import Camera

K = 17
SHAPES = {f'{n}_{kind}': (K, d) for n, d in (('keypoints', 2), ('right', 2), ('target', 3)) for kind in ('mean', 'std')}


def build(**arguments):
    with DefaultScope.overwrite_default_scope('mmpose'):
        return DATASETS.build(arguments)


@pytest.fixture
def mocap(write_mocap):
    def build_mocap(**arguments):
        return build(type='MocapDataset', ann_file=write_mocap(), num_pairs=8, pipeline=[], **arguments)

    return build_mocap


@pytest.fixture
def h36m(tmp_path):
    """Write Human3.6M as MMPose has it; gives the data set's config, and its arrays."""
    rng = np.random.default_rng(0)
    num = 30
    camera = dict(f=np.array([[1145.0], [1144.0]]), c=np.array([[512.0], [515.0]]), w=1000, h=1002, id='54138969')
    camera |= dict(k=np.array([[-0.2], [0.24], [0.0]]), p=np.array([[-0.001], [-0.001]]))
    poses = rng.normal(size=(num, K, 3)) * 0.3 + [0.2, 0.1, 5]
    pixels = Camera.from_mmpose(camera).project(torch.from_numpy(poses)).numpy()
    labelled = (rng.random((num, K, 1)) < 0.8).astype(float)
    labelled[:, 0] = 1
    np.savez(
        tmp_path / 'h36m.npz',
        imgname=np.array([f'S9/S9_Walking_1.54138969/S9_Walking_1.54138969_{i:06d}.jpg' for i in range(num)]),
        center=np.full((num, 2), 500.0),
        scale=np.ones(num),
        part=np.concatenate([pixels, np.ones((num, K, 1))], -1),
        S=np.concatenate([poses, labelled], -1),
    )
    with open(tmp_path / 'cameras.pkl', 'wb') as file:
        pickle.dump({('S9', '54138969'): camera}, file)
    config = dict(type='Human36mDataset', data_root=str(tmp_path), ann_file='h36m.npz', pipeline=[])
    return config, pixels, poses, labelled[..., 0], camera


def test_mocap_pairs_come_out_standardised(mocap):
    statistics = compute_statistics(mocap(), baseline=0.2, num_pairs=9000)
    assert {k: np.shape(v) for k, v in statistics.items() if k in SHAPES} == SHAPES
    assert (statistics['baseline'], statistics['num_pairs']) == (0.2, 9000)
    codec = KEYPOINT_CODECS.build(dict(type='StereoPoseLifting', view='pixel', baseline=0.2, statistics=statistics))
    # Other pairs of the same distribution.
    pairs, _ = mocap().make_batch(9000, torch.Generator().manual_seed(5))
    encoded = codec.encode_batch(pairs.keypoints, pairs.keypoints_visible, pairs.camera, pairs.pose_cam)
    inputs = encoded['inputs'].view(-1, K, 2)
    for values in (inputs, encoded['right_view_label'], encoded['lifting_target_label']):
        assert (values[:, 0] == 0).all()
        torch.testing.assert_close(values[:, 1:].mean(0), torch.zeros_like(values[0, 1:]), rtol=0, atol=0.06)
        torch.testing.assert_close(values[:, 1:].std(0), torch.ones_like(values[0, 1:]), rtol=0.06, atol=0)


def test_draw_is_seeded(mocap):
    one, other, third = (compute_statistics(mocap(), 0.1, 500, seed) for seed in (0, 0, 1))
    assert one == other != third


def test_missing_keypoints_do_not_count(mocap):
    noise = dict(clean_prob=0.0, jitter=0.0, swap_prob=0.0, missing_prob=0.3)
    clean, noisy = (compute_statistics(mocap(noise=n), 0.1, 20000) for n in (None, noise))
    for key in ('keypoints_mean', 'keypoints_std'):
        np.testing.assert_allclose(noisy[key], clean[key], rtol=0.05, atol=3.0)


def test_human36m_by_hand(h36m):
    config, pixels, poses, labelled, camera = h36m
    dataset = build(camera_param_file='cameras.pkl', **config)
    statistics = compute_statistics(dataset, baseline=0.5)
    assert statistics['num_pairs'] == 30
    shifted = poses - [0.5, 0, 0]
    focal, centre = camera['f'].ravel(), camera['c'].ravel()
    right = shifted[..., :2] / shifted[..., 2:] * focal + centre
    everywhere = np.ones_like(labelled)
    for name, values, known in (
        ('keypoints', pixels, everywhere),
        ('right', right, labelled),
        ('target', poses, labelled),
    ):
        relative = np.ma.array(values - values[:, :1], mask=np.broadcast_to(known[..., None] == 0, values.shape))
        np.testing.assert_allclose(statistics[f'{name}_mean'], relative.mean(0), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(statistics[f'{name}_std'], relative.std(0), rtol=1e-3, atol=1e-3)
    assert compute_statistics(dataset, 0.5, num_pairs=7)['num_pairs'] == 7


def test_errors(h36m, mocap):
    config, *_ = h36m
    with pytest.raises(ValueError, match='record .* has no camera_param: set camera_param_file'):
        compute_statistics(build(**config), 0.1)
    for arguments, message in ((dict(num_pairs=0), 'num_pairs takes'), (dict(baseline=0.0), 'baseline takes')):
        with pytest.raises(ValueError, match=message):
            compute_statistics(mocap(), **dict(baseline=0.1) | arguments)
    noise = dict(clean_prob=0.0, missing_prob=1.0)
    with pytest.raises(ValueError, match=r'keypoints: no record has keypoint 1 \(right_hip\)'):
        compute_statistics(mocap(noise=noise), 0.1, 50)


def write_config(path, ann_file, codec):
    dataset = dict(type='MocapDataset', ann_file=ann_file, num_pairs=8, codec=codec)
    path.write_text(f'codec = {codec!r}\ntrain_dataloader = dict(dataset={dataset!r})\n')
    return str(path)


@pytest.mark.parametrize(
    ('codec', 'baseline', 'expected'),
    [
        # Its own statistics are not there yet: that is what the command is for.
        (dict(type='StereoPoseLifting', view='pixel', baseline=-0.3, statistics='not_yet.json'), None, -0.3),
        (dict(type='StereoPoseLifting', view='pixel', baseline=-0.3, statistics='not_yet.json'), 0.7, 0.7),
        # The ray view's baseline is no length.
        (dict(type='StereoPoseLifting', view='ray', baseline=0.5), None, 0.1),
    ],
)
def test_written_for_a_config(write_mocap, tmp_path, codec, baseline, expected):
    config = write_config(tmp_path / 'config.py', write_mocap(), codec)
    out = tmp_path / 'new' / 'statistics.json'
    written = write_statistics(config, str(out), num_pairs=100, baseline=baseline)
    assert json.loads(out.read_text()) == written
    assert written['baseline'] == expected and written['num_pairs'] == 100
    assert [p.name for p in out.parent.iterdir()] == ['statistics.json']
    KEYPOINT_CODECS.build(dict(type='StereoPoseLifting', view='pixel', statistics=str(out)))


def test_config_errors(write_mocap, tmp_path):
    out = tmp_path / 'statistics.json'
    with pytest.raises(ValueError, match='no such file: .*none.py'):
        write_statistics(str(tmp_path / 'none.py'), str(out))
    (tmp_path / 'empty.py').write_text('model = dict()\n')
    with pytest.raises(ValueError, match='empty.py: has no train_dataloader.dataset'):
        write_statistics(str(tmp_path / 'empty.py'), str(out))
    config = write_config(tmp_path / 'config.py', str(tmp_path / 'gone.npz'), dict(type='StereoPoseLifting'))
    with pytest.raises(ValueError, match='gone.npz: no such file'):
        write_statistics(config, str(out))
    assert not out.exists()
