# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What data sets of 2D-3D pairs share: batches, samples, records, mixtures."""

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpose.registry import DATASETS

from stereopose_mm.datasets import MixedLiftingDataset
from stereopose_mm.geometry.skeletons import mapping_matrix

from .made_dataset import CAMERAS, MadeDataset, make_records

CODEC = dict(type='StereoPoseLifting')
META_KEYS = ('id', 'target_img_path', 'flip_indices', 'subject')
PIPELINE = [dict(type='GenerateTarget', encoder=CODEC), dict(type='PackPoseInputs', meta_keys=META_KEYS)]


@pytest.fixture(autouse=True)
def mmpose_scope():
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


def load_all(dataset, batch_size=4, shuffle=False, epoch=0):
    config = dict(
        batch_size=batch_size, num_workers=0, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=shuffle)
    )
    if dataset.codec is not None:
        config['collate_fn'] = dict(type='collate_packed')
    loader = Runner.build_dataloader(config, seed=0)
    loader.sampler.set_epoch(epoch)
    return list(loader)


def test_batches_hold_what_single_samples_hold():
    packed = load_all(MadeDataset(codec=CODEC))
    single = load_all(MadeDataset(pipeline=PIPELINE))
    assert [len(b['inputs']) for b in packed] == [len(b['inputs']) for b in single] == [4, 4, 2]
    for many, few in zip(packed, single, strict=True):
        torch.testing.assert_close(many['inputs'], torch.stack(list(few['inputs'])), rtol=1e-4, atol=1e-5)
        (sample,) = many['data_samples']
        for i, one in enumerate(few['data_samples']):
            labels = one.gt_instance_labels
            for key in labels.keys():
                ours = sample.gt_instance_labels[key][i]
                torch.testing.assert_close(ours, torch.as_tensor(labels[key])[0].to(ours), rtol=1e-4, atol=1e-5)
            assert sample.metainfo['subject'][i] == one.metainfo['subject']
            assert sample.metainfo['target_img_path'][i] == one.metainfo['target_img_path']
            np.testing.assert_allclose(sample.gt_instances.lifting_target[i], one.gt_instances.lifting_target[0])


def test_neither_codec_nor_pipeline_gives_the_data_infos():
    info = MadeDataset()[3]
    assert info['keypoints'].shape == (1, 17, 2) and info['lifting_target'].shape == (1, 17, 3)
    assert info['subject'] == 'S0' and info['frame'] == 3 and info['id'] == 3
    assert info['target_img_path'] == ['images/000003.jpg'] == [info['img_path']]
    assert info['camera_param'] in CAMERAS


def test_codec_makes_the_batches_where_a_pipeline_is_there_too():
    both, packed = (MadeDataset(codec=CODEC, **options) for options in (dict(pipeline=PIPELINE), {}))
    assert torch.equal(both.__getitems__([3, 1])[0]['inputs'], packed.__getitems__([3, 1])[0]['inputs'])


def test_indices_choose_records():
    assert len(MadeDataset(indices=4)) == 4
    assert [MadeDataset(indices=[7, 2])[i]['frame'] for i in range(2)] == [7, 2]
    with pytest.raises(ValueError, match='no record is left'):
        MadeDataset(indices=0)
    with pytest.raises(IndexError, match='10 is out of range for 10 pairs'):
        MadeDataset().get_data_info(10)


def hide(records):
    records.pose_visible[2, 5] = 0
    records.pose_cam[2, 5] = np.nan
    records.pose_visible[3] = 0
    records.pose_cam[3] = 0
    records.keypoints_visible[4, 6] = 0
    records.keypoints[4, 6] = np.nan


def test_what_is_not_known_weighs_nothing():
    dataset = MadeDataset(codec=CODEC, change=hide)
    (batch,) = load_all(dataset, batch_size=10)
    labels = batch['data_samples'][0].gt_instance_labels
    assert all(labels[key].isfinite().all() for key in labels.keys()) and batch['inputs'].isfinite().all()
    assert labels.lifting_target_weight.sum(1).tolist() == [17, 17, 16, 0, 17, 17, 17, 17, 17, 17]
    # A joint that is not known does not cost the others their right view.
    assert labels.right_view_weight.sum(1).tolist() == [17, 17, 16, 0, 17, 17, 17, 17, 17, 17]
    assert labels.search_weight[4, 6] == 0
    exact = load_all(MadeDataset(codec=CODEC), batch_size=10)[0]['data_samples'][0].gt_instance_labels
    known = labels.lifting_target_weight > 0
    for key in ('lifting_target_label', 'right_view_label'):
        torch.testing.assert_close(labels[key][:4][known[:4]], exact[key][:4][known[:4]])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda r: setattr(r, 'pose_cam', r.pose_cam[:-1]), r'made: pose_cam is \(9, 17, 3\); takes \(10, 17, 3\)'),
        (lambda r: r.meta.update(frame=r.meta['frame'][:3]), 'made: frame has 3 entries; takes one for each of 10'),
        (
            lambda r: r.pose_cam.__setitem__((6, 2), np.nan),
            r'made: pose_cam of record 6 \(images/000006.jpg\), joint 2, is not finite',
        ),
        (lambda r: r.keypoints.__setitem__((1, 0, 1), np.inf), 'made: keypoints of record 1 .* joint 0, is not finite'),
        (lambda r: setattr(r, 'camera_index', r.camera_index + 2), 'made: camera_index names camera 3 of 2'),
    ],
)
def test_bad_records_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        MadeDataset(change=change)


def test_joints_of_another_set_are_averaged_where_all_are_known():
    records = make_records()
    records.keypoints_visible[1, 11] = 0
    records.keypoints[1, 11] = np.nan
    mapped = records.to_h36m('coco')
    matrix = mapping_matrix('coco')[0].numpy()
    np.testing.assert_allclose(mapped.keypoints[0], matrix @ records.keypoints[0])
    assert np.isfinite(mapped.keypoints).all()
    # The pelvis is between the hips, of which one is missing; COCO has neither spine nor head top.
    assert mapped.keypoints_visible[1, [0, 4, 1]].tolist() == [0, 0, 1]
    assert (mapped.keypoints_visible[:, [7, 10]] == 0).all() and (mapped.pose_visible[:, [7, 10]] == 0).all()
    same = records.to_h36m('h36m')
    np.testing.assert_array_equal(same.pose_cam, records.pose_cam)
    with pytest.raises(ValueError, match='unknown skeleton'):
        records.to_h36m('no_such_set')


def mixture(**changes):
    options = dict(
        datasets=[dict(type='MadeDataset', num=30), dict(type='MadeDataset', num=7, seed=1)],
        ratios=[1, 3],
        num_pairs=40,
        codec=CODEC,
    )
    return MixedLiftingDataset(**options | changes)


def test_a_mixture_has_the_ratios_it_was_given():
    batches = load_all(mixture(), batch_size=40, shuffle=True)
    counts = [len(dataset) for dataset in mixture().datasets]
    assert counts == [30, 7]
    sample = batches[0]['data_samples'][0]
    frames = {s: [] for s in (0, 1)}
    first = {tuple(pose[0].tolist()) for pose in mixture().datasets[0]._batch(range(30)).pose_cam}
    for pose, frame in zip(sample.gt_instances.lifting_target, sample.metainfo['frame'], strict=True):
        frames[0 if tuple(pose[0].tolist()) in first else 1].append(frame)
    assert len(frames[0]) == 10 and len(frames[1]) == 30
    # Four or five times each of the seven; ten of the thirty, one from each three.
    assert set(np.bincount(frames[1])) <= {3, 4, 5, 6} and sorted(f // 3 for f in frames[0]) == list(range(10))


def test_a_mixture_keeps_rows_together_and_changes_with_the_epoch():
    dataset = mixture()
    batch = dataset._batch(list(range(40)))
    # Each pose is seen by its own camera at its own keypoints.
    torch.testing.assert_close(batch.camera.project(batch.pose_cam), batch.keypoints, rtol=0, atol=1e-3)
    one, other, again = (load_all(mixture(), batch_size=16, shuffle=True, epoch=e)[0]['inputs'] for e in (0, 1, 0))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_a_mixture_of_single_samples():
    packed, single = (mixture(num_pairs=12, **options) for options in ({}, dict(codec=None, pipeline=PIPELINE)))
    many = packed.__getitems__(range(12))[0]
    few = single.__getitems__(range(12))
    inputs = torch.stack([sample['inputs'] for sample in few])
    torch.testing.assert_close(many['inputs'], inputs, rtol=1e-4, atol=1e-5)


def test_mmposes_combined_dataset_takes_them():
    combined = DATASETS.build(
        dict(
            type='CombinedDataset',
            metainfo=MadeDataset.METAINFO,
            datasets=[dict(type='MadeDataset', num=30), dict(type='MadeDataset', num=7, seed=1)],
            sample_ratio_factor=[0.5, 2.0],
            pipeline=PIPELINE,
        )
    )
    assert len(combined) == 29
    batch = next(iter(torch.utils.data.DataLoader(combined, 29, collate_fn=lambda samples: samples)))
    assert all(sample['inputs'].isfinite().all() for sample in batch)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(datasets=[]), 'at least one config'),
        (dict(ratios=[1]), r'ratios takes 2 numbers of 0 or more, not all 0, got \[1\]'),
        (dict(ratios=[1, -1]), 'ratios takes 2 numbers'),
        (dict(num_pairs=0), 'num_pairs takes a positive number, got 0'),
        (dict(datasets=[dict(type='MadeDataset', codec=CODEC)], ratios=None), r'datasets\[0\] has a codec'),
    ],
)
def test_bad_mixtures_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        mixture(**changes)
