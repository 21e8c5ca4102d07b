# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import mmpose
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpose.registry import DATASETS, METRICS

from stereopose_mm.apis import coco_to_h36m, read_detections
from stereopose_mm.datasets.converters import convert_mpi_inf_3dhp_test_set
from stereopose_mm.geometry.skeletons import mapping_matrix, to_h36m_mapping

from .mpi_inf_3dhp_files import ROOT, SEQUENCES, write_mmpose_test, write_mmpose_train, write_test_set

CONFIG = 'configs/stereo_lift/stereo-lift_res512_8xb64-200e_mpiinf3dhp.py'
WEIGHTS = 'stereopose_mm/weights/stereo-lift_default.pth'
MMPOSE_TEST = Path(mmpose.__file__).parent / '.mim' / 'tools' / 'test.py'
TEST, MMPOSE_TEST_FILE, TRAIN = (f'mpi_inf_3dhp_{split}.npz' for split in ('test', 'test_valid', 'train'))
FRAMES = 21
SCENES = dict(TS1='green screen', TS2='green screen', TS3='studio', TS4='studio', TS5='outdoor', TS6='outdoor')
ACTIVITIES = (
    'Standing/Walking', 'Exercising', 'Sitting', 'Reaching/Crouching', 'On The Floor', 'Sports', 'Miscellaneous',
)  # fmt: skip
# Joint of MPI-INF-3DHP that each joint of H36M-17 is.
ORDER = [to_h36m_mapping('mpi_inf_3dhp')[joint][0] for joint in range(17)]


@pytest.fixture(autouse=True)
def mmpose_scope():
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """The data set's files, ours and MMPose's, in one folder; and the arrays of the test set."""
    folder = tmp_path_factory.mktemp('mpi_inf_3dhp')
    raw = folder / 'raw/mpi_inf_3dhp_test_set'
    truth = write_test_set(raw, FRAMES)
    convert_mpi_inf_3dhp_test_set(raw, folder / 'annotations', report=lambda line: None)
    write_mmpose_train(folder / 'annotations')
    write_mmpose_test(folder / 'annotations', truth)
    return folder, truth


def build(folder, ann_file=TEST, **arguments):
    cameras = {TRAIN: 'annotations/cameras_train.pkl', MMPOSE_TEST_FILE: 'annotations/cameras_test.pkl'}.get(ann_file)
    arguments = dict(camera_param_file=cameras) | arguments
    return DATASETS.build(
        dict(type='MpiInf3dhpDataset', data_root=str(folder), ann_file=f'annotations/{ann_file}', **arguments)
    )


def true(truth, key):
    """Array of all valid frames, one after the other; a joint's numbers last."""
    return np.concatenate([truth[name][key][truth[name]['valid_frame'][:, 0] > 0] for name in SEQUENCES])


def residual(dataset):
    batch = dataset._batch(range(len(dataset)))
    assert (batch.keypoints_visible == 1).all() and (batch.pose_visible == 1).all()
    return (batch.camera.project(batch.pose_cam) - batch.keypoints).norm(dim=-1)


def test_test_set_at_the_original_scale(made):
    folder, truth = made
    dataset = build(folder, data_prefix=dict(img='raw/mpi_inf_3dhp_test_set'))
    assert len(dataset) == 6 * 14 and dataset.exact_keypoints
    batch = dataset._batch(range(len(dataset)))
    np.testing.assert_allclose(batch.pose_cam, true(truth, 'annot3')[:, 0, ORDER] / 1000, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(batch.keypoints, true(truth, 'annot2')[:, 0, ORDER], rtol=1e-5)
    assert residual(dataset).max() < 1e-3
    assert dataset.metainfo['dataset_name'] == 'h36m'

    meta = dataset[14 * 4 + 1]
    assert meta['img_path'] == str(folder / 'raw/mpi_inf_3dhp_test_set/TS5/imageSequence/img_000003.jpg')
    assert {key: meta[key] for key in ('subject', 'sequence', 'frame', 'scene', 'activity')} == dict(
        subject='TS5', sequence='TS5', frame=3, scene='outdoor', activity='Sitting'
    )
    assert (meta['camera_param']['w'], meta['camera_param']['h']) == (1920, 1080)
    assert [dataset[14 * i]['scene'] for i in range(6)] == list(SCENES.values())


def test_universal_scale_is_about_the_original_root(made):
    folder, truth = made
    dataset = build(folder, scale='universal')
    universal = true(truth, 'univ_annot3')[:, 0] / 1000
    original = true(truth, 'annot3')[:, 0] / 1000
    pose = dataset._batch(range(len(dataset))).pose_cam.numpy()
    relative = universal - universal[:, ROOT, None]
    np.testing.assert_allclose(pose - pose[:, :1], relative[:, ORDER], atol=1e-6)
    np.testing.assert_allclose(pose[:, 0], original[:, ROOT], rtol=1e-5, atol=1e-6)
    # A tool that checks 2D against 3D has to leave it out.
    assert not dataset.exact_keypoints and residual(dataset).max() > 1
    with pytest.raises(ValueError, match="no key 'S_univ', which scale='universal' takes"):
        build(folder, MMPOSE_TEST_FILE, scale='universal')


def test_own_joints(made):
    folder, truth = made
    dataset = build(folder, joints='mpi_inf_3dhp')
    np.testing.assert_allclose(dataset[5]['lifting_target'][0], true(truth, 'annot3')[5, 0] / 1000, atol=1e-6)
    assert dataset.metainfo['dataset_name'] == 'mpi_inf_3dhp'


def test_frames_that_do_not_count(made, tmp_path):
    folder, truth = made
    convert_mpi_inf_3dhp_test_set(
        folder / 'raw/mpi_inf_3dhp_test_set', tmp_path / 'annotations', all_frames=True, report=lambda line: None
    )
    assert len(build(tmp_path)) == 6 * 14
    everything = build(tmp_path, valid_only=False)
    assert [everything[i]['frame'] for i in range(FRAMES)] == list(range(1, FRAMES + 1))
    assert residual(everything).max() < 1e-3


def test_files_of_mmpose_are_the_same_test_set(made):
    folder, _ = made
    ours, mmposes = build(folder), build(folder, MMPOSE_TEST_FILE, data_prefix=dict(img='images/'))
    assert len(ours) == len(mmposes)
    for i in range(0, len(ours), 9):
        one, other = ours[i], mmposes[i]
        np.testing.assert_allclose(one['lifting_target'], other['lifting_target'])
        np.testing.assert_allclose(one['keypoints'], other['keypoints'])
        np.testing.assert_allclose(one['camera_param']['f'], other['camera_param']['f'], rtol=1e-6)
        assert [one[key] for key in ('sequence', 'frame', 'scene')] == [
            other[key] for key in ('sequence', 'frame', 'scene')
        ]
    assert 'activity' not in mmposes[0]
    assert mmposes[0]['img_path'] == str(folder / 'images/TS1_000002.jpg')


def test_training_set(made):
    folder, _ = made
    dataset = build(folder, TRAIN)
    assert len(dataset) == 8 * 2 * 8 * 2
    assert residual(dataset).max() < 1e-3
    sample = dataset[3]
    assert (sample['subject'], sample['sequence'], sample['frame']) == ('S1', 'S1_Seq1_Cam1', 2)
    # MMPose's converter wrote 204.
    assert {camera['h'] for camera in dataset.records.camera_params} == {2048}

    def subjects(**arguments):
        meta = build(folder, TRAIN, **arguments).records.meta
        return sorted(set(meta['subject'].tolist())), len(meta['subject'])

    assert subjects(subjects=['S1', 'S8']) == (['S1', 'S8'], 64)
    assert subjects(subjects=['S3'], sequences=['*_Seq2_Cam[01]']) == (['S3'], 4)
    assert subjects(indices=3) == (['S1'], 3)


def test_keypoints_outside_the_image_are_missing_and_their_joints_are_not(made, tmp_path):
    folder, _ = made
    for name in (TEST, MMPOSE_TEST_FILE):
        with np.load(folder / 'annotations' / name) as archive:
            arrays = dict(archive)
        # Inside the square images that MMPose takes all to be; TS5's are 1920 by 1080.
        arrays['part'][60, 3] = [1000.0, 1500.0, 1.0]
        if name == MMPOSE_TEST_FILE:
            arrays['S'][60, 3, 3] = 0
        (tmp_path / 'annotations').mkdir(exist_ok=True)
        np.savez(tmp_path / 'annotations' / name, **arrays)
    cameras = str(folder / 'annotations/cameras_test.pkl')
    for dataset in (build(tmp_path), build(tmp_path, MMPOSE_TEST_FILE, camera_param_file=cameras)):
        sample = dataset[60]
        missing = ORDER.index(3)
        assert sample['keypoints_visible'][0, missing] == 0 and sample['keypoints_visible'].sum() == 16
        assert (sample['lifting_target_visible'] == 1).all()


@pytest.mark.parametrize('skeleton', ['mpi_inf_3dhp', 'h36m', 'coco'])
def test_detections(made, tmp_path, skeleton):
    folder, _ = made
    rng = np.random.default_rng(0)
    detections = np.concatenate([rng.uniform(0, 1000, (84, 17, 2)), rng.uniform(0.1, 1, (84, 17, 1))], -1)
    detections[0, 3, 2] = 0.05
    detections[0, 4, 2] = 0
    np.save(tmp_path / 'detections.npy', detections)
    dataset = build(
        folder,
        keypoint_2d_src='detection',
        keypoint_2d_det_file=str(tmp_path / 'detections.npy'),
        keypoint_2d_det_skeleton=skeleton,
        sequences=['TS1', 'TS3'],
    )
    # The detections are of all records of the file, the sample is of those that were chosen.
    sample, row = dataset[15], 14 * 2 + 1
    matrix, known = mapping_matrix(skeleton)
    np.testing.assert_allclose(sample['keypoints'][0][known], (matrix @ detections[row, :, :2])[known], rtol=1e-5)
    np.testing.assert_array_equal(sample['keypoints_visible'][0] > 0, known)
    # Joint 4 of the first record was not detected, joint 3 hardly.
    lost, low = (np.flatnonzero(matrix[:, joint]) for joint in (4, 3))
    assert (dataset[0]['keypoints_visible'][0, lost] == 0).all()
    assert (dataset[0]['keypoints_visible'][0, low] == 0).all()
    assert not dataset.exact_keypoints
    np.testing.assert_allclose(sample['lifting_target'], build(folder)[row]['lifting_target'])


def test_whole_batches_are_the_single_samples(made, project_root):
    folder, _ = made
    config = Config.fromfile(project_root / CONFIG)
    inputs = []
    for loader in (config.val_dataloader, config.test_dataloader):
        loader.dataset.data_root = str(folder)
        loader.num_workers, loader.persistent_workers, loader.batch_size = 0, False, 50
        batches = list(Runner.build_dataloader(loader))
        assert len(batches) == 2
        # A codec gives a tensor, a pipeline a list of single inputs.
        listed = [list(batch['inputs']) for batch in batches]
        inputs.append(torch.stack([single for batch in listed for single in batch]))
    torch.testing.assert_close(*inputs)
    sample = batches[0]['data_samples'][0]
    assert {'activity', 'scene', 'sequence', 'frame', 'subject'} <= set(sample.metainfo)


def official_protocol(truth, predictions):
    """The test set's scripts, by the book: error of each joint and frame, then shares below thresholds in groups.

    Args:
        truth: Arrays of each sequence.
        predictions: ``(F, 17, 3)`` mm of the valid frames of each sequence, about the pelvis.

    Returns:
        A function of a choice of (sequence, activity) that gives PCK, AUC and MPJPE.
    """
    groups = [[0], [1], [2, 5], [3, 6], [4, 7], [8, 11], [9, 12], [10, 13]]
    errors = []
    for name, arrays in truth.items():
        row = 0
        for frame in range(len(arrays['valid_frame'])):
            if not arrays['valid_frame'][frame, 0]:
                continue
            pose = arrays['univ_annot3'][frame, 0] - arrays['univ_annot3'][frame, 0, 14]
            error = [float(np.sqrt(((predictions[name][row, j] - pose[j]) ** 2).sum())) for j in range(17)]
            errors.append((name, int(arrays['activity_annotation'][frame, 0]), error))
            row += 1

    def evaluate(choose):
        chosen = [error for name, activity, error in errors if choose(name, activity)]
        pck = auc = joints = 0
        for group in groups:
            values = [error[j] for error in chosen for j in group]
            below = [sum(value < limit for value in values) / len(values) for limit in range(0, 151, 5)]
            pck += 100 * len(group) * sum(value < 150 for value in values) / len(values)
            auc += 100 * len(group) * sum(below) / len(below)
            joints += len(group)
        return pck / joints, auc / joints, sum(map(sum, chosen)) / (17 * len(chosen))

    return evaluate


def test_leaderboard_numbers_are_those_of_the_official_scripts(made, project_root):
    folder, truth = made
    rng = np.random.default_rng(0)
    predictions = {}
    for name in SEQUENCES:
        arrays = truth[name]
        pose = arrays['univ_annot3'][arrays['valid_frame'][:, 0] > 0, 0]
        predictions[name] = pose + rng.normal(size=pose.shape) * rng.uniform(20, 150, (len(pose), 1, 1))
        predictions[name] -= predictions[name][:, ROOT, None]
    evaluate = official_protocol(truth, predictions)

    config = Config.fromfile(project_root / CONFIG)
    dataset = build(folder, scale='universal')
    metric = METRICS.build(config.test_evaluator[0])
    batch = dataset._batch(range(len(dataset)))
    pred = np.concatenate([predictions[name] for name in SEQUENCES])[:, ORDER] / 1000
    truths = dict(lifting_target=batch.pose_cam, lifting_target_visible=batch.pose_visible)
    sample = dict(gt_instances=truths, pred_instances=dict(keypoints=torch.from_numpy(pred)), **batch.meta)
    metric.process(None, [sample])
    found = metric.evaluate(len(dataset))

    wanted = {'': evaluate(lambda name, activity: True)}
    wanted |= {f'_{a}': evaluate(lambda _, activity, n=n: activity == n) for n, a in enumerate(ACTIVITIES, 1)}
    wanted |= {f'_{s}': evaluate(lambda name, _, s=s: SCENES[name] == s) for s in set(SCENES.values())}
    assert 40 < wanted[''][0] < 95
    for label, (pck, auc, mpjpe) in wanted.items():
        assert found[f'3DPCK-14{label}'] == pytest.approx(pck, abs=1e-3), label
        assert found[f'3DAUC-14{label}'] == pytest.approx(auc, abs=0.02), label
        assert found[f'MPJPE{label}'] == pytest.approx(mpjpe, rel=1e-5), label
    assert found['MPJPE_mean-over-scene'] == pytest.approx(np.mean([wanted[f'_{s}'][2] for s in set(SCENES.values())]))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(scale='metric'), "scale is 'metric'; takes one of"),
        (dict(joints='coco'), "joints is 'coco'; takes one of"),
        (dict(keypoint_2d_src='cpn'), "keypoint_2d_src is 'cpn'; takes one of"),
        (dict(keypoint_2d_src='detection'), "'detection' takes a file"),
        (dict(keypoint_2d_det_file='a.npy'), "'gt' takes none"),
        (dict(subjects='TS1'), "subjects takes a list of names, got 'TS1'"),
        (dict(sequences=['TS1', 'TS9']), r"mpi_inf_3dhp_test.npz: sequences names 'TS9'; the file has \['TS1'"),
        (dict(ann_file='none.npz'), 'none.npz: no such file; make it with tools/dataset_converters/mpi_inf_3dhp2npz'),
        (dict(ann_file=TRAIN, camera_param_file=None), 'train.npz: has no cameras: camera_param_file takes'),
        (
            dict(ann_file=TRAIN, camera_param_file='annotations/cameras_test.pkl'),
            r"train.npz: record 0 \(S1_Seq1_Cam0_000001.jpg\): camera 'S1_Seq1_Cam0' is not in the camera file",
        ),
        (dict(camera_param_file='gone.pkl', ann_file=TRAIN), 'gone.pkl: cannot be read'),
        (
            dict(joints='mpi_inf_3dhp', keypoint_2d_src='detection', keypoint_2d_det_file='a.npy',
                 keypoint_2d_det_skeleton='coco'),
            "joints 'mpi_inf_3dhp' takes detections of the same, got 'coco'",
        ),
        (dict(keypoint_2d_src='detection', keypoint_2d_det_file='gone.npy'), 'gone.npy: not a readable NPY'),
    ],
)  # fmt: skip
def test_arguments(made, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(made[0], **arguments)


def put(key, index, value):
    def change(arrays):
        arrays[key][index] = value

    return change


@pytest.mark.parametrize(
    ('ann_file', 'change', 'message'),
    [
        (TEST, lambda a: a.pop('camera_matrix'), "no key 'camera_matrix'"),
        (TRAIN, lambda a: a.pop('S'), "no key 'S'"),
        (TRAIN, lambda a: a.update(S=a['S'][:-1]), r'S is \(255, 17, 4\); takes \(256, 17, 4\), as imgname'),
        (TEST, lambda a: a.update(activity=a['activity'][1:]), 'activity has 83 entries, imgname 84'),
        (TEST, put('S', (7, 4, 1), np.nan), r'pose_cam of record 7 \(.*TS1.imageSequence.img_000012.jpg\), joint 4,'),
        (
            TRAIN,
            put('part', (9, 2, 0), np.nan),
            r'keypoints of record 9 \(.*S1_Seq1_Cam5_000002.jpg\), joint 2, is not',
        ),
        (TEST, put('sequence', 3, 'TS7'), r"record 3 \(TS1.imageSequence.img_000006.jpg\): camera 'TS7' is not in"),
        (TEST, put('activity', 5, 8), 'activity of record 5 is 8; takes 0 to 7'),
        (
            TRAIN,
            put('imgname', 6, 'S1_Walking.5_000001.jpg'),
            "imgname of record 6 is 'S1_Walking.5_000001.jpg'; takes",
        ),
        (TRAIN, put('imgname', 6, 'S1_Seq1_Cam0_first.jpg'), "imgname of record 6 is 'S1_Seq1_Cam0_first.jpg'; takes"),
    ],
)
def test_bad_files(made, tmp_path, ann_file, change, message):
    folder, _ = made
    with np.load(folder / 'annotations' / ann_file) as archive:
        arrays = dict(archive)
    change(arrays)
    (tmp_path / 'annotations').mkdir()
    np.savez(tmp_path / 'annotations' / ann_file, **arrays)
    cameras = str(folder / 'annotations/cameras_train.pkl') if ann_file == TRAIN else None
    with pytest.raises(ValueError, match=f'{ann_file}: {message}'):
        build(tmp_path, ann_file, camera_param_file=cameras)


def test_truncated_and_foreign_files(made, tmp_path):
    folder, _ = made
    (tmp_path / 'annotations').mkdir()
    broken = tmp_path / 'annotations' / TEST
    broken.write_bytes((folder / 'annotations' / TEST).read_bytes()[:3000])
    with pytest.raises(ValueError, match='not a readable NPZ'):
        build(tmp_path)
    with open(tmp_path / 'evil.pkl', 'wb') as file:
        pickle.dump({'S1_Seq1_Cam0': os.system}, file)
    with pytest.raises(ValueError, match='evil.pkl: not a camera file'):
        build(folder, TRAIN, camera_param_file=str(tmp_path / 'evil.pkl'))
    for shape, message in (((83, 17, 3), r'takes \(84, 17, 3\)'), ((84, 17, 3), 'detections of record 83 are not')):
        detections = np.ones(shape)
        detections[-1, 0, 0] = np.nan
        np.save(tmp_path / 'detections.npy', detections)
        with pytest.raises(ValueError, match=f'detections.npy: .*{message}'):
            build(folder, keypoint_2d_src='detection', keypoint_2d_det_file=str(tmp_path / 'detections.npy'))


@pytest.fixture
def real(shared_data):
    """The two real training frames, in MMPose's format."""
    folder = shared_data / 'real/mpi_inf_3dhp'
    return dict(data_root=str(folder), ann_file='annotations.npz', camera_param_file='cameras_train.pkl')


def test_real_frames_reproject(real):
    dataset = DATASETS.build(dict(type='MpiInf3dhpDataset', data_prefix=dict(img='images'), **real))
    assert [dataset[i]['sequence'] for i in range(2)] == ['S4_Seq2_Cam0', 'S8_Seq1_Cam8']
    assert all(Path(dataset[i]['img_path']).is_file() for i in range(2))
    pixels = residual(dataset)
    assert pixels.mean() < 0.3 and pixels.max() < 3
    # MMPose's names for hips and spine are joints that the data set made apart in 2D and in 3D; the others are exact.
    exact = [joint for joint in range(17) if joint not in (1, 4, 7)]
    assert pixels[:, exact].max() < 0.02


def check_real(metrics, **expected):
    """With the shipped lifter: other weights or another detector change the figures."""
    for key, value in expected.items():
        assert metrics[key.replace('_', '-')] == pytest.approx(value, rel=2e-3), key
    assert metrics['reprojection-error-px'] < 0.01
    frames = metrics['MPJPE_S4_Seq2_Cam0'], metrics['MPJPE_S8_Seq1_Cam8']
    assert metrics['MPJPE'] == pytest.approx(sum(frames) / 2, rel=1e-6)


def test_real_frames_through_mmposes_own_command(real, project_root, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'stereopose_mm.compat', MMPOSE_TEST, project_root / CONFIG, project_root / WEIGHTS),
            *('--work-dir', tmp_path, '--cfg-options', 'test_dataloader.dataset.scale=original'),
            *(f'test_dataloader.dataset.{key}={value}' for key, value in real.items()),
            *('test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False'),
            *('test_evaluator.0.metrics=all', 'test_evaluator.0.group_by=sequence'),
        ],
        cwd=project_root,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(project_root)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (written,) = tmp_path.glob('*/*.json')
    check_real(json.loads(written.read_text()), MPJPE=118.51, P_MPJPE=110.11, MRPE=214.14)


def test_real_frames_with_real_detections(real, project_root, shared_data, tmp_path):
    people = read_detections(shared_data / 'real/mpi_inf_3dhp/movenet_keypoints.json')
    pixels, scores = coco_to_h36m(people.keypoints, people.scores)
    np.save(tmp_path / 'detections.npy', np.concatenate([pixels, scores[..., None]], -1))
    config = Config.fromfile(project_root / CONFIG)
    config.test_dataloader.update(num_workers=0, persistent_workers=False)
    config.test_dataloader.dataset.update(
        **real,
        scale='original',
        keypoint_2d_src='detection',
        keypoint_2d_det_file=str(tmp_path / 'detections.npy'),
        keypoint_2d_det_skeleton='h36m',
    )
    config.test_evaluator[0].update(metrics='all', group_by='sequence')
    config.update(work_dir=str(tmp_path), load_from=str(project_root / WEIGHTS))
    check_real(Runner.from_cfg(config).test(), MPJPE=192.20, P_MPJPE=138.78, MRPE=383.78)
