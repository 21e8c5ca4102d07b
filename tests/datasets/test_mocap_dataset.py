# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpose.registry import DATASETS

from stereopose_mm.datasets import collate_packed, load_mocap
from stereopose_mm.datasets.pair_synthesis import bone_directions, split_bones
from stereopose_mm.geometry import H36M_COCO

from .conftest import STANDING

K = 17
CODEC = dict(type='StereoPoseLifting')
PIPELINE = [
    dict(type='GenerateTarget', encoder=CODEC),
    dict(type='PackPoseInputs', meta_keys=('id', 'target_img_path', 'flip_indices', 'subject', 'clip')),
]


@pytest.fixture(autouse=True)
def mmpose_scope():
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


@pytest.fixture
def build(write_mocap):
    def build_dataset(**arguments):
        if 'pipeline' not in arguments:
            arguments.setdefault('codec', CODEC)
        arguments = dict(type='MocapDataset', num_pairs=50) | arguments
        arguments.setdefault('ann_file', write_mocap())
        return DATASETS.build(arguments)

    return build_dataset


def load_all(dataset, batch_size, workers=0, shuffle=False, epoch=0):
    """Batches of an epoch, through the loader that a Runner builds from a config."""
    config = dict(
        batch_size=batch_size,
        num_workers=workers,
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=shuffle),
    )
    if dataset.codec is not None:
        config['collate_fn'] = dict(type='collate_packed')
    loader = Runner.build_dataloader(config, seed=0)
    loader.sampler.set_epoch(epoch)
    return list(loader)


def packed_inputs(batches):
    return torch.cat([batch['inputs'] for batch in batches])


def test_batches_are_made_whole(build):
    batches = load_all(build(), 20)
    assert [len(batch['inputs']) for batch in batches] == [20, 20, 10]
    assert batches[0]['inputs'].shape == (20, 52, 1)
    (sample,) = batches[0]['data_samples']
    assert sample.gt_instances.lifting_target.shape == (20, K, 3)
    assert sample.gt_instances.lifting_target_visible.shape == (20, K)
    assert sample.gt_instance_labels.rays.shape == (20, K, 2)
    assert len(sample.metainfo['flip_indices']) == K
    # Inputs and labels are of the same pairs.
    pose = sample.gt_instances.lifting_target
    torch.testing.assert_close(sample.gt_instance_labels.rays, pose[..., :2] / pose[..., 2:], rtol=0, atol=1e-5)


def test_pipeline_gives_single_samples_of_the_same_pairs(build):
    packed = load_all(build(test_mode=True), 50)[0]
    single = build(codec=None, pipeline=PIPELINE, test_mode=True)
    (batch,) = load_all(single, 50)
    assert len(batch['inputs']) == len(batch['data_samples']) == 50
    torch.testing.assert_close(torch.stack(batch['inputs']), packed['inputs'], rtol=0, atol=5e-5)
    labels = packed['data_samples'][0].gt_instance_labels
    for i in (0, 31, 49):
        sample = batch['data_samples'][i]
        assert sample.metainfo['id'] == i
        for key in ('lifting_target_label', 'right_view_label', 'rays'):
            torch.testing.assert_close(sample.gt_instance_labels[key][0], labels[key][i], rtol=0, atol=5e-5)
        found = single[i]
        torch.testing.assert_close(found['inputs'], batch['inputs'][i])


def test_samples_know_the_clip_they_are_made_from(build):
    dataset = build(codec=None, pipeline=PIPELINE, subjects=['s10'], test_mode=True, num_pairs=5)
    for i in range(5):
        info = dataset[i]['data_samples'].metainfo
        assert info['subject'] == 's10' and info['clip'] == 'y/a.amc'
        assert info['target_img_path'] == [f'y/a.amc_{i:06d}']


def test_data_infos_have_what_mmposes_datasets_give(build):
    dataset = build(codec=None, pipeline=[], num_pairs=3)
    info = dataset[2]
    assert info['keypoints'].shape == (1, K, 2) and info['keypoints_visible'].shape == (1, K)
    assert info['lifting_target'].shape == (1, K, 3) and info['lifting_target_visible'].shape == (1, K)
    assert info['camera_param']['f'].shape == info['camera_param']['c'].shape == (2, 1)
    assert (info['camera_param']['w'], info['camera_param']['h']) == (1920, 1080)
    pose = info['lifting_target'][0]
    homogeneous = pose @ info['camera_param']['K'].T
    np.testing.assert_allclose(homogeneous[:, :2] / homogeneous[:, 2:], info['keypoints'][0], atol=1e-2)
    assert info['flip_pairs'] and len(info['dataset_keypoint_weights']) == K


@pytest.mark.parametrize('batch_size', [7, 50])
def test_test_set_does_not_depend_on_the_batch_size(build, batch_size):
    whole = packed_inputs(load_all(build(test_mode=True), 20))
    torch.testing.assert_close(packed_inputs(load_all(build(test_mode=True), batch_size)), whole)
    dataset = build(test_mode=True)
    assert torch.equal(packed_inputs(load_all(dataset, 20)), packed_inputs(load_all(dataset, 20)))
    torch.testing.assert_close(dataset[13]['inputs'], whole[13:14])
    torch.testing.assert_close(dataset[-1]['inputs'], whole[-1:])
    assert not torch.allclose(packed_inputs(load_all(build(test_mode=True, seed=1), 20)), whole)


def test_a_test_set_is_made_in_chunks(build, monkeypatch):
    monkeypatch.setattr('stereopose_mm.datasets.mocap_dataset._TEST_CHUNK', 16)
    dataset = build(test_mode=True)
    assert packed_inputs(load_all(dataset, 50)).shape == (50, 52, 1)
    pairs, frames = dataset._fixed
    assert len(frames) == pairs.camera.batch_size == 50
    exact = pairs.camera.project(pairs.pose_cam)
    torch.testing.assert_close(exact, pairs.keypoints)


def test_epochs_differ_and_a_seed_repeats_them(build):
    def epoch(number, seed=0):
        return packed_inputs(load_all(build(seed=seed), 10, shuffle=True, epoch=number))

    first = epoch(0)
    assert torch.equal(first, epoch(0))
    assert not torch.isclose(first, epoch(1)).all(-2).any()
    assert not torch.isclose(first, epoch(0, seed=1)).all(-2).any()
    # Within an epoch, too, no pair is there twice.
    assert len(first.unique(dim=0)) == 50


def test_workers_make_the_same_batches(build):
    dataset = build()
    with_workers = load_all(dataset, 10, workers=2, shuffle=True)
    assert torch.equal(packed_inputs(with_workers), packed_inputs(load_all(dataset, 10, shuffle=True)))
    assert with_workers[0]['data_samples'][0].gt_instance_labels.rays.shape == (10, K, 2)


@pytest.mark.parametrize(
    ('subjects', 'exclude', 'clips'),
    [
        (['*'], [], ['x/a.bvh', 'x/b.bvh', 'x/a.bvh', 'y/a.amc']),
        (['s1'], [], ['x/a.bvh', 'x/b.bvh']),
        (['s1*'], [], ['x/a.bvh', 'x/b.bvh', 'y/a.amc']),
        (['s1/b.bvh', 's2'], [], ['x/b.bvh', 'x/a.bvh']),
        (['*'], ['s1'], ['x/a.bvh', 'y/a.amc']),
        (['*'], ['*/a.*'], ['x/b.bvh']),
        (['s?'], ['s1/a.bvh'], ['x/b.bvh', 'x/a.bvh']),
    ],
)
def test_subjects_and_clips_are_chosen_by_pattern(build, subjects, exclude, clips):
    dataset = build(subjects=subjects, exclude=exclude)
    assert dataset.clip_names == clips
    lengths = {0: 12, 1: 6, 2: 6, 3: 4}
    names = [('s1', 'x/a.bvh'), ('s1', 'x/b.bvh'), ('s2', 'x/a.bvh'), ('s10', 'y/a.amc')]
    frames = list(zip(dataset._frame_subject, dataset._frame_clip, strict=True))
    assert len(frames) == len(dataset.directions)
    for name in set(frames):
        assert frames.count(name) == lengths[names.index(name)]


def test_no_clip_left(build):
    with pytest.raises(ValueError, match=r"mocap.npz: no clip matches subjects=\['s3'\]"):
        build(subjects=['s3'])
    with pytest.raises(ValueError, match='no clip matches'):
        build(exclude=['*'])


def test_poses_are_those_of_the_file(build):
    dataset = build(subjects=['s2'])
    with np.load(dataset.ann_file) as file:
        joints = torch.from_numpy(file['joints'][18:24])
    torch.testing.assert_close(dataset.directions, bone_directions(joints))


@pytest.mark.parametrize('balance', [0.0, 1.0])
def test_clip_balance(build, balance):
    dataset = build(clip_balance=balance)
    _, frames = dataset.make_batch(20000, torch.Generator().manual_seed(0))
    clip_of_frame = np.repeat(np.arange(4), [12, 6, 6, 4])
    share = np.bincount(clip_of_frame[frames.numpy()], minlength=4) / 20000
    wanted = np.full(4, 0.25) if balance == 0 else np.array([12, 6, 6, 4]) / 28
    np.testing.assert_allclose(share, wanted, atol=0.015)
    assert set(frames.tolist()) == set(range(28))


def test_data_root(build, tmp_path, write_mocap):
    write_mocap('poses.npz')
    assert len(build(ann_file='poses.npz', data_root=str(tmp_path))) == 50


def test_arguments_reach_the_synthesis(build):
    dataset = build(
        codec=None,
        pipeline=[],
        cameras=dict(image_size=(640, 480), focal=(500.0, 500.0)),
        proportions=dict(bone_spread=0.0, body_spread=0.0, mean_lengths=dict(thigh=0.5)),
        noise=dict(clean_prob=0.0, missing_count=(13, 13), scores=False),
        augmentation=dict(tilt_deg=10.0),
    )
    info = dataset[0]
    assert info['camera_param']['w'] == 640
    np.testing.assert_allclose(info['camera_param']['f'], [[500], [500]], rtol=1e-6)
    thigh = np.linalg.norm(info['lifting_target'][0, 2] - info['lifting_target'][0, 1])
    assert thigh == pytest.approx(0.5, abs=1e-5)
    assert info['keypoints_visible'].sum() == 4 and info['keypoints_visible'][0, 0] == 1
    assert dataset.augmentation.tilt_deg == 10


def test_metainfo_is_human36ms(build):
    info = build().metainfo
    assert info['dataset_name'] == 'h36m' and info['num_keypoints'] == K
    info.clear()
    assert build().metainfo['num_keypoints'] == K


def test_bad_arguments(build):
    with pytest.raises(ValueError, match='num_pairs takes a positive number, got 0'):
        build(num_pairs=0)
    with pytest.raises(ValueError, match='focal'):
        build(cameras=dict(focal=(3.0, 1.0)))
    dataset = build()
    for index in (50, -51):
        with pytest.raises(IndexError, match='50 pairs'):
            dataset[index]
    with pytest.raises(ValueError, match='takes one packed batch, got 2 samples'):
        collate_packed([dataset[0], dataset[1]])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(clip_subjects=None), "no key 'clip_subjects'; it has .*'joints'"),
        (dict(joints=np.zeros((28, 16, 3), np.float32)), r'joints takes \(F, 17, 3\) .* got \(28, 16, 3\)'),
        (dict(clip_index=np.zeros(5, int)), r'clip_index \(F,\), got .*\(5,\)'),
        (dict(joints=np.zeros((0, 17, 3)), clip_index=np.zeros(0, int)), 'joints takes'),
        (dict(clip_index=np.full(28, 4)), 'clip_index names clip 4, but there are 4'),
        (
            dict(joints=np.pad(np.full((1, 17, 3), np.nan), ((3, 24), (0, 0), (0, 0)))),
            'joints of frame 3 .* not finite',
        ),
        (dict(joints=np.zeros((28, 17, 3), np.float32)), 'pose 0: the bone to right_hip has no length'),
        (dict(clip_subjects=np.array([dict()], dtype=object)), 'not a readable NPZ of plain arrays'),
    ],
)
def test_a_bad_file_is_named_with_its_key(build, write_mocap, changes, message):
    path = write_mocap('bad.npz', **changes)
    with pytest.raises(ValueError, match=rf'bad\.npz.*{message}'):
        build(ann_file=path)


def test_an_unreadable_file_is_named(tmp_path, write_mocap):
    with pytest.raises(ValueError, match=r'none\.npz: no such file; make it with tools/dataset_converters/mocap2npz'):
        load_mocap(str(tmp_path / 'none.npz'))
    whole = open(write_mocap(), 'rb').read()
    for content in (b'', b'not a zip', whole[: len(whole) // 2]):
        path = tmp_path / 'cut.npz'
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'cut\.npz: not a readable NPZ'):
            load_mocap(str(path))


COCO_CODEC = dict(CODEC, keypoint_set='coco')


@pytest.fixture
def write_bodies(write_mocap):
    """Write an NPZ with COCO-17 too, each keypoint a few centimetres from its joint."""

    def write(name='bodies.npz', **changes):
        rng = np.random.default_rng(1)
        joints = STANDING + rng.normal(size=(28, 17, 3)) * 0.03
        offset = rng.uniform(0.02, 0.05, (28, 17, 3))
        joints = np.concatenate([joints, joints[:, list(H36M_COCO.parents[17:])] + offset], 1)
        return write_mocap(name, **dict(joints=joints.astype(np.float32)) | changes)

    return write


@pytest.fixture
def build_bodies(build, write_bodies):
    def build_dataset(**arguments):
        if 'pipeline' not in arguments:
            arguments.setdefault('codec', COCO_CODEC)
        return build(**dict(ann_file=write_bodies(), keypoint_set='coco') | arguments)

    return build_dataset


def test_coco_batches_are_made_whole(build_bodies):
    (batch,) = load_all(build_bodies(test_mode=True), 50)
    assert batch['inputs'].shape == (50, 52, 1)
    (sample,) = batch['data_samples']
    labels = sample.gt_instance_labels
    assert labels.lifting_target_label.shape == (50, 2 * K, 3) and labels.rays.shape == (50, K, 2)
    # Judged by the 17 joints of the 3D skeleton.
    assert sample.gt_instances.lifting_target.shape == (50, K, 3)
    assert sample.gt_instances.lifting_target_visible.shape == (50, K)
    relative = sample.gt_instances.lifting_target - sample.gt_instances.lifting_target[:, :1]
    told = labels.lifting_target_label @ labels.view_rotation
    torch.testing.assert_close(told[:, :K], relative, rtol=0, atol=1e-5)
    seen = told[:, K:] + labels.target_root[:, None]
    torch.testing.assert_close(seen[..., :2] / seen[..., 2:], labels.rays, rtol=0, atol=1e-5)


def test_coco_pipeline_gives_single_samples_of_the_same_pairs(build_bodies):
    packed = load_all(build_bodies(test_mode=True), 50)[0]
    pipeline = [dict(PIPELINE[0], encoder=COCO_CODEC), PIPELINE[1]]
    (batch,) = load_all(build_bodies(codec=None, pipeline=pipeline, test_mode=True), 50)
    torch.testing.assert_close(torch.stack(batch['inputs']), packed['inputs'], rtol=0, atol=5e-5)
    labels = packed['data_samples'][0].gt_instance_labels
    for i in (0, 31):
        for key in ('lifting_target_label', 'right_view_label', 'rays', 'right_view_weight'):
            found = batch['data_samples'][i].gt_instance_labels[key][0]
            torch.testing.assert_close(found, labels[key][i], rtol=0, atol=5e-5)


def test_bodies_keep_their_own_proportions_if_asked_to(build_bodies):
    dataset = build_bodies(
        subjects=['s2'], mirror_prob=0.0, proportions=dict(own_share=1.0, bone_spread=0.0, body_spread=0.0)
    )
    pairs, frames = dataset.make_batch(100, torch.Generator().manual_seed(0))
    with np.load(dataset.ann_file) as file:
        own = split_bones(torch.from_numpy(file['joints'][18:24]))[1]
    torch.testing.assert_close(dataset.lengths, own)
    torch.testing.assert_close(split_bones(pairs.pose_cam)[1], own[frames], rtol=0, atol=1e-5)


@pytest.mark.parametrize('keypoint_set', ['h36m', 'coco_as_h36m'])
def test_bodies_give_h36m_keypoints_too(build_bodies, write_bodies, keypoint_set):
    dataset = build_bodies(keypoint_set=keypoint_set, codec=CODEC, test_mode=True)
    (batch,) = load_all(dataset, 50)
    (sample,) = batch['data_samples']
    assert batch['inputs'].shape == (50, 52, 1) and sample.gt_instance_labels.lifting_target_label.shape[1] == K
    known = sample.gt_instance_labels.search_weight
    missing = [7, 10] if keypoint_set == 'coco_as_h36m' else []
    assert (known[:, missing] == 0).all() and (known.sum(1) == K - len(missing)).all()


def test_scores_reach_the_network(build_bodies):
    noise = dict(clean_prob=0.0, jitter=0.1, missing_prob=0.2)
    (batch,) = load_all(build_bodies(noise=noise), 50)
    scores = batch['inputs'][:, 2 * K : 3 * K, 0]
    weight = batch['data_samples'][0].gt_instance_labels.search_weight
    incomplete = (weight == 0).any(1, keepdim=True)
    torch.testing.assert_close(scores, torch.where(incomplete, weight.clamp(max=0.85), weight))
    assert (scores == 0).float().mean().item() == pytest.approx(0.2, abs=0.07)
    assert scores[scores > 0].unique().numel() > 500 and scores.max() < 1


def test_cameras_told_wrongly_reach_the_samples(build):
    info = build(
        codec=None, pipeline=[], test_mode=True,
        cameras=dict(focal=(1000.0, 1000.0), wrong_focal_prob=1.0, wrong_focal=(1.5, 1.5)),
    )[0]  # fmt: skip
    np.testing.assert_allclose(info['camera_param']['f'], [[1500], [1500]], rtol=1e-5)
    relative = (info['keypoints'][0] - [960, 540]) / 1000
    np.testing.assert_allclose(relative, info['lifting_target'][0, :, :2] / info['lifting_target'][0, :, 2:], atol=1e-4)


def test_bad_bodies(build, build_bodies, write_bodies):
    with pytest.raises(ValueError, match=r"keypoint_set takes one of \('h36m', .*'coco_as_h36m'\), got 'body25'"):
        build(keypoint_set='body25')
    for keypoint_set in ('coco', 'coco_as_h36m'):
        with pytest.raises(ValueError, match=r'mocap\.npz: keypoint_set=.*mocap2bodies.py; it has 17 joints'):
            build(keypoint_set=keypoint_set)
    with pytest.raises(ValueError, match='own_share takes 0 … 1.0, got 2'):
        build_bodies(proportions=dict(own_share=2))
    for joints in (33, 35):
        path = write_bodies('bad.npz', joints=np.zeros((28, joints, 3), np.float32))
        with pytest.raises(ValueError, match=rf'bad\.npz.*\(F, 34, 3\).*got \(28, {joints}, 3\)'):
            build_bodies(ann_file=path)
    with np.load(write_bodies()) as file:
        joints = file['joints']
    joints[3, 17 + 2] = joints[3, H36M_COCO.parents[17 + 2]]
    path = write_bodies('bad.npz', joints=joints)
    with pytest.raises(ValueError, match=r'bad\.npz: .*pose 3: the bone to coco_right_eye has no length'):
        build_bodies(ann_file=path)
    # Of a file of bodies, a lifter of H36M-17 needs only its joints.
    assert build_bodies(ann_file=path, keypoint_set='h36m', codec=CODEC).directions.shape == (28, 16, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_on_a_gpu(build_bodies):
    dataset = build_bodies(device='cuda', test_mode=True)
    packed = dataset.__getitems__(list(range(20)))[0]
    assert packed['inputs'].is_cuda and packed['inputs'].isfinite().all()
    assert packed['data_samples'][0].gt_instance_labels.rays.is_cuda
    single = build_bodies(codec=None, pipeline=[], device='cuda')[0]
    assert single['keypoints'].shape == (1, K, 2)
