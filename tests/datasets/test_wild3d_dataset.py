# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import warnings

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpose.registry import DATASETS, MODELS
from mmpose.structures.bbox import get_warp_matrix

from stereopose_mm.apis import init_lifter, lift_keypoints
from stereopose_mm.apis.lifting import coco_to_h36m
from stereopose_mm.datasets.wild3d_files import column_array, make_table, write_coco, write_parquet
from stereopose_mm.geometry import DEFAULT_FOV_DEG, Camera

from .wild3d_samples import K, sample_table, write_wild3d

CODEC = dict(type='StereoPoseLifting', view='ray', baseline=0.5)
META_KEYS = ('id', 'img_id', 'img_path', 'target_img_path', 'flip_indices', 'source', 'label_quality')
PIPELINE = [dict(type='GenerateTarget', encoder=CODEC), dict(type='PackPoseInputs', meta_keys=META_KEYS)]
CONFIG = 'configs/stereo_lift/stereo-lift_res512_8xb64-200e_wild3d.py'
NUM = 12


@pytest.fixture(autouse=True)
def mmpose_scope():
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


@pytest.fixture(autouse=True)
def quiet():
    """The camera of a third of the sample is not known, which is said every time."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', '.*camera of . people is not known')
        yield


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_wild3d(tmp_path_factory.mktemp('wild3d'), NUM, pictures=True)


@pytest.fixture
def build(folder):
    def build_dataset(**arguments):
        if 'pipeline' not in arguments:
            arguments.setdefault('codec', CODEC)
        arguments = dict(data_root=str(folder), ann_file='annotations', split='train') | arguments
        return DATASETS.build(dict(type='Wild3dDataset', data_prefix=dict(img='images/')) | arguments)

    return build_dataset


def load(dataset, batch_size=NUM):
    config = dict(
        batch_size=batch_size, num_workers=0, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False)
    )
    if dataset.codec is not None:
        config['collate_fn'] = dict(type='collate_packed')
    return list(Runner.build_dataloader(config, seed=0))


def test_every_form_of_a_set_is_the_same(build):
    table = sample_table(NUM)
    shards = [f'annotations/wild3d-train-0000{i}-of-00002.parquet' for i in range(2)]
    for ann_file in ('annotations', 'annotations/train.json', 'annotations/wild3d-train-*', shards):
        dataset = build(ann_file=ann_file)
        records = dataset.records
        assert len(dataset) == NUM
        np.testing.assert_array_equal(records.keypoints, column_array(table, 'keypoints'))
        np.testing.assert_array_equal(records.pose_cam, column_array(table, 'keypoints_3d')[..., :3])
        np.testing.assert_array_equal(records.meta['img_id'], column_array(table, 'image_id'))
        assert records.meta['source'].tolist() == table.column('source').to_pylist()
    assert len(build(ann_file=shards[0])) == NUM // 2


def test_batches_agree_with_single_samples(build, folder):
    (packed,) = load(build())
    single = load(build(pipeline=PIPELINE))[0]
    assert packed['inputs'].shape == (NUM, 52, 1)
    torch.testing.assert_close(torch.stack(single['inputs']), packed['inputs'], rtol=0, atol=5e-5)
    (sample,) = packed['data_samples']
    labels = sample.gt_instance_labels
    for i in (0, 2, 7):
        found = single['data_samples'][i]
        torch.testing.assert_close(found.gt_instance_labels.lifting_target_weight[0], labels.lifting_target_weight[i])
        assert found.metainfo['source'] == sample.metainfo['source'][i] == ('mpii' if i % 2 else 'lsp')
        assert found.metainfo['img_path'] == sample.metainfo['img_path'][i] == str(folder / f'images/00000{i // 2}.jpg')
    info = build(pipeline=[]).get_data_info(1)
    assert info['img_id'] == 1 and info['bbox'].shape == (1, 4) and info['bbox_score'].shape == (1,)
    assert 0 < info['label_quality'] < 1


def test_what_is_2d_only_teaches_nothing_of_3d(build):
    dataset = build()
    (batch,) = load(dataset)
    labels = batch['data_samples'][0].gt_instance_labels
    is_2d_only = torch.arange(NUM) % 3 == 2
    assert not labels.lifting_target_weight[is_2d_only].any() and not labels.right_view_weight[is_2d_only].any()
    assert labels.lifting_target_weight[~is_2d_only].any(1).all()

    model = MODELS.build(Config.fromfile(CONFIG).model)
    torch.manual_seed(0)
    model.train()
    for module in model.modules():
        # Statistics of a batch are of all people in it: theirs are no loss.
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.Dropout):
            module.eval()

    def gradients(inputs, samples):
        model.zero_grad()
        losses = model(inputs, samples, mode='loss')
        total, _ = model.parse_losses(losses)
        total.backward()
        assert total.isfinite()
        return total, [p.grad.clone() for p in model.parameters()]

    _, mixed = gradients(batch['inputs'], batch['data_samples'])
    assert all(g.isfinite().all() for g in mixed) and any(g.any() for g in mixed)
    # Other inputs for them change nothing.
    inputs = batch['inputs'].clone()
    inputs[is_2d_only] += 1
    _, again = gradients(inputs, batch['data_samples'])
    for a, b in zip(mixed, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)
    only = build(indices=torch.nonzero(is_2d_only).ravel().tolist())
    (batch,) = load(only)
    loss, nothing = gradients(batch['inputs'], batch['data_samples'])
    assert loss == 0 and not any(g.any() for g in nothing)


def test_quality_filters(build):
    quality = column_array(sample_table(NUM), 'label_quality')
    dataset = build(min_quality=0.6)
    assert len(dataset) == (quality >= 0.6).sum() < NUM
    assert dataset.records.meta['label_quality'].min() >= np.float32(0.6)
    with pytest.raises(ValueError, match='min_quality takes a number from 0 to 1, got 2'):
        build(min_quality=2)
    with pytest.raises(ValueError, match='no record is left of .*annotations'):
        build(indices=0)


def test_crowds_and_people_without_keypoints_are_left_out(tmp_path, build):
    table = sample_table(6, iscrowd=np.arange(6) == 1, keypoint_scores=np.ones((6, K)) * (np.arange(6) != 4)[:, None])
    write_coco(table, tmp_path / 'a.json')
    dataset = build(ann_file=str(tmp_path / 'a.json'))
    assert dataset.records.meta['ann_id'].tolist() == [1, 3, 4, 6]


def test_cameras(tmp_path, build):
    lens = np.zeros((6, 8))
    lens[1] = [0.1, -0.05, 0.001, 0.002, 0.01, 0.02, -0.01, 0.005]
    write_parquet(sample_table(6, distortion=lens), tmp_path, 'train')
    with pytest.warns(UserWarning, match='camera of 2 people is not known: taking a horizontal field of view of 55'):
        warnings.simplefilter('always')
        dataset = build(ann_file=str(tmp_path), pipeline=[])
    assert len(dataset.records.camera_params) == 3  # with a lens, without, not known
    infos = [dataset.get_data_info(i) for i in range(3)]
    points = torch.tensor([[[0.3, -0.4, 2.0], [-0.1, 0.2, 3.0]]])
    torch_lens = torch.tensor(lens[1])
    expected = [
        Camera(1145.049, 1143.781, 512.0, 515.0, 1000, 1002),
        Camera(1145.049, 1143.781, 512.0, 515.0, 1000, 1002, torch_lens),
        Camera.from_fov(DEFAULT_FOV_DEG, 1000, 1002),
    ]
    for i, (info, camera) in enumerate(zip(infos, expected, strict=True)):
        pixels = camera.project(points)
        found = Camera.from_mmpose(info['camera_param'])
        torch.testing.assert_close(found.project(points), pixels, rtol=0, atol=1e-3)
        packed = dataset._batch([i]).camera
        torch.testing.assert_close(packed.project(points), pixels, rtol=0, atol=1e-3)


def test_coco_keypoints_are_mapped(tmp_path, build):
    keypoints = np.random.default_rng(0).uniform(10, 400, (2, 17, 2))
    visibility = np.full((2, 17), 2)
    visibility[1, 11] = 0  # a hip: no root either
    table = make_table(
        'coco', file_name=['a.jpg'] * 2, width=[640] * 2, height=[480] * 2, keypoints=keypoints, visibility=visibility
    )
    write_coco(table, tmp_path / 'a.json')
    records = build(ann_file=str(tmp_path / 'a.json')).records
    np.testing.assert_allclose(records.keypoints[0, 0], keypoints[0, [11, 12]].mean(0), rtol=1e-5)
    assert records.keypoints_visible[0, [7, 10]].tolist() == [0, 0]  # COCO marks neither spine nor head top
    assert records.keypoints_visible[1, [0, 4]].tolist() == [0, 0] and records.keypoints_visible[1, 1] == 1
    assert not records.pose_visible.any()


def test_image_pipelines_take_it(build, folder):
    """MMPose's own top-down transforms, on pictures."""
    height, width = 256, 192
    picture = cv2.imread(str(folder / 'images/000000.jpg'))
    dataset = build(
        pipeline=[
            dict(type='LoadImage'),
            dict(type='GetBBoxCenterScale', padding=1.25),
            dict(type='TopdownAffine', input_size=(width, height)),
        ]
    )
    result = dataset[0]
    assert result['img'].shape == (height, width, 3)
    # The keypoints move as the picture does.
    x, y = dataset.records.keypoints[0].astype(int).T
    marked = np.zeros(picture.shape[:2], np.uint8)
    marked[y, x] = 1
    warped = cv2.warpAffine(marked * 255.0, _affine(result, width, height), (width, height))
    for u, v in result['transformed_keypoints'][0].round().astype(int):
        assert 0 <= u < width and 0 <= v < height
        assert warped[max(v - 2, 0) : v + 3, max(u - 2, 0) : u + 3].any()


def _affine(result, width, height):
    return get_warp_matrix(result['bbox_center'][0], result['bbox_scale'][0], 0.0, output_size=(width, height))


def test_combines_with_other_data_sets(build, folder):
    part = dict(type='Wild3dDataset', data_root=str(folder), ann_file='annotations')
    combined = DATASETS.build(
        dict(
            type='CombinedDataset',
            metainfo=dict(from_file='configs/_base_/datasets/h36m.py'),
            datasets=[dict(part, split='train'), dict(part, split='val', min_quality=0.5)],
            pipeline=PIPELINE,
            sample_ratio_factor=[0.5, 2.0],
        )
    )
    left = len(build(split='val', min_quality=0.5))
    assert len(combined) == NUM // 2 + 2 * left
    assert all(combined[i]['data_samples'].gt_instances.lifting_target.shape == (1, K, 3) for i in range(len(combined)))
    mixed = DATASETS.build(
        dict(
            type='MixedLiftingDataset',
            datasets=[dict(part, split='train'), dict(part, split='val')],
            ratios=[3, 1],
            num_pairs=40,
            codec=CODEC,
        )
    )
    (batch,) = load(mixed, 40)
    assert batch['inputs'].shape == (40, 52, 1) and batch['inputs'].isfinite().all()


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(ann_file='none.json'), r'none\.json: cannot be read'),
        (dict(ann_file='nowhere'), r'nowhere: no such file or folder'),
        (dict(split='test'), r"annotations: has no shards of split 'test'; has the splits \['train', 'val'\]"),
        (dict(split=None), r"has the splits \['train', 'val'\]; name one"),
        (dict(ann_file=['annotations/train.json', 'annotations']), r'train\.json: ann_file takes one JSON file'),
    ],
)
def test_unusable_files_are_named(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_real_photographs(shared_data, tmp_path):
    """Lifted, written, read, evaluated: what the label generator does, with the shipped lifter."""
    source = shared_data / 'real/coco'
    truth = json.loads((source / 'person_keypoints.json').read_text())
    images = {image['id']: image for image in truth['images']}
    people = json.loads((source / 'movenet_keypoints.json').read_text())
    detected = np.array([entry['keypoints'] for entry in people], np.float32).reshape(-1, 17, 3)
    size = [(images[entry['image_id']]['width'], images[entry['image_id']]['height']) for entry in people]
    width, height = np.array(size, np.float64).T
    camera = Camera.from_fov(DEFAULT_FOV_DEG, torch.from_numpy(width), torch.from_numpy(height))
    lifted = lift_keypoints(init_lifter(), detected[..., :2], detected[..., 2], skeleton='coco', camera=camera)
    keep = lifted.valid
    assert keep.sum() >= 4
    keypoints, scores = coco_to_h36m(detected[..., :2], detected[..., 2])
    scores[scores < 0.1] = 0  # as the lifter takes them
    table = make_table(
        'h36m',
        file_name=[images[entry['image_id']]['file_name'] for entry, k in zip(people, keep, strict=True) if k],
        width=width[keep],
        height=height[keep],
        keypoints=keypoints[keep],
        keypoint_scores=np.clip(scores[keep], 0, 1),
        keypoints_3d=np.concatenate([lifted.keypoints_cam, np.ones((len(keep), K, 1))], -1)[keep],
        camera=torch.stack([camera.fx, camera.fy, camera.cx, camera.cy], -1).numpy()[keep],
        reprojection_error=lifted.reprojection_error[keep],
        search_residual=lifted.search_residual[keep],
        provenance=[dict(source='coco', generator='stereo-lift_default')] * int(keep.sum()),
    )
    write_parquet(table, tmp_path, 'val')

    config = Config.fromfile(CONFIG)
    files = dict(data_root=str(tmp_path), ann_file='.', data_prefix=dict(img=str(source)))
    config.test_dataloader.update(num_workers=0, persistent_workers=False)
    config.test_dataloader.dataset.update(files)
    loader = Runner.build_dataloader(config.test_dataloader, seed=0)
    dataset = loader.dataset
    batch = dataset._batch(range(len(dataset)))
    # What the search took for the detector's errors does not lie on its ray.
    used = torch.from_numpy(lifted.used[keep])[..., None]
    error = (batch.camera.project(batch.pose_cam) - batch.keypoints) * used
    assert error.abs().max() < 0.05  # pixels
    evaluator = Runner.build_evaluator(None, config.test_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    lifter = init_lifter()
    with torch.no_grad():
        for data in loader:
            evaluator.process(data_samples=lifter.test_step(data), data_batch=data)
    metrics = evaluator.evaluate(len(dataset))
    assert metrics['poses'] == len(dataset) and metrics['invalid'] == 0
    # The same lifter on its own labels: millimetres.
    assert metrics['MPJPE'] < 0.5 and metrics['MRPE'] < 0.5 and metrics['MPJPE_coco'] < 0.5
    assert cv2.imread(dataset.records.img_path[0]) is not None
