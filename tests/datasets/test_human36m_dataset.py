# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import mmpose
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpose.registry import DATASETS, METRICS, MODELS

from stereopose_mm.apis import coco_to_h36m, read_detections
from stereopose_mm.datasets import DAMAGED_CLIPS, H36M_ACTIONS, H36M_PROTOCOLS
from stereopose_mm.datasets.human36m_dataset import _parse_names
from stereopose_mm.geometry import Camera

from .human36m_files import ACTIONS, CAMERAS, FRAMES, TEST, TRAIN, camera_params, clips_of, write_human36m

CONFIG = 'configs/stereo_lift/stereo-lift_res512_8xb64-200e_h36m.py'
WEIGHTS = 'stereopose_mm/weights/stereo-lift_default.pth'
CODEC = dict(type='StereoPoseLifting', baseline=0.5)
META_KEYS = ('id', 'target_img_path', 'flip_indices', 'target_root', 'subject', 'action', 'sequence', 'frame')
PIPELINE = [dict(type='GenerateTarget', encoder=CODEC), dict(type='PackPoseInputs', meta_keys=META_KEYS)]
PER_CLIP = len(FRAMES['fps50'])
NUM = dict(train=len(TRAIN) * 30 * 4 * PER_CLIP, test=len(TEST) * 30 * 4 * PER_CLIP)
MMPOSE_TEST = Path(mmpose.__file__).parent / '.mim' / 'tools' / 'test.py'
# What is measured on the two real frames with the shipped weights, MPJPE and P-MPJPE in mm.
REAL_ERRORS = {
    'gt': dict(S1=(39.2, 40.4), S5=(49.4, 44.8)),
    'detection': dict(S1=(115.5, 62.5), S5=(136.7, 115.3)),
}


@pytest.fixture(autouse=True)
def mmpose_scope():
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_human36m(tmp_path_factory.mktemp('data') / 'h36m')


@pytest.fixture
def build(data):
    def build_dataset(split='test', rate='fps50', **arguments):
        arguments = (
            dict(
                type='StereoHuman36mDataset',
                data_root=str(data),
                ann_file=f'annotation_body3d/{rate}/h36m_{split}.npz',
                camera_param_file='annotation_body3d/cameras.pkl',
                data_prefix=dict(img='images/'),
                test_mode=split == 'test',
            )
            | arguments
        )
        return DATASETS.build(arguments)

    return build_dataset


@pytest.fixture
def changed(data, tmp_path):
    """A copy of the test file with some of its arrays changed or removed."""

    def change(**arrays):
        with np.load(data / 'annotation_body3d/fps50/h36m_test.npz') as file:
            kept = dict(file) | {key: value for key, value in arrays.items() if not callable(value)}
        kept |= {key: value(kept[key]) for key, value in arrays.items() if callable(value)}
        path = tmp_path / 'changed.npz'
        np.savez(path, **{key: value for key, value in kept.items() if value is not None})
        return str(path)

    return change


def put(record, value):
    def change(array):
        array = array.copy()
        array[record] = value
        return array

    return change


def load(dataset, batch_size=1024, **arguments):
    config = dict(
        batch_size=batch_size,
        num_workers=0,
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
        **arguments,
    )
    if dataset.codec is not None:
        config['collate_fn'] = dict(type='collate_packed')
    return Runner.build_dataloader(config, seed=0)


def test_reads_what_the_files_say(build, data):
    dataset = build('train')
    assert len(dataset) == NUM['train']
    with np.load(data / 'annotation_body3d/fps50/h36m_train.npz') as file:
        names, part, pose = file['imgname'], file['part'], file['S']
    rng = np.random.default_rng(0)
    for i in rng.integers(0, NUM['train'], 40).tolist() + [0, -1]:
        info = dataset.get_data_info(i)
        np.testing.assert_allclose(info['keypoints'][0], part[i, :, :2], rtol=1e-6)
        np.testing.assert_allclose(info['lifting_target'][0], pose[i, :, :3], rtol=1e-6)
        assert (info['keypoints_visible'] == 1).all() and (info['lifting_target_visible'] == 1).all()
        assert info['img_path'] == f'{data}/images/{names[i]}'
        assert info['target_img_path'] == [names[i]]
        # The name taken apart by Python's own means.
        stem = names[i].rpartition('/')[2].removesuffix('.jpg')
        sequence, frame = stem.rsplit('_', 1)
        subject, clip = sequence.split('.')[0].split('_', 1)
        assert (info['subject'], info['sequence'], info['frame']) == (subject, sequence, int(frame))
        assert info['camera'] == sequence.split('.')[1] == info['camera_param']['id']
        assert info['subaction'] == int((clip.split('_') + ['0'])[1])
        assert info['action'] == clip.split('_')[0].replace('Taking', '').replace('WalkingDog', 'WalkDog')


def test_every_subject_has_fifteen_actions_of_two_clips(build):
    assert H36M_ACTIONS == ACTIONS
    for split, subjects in (('train', TRAIN), ('test', TEST)):
        meta = build(split).records.meta
        for subject in subjects:
            of = meta['subject'] == subject
            assert set(meta['action'][of]) == set(ACTIONS)
            for action in ACTIONS:
                clips = set(meta['sequence'][of & (meta['action'] == action)])
                assert len(clips) == 2 * len(CAMERAS), (subject, action)
            clips = {name.split('.')[0] for name in meta['sequence'][of]}
            assert clips == {f'{subject}_{clip}' for clip in clips_of(subject)}


def test_records_in_any_order_keep_their_own(build, changed):
    ordered = build().records
    order = np.random.default_rng(0).permutation(NUM['test'])
    shuffle = {key: lambda array: array[order] for key in ('imgname', 'part', 'S')}
    shuffled = build(ann_file=changed(**shuffle)).records
    for key in ('keypoints', 'pose_cam', 'img_path'):
        assert np.array_equal(getattr(shuffled, key), getattr(ordered, key)[order]), key
    for key, values in ordered.meta.items():
        assert np.array_equal(shuffled.meta[key], values[order]), key
    params = [shuffled.camera_params[i]['c'][0, 0] for i in shuffled.camera_index]
    assert params == [ordered.camera_params[i]['c'][0, 0] for i in ordered.camera_index[order]]


@pytest.mark.parametrize(
    ('protocol', 'train', 'test', 'frames', 'cameras'),
    [
        ('protocol1', set(TRAIN), {'S9', 'S11'}, {1, 2, 3, 65}, set(CAMERAS)),
        ('protocol2', set(TRAIN), {'S9', 'S11'}, {1, 2, 3, 65}, set(CAMERAS)),
        ('subsampled64', set(TRAIN), {'S9', 'S11'}, {1, 65}, set(CAMERAS)),
        ('subject11', {*TRAIN, 'S9'}, {'S11'}, {1, 65}, set(CAMERAS)),
        ('frontal', set(TRAIN), {'S9', 'S11'}, {1}, {'60457274'}),
    ],
)
def test_protocols(build, changed, data, protocol, train, test, frames, cameras):
    # Both files in one: what is not of the part asked for has to go.
    with np.load(data / 'annotation_body3d/fps50/h36m_train.npz') as file:
        both = {key: lambda array, key=key: np.concatenate([array, file[key]]) for key in ('imgname', 'part', 'S')}
        path = changed(**both)
    meta = build(ann_file=path, protocol=protocol, test_mode=False).records.meta
    assert set(meta['subject']) == train and set(meta['frame']) == {1, 2, 3, 65} and set(meta['camera']) == set(CAMERAS)
    meta = build(ann_file=path, protocol=protocol, test_mode=True).records.meta
    assert set(meta['subject']) == test and set(meta['frame']) == frames and set(meta['camera']) == cameras
    assert len(meta['frame']) == len(test) * 30 * len(cameras) * len(frames)
    assert len(build(ann_file=path, protocol=None)) == sum(NUM.values())


def test_protocols_are_enforced(build):
    assert set(H36M_PROTOCOLS) == {'protocol1', 'protocol2', 'subsampled64', 'subject11', 'frontal'}
    with pytest.raises(ValueError, match=r"no record is left by protocol='protocol1' \(test set\).*'S8'"):
        build('train', test_mode=True)
    with pytest.raises(ValueError, match=r"takes one of \['protocol1', .*\] or None, got 'Protocol #1'"):
        build(protocol='Protocol #1')


@pytest.fixture
def warned():
    """What is logged as a warning."""
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def test_part_of_a_test_set_is_warned_of(build, changed, warned):
    kept = slice(0, NUM['test'] // 2)
    path = changed(**{key: lambda array: array[kept] for key in ('imgname', 'part', 'S')})
    dataset = build(ann_file=path)
    assert set(dataset.records.meta['subject']) == {'S9'}
    assert warned == [f'{path} has no record of S11: it is only part of the test set of protocol1']
    build(ann_file=path, subjects=['S9'])
    assert len(warned) == 1


def test_filters(build):
    meta = build(subjects=['S11'], actions=['WalkingDog', 'Photo'], cameras=[55011271]).records.meta
    assert set(meta['subject']) == {'S11'} and set(meta['action']) == {'WalkDog', 'Photo'}
    assert set(meta['camera']) == {'55011271'} and len(meta['frame']) == 2 * 2 * PER_CLIP
    one = build(subjects='S9', actions='Eating', cameras=60457274, exclude='S9_Eating_1').records.meta
    assert set(one['sequence']) == {'S9_Eating.60457274'}
    assert set(build(frame_step=2).records.meta['frame']) == {1, 3, 65}
    with pytest.raises(ValueError, match="actions takes names of .*, got 'Dancing'"):
        build(actions=['Walking', 'Dancing'])
    with pytest.raises(ValueError, match=r"no record is left by .*'subject': \[\['S1'\], \['S9', 'S11'\]\]"):
        build(subjects=['S1'])
    for frame_step in (0, 2.0):
        with pytest.raises(ValueError, match='frame_step takes a whole number above 0'):
            build(frame_step=frame_step)


def test_damaged_clips_are_counted_unless_excluded(build):
    clips = {f'{s}_{clip}' for s in TEST for clip in clips_of(s)}

    def left(**arguments):
        return {name.split('.')[0] for name in build(**arguments).records.meta['sequence']}

    assert left() == clips
    assert set(DAMAGED_CLIPS) < clips
    assert left(exclude=DAMAGED_CLIPS) == clips - set(DAMAGED_CLIPS)
    # A pattern can name one camera's video.
    sequences = set(build(exclude=['S11_Directions.54138969']).records.meta['sequence'])
    assert len(sequences) == 4 * len(clips) - 1 and 'S11_Directions.54138969' not in sequences


def test_config_excludes_nothing_and_names_the_damaged_clips(project_root):
    config = Config.fromfile(project_root / CONFIG)
    assert tuple(config.damaged_clips) == DAMAGED_CLIPS
    for part in ('val', 'test'):
        dataset = config[f'{part}_dataloader'].dataset
        assert dataset.protocol == 'protocol1' and dataset.test_mode and 'exclude' not in dataset
    assert not config.train_dataloader.dataset.get('test_mode')


def test_every_64th_frame_takes_the_file_of_all_frames(build):
    with pytest.raises(ValueError, match=r'fps10/h36m_test.npz: has every 5th frame; .* takes the file of all frames'):
        build(rate='fps10', protocol='subsampled64')
    assert set(build(rate='fps10').records.meta['frame']) == {1, 6, 11}
    assert set(build(rate='fps10', frame_step=10).records.meta['frame']) == {1, 11}


def h36m_project(pose, camera):
    """Human3.6M's own projection, written from its formula: pixels ``(K, 2)`` of a pose ``(K, 3)``."""
    x = pose[:, :2] / pose[:, 2:]
    r2 = (x**2).sum(1)
    radial = 1 + camera['k'].ravel() @ [r2, r2**2, r2**3]
    p1, p2 = camera['p'].ravel()
    tangential = p1 * x[:, 1] + p2 * x[:, 0]
    distorted = x * (radial + tangential)[:, None] + np.outer(r2, [p2, p1])
    return distorted * camera['f'].ravel() + camera['c'].ravel()


def test_lens_is_human36ms_own(build, data):
    dataset = build()
    for i in range(0, len(dataset), 97):
        info = dataset.get_data_info(i)
        pixels = h36m_project(info['lifting_target'][0].astype(np.float64), info['camera_param'])
        np.testing.assert_allclose(info['keypoints'][0], pixels, atol=1e-2)
        camera = Camera.from_mmpose(info['camera_param'])
        found = camera.project(torch.from_numpy(info['lifting_target']).double()).numpy()
        np.testing.assert_allclose(found, info['keypoints'], atol=1e-2)


def test_camera_file_without_serial_numbers_keeps_the_lens(build, tmp_path):
    with open(tmp_path / 'cameras.pkl', 'wb') as file:
        pickle.dump({key: {k: v for k, v in c.items() if k != 'id'} for key, c in camera_params().items()}, file)
    info = build(camera_param_file=str(tmp_path / 'cameras.pkl'), cameras=['58860488']).get_data_info(0)
    pixels = h36m_project(info['lifting_target'][0].astype(np.float64), info['camera_param'])
    np.testing.assert_allclose(info['keypoints'][0], pixels, atol=1e-2)


def test_right_view_of_a_training_batch(build):
    """The labels are where a camera without a lens, half the root's distance to the right, sees the joints."""
    dataset = build('train', codec=CODEC)
    (batch,) = dataset.__getitems__(range(0, NUM['train'], 37))
    (sample,) = batch['data_samples']
    labels = sample.gt_instance_labels
    pose = sample.gt_instances.lifting_target.double().numpy()
    assert batch['inputs'].isfinite().all() and labels.right_view_label.isfinite().all()
    assert (labels.right_view_weight == 1).all() and (labels.lifting_target_weight == 1).all()
    for i in range(0, len(pose), 7):
        matrix = np.eye(3)
        info = dataset.get_data_info(sample.metainfo['id'][i])
        k = dict(info['camera_param'])
        matrix[[0, 1], [0, 1]], matrix[:2, 2] = k['f'].ravel(), k['c'].ravel()
        # The ray through the root by OpenCV's undistortion, from coefficients that name the same lens.
        p1, p2 = k['p'].ravel() / 2
        k1, k2, k3 = k['k'].ravel()
        lens = np.array([k1, k2, p1, p2, k3, 0, 0, 0, p2, 0, p1, 0])
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
        ray = cv2.undistortPointsIter(info['keypoints'][0, :1].astype(np.float64), matrix, lens, None, None, criteria)
        axis = np.append(ray.ravel(), 1.0) / np.linalg.norm(np.append(ray.ravel(), 1.0))
        rotation = labels.view_rotation[i].double().numpy()
        np.testing.assert_allclose(rotation @ axis, [0, 0, 1], atol=1e-5)
        turned = pose[i] @ rotation.T
        np.testing.assert_allclose(turned - turned[0], labels.lifting_target_label[i], atol=1e-5)
        right = turned - [0.5 * np.linalg.norm(pose[i, 0]), 0, 0]
        right = right[:, :2] / right[:, 2:]
        centred, label = right - right[0], labels.right_view_label[i].double().numpy()
        label = label - label[0]
        # The view's own scale is not the test's business: that it is one scale is.
        scale = (label * centred).sum() / (centred**2).sum()
        assert scale > 0
        np.testing.assert_allclose(label, scale * centred, atol=1e-3 * np.abs(label).max())


def predict(model, loader, metrics):
    """Metrics of a model on a loader's records."""
    evaluator = Runner.build_evaluator(None, metrics)
    evaluator.dataset_meta = loader.dataset.metainfo
    with torch.no_grad():
        for batch in loader:
            evaluator.process(data_samples=model.test_step(batch), data_batch=batch)
    return evaluator.evaluate(len(loader.dataset))


@pytest.fixture(scope='module')
def model(project_root):
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = MODELS.build(Config.fromfile(project_root / CONFIG).model)
    state = torch.load(project_root / WEIGHTS, map_location='cpu', weights_only=True)['state_dict']
    model.load_state_dict(state)
    return model.eval()


def evaluator_of(project_root):
    (evaluator,) = Config.fromfile(project_root / CONFIG).test_evaluator
    return evaluator


def test_batches_and_single_samples_score_alike(build, model, project_root):
    """Of both, MMPose's own metric says what ours does of the single samples."""
    part = dict(subjects=['S9'], actions=['Walking', 'Photo', 'WalkDog'], cameras=['55011271'])
    evaluator = evaluator_of(project_root)
    packed = predict(model, load(build(codec=CODEC, **part)), [evaluator])
    mmposes = [dict(type='MPJPE', mode=mode, prefix='mmpose') for mode in ('mpjpe', 'p-mpjpe')]
    single = predict(model, load(build(pipeline=PIPELINE, **part)), [evaluator, *mmposes])
    assert packed['poses'] == single['poses'] == 3 * 2 * PER_CLIP
    for key, value in packed.items():
        assert single[key] == pytest.approx(value, rel=1e-3, abs=1e-3), key
    assert single['mmpose/MPJPE'] == pytest.approx(single['MPJPE'] / 1000, rel=1e-5)
    assert single['mmpose/P-MPJPE'] == pytest.approx(single['P-MPJPE'] / 1000, rel=1e-4)
    for action in part['actions']:
        assert single[f'mmpose/MPJPE_{action}'] == pytest.approx(single[f'MPJPE_{action}'] / 1000, rel=1e-5)


def test_mean_of_actions_and_of_frames(build, model, project_root):
    """The two averages that papers mix up, of a set whose actions differ in length."""
    dataset = build(codec=CODEC, indices=[*range(0, 96), *range(200, 216), *range(400, 480, 3)])
    records = dataset.records
    metrics = predict(model, load(dataset), [evaluator_of(project_root)])
    actions, counts = np.unique(records.meta['action'], return_counts=True)
    assert len(set(counts)) > 1
    per_action = [metrics[f'MPJPE_{action}'] for action in actions]
    assert metrics['MPJPE'] == pytest.approx(np.average(per_action, weights=counts), rel=1e-6)
    assert metrics['MPJPE_mean-over-action'] == pytest.approx(np.mean(per_action), rel=1e-6)
    assert abs(metrics['MPJPE'] - metrics['MPJPE_mean-over-action']) > 1e-3


def test_runner_tests_the_config(data, model, project_root, tmp_path):
    config = Config.fromfile(project_root / CONFIG)
    config.merge_from_dict(
        {
            'test_dataloader.dataset.data_root': str(data),
            'test_dataloader.dataset.protocol': 'subsampled64',
            'test_dataloader.num_workers': 0,
            'test_dataloader.persistent_workers': False,
            'work_dir': str(tmp_path),
            'load_from': str(project_root / WEIGHTS),
        }
    )
    metrics = Runner.from_cfg(config).test()
    assert metrics['poses'] == NUM['test'] // 2 and metrics['invalid'] == 0
    assert {f'P-MPJPE_{action}' for action in ACTIONS} <= metrics.keys()
    # Each action has the same number of frames here.
    assert metrics['MPJPE'] == pytest.approx(np.mean([metrics[f'MPJPE_{action}'] for action in ACTIONS]), rel=1e-4)


def test_combined_with_another_dataset(data, build):
    dataset = dict(
        type='StereoHuman36mDataset',
        data_root=str(data),
        ann_file='annotation_body3d/fps50/h36m_train.npz',
        camera_param_file='annotation_body3d/cameras.pkl',
    )
    combined = DATASETS.build(
        dict(
            type='CombinedDataset',
            metainfo=dict(from_file='configs/_base_/datasets/h36m.py'),
            datasets=[dataset, dataset | dict(actions=['Eating'], keypoint_2d_src='gt')],
            pipeline=PIPELINE,
            sample_ratio_factor=[0.01, 0.05],
        )
    )
    assert len(combined) == round(NUM['train'] * 0.01) + round(NUM['train'] / 15 * 0.05)
    for i in (0, 10, len(combined) - 1):
        labels = combined[i]['data_samples'].gt_instance_labels
        assert labels.right_view_label.shape == (1, 17, 2) and labels.right_view_label.isfinite().all()
    assert combined[len(combined) - 1]['data_samples'].metainfo['action'] == 'Eating'


def test_detections(build, data, tmp_path):
    path = 'joint_2d_det_files/cpn_ft_h36m_dbb_test.npy'
    found = np.load(data / path)
    arguments = dict(keypoint_2d_src='detection', keypoint_2d_det_file=path)
    part = dict(subjects=['S11'], frame_step=64)
    dataset, truth = build(**arguments, **part), build(**part)
    with np.load(data / 'annotation_body3d/fps50/h36m_test.npz') as file:
        rows = [i for i, name in enumerate(file['imgname']) if name.startswith('S11') and name[-6:-4] in ('01', '65')]
    assert len(dataset) == len(rows) == NUM['test'] // 4
    assert np.array_equal(dataset.records.keypoints, found[rows, :, :2])
    np.testing.assert_array_equal(dataset.records.keypoints_visible, found[rows, :, 2])
    assert np.array_equal(dataset.records.pose_cam, truth.records.pose_cam)
    assert truth.exact_keypoints and not dataset.exact_keypoints

    # Without scores every joint counts; low scores do not, but for the root's.
    np.save(tmp_path / 'xy.npy', found[..., :2])
    everything = build(keypoint_2d_src='detection', keypoint_2d_det_file=str(tmp_path / 'xy.npy'))
    # No score says that a keypoint is exact.
    np.testing.assert_allclose(everything.records.keypoints_visible, 0.6)
    found[5, [0, 1, 2], 2] = 0.05, 0.05, -3
    np.save(tmp_path / 'low.npy', found)
    arguments = dict(keypoint_2d_src='detection', keypoint_2d_det_file=str(tmp_path / 'low.npy'))
    assert build(**arguments).records.keypoints_visible[5, :3].tolist() == pytest.approx([0.05, 0, 0])
    assert build(**arguments, min_score=0.0).records.keypoints_visible[5, :3].tolist() == pytest.approx([0.05, 0.05, 0])
    (batch,) = build(**arguments, codec=CODEC).__getitems__([5])
    assert batch['inputs'].isfinite().all()


def test_missing_labels_do_not_count(build, changed):
    def hide(array):
        array = array.copy()
        array[3, 5, :3], array[3, 5, 3] = np.nan, 0
        return array

    dataset = build(ann_file=changed(S=hide), codec=CODEC)
    (batch,) = dataset.__getitems__([3, 4])
    (sample,) = batch['data_samples']
    assert sample.gt_instances.lifting_target_visible[0].tolist() == [1] * 5 + [0] + [1] * 11
    assert sample.gt_instance_labels.lifting_target_label.isfinite().all()
    assert sample.gt_instance_labels.right_view_weight[0, 5] == 0


NAME = 'S9/S9_Directions_1.54138969/S9_Directions_1.54138969_000001.jpg'


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (dict(S=None), r"no key 'S'; it has \['center', 'imgname', 'part', 'scale'\]"),
        (dict(imgname=None), "no key 'imgname'"),
        (dict(part=None), "no key 'part'"),
        (dict(S=lambda a: a[:-1]), r'S is \(959, 17, 4\); takes \(960, 17, 4\), for 960 names in imgname'),
        (dict(part=lambda a: a[:, :16]), r'part is \(960, 16, 3\); takes \(960, 17, 3\)'),
        (dict(S=lambda a: a[..., :3]), r'S is \(960, 17, 3\); takes \(960, 17, 4\)'),
        (dict(S=lambda a: a.astype(str)), 'S is of <U.*; takes numbers'),
        (dict(imgname=np.arange(960)), r'imgname is \(960,\) of int64; takes text'),
        (dict(imgname=np.array([], str)), r'imgname is \(0,\)'),
        (dict(S=put((7, 3, 1), np.nan)), r'S of record 7 \(S9/.*_000065.jpg\): joint 3 is not finite'),
        (dict(part=put((959, 16, 0), np.inf)), r'part of record 959 \(S11/.*\): joint 16 is not finite'),
        (dict(imgname=put(4, 'S9_Walking.jpg')), r'imgname of record 4 \(S9_Walking.jpg\): takes SUBJECT_ACTION'),
        (dict(imgname=put(4, NAME.replace('_1.', '.x'))), r'imgname of record 4 .*: takes SUBJECT_ACTION'),
        (dict(imgname=put(4, '')), r'imgname of record 4 \(\): takes SUBJECT_ACTION'),
        (dict(imgname=put(4, NAME.replace('000001', '00000x'))), 'imgname of record 4 .*: takes SUBJECT_ACTION'),
        (dict(imgname=put(9, NAME.replace('Directions', 'Dancing'))), "record 9 .*: unknown action 'Dancing'; takes"),
        (dict(imgname=put(9, NAME.replace('54138969', '1234567'))), r"record 9 .*: camera \('S9', '1234567'\) is not"),
    ],
)  # fmt: skip
def test_bad_annotations(build, changed, arrays, message):
    path = changed(**arrays)
    with pytest.raises(ValueError, match=message) as error:
        build(ann_file=path)
    assert str(error.value).startswith(path)


@given(st.lists(st.text(max_size=30).map('{}_000001.jpg'.format) | st.text(max_size=30) | st.just(NAME), min_size=1))
def test_any_names_are_parsed_or_refused(names):
    array = np.array(names)
    array = array.astype(f'U{max(array.dtype.itemsize // 4, 12)}')
    try:
        clip_of, frames, clips = _parse_names(array, 'file')
    except ValueError as error:
        assert str(error).startswith('file: imgname of record ')
    else:
        assert [f'{clips["sequence"][c]}_{f:06d}' for c, f in zip(clip_of, frames, strict=True)] == [
            name.rpartition('/')[2].rpartition('.')[0] for name in array.tolist()
        ]


def test_record_numbers_are_the_files(build, changed):
    path = changed(S=put((700, 3, 1), np.nan))
    with pytest.raises(ValueError, match='S of record 700'):
        build(ann_file=path, subjects=['S11'])
    assert len(build(ann_file=path, subjects=['S9'])) == NUM['test'] // 2


def test_unreadable_files(build, data, tmp_path):
    whole = (data / 'annotation_body3d/fps50/h36m_test.npz').read_bytes()
    path = tmp_path / 'h36m.npz'
    for content in (whole[: len(whole) // 2], b'', b'surely not'):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='h36m.npz: not a readable NPZ of plain arrays'):
            build(ann_file=str(path))
    # The directory at its end is whole, the array is not.
    spoilt = bytearray(whole)
    place = whole.index(b'part.npy') + 5000
    spoilt[place : place + 8] = b'\0' * 4 + b'\1' * 4
    path.write_bytes(spoilt)
    with pytest.raises(ValueError, match='h36m.npz: part cannot be read: Bad CRC'):
        build(ann_file=str(path))
    np.savez(path, imgname=np.array([NAME], dtype=object))
    with pytest.raises(ValueError, match='h36m.npz: imgname cannot be read: Object arrays'):
        build(ann_file=str(path))
    with pytest.raises(ValueError, match=r'none.npz: no such file; docs/datasets/human36m.md says'):
        build(ann_file=str(tmp_path / 'none.npz'))
    np.save(tmp_path / 'one.npy', np.zeros(3))
    with pytest.raises(ValueError, match=r'one.npy: takes an NPZ, has one array \(3,\)'):
        build(ann_file=str(tmp_path / 'one.npy'))
    with pytest.raises(ValueError, match='none.pkl: cannot be read'):
        build(camera_param_file=str(tmp_path / 'none.pkl'))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda a: a[:-1], r'has 959 detections; .*h36m_test.npz has 960 records'),
        (lambda a: a[:, :15], r'takes \(N, 17, 3\) or \(N, 17, 2\), has \(960, 15, 3\)'),
        (lambda a: a.reshape(-1), r'has \(48960,\)'),
        (put((8, 2, 0), np.nan), r'keypoints of record 8 \(.*\): joint 2 is not finite'),
        (put((8, 2, 2), np.nan), r'score of record 8 \(.*\): joint 2 is not finite'),
    ],
)
def test_bad_detections(build, data, tmp_path, change, message):
    found = np.load(data / 'joint_2d_det_files/cpn_ft_h36m_dbb_test.npy')
    found[8, 2] = 1
    path = tmp_path / 'detections.npy'
    np.save(path, change(found))
    with pytest.raises(ValueError, match=message) as error:
        build(keypoint_2d_src='detection', keypoint_2d_det_file=str(path))
    assert str(error.value).startswith(str(path))


def test_bad_arguments(build, tmp_path):
    with pytest.raises(ValueError, match="keypoint_2d_src takes 'gt' or 'detection', got 'pipeline'"):
        build(keypoint_2d_src='pipeline')
    with pytest.raises(ValueError, match="keypoint_2d_src='detection' takes a keypoint_2d_det_file"):
        build(keypoint_2d_src='detection')
    (tmp_path / 'text.npy').write_text('surely not')
    with pytest.raises(ValueError, match='text.npy: not a readable NPY'):
        build(keypoint_2d_src='detection', keypoint_2d_det_file=str(tmp_path / 'text.npy'))


def real_dataset(shared_data, **arguments):
    return DATASETS.build(
        dict(
            type='StereoHuman36mDataset',
            data_root=str(shared_data / 'real/h36m'),
            ann_file='annotations.npz',
            camera_param_file='cameras.pkl',
            data_prefix=dict(img='images/'),
            protocol=None,
        )
        | arguments
    )


def test_real_frames_project_onto_their_annotation(shared_data):
    dataset = real_dataset(shared_data)
    for i in range(2):
        info = dataset.get_data_info(i)
        camera = Camera.from_mmpose(info['camera_param'])
        pixels = camera.project(torch.from_numpy(info['lifting_target']).double()).numpy()
        assert np.abs(pixels - info['keypoints']).max() < 0.01
        assert Path(info['img_path']).is_file()


@pytest.fixture(scope='module')
def movenet_file(shared_data, tmp_path_factory):
    """The detector's results as H36M-17 in the annotations' order, as the documentation page makes them."""
    names = np.load(shared_data / 'real/h36m/annotations.npz')['imgname'].tolist()
    found = read_detections(shared_data / 'real/h36m/movenet_keypoints.json')
    keypoints, scores = coco_to_h36m(found.keypoints, found.scores)
    detections = np.zeros((len(names), 17, 3), np.float32)
    rows = [names.index(name) for name in found.file_names]
    detections[rows] = np.concatenate([keypoints, scores[..., None]], -1)
    path = tmp_path_factory.mktemp('detections') / 'movenet.npy'
    np.save(path, detections)
    return path


@pytest.mark.parametrize('source', ['gt', 'detection'])
def test_real_frames_through_mmposes_test_tool(shared_data, movenet_file, project_root, tmp_path, source):
    dataset = dict(
        data_root=shared_data / 'real/h36m',
        ann_file='annotations.npz',
        camera_param_file='cameras.pkl',
        protocol=None,
        keypoint_2d_src=source,
        keypoint_2d_det_file=movenet_file,
    )
    options = [f'test_dataloader.dataset.{key}={value}' for key, value in dataset.items()]
    options += ['test_evaluator.0.group_by=[subject]', 'test_dataloader.num_workers=0']
    options += ['test_dataloader.persistent_workers=False']
    command = ['-m', 'stereopose_mm.compat', MMPOSE_TEST, CONFIG, WEIGHTS, '--work-dir', tmp_path]
    done = subprocess.run(
        [sys.executable, *map(str, command), '--cfg-options', *options],
        cwd=project_root,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (written,) = tmp_path.glob('*/*.json')
    metrics = json.loads(written.read_text())
    assert metrics['poses'] == 2 and metrics['invalid'] == 0
    for subject, (mpjpe, p_mpjpe) in REAL_ERRORS[source].items():
        assert metrics[f'MPJPE_{subject}'] == pytest.approx(mpjpe, abs=0.06)
        assert metrics[f'P-MPJPE_{subject}'] == pytest.approx(p_mpjpe, abs=0.06)
    assert metrics['MPJPE'] == pytest.approx((metrics['MPJPE_S1'] + metrics['MPJPE_S5']) / 2)
    assert metrics['reprojection-error-px'] < 0.05


def test_registered():
    assert DATASETS.get('StereoHuman36mDataset') is not None and METRICS.get('MPJPEMetric') is not None
