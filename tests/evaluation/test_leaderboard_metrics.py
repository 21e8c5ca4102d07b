# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.evaluation.functional import keypoint_mpjpe, keypoint_pck_accuracy
from mmpose.registry import METRICS

import stereopose_mm.evaluation  # noqa: F401
from stereopose_mm.evaluation.pose_errors import DEFAULT_METRICS, JOINTS_14, JOINTS_16, POSE_ERRORS
from stereopose_mm.evaluation.predictions_file import read_predictions
from stereopose_mm.geometry.skeletons import get_skeleton, to_h36m_mapping

ROOT = np.array([0.3, -0.2, 4.0])
OFFSET = np.array([0.03, -0.02, 0.061])
LABELS = {name: row.label for name, row in POSE_ERRORS.items()}
TRACK = dict(sequence_key='clip', frame_key='frame')


def build(metrics='all', **kwargs):
    return METRICS.build(dict(type='MPJPEMetric', metrics=metrics, **kwargs))


def random_poses(n, seed, k=17):
    """Ground truth in the camera frame and predictions some centimetres off, ``(n, k, 3)`` each."""
    rng = np.random.default_rng(seed)
    target = 0.4 * rng.normal(size=(n, k, 3))
    target += ROOT - target[:, :1]
    pred = target + 0.05 * rng.normal(size=(n, k, 3)) + OFFSET
    pred[:, 0] = target[:, 0] + OFFSET
    return target, pred


def make_sample(target, pred, visible=None, **meta):
    gt_instances = dict(lifting_target=target)
    if visible is not None:
        gt_instances['lifting_target_visible'] = visible
    pred_instances = dict(keypoints=pred - pred[:, :1], keypoints_cam=pred, reprojection_error=np.ones(len(pred)))
    return dict(gt_instances=gt_instances, pred_instances=pred_instances, **meta)


def evaluate(samples, **kwargs):
    metric = build(**kwargs)
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def expected_pck(pred, target, threshold):
    """MMPose's PCK, in percent, of poses whose joints all count."""
    mask = np.ones(pred.shape[:2], dtype=bool)
    return 100 * keypoint_pck_accuracy(pred, target, mask, threshold, np.ones((len(pred), 3)))[1]


def expected_auc(pred, target):
    return np.mean([expected_pck(pred, target, t) for t in np.linspace(0, 0.15, 31)])


def test_all_adds_to_the_default_metrics_and_changes_none_of_their_values():
    target, pred = random_poses(9, 1)
    sample = make_sample(target, pred)
    default, every = evaluate([sample], metrics=DEFAULT_METRICS), evaluate([sample])
    assert list(default) == [*(LABELS[name] for name in DEFAULT_METRICS), 'poses', 'invalid']
    assert list(every) == [*(label for name, label in LABELS.items() if name != 'mpjve'), 'poses', 'invalid']
    assert {key: every[key] for key in default} == default
    assert METRICS.build(dict(type='MPJPEMetric')).metrics == list(DEFAULT_METRICS)
    assert len(set(LABELS.values())) == len(LABELS)


def test_agrees_with_mmpose():
    target, pred = random_poses(40, 1)
    centred = pred - pred[:, :1], target - target[:, :1]
    j = list(JOINTS_14['h36m'])
    results = evaluate([make_sample(target[:15], pred[:15]), make_sample(target[15:], pred[15:])], pck_threshold=80)
    mask_14 = np.ones((40, 14), dtype=bool)
    for alignment, key in (('none', 'MPJPE'), ('procrustes', 'P-MPJPE')):
        subset = centred[0][:, j], centred[1][:, j]
        assert results[f'{key}-14'] == pytest.approx(1000 * keypoint_mpjpe(*subset, mask_14, alignment))
        subset = [np.delete(poses, 9, axis=1) for poses in centred]
        assert results[f'{key}-16'] == pytest.approx(1000 * keypoint_mpjpe(*subset, np.ones((40, 16), bool), alignment))
        assert len({results[key], results[f'{key}-14'], results[f'{key}-16']}) == 3
    without_root = [poses[:, 1:] for poses in centred]
    expected = 1000 * keypoint_mpjpe(*without_root, np.ones((40, 16), bool))
    assert 17 / 16 * results['MPJPE'] == pytest.approx(expected)
    assert results['3DPCK'] == pytest.approx(expected_pck(*centred, 0.08))
    assert results['3DPCK-14'] == pytest.approx(expected_pck(centred[0][:, j], centred[1][:, j], 0.08))
    assert results['3DPCK-abs'] == pytest.approx(expected_pck(pred[:, j], target[:, j], 0.08))
    assert results['3DAUC'] == pytest.approx(expected_auc(*centred))
    assert results['3DAUC-14'] == pytest.approx(expected_auc(centred[0][:, j], centred[1][:, j]))
    assert results['3DAUC-root'] == pytest.approx(expected_auc(pred[:, :1], target[:, :1]))
    assert 0 < results['3DPCK-abs'] < results['3DPCK-14'] < results['3DPCK'] < 100
    np.testing.assert_allclose([results[f'MRPE-{axis}'] for axis in 'xyz'], 1000 * np.abs(OFFSET))
    assert results['MRPE'] == pytest.approx(1000 * np.linalg.norm(OFFSET))


def test_exact_predictions():
    target, _ = random_poses(4, 1)
    samples = [make_sample(target, target.copy(), clip='a', frame=[3, 4, 5, 6])]
    results = evaluate(samples, **TRACK)
    assert [results[key] for key in ('3DPCK', '3DPCK-14', '3DPCK-abs')] == [100, 100, 100]
    best = [results[key] for key in ('3DAUC', '3DAUC-14', '3DAUC-root')]
    np.testing.assert_allclose(best, 100 * 30 / 31)
    for key in ('MPJPE-14', 'MRPE-x', 'MRPE-z', 'bone-length-error', 'MPJVE'):
        assert results[key] == 0, key


def test_the_14_joints_are_the_same_points_of_both_skeletons():
    names = [get_skeleton('h36m').joint_names[j] for j in JOINTS_14['h36m']]
    assert not {'root', 'spine', 'neck_base'} & set(names) and len(set(names)) == 14
    sources = to_h36m_mapping('mpi_inf_3dhp')
    assert {sources[j] for j in JOINTS_14['h36m']} == {(j,) for j in JOINTS_14['mpi_inf_3dhp']}
    for skeleton in JOINTS_14:  # MMPose's own order of joints
        info = parse_pose_metainfo(dict(from_file=f'configs/_base_/datasets/{skeleton}.py'))
        assert tuple(info['keypoint_id2name'].values()) == get_skeleton(skeleton).joint_names


def test_mpi_inf_3dhp_skeleton_gives_the_same_numbers():
    target, pred = random_poses(6, 1)
    sources = to_h36m_mapping('mpi_inf_3dhp')
    order = [sources[k][0] for k in range(17)]
    moved = [np.empty_like(poses) for poses in (target, pred)]
    for poses, ours in zip(moved, (target, pred), strict=True):
        poses[:, order] = ours
    theirs = evaluate([make_sample(*moved)], skeleton='mpi_inf_3dhp', root_index=14, metrics=['mpjpe', 'auc_3d_14'])
    assert theirs == pytest.approx(evaluate([make_sample(target, pred)], metrics=['mpjpe', 'auc_3d_14']))


def test_the_16_joints_are_human36ms_alone():
    assert get_skeleton('h36m').joint_names[9] == 'neck_base' and 9 not in JOINTS_16['h36m']
    assert len(JOINTS_16['h36m']) == 16
    every = build(skeleton='mpi_inf_3dhp').metrics
    assert set(build().metrics) - set(every) == {'mpjpe_16', 'p_mpjpe_16'}
    with pytest.raises(ValueError, match="metrics has 'p_mpjpe_16', of joints that 'mpi_inf_3dhp' lacks"):
        build(skeleton='mpi_inf_3dhp', metrics=['mpjpe', 'p_mpjpe_16'])


def test_unlabelled_joints_are_left_out_of_every_metric():
    target, pred = random_poses(8, 1)
    track = dict(clip='a', frame=np.arange(8))
    visible = np.ones((8, 17))
    visible[:, [3, 9, 16]] = 0
    expected = evaluate([make_sample(target, pred, visible, **track)], **TRACK)
    target[:, [3, 9, 16]], pred[:, [3, 9, 16]] = np.nan, np.nan
    results = evaluate([make_sample(target, pred, visible, **track)], **TRACK)
    assert np.isfinite(list(results.values())).all() and results == pytest.approx(expected)
    assert (results['poses'], results['invalid']) == (8, 0)


def test_a_pose_that_an_error_does_not_apply_to_is_left_out_of_that_one():
    target, pred = random_poses(3, 1)
    visible = np.ones((3, 17))
    visible[1, 1:] = 0  # the root alone: no bone, none of the 14 joints
    results = evaluate([make_sample(target, pred, visible)])
    kept = evaluate([make_sample(target[[0, 2]], pred[[0, 2]])])
    for key in ('MPJPE-14', '3DPCK-14', '3DAUC-14', '3DPCK-abs', 'bone-length-error'):
        assert results[key] == pytest.approx(kept[key])
    assert results['MPJPE'] == pytest.approx(2 / 3 * kept['MPJPE'])


def test_mpjve_reads_sequences_and_frames():
    target, pred = random_poses(7, 1)
    steps = [np.diff(poses - poses[:, :1], axis=0) for poses in (pred, target)]
    expected = [1000 * keypoint_mpjpe(*(s[[i]] for s in steps), np.ones((1, 17), dtype=bool)) for i in range(6)]
    clips, frames = list('aaaabbb'), [1, 2, 3, 4, 4, 5, 7]
    rows = [5, 2, 0, 6, 1, 4, 3]
    samples = [make_sample(target[[i]], pred[[i]], clip=clips[i], frame=frames[i]) for i in rows]
    results = evaluate(samples, group_by='clip', **TRACK)
    assert results['MPJVE'] == pytest.approx(np.mean([expected[i] for i in (0, 1, 2, 4)]))
    assert results['MPJVE_b'] == pytest.approx(expected[4])
    whole = make_sample(target, pred, clip=clips, frame=np.array(frames))
    assert evaluate([whole], group_by='clip', **TRACK) == pytest.approx(results)
    pred[1] = np.nan  # an invalid pose has no velocity, nor has the next
    results = evaluate([make_sample(target, pred, clip=clips, frame=frames)], **TRACK)
    assert results['MPJVE'] == pytest.approx(np.mean([expected[i] for i in (2, 4)]))
    assert results['invalid'] == 1


def test_frame_step_takes_velocities_of_kept_frames():
    """Human3.6M at 10 fps keeps frames 0, 5, 10, ..; the numbers stay those of 50 fps."""
    target, pred = random_poses(6, 1)
    sample = make_sample(target, pred, clip='a', frame=5 * np.arange(6))
    thinned = make_sample(target, pred, clip='a', frame=np.arange(6))
    assert np.isnan(evaluate([sample], **TRACK)['MPJVE'])
    assert evaluate([sample], frame_step=5, **TRACK) == pytest.approx(evaluate([thinned], **TRACK))


def test_group_by_several_keys_and_mean_over_groups():
    target, pred = random_poses(10, 1)
    pred[6] = np.nan  # the only pose of its action
    actions, subjects = list('eeeeeewdds'), ['S9', 'S11'] * 5
    samples = [make_sample(target[[i]], pred[[i]], action=actions[i], subject=subjects[i]) for i in range(10)]
    results = evaluate(samples, group_by=['action', 'subject'], metrics=['mpjpe', 'auc_3d'])
    each = {i: evaluate([samples[i]], metrics=['mpjpe', 'auc_3d']) for i in range(10) if i != 6}
    for key in ('MPJPE', '3DAUC'):
        rows = {
            label: [each[i][key] for i in each if label in (actions[i], subjects[i])] for label in actions + subjects
        }
        for label in ('e', 'd', 's', 'S9', 'S11'):
            assert results[f'{key}_{label}'] == pytest.approx(np.mean(rows[label]))
        assert np.isnan(results[f'{key}_w'])  # and so left out
        over_actions = np.mean([np.mean(rows[label]) for label in 'eds'])
        assert results[f'{key}_mean-over-action'] == pytest.approx(over_actions)
        assert results[f'{key}_mean-over-subject'] == pytest.approx(np.mean([np.mean(rows[s]) for s in ('S9', 'S11')]))
        assert results[key] == pytest.approx(np.mean([row[key] for row in each.values()])) != over_actions
    assert [results[f'poses_{label}'] for label in ('e', 'w', 'S9')] == [6, 1, 5]
    assert [results[f'invalid_{label}'] for label in ('e', 'w', 'S9', 'S11')] == [0, 1, 1, 0]
    assert 'poses_mean-over-action' not in results


def test_groups_of_which_nothing_is_known_have_no_mean():
    target, pred = random_poses(2, 1)
    results = evaluate([make_sample(target, np.full_like(pred, np.nan), action='w')], group_by='action')
    assert np.isnan(results['MPJPE']) and np.isnan(results['MPJPE_mean-over-action'])
    assert (results['poses_w'], results['invalid_w']) == (2, 2)


def test_labels_that_collide_are_named():
    target, pred = random_poses(2, 1)
    sample = make_sample(target, pred, subject=['S9', 'S11'], camera=['1', 'S9'])
    with pytest.raises(ValueError, match="camera has the label 'S9', which is a label of subject as well"):
        evaluate([sample], group_by=['subject', 'camera'])
    sample = make_sample(target, pred, subject='mean-over-subject')
    with pytest.raises(ValueError, match="subject has the label 'mean-over-subject', which is the name of a result"):
        evaluate([sample], group_by='subject')


def test_out_file_has_the_poses_and_their_errors(tmp_path):
    samples = make_dataset()
    path = tmp_path / 'new' / 'run.npz'
    options = {**OPTIONS, 'pck_threshold': 80.0}
    results = evaluate(samples, out_file=str(path), **options)
    assert results == evaluate(samples, **options)
    run = read_predictions(path)
    assert (run.skeleton, run.root_index, run.pck_threshold, len(run.name)) == ('h36m', 0, 80.0, 14)
    assert (run.labelled.sum(), (run.labelled & ~run.valid).sum()) == (results['poses'], results['invalid']) == (14, 1)
    target, pred = (np.concatenate([sample[part][key] for sample in samples]) for part, key in
                    (('gt_instances', 'lifting_target'), ('pred_instances', 'keypoints_cam')))  # fmt: skip
    np.testing.assert_allclose(run.target, target - target[:, :1], atol=1e-6)
    np.testing.assert_allclose(run.target_root, target[:, 0], atol=1e-6)
    np.testing.assert_allclose(run.pred, pred - pred[:, :1], atol=1e-6)
    np.testing.assert_allclose(run.pred_cam, pred, atol=1e-6)
    np.testing.assert_array_equal(run.pred_root, run.pred_cam[:, 0])
    assert {str(a.dtype) for a in (run.pred, run.target, run.target_root, run.pred_cam)} == {'float32'}
    visible = np.concatenate([sample['gt_instances']['lifting_target_visible'] for sample in samples])
    np.testing.assert_array_equal(run.mask, visible)
    assert run.frame.tolist() == list(range(14)) and run.sequence.tolist() == run.groups['clip'].tolist()
    assert run.name.tolist() == ['a.jpg', *(f'b.jpg#{i}' for i in range(3)), *run.name[4:]]
    assert len(set(run.name)) == 14 and run.groups.keys() == {'clip', 'subject'}
    for label, column in zip(run.error_labels, run.errors.T, strict=True):
        assert np.isnan(column[~run.valid]).all()
        assert np.nanmean(column) == pytest.approx(results[label])
        assert np.nanmean(column[run.groups['clip'] == 'b']) == pytest.approx(results[f'{label}_b'])


def test_out_file_changes_nothing_that_is_reported(tmp_path):
    """A file holds all that is predicted, but what the metrics do not need makes no pose invalid."""
    target, pred = random_poses(3, 1)
    sample = make_sample(target, pred, clip='a', frame=np.arange(3))
    sample['pred_instances']['keypoints_cam'] = np.full_like(pred, np.nan)
    path = tmp_path / 'run.npz'
    results = evaluate([sample], metrics='mpjpe', out_file=str(path), **TRACK)
    assert results == evaluate([sample], metrics='mpjpe', **TRACK) and results['invalid'] == 0
    run = read_predictions(path)
    assert np.isnan(run.pred_cam).all() and run.frame.tolist() == [0, 1, 2] and run.name.tolist()[0] == 'sample#0'
    assert run.error_labels.tolist() == ['MPJPE'] and run.groups == {}


def test_absolute_errors_need_absolute_ground_truth_and_predictions():
    target, pred = random_poses(3, 1)
    absolute = {'MRPE', 'MRPE-x', 'MRPE-y', 'MRPE-z', '3DPCK-abs', '3DAUC-root'}
    whole = evaluate([make_sample(target, pred)])
    assert absolute < whole.keys()
    assert whole.keys() - evaluate([make_sample(target - ROOT, pred)]).keys() == absolute
    relative = make_sample(target, pred)
    relative['pred_instances'].pop('keypoints_cam')
    assert whole.keys() - evaluate([relative]).keys() == absolute


def test_joint_that_is_not_finite_in_the_camera_is_invalid():
    target, pred = random_poses(4, 1)
    sample = make_sample(target, pred)
    sample['pred_instances']['keypoints_cam'] = pred.copy()
    sample['pred_instances']['keypoints_cam'][2, 5] = np.inf
    results = evaluate([sample])
    kept = [0, 1, 3]
    assert (results.pop('invalid'), results.pop('poses')) == (1, 4)
    expected = evaluate([make_sample(target[kept], pred[kept])])
    assert results == pytest.approx({key: expected[key] for key in results})


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(metrics=['mpjpe', 'all']), r"metrics is \['mpjpe', 'all'\]"),
        (dict(pck_threshold=0), 'pck_threshold is 0; takes millimetres'),
        (dict(skeleton='coco'), "skeleton is 'coco'; takes one of"),
        (dict(frame_key='frame'), "sequence_key is None, frame_key 'frame'; takes both"),
        (dict(frame_step=0), 'frame_step is 0; takes a whole number above 0'),
        (dict(frame_step=2.5), 'frame_step is 2.5; takes a whole number above 0'),
        (dict(out_file='run.json'), "out_file is 'run.json'; takes a name that ends in .npz"),
        (dict(group_by=['action', 'action']), 'group_by is .*; takes each key once'),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_bad_samples_are_named():
    target, pred = random_poses(3, 1)
    cases = [
        (make_sample(target[:, :16], pred[:, :16], id=4), 'id 4: lifting_target has 16 joints; h36m has 17'),
        (make_sample(target, pred, id=4, clip='a'), "id 4: has no 'frame'"),
        (make_sample(target, pred, id=4, clip='a', frame=[1.0, 2.0, 3.0]), 'id 4: frame is 3 of float64'),
        (make_sample(target, pred, id=4, clip='a', frame=[1, 2]), 'id 4: frame is 2 of int64'),
        (make_sample(target, pred, id=4, clip=['a', 'b'], frame=1), 'id 4: clip has 2 labels'),
    ]
    for sample, message in cases:
        with pytest.raises(ValueError, match=message):
            build(**TRACK).process(None, [sample])
    with pytest.raises(ValueError, match="sequence 'b' has frame 7 twice"):
        evaluate([make_sample(target, pred, clip=['a', 'b', 'b'], frame=7)], **TRACK)


TWO_PROCESSES = """
import json
import sys

import stereopose_mm  # noqa: F401
from mmengine import dist
from mmpose.registry import METRICS

sys.path.insert(0, sys.argv[1])
from test_leaderboard_metrics import make_dataset, OPTIONS

dist.init_dist('pytorch', backend='gloo')
assert dist.get_world_size() == 2
samples = make_dataset()
metric = METRICS.build(dict(type='MPJPEMetric', out_file=sys.argv[2] + f'/from_{dist.get_rank()}.npz', **OPTIONS))
# As DefaultSampler deals an odd number: in turn, and the first once more to fill up.
for i in range(dist.get_rank(), len(samples) + 1, 2):
    metric.process(None, [samples[i % len(samples)]])
results = metric.evaluate(len(samples))
with open(sys.argv[2] + f'/{dist.get_rank()}.json', 'w') as file:
    json.dump(results, file)
"""
OPTIONS = dict(metrics='all', group_by=['clip', 'subject'], frame_step=2, **TRACK)


def make_dataset():
    """Seven samples of one to three poses of two clips; one pose is invalid, some joints are not labelled."""
    rng = np.random.default_rng(5)
    samples, frame = [], 0
    for i, n in enumerate([1, 3, 2, 2, 1, 3, 2]):
        target, pred = random_poses(n, 20 + i)
        visible = rng.random((n, 17)) > 0.2
        visible[:, 0] = True
        if i == 2:
            pred[1] = np.nan
        meta = dict(clip='ab'[i > 3], subject=[f'S{j % 3}' for j in range(n)], img_path=f'{"abcdefg"[i]}.jpg')
        samples.append(make_sample(target, pred, visible, frame=frame + np.arange(n), **meta))
        frame += n
    return samples


def test_two_processes_give_the_numbers_of_one(tmp_path, project_root):
    script = tmp_path / 'run.py'
    script.write_text(TWO_PROCESSES)
    environment = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(project_root)}
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    arguments = [str(script), str(project_root / 'tests' / 'evaluation'), str(tmp_path)]
    done = subprocess.run([*launcher, *arguments], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = evaluate(make_dataset(), out_file=str(tmp_path / 'one.npz'), **OPTIONS)
    assert (expected['poses'], expected['invalid']) == (14, 1) and set(LABELS.values()) < expected.keys()
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == expected
    assert not (tmp_path / 'from_1.npz').exists()
    with np.load(tmp_path / 'from_0.npz') as file, np.load(tmp_path / 'one.npz') as one:
        assert file.files == one.files
        for key in one.files:
            np.testing.assert_array_equal(file[key], one[key], err_msg=key)
