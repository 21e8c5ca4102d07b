# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData
from mmpose.datasets import Human36mDataset
from mmpose.evaluation.functional import keypoint_mpjpe
from mmpose.evaluation.metrics import MPJPE
from mmpose.registry import KEYPOINT_CODECS, METRICS
from mmpose.structures import PoseDataSample

import stereopose_mm.evaluation  # noqa: F401
from stereopose_mm.evaluation.pose_errors import _CHUNK
from stereopose_mm.geometry import alignment

POSE_KEYS = ['MPJPE', 'P-MPJPE', 'N-MPJPE']
ROOT = np.array([0.3, -0.2, 4.0])


def build(**kwargs):
    return METRICS.build(dict(type='MPJPEMetric', **kwargs))


def random_poses(n, seed, size=0.5, k=17):
    """Poses in the camera frame whose root stands at ``ROOT``."""
    poses = size * np.random.default_rng(seed).normal(size=(n, k, 3))
    return poses - poses[:, :1] + ROOT


def make_sample(target, pred, visible=None, pred_fields=None, **meta):
    gt_instances = InstanceData(lifting_target=target)
    if visible is not None:
        gt_instances.lifting_target_visible = visible
    sample = PoseDataSample(metainfo=meta)
    sample.gt_instances = gt_instances
    sample.pred_instances = InstanceData(keypoints=pred, **(pred_fields or {}))
    return sample


def evaluate(samples, size=None, **kwargs):
    evaluator = Evaluator(build(**kwargs))
    for sample in samples:
        evaluator.process([sample])
    return evaluator.evaluate(len(samples) if size is None else size)


def expected_errors(pred, target):
    """The three pose errors by MMPose, in mm."""
    pred, target = pred - pred[:, :1], target - target[:, :1]
    mask = np.ones(target.shape[:2], dtype=bool)
    modes = ('none', 'procrustes', 'scale')
    return [1000 * keypoint_mpjpe(pred, target, mask, mode) for mode in modes]


def write_h36m(path, n=8):
    """Write an annotation file in the format of MMPose's processed Human3.6M."""
    poses = random_poses(n, seed=11, size=0.3)
    pixels = 1145 * poses[..., :2] / poses[..., 2:] + 500
    ones = np.ones((n, 17, 1))
    names = [f'S{9 + 2 * (i % 2)}/S{9 + 2 * (i % 2)}_Walking_1.54138969/' for i in range(n)]
    names = [f'{name}{name.split("/")[1]}_{i:06d}.jpg' for i, name in enumerate(names)]
    np.savez(
        path,
        imgname=np.array(names),
        center=np.full((n, 2), 500.0),
        scale=np.full(n, 4.0),
        part=np.concatenate([pixels, ones], axis=-1),
        S=np.concatenate([poses, ones], axis=-1),
    )


def predict_h36m(folder, remove_root):
    """Samples of MMPose's H36M pipeline with noisy predictions out of MMPose's own decoder."""
    write_h36m(folder / 'h36m.npz')
    codec = dict(type='ImagePoseLifting', num_keypoints=17, root_index=0, remove_root=remove_root)
    meta_keys = ('id', 'target_img_path', 'target_root')
    dataset = Human36mDataset(
        ann_file='h36m.npz',
        data_root=str(folder),
        pipeline=[
            dict(type='mmpose.GenerateTarget', encoder=codec),
            dict(type='mmpose.PackPoseInputs', meta_keys=meta_keys),
        ],
    )
    decoder = KEYPOINT_CODECS.build(codec)
    rng = np.random.default_rng(0)
    samples = []
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        label = sample.gt_instance_labels.lifting_target_label.numpy()
        noisy = label + 0.05 * rng.normal(size=label.shape)
        keypoints, scores = decoder.decode(noisy, target_root=sample.metainfo['target_root'])
        sample.pred_instances = InstanceData(keypoints=keypoints, keypoint_scores=scores)
        samples.append(sample)
    return samples


@pytest.mark.parametrize('remove_root', [False, True])
def test_reads_mmpose_h36m_samples(tmp_path, remove_root):
    samples = predict_h36m(tmp_path, remove_root)
    results = evaluate(samples)
    assert results['poses'] == len(samples) == 8
    assert results['invalid'] == 0
    assert 10 < results['P-MPJPE'] < results['MPJPE'] < 200
    target = np.concatenate([sample.gt_instances.lifting_target for sample in samples])
    pred = np.concatenate([sample.pred_instances.keypoints for sample in samples])
    np.testing.assert_allclose([results[key] for key in POSE_KEYS], expected_errors(pred, target), rtol=1e-4)


def test_agrees_with_mmpose_metric_on_h36m(tmp_path):
    samples = predict_h36m(tmp_path, remove_root=True)  # its decoder puts the true root back
    evaluator = Evaluator([MPJPE(mode='mpjpe'), MPJPE(mode='p-mpjpe')])
    evaluator.process(samples)
    theirs, ours = evaluator.evaluate(len(samples)), evaluate(samples)
    for key in ('MPJPE', 'P-MPJPE'):
        assert ours[key] == pytest.approx(1000 * theirs[key], rel=1e-4)


@pytest.mark.parametrize('convert', [np.asarray, torch.from_numpy, lambda x: x.astype('float32')])
@pytest.mark.parametrize('extra_axis', [False, True])
def test_pose_errors_are_millimetres(convert, extra_axis):
    target, pred = random_poses(7, 1), random_poses(7, 2)
    given = pred[None] if extra_axis else pred
    metric = build()
    instances = dict(keypoints=convert(given))
    metric.process(None, [dict(gt_instances=dict(lifting_target=convert(target)), pred_instances=instances)])
    results = metric.evaluate(1)
    np.testing.assert_allclose([results[key] for key in POSE_KEYS], expected_errors(pred, target), rtol=1e-5)


def test_known_errors():
    target = random_poses(1, 1)
    pred = target + np.array([0.5, 0.0, 0.0])  # absolute position is none of MPJPE's business
    pred[0, 5, 1] += 0.017
    cam = target + np.array([0.03, 0.0, 0.04])
    fields = dict(keypoints_cam=cam, reprojection_error=np.array([2.5]))
    results = evaluate([make_sample(target, pred, pred_fields=fields)])
    assert list(results) == [
        'MPJPE', 'P-MPJPE', 'N-MPJPE', 'MRPE', 'reprojection-error-px', 'poses', 'invalid'
    ]  # fmt: skip
    assert results['MPJPE'] == pytest.approx(1.0)
    assert results['MRPE'] == pytest.approx(50.0)
    assert results['reprojection-error-px'] == pytest.approx(2.5)
    # MMEngine's log of a test writes whole numbers as null.
    assert isinstance(results['poses'], float) and results['poses'] == 1


def test_samples_of_many_poses_count_each_pose():
    target, pred = random_poses(9, 1), random_poses(9, 2)
    fields = dict(keypoints_cam=pred + 0.1, reprojection_error=np.arange(9.0))

    def part(i, j):
        return make_sample(target[i:j], pred[i:j], pred_fields={k: v[i:j] for k, v in fields.items()})

    whole, split = evaluate([part(0, 9)]), evaluate([part(0, 1), part(1, 7), part(7, 9)])
    assert split == pytest.approx(whole)
    assert whole['poses'] == 9
    assert whole['reprojection-error-px'] == pytest.approx(4.0)


def test_padded_samples_are_trimmed_as_wholes():
    samples = [make_sample(random_poses(5, i), random_poses(5, i + 10)) for i in range(3)]
    assert evaluate(samples, size=2) == pytest.approx(evaluate(samples[:2]))
    assert evaluate(samples, size=2)['poses'] == 10


def test_batch_is_computed_without_a_loop_over_poses(monkeypatch):
    target = random_poses(20_000, 1).astype(np.float32)
    pred = target + random_poses(20_000, 2, size=0.05).astype(np.float32)
    svd, batches = torch.linalg.svd, []

    def count(matrix, *args, **kwargs):
        batches.append(len(matrix))
        return svd(matrix, *args, **kwargs)

    monkeypatch.setattr(alignment.torch.linalg, 'svd', count)
    samples = [make_sample(target[i::20], pred[i::20]) for i in range(20)]
    results = evaluate(samples)
    assert sum(batches) == 20_000 and len(batches) == -(-20_000 // _CHUNK) <= 5
    np.testing.assert_allclose(results['P-MPJPE'], expected_errors(pred[:200], target[:200])[1], rtol=0.05)


@pytest.mark.parametrize('axes', [2, 3])
def test_unlabelled_joints_are_left_out(axes):
    target, pred = random_poses(4, 1), random_poses(4, 2)
    visible = np.ones((4, 17) if axes == 2 else (4, 17, 1), dtype=np.float32)
    visible[:, 12:] = 0
    expected = expected_errors(pred[:, :12], target[:, :12])
    target[:, 12:], pred[:, 12:] = np.nan, 1e6
    results = evaluate([make_sample(target, pred, visible)])
    np.testing.assert_allclose([results[key] for key in POSE_KEYS], expected, rtol=1e-6)
    assert (results['poses'], results['invalid']) == (4, 0)


def test_poses_without_labelled_root_are_left_out():
    target, pred = random_poses(4, 1), random_poses(4, 2)
    visible = np.ones((4, 17))
    visible[2, 0] = 0
    target[2, 0] = np.nan
    results = evaluate([make_sample(target, pred, visible)])
    kept = [0, 1, 3]
    np.testing.assert_allclose([results[key] for key in POSE_KEYS], expected_errors(pred[kept], target[kept]))
    assert (results['poses'], results['invalid']) == (3, 0)


@pytest.mark.parametrize('key', ['keypoints', 'keypoints_cam', 'reprojection_error'])
def test_invalid_predictions_are_counted_and_left_out(key):
    target, pred = random_poses(4, 1), random_poses(4, 2)
    fields = dict(keypoints=pred, keypoints_cam=pred + 0.1, reprojection_error=np.array([1.0, 2.0, 3.0, 4.0]))
    fields[key] = fields[key].copy()
    fields[key][1] = np.nan
    keypoints = fields.pop('keypoints')
    results = evaluate([make_sample(target, keypoints, pred_fields=fields)])
    kept = [0, 2, 3]
    np.testing.assert_allclose([results[name] for name in POSE_KEYS], expected_errors(pred[kept], target[kept]))
    assert results['MRPE'] == pytest.approx(1000 * 0.1 * 3**0.5)
    assert results['reprojection-error-px'] == pytest.approx(8 / 3)
    assert (results['poses'], results['invalid']) == (4, 1)


def test_no_valid_prediction_gives_nan():
    results = evaluate([make_sample(random_poses(2, 1), np.full((2, 17, 3), np.nan))])
    assert np.isnan([results[key] for key in POSE_KEYS]).all()
    assert (results['poses'], results['invalid']) == (2, 2)


def test_root_relative_ground_truth_has_no_mrpe():
    target = random_poses(3, 1) - ROOT
    pred = random_poses(3, 2)
    results = evaluate([make_sample(target, pred, pred_fields=dict(keypoints_cam=pred))])
    assert 'MRPE' not in results
    np.testing.assert_allclose([results[key] for key in POSE_KEYS], expected_errors(pred, target))


def test_root_index():
    target, pred = random_poses(3, 1), random_poses(3, 2)
    results = evaluate([make_sample(target, pred)], root_index=6, metrics='mpjpe')
    moved = [np.roll(poses, -6, axis=1) for poses in (pred, target)]
    assert results['MPJPE'] == pytest.approx(expected_errors(*moved)[0])


def test_metrics_and_prefix():
    sample = make_sample(random_poses(3, 1), random_poses(3, 2))
    results = evaluate([sample], metrics=['n_mpjpe', 'mpjpe'], prefix='h36m')
    assert list(results) == ['h36m/N-MPJPE', 'h36m/MPJPE', 'h36m/poses', 'h36m/invalid']


def test_group_by_adds_rows():
    target, pred = random_poses(6, 1), random_poses(6, 2)
    pred[5] = np.nan
    samples = [
        make_sample(target[:2], pred[:2], subject='S9'),
        make_sample(target[2:3], pred[2:3], subject='S11'),
        make_sample(target[3:], pred[3:], subject=['S11', 'S9', 'S9']),
    ]
    results = evaluate(samples, group_by='subject')
    for group, rows in {'S9': [0, 1, 4], 'S11': [2, 3]}.items():
        np.testing.assert_allclose(
            [results[f'{key}_{group}'] for key in POSE_KEYS],
            expected_errors(pred[rows], target[rows]),
        )
    np.testing.assert_allclose([results[key] for key in POSE_KEYS], expected_errors(pred[:5], target[:5]))
    assert [results[f'poses_{group}'] for group in ('S9', 'S11')] == [4, 2]
    assert [results[f'invalid_{group}'] for group in ('S9', 'S11')] == [1, 0]


def test_results_do_not_leak_into_the_next_evaluation():
    evaluator = Evaluator(build())
    for seed in (1, 5):
        target, pred = random_poses(3, seed), random_poses(3, seed + 1)
        evaluator.process([make_sample(target, pred)])
        np.testing.assert_allclose(evaluator.evaluate(1)['MPJPE'], expected_errors(pred, target)[0])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(metrics=['mpjpe', 'pck']), r"metrics is \['mpjpe', 'pck'\]; takes names of"),
        (dict(metrics=[]), 'metrics is'),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_bad_samples_are_named():
    target, pred = random_poses(3, 1), random_poses(3, 2)
    spoilt = target.copy()
    spoilt[1, 4] = np.nan
    cases = [
        (make_sample(spoilt, pred, id=7), 'with id 7: lifting_target is not finite'),
        (make_sample(target, pred[:, :16], img_id=3), r'img_id 3: keypoints is \(3, 16, 3\)'),
        (make_sample(target, pred[..., :2]), r'number 0: keypoints is \(3, 17, 2\)'),
        (make_sample(target, pred[:2], id=1), r'takes the shape of lifting_target, \(3, 17, 3\)'),
        (make_sample(target, pred, np.ones((3, 16)), id=1), r'lifting_target_visible is \(3, 16\)'),
        (
            make_sample(target, pred, id=1, pred_fields=dict(reprojection_error=np.ones((3, 17)))),
            r'reprojection_error is \(3, 17\); takes \(3,\)',
        ),
    ]
    for sample, message in cases:
        with pytest.raises(ValueError, match=message):
            build().process(None, [sample.to_dict()])
    with pytest.raises(ValueError, match="id 4: has no 'subject'"):
        build(group_by='subject').process(None, [make_sample(target, pred, id=4).to_dict()])
    with pytest.raises(ValueError, match='subject has 2 labels'):
        sample = make_sample(target, pred, subject=['S9', 'S11'])
        build(group_by='subject').process(None, [sample.to_dict()])
    with pytest.raises(ValueError, match='root_index is 17'):
        build(root_index=17).process(None, [make_sample(target, pred).to_dict()])
    with pytest.raises(ValueError, match="id 2: has no 'lifting_target'"):
        sample = PoseDataSample(metainfo=dict(id=2))
        sample.gt_instances, sample.pred_instances = InstanceData(), InstanceData(keypoints=pred)
        build().process(None, [sample.to_dict()])


def test_samples_that_differ_are_named():
    target, pred = random_poses(2, 1), random_poses(2, 2)
    metric = build()
    metric.process(None, [make_sample(target, pred, id=0).to_dict()])
    with pytest.raises(ValueError, match=r'id 1: lifting_target is \(n, 12, 3\)'):
        metric.process(None, [make_sample(target[:, :12], pred[:, :12], id=1).to_dict()])
    with pytest.raises(ValueError, match='id 2: gives .*pred_root'):
        sample = make_sample(target, pred, id=2, pred_fields=dict(keypoints_cam=pred))
        metric.process(None, [sample.to_dict()])


def test_evaluating_nothing_is_an_error():
    with pytest.raises(ValueError, match='no data sample was processed'):
        build().evaluate(0)
