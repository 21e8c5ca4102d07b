# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample

from stereopose_mm.apis import LiftResult, coco_to_h36m, init_lifter, lift_keypoints, lifting, shipped_lifter
from stereopose_mm.geometry import Camera, mapping_matrix

from ..conftest import PROJECT_ROOT

K = 17
CAMERA = Camera(1300.0, 1300.0, 960.0, 540.0, 1920.0, 1080.0)
SHAPES = dict(
    keypoints_cam=(K, 3), keypoints=(K, 3), input_keypoints_cam=(K, 3), uncertainty=(K,), root_depth=(),
    reprojection_error=(), search_residual=(), used=(K,), valid=(),
)  # fmt: skip
MASKS = ('used', 'valid')


def small_config(name):
    """A config with small networks."""
    (path,) = PROJECT_ROOT.glob(f'configs/stereo_lift/{name}_1xb512-*_mocap.py')
    config = Config.fromfile(path)
    for part in (config.model.backbone, config.model.head):
        part.update(width=32, num_blocks=1)
    return config


def write_checkpoint(config, path):
    """Weights that are random, with batch statistics other than those that a network starts with."""
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    model(torch.randn(64, 52, 1), None, mode='tensor')
    torch.save(dict(state_dict=model.state_dict(), meta=dict()), path)
    return path


@pytest.fixture(scope='module')
def config():
    return small_config('stereo-lift_res512')


@pytest.fixture(scope='module')
def checkpoint(config, tmp_path_factory):
    return write_checkpoint(config, tmp_path_factory.mktemp('lifter') / 'lifter.pth')


@pytest.fixture(scope='module')
def lifter(config, checkpoint):
    return init_lifter(config, checkpoint)


@pytest.fixture(scope='module')
def coco_lifter(tmp_path_factory):
    config = small_config('stereo-lift_coco-res512')
    return init_lifter(config, write_checkpoint(config, tmp_path_factory.mktemp('coco') / 'coco.pth'))


def make_keypoints(num, seed=0, dtype=np.float32):
    """Pictures of random bodies before :data:`CAMERA`."""
    rng = np.random.default_rng(seed)
    body = rng.normal(size=(num, K, 3)) * [0.25, 0.5, 0.25]
    points = body - body[:, :1] + rng.uniform([-1, -0.5, 4], [1, 0.5, 9], (num, 1, 3))
    return CAMERA.project(torch.from_numpy(points)).numpy().astype(dtype)


def select(result, index):
    return result.select(index)


def assert_same(one, other, **tolerance):
    tolerance = dict(rtol=2e-4, atol=2e-4) | tolerance
    for f in fields(LiftResult):
        np.testing.assert_allclose(getattr(one, f.name), getattr(other, f.name), err_msg=f.name, **tolerance)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_numpy_in_numpy_out(lifter, dtype):
    result = lift_keypoints(lifter, make_keypoints(5, dtype=dtype), camera=CAMERA)
    assert len(result) == 5
    for name, shape in SHAPES.items():
        value = getattr(result, name)
        assert isinstance(value, np.ndarray) and value.shape == (5, *shape), name
        assert value.dtype == (bool if name in MASKS else dtype), name


@pytest.mark.parametrize(
    ('dtype', 'expected'),
    [(torch.float32, torch.float32), (torch.float64, torch.float64), (torch.float16, torch.float32)],
)
def test_torch_in_torch_out(lifter, dtype, expected):
    keypoints = torch.from_numpy(make_keypoints(5)).to(dtype)
    result = lift_keypoints(lifter, keypoints, camera=CAMERA)
    for name, shape in SHAPES.items():
        value = getattr(result, name)
        assert isinstance(value, torch.Tensor) and value.shape == (5, *shape), name
        assert value.dtype == (torch.bool if name in MASKS else expected), name
        assert not value.requires_grad
    if dtype == torch.float32:
        assert_same(result, lift_keypoints(lifter, make_keypoints(5), camera=CAMERA), rtol=0, atol=0)


def test_integer_pixels(lifter):
    whole = make_keypoints(3).round()
    assert_same(
        lift_keypoints(lifter, whole.astype(np.int64), camera=CAMERA), lift_keypoints(lifter, whole, camera=CAMERA)
    )


def test_result_lies_on_the_image_rays(lifter):
    keypoints = make_keypoints(200, dtype=np.float64)
    result = lift_keypoints(lifter, keypoints, camera=CAMERA)
    valid = result.valid
    assert valid.sum() > 50  # of a network that knows nothing many poses reach behind the camera
    projected = CAMERA.project(torch.from_numpy(result.keypoints_cam[valid])).numpy()
    np.testing.assert_allclose(projected, keypoints[valid], atol=1e-8)
    assert result.reprojection_error[valid].max() < 1e-8
    np.testing.assert_array_equal(result.input_keypoints_cam, result.keypoints_cam)
    np.testing.assert_allclose(result.keypoints_cam[:, 0, 2][valid], result.root_depth[valid])
    np.testing.assert_allclose(
        result.keypoints[valid], (result.keypoints_cam - result.keypoints_cam[:, :1])[valid], atol=1e-12
    )
    assert (result.keypoints_cam[valid][..., 2] > 0).all()
    assert (result.search_residual[valid] > 0).all()


def test_distortion_is_undone(lifter):
    """The lens bends the picture; the poses are those of the picture that is not bent."""
    lens = replace(CAMERA, distortion=torch.tensor([-0.1, 0.03, 0.001, -0.001], dtype=torch.float64))
    straight = make_keypoints(50, dtype=np.float64)
    rays = CAMERA.unproject(torch.from_numpy(straight))
    bent = lens.project(torch.cat([rays, torch.ones_like(rays[..., :1])], -1)).numpy()
    assert np.abs(bent - straight).max() > 3
    one = lift_keypoints(lifter, bent, camera=lens)
    assert_same(one, lift_keypoints(lifter, straight, camera=CAMERA), rtol=1e-3, atol=1e-3)
    assert np.nanmax(one.reprojection_error) < 1e-3


def test_a_camera_for_each_pose(lifter):
    keypoints = make_keypoints(6)
    focal = torch.linspace(800, 2000, 6)
    cameras = Camera(focal, focal, 960.0, 540.0, 1920.0, 1080.0)
    together = lift_keypoints(lifter, keypoints, camera=cameras)
    for i in range(6):
        one = lift_keypoints(lifter, keypoints[i : i + 1], camera=cameras[i])
        assert_same(select(together, slice(i, i + 1)), one)
    assert_same(
        lift_keypoints(lifter, keypoints, camera=CAMERA.expand(6)), lift_keypoints(lifter, keypoints, camera=CAMERA)
    )


@pytest.mark.parametrize('batch', [False, True])
def test_chunks_make_no_difference(lifter, monkeypatch, batch):
    keypoints, scores = make_keypoints(23), np.random.default_rng(1).uniform(0.2, 1, (23, K)).astype(np.float32)
    camera = CAMERA.expand(23).to(dtype=torch.float32) if batch else CAMERA
    whole = lift_keypoints(lifter, keypoints, scores, camera=camera)
    monkeypatch.setattr(lifting, '_CHUNK', 5)
    assert_same(lift_keypoints(lifter, keypoints, scores, camera=camera), whole)


def test_more_poses_than_a_chunk(lifter):
    keypoints = make_keypoints(lifting._CHUNK + 3)
    result = lift_keypoints(lifter, keypoints, camera=CAMERA)
    assert len(result) == len(keypoints)
    assert_same(select(result, slice(-5, None)), lift_keypoints(lifter, keypoints[-5:], camera=CAMERA))


def test_no_poses(lifter):
    for skeleton in ('h36m', 'coco', 'mpi_inf_3dhp'):
        result = lift_keypoints(lifter, np.zeros((0, K, 2)), skeleton=skeleton, camera=CAMERA)
        assert len(result) == 0
        for name, shape in SHAPES.items():
            assert getattr(result, name).shape == (0, *shape)


def test_mpi_inf_3dhp_is_a_permutation(lifter):
    keypoints, scores = make_keypoints(4), np.random.default_rng(0).uniform(0.2, 1, (4, K)).astype(np.float32)
    matrix = mapping_matrix('mpi_inf_3dhp')[0].numpy()
    # From H36M's order to MPI-INF-3DHP's: the inverse of the mapping.
    result = lift_keypoints(lifter, matrix.T @ keypoints, scores @ matrix, 'mpi_inf_3dhp', CAMERA)
    assert_same(result, lift_keypoints(lifter, keypoints, scores, camera=CAMERA), rtol=1e-3, atol=1e-3)


def test_coco_is_converted_as_mmpose_does(lifter):
    keypoints, scores = make_keypoints(4), np.random.default_rng(0).uniform(0.2, 1, (4, K)).astype(np.float32)
    converted, converted_scores = coco_to_h36m(keypoints, scores)
    result = lift_keypoints(lifter, keypoints, scores, skeleton='coco', camera=CAMERA)
    assert_same(result, lift_keypoints(lifter, converted, converted_scores, camera=CAMERA))
    # What both sets have keeps its place; means have the smaller score; what COCO lacks has none.
    np.testing.assert_array_equal(converted[:, [3, 6, 13, 16]], keypoints[:, [16, 15, 9, 10]])
    np.testing.assert_allclose(converted[:, 0], keypoints[:, [11, 12]].mean(1), rtol=1e-6)
    np.testing.assert_array_equal(converted_scores[:, 0], scores[:, [11, 12]].min(1))
    np.testing.assert_array_equal(converted_scores[:, 8], scores[:, [5, 6]].min(1))
    assert (converted_scores[:, [7, 10]] == 0).all()
    assert converted_scores.dtype == np.float32


def test_low_scores_are_missing_keypoints(lifter):
    keypoints = make_keypoints(6)
    scores = np.ones((6, K), np.float32)
    scores[:, [5, 12]] = 0.05
    moved = keypoints.copy()
    moved[:, [5, 12]] += 200
    one = lift_keypoints(lifter, keypoints, scores, camera=CAMERA)
    assert_same(one, lift_keypoints(lifter, moved, scores, camera=CAMERA), rtol=0, atol=0)
    scores[:, [5, 12]] = 0
    assert_same(one, lift_keypoints(lifter, moved, scores, camera=CAMERA), rtol=0, atol=0)
    # The lifter fills them in; they are no part of the reprojection error.
    assert np.isfinite(one.keypoints_cam[one.valid]).all()
    assert one.reprojection_error[one.valid].max() < 0.05
    scores[:, [5, 12]] = 0.05
    counted = lift_keypoints(lifter, keypoints, scores, camera=CAMERA, min_score=0.01)
    assert np.abs(counted.keypoints - one.keypoints)[one.valid & counted.valid].max() > 1e-3


def test_scores_tell_the_network_and_weigh_the_search(lifter):
    keypoints = make_keypoints(20)
    uneven = np.full((20, K), 0.3, np.float32)
    uneven[:, :4] = 1
    exact, even, other = (
        lift_keypoints(lifter, keypoints, scores, camera=CAMERA)
        for scores in (None, np.full((20, K), 0.5, np.float32), uneven)
    )
    valid = exact.valid & even.valid & other.valid
    assert valid.sum() > 3
    # No scores are those of exact keypoints, which others are not.
    assert_same(exact, lift_keypoints(lifter, keypoints, np.ones((20, K), np.float32), camera=CAMERA), rtol=0, atol=0)
    assert_same(exact, lift_keypoints(lifter, keypoints, np.full((20, K), 7.0, np.float32), camera=CAMERA))
    assert exact.used[exact.valid].all()
    for name in ('keypoints', 'uncertainty', 'root_depth'):
        for one, two in ((exact, even), (even, other)):
            assert np.abs(getattr(one, name) - getattr(two, name))[valid].max() > 1e-3, name


def test_poses_that_cannot_be_lifted(lifter):
    keypoints, scores = make_keypoints(5), np.ones((5, K), np.float32)
    expected = lift_keypoints(lifter, keypoints, scores, camera=CAMERA)
    scores[1, 2:] = 0
    keypoints[3] = keypoints[3, :1]
    result = lift_keypoints(lifter, keypoints, scores, camera=CAMERA)
    assert result.valid.tolist() == [expected.valid[0], False, expected.valid[2], False, expected.valid[4]]
    for name in set(SHAPES) - set(MASKS):
        assert np.isnan(getattr(result, name)[[1, 3]]).all(), name
    assert not result.used[[1, 3]].any()
    assert_same(select(result, [0, 2, 4]), select(expected, [0, 2, 4]))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(keypoints=np.zeros((K, 2))), r"keypoints takes \(N, 17, 2\) for 'h36m', got \(17, 2\)"),
        (dict(keypoints=np.zeros((2, 18, 2))), r'got \(2, 18, 2\)'),
        (dict(keypoints=np.zeros((2, K, 3))), r'got \(2, 17, 3\)'),
        (dict(keypoints=[[1, 2]]), 'keypoints takes a numpy array or a tensor, got list'),
        (dict(keypoint_scores=np.ones((2, 5))), r'keypoint_scores takes \(2, 17\), got \(2, 5\)'),
        (dict(keypoint_scores=-np.ones((2, K))), 'keypoint_scores: pose 0, keypoint 0 is not finite or negative'),
        (dict(skeleton='smpl'), "unknown skeleton 'smpl'"),
        (dict(camera=None), 'camera takes a Camera, for example .* got None'),
        (dict(camera=dict(w=1920, h=1080)), 'camera takes a Camera'),
        (dict(camera=CAMERA.expand(3)), 'camera: 3 cameras for 2 poses'),
    ],
)
def test_bad_arguments_are_named(lifter, changes, message):
    with pytest.raises(ValueError, match=message):
        lift_keypoints(lifter, **dict(keypoints=np.ones((2, K, 2)), camera=CAMERA) | changes)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
@pytest.mark.parametrize('skeleton', ['h36m', 'coco', 'mpi_inf_3dhp'])
def test_values_that_are_not_finite_are_named(lifter, bad, skeleton):
    keypoints = make_keypoints(4)
    keypoints[2, 7, 1] = bad
    with pytest.raises(ValueError, match='keypoints: pose 2, keypoint 7 is not finite'):
        lift_keypoints(lifter, keypoints, skeleton=skeleton, camera=CAMERA)
    scores = np.ones((4, K))
    scores[1, 3] = bad
    with pytest.raises(ValueError, match='keypoint_scores: pose 1, keypoint 3'):
        lift_keypoints(lifter, make_keypoints(4), scores, skeleton=skeleton, camera=CAMERA)


def test_the_lifter_is_folded_and_in_evaluation_mode(lifter, config, checkpoint):
    assert not lifter.training
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in lifter.modules())
    unfolded = MODELS.build(config.model)
    unfolded.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
    x = torch.randn(8, 52, 1)
    with torch.no_grad():
        torch.testing.assert_close(lifter(x, None), unfolded.eval()(x, None), rtol=1e-3, atol=1e-5)


def test_init_lifter_from_files(lifter, config, checkpoint, tmp_path):
    config.dump(tmp_path / 'config.py')
    from_files = init_lifter(tmp_path / 'config.py', str(checkpoint), device='cpu')
    keypoints = make_keypoints(3)
    assert_same(lift_keypoints(from_files, keypoints, camera=CAMERA), lift_keypoints(lifter, keypoints, camera=CAMERA))
    assert from_files.dataset_meta['dataset_name'] == 'h36m'


def test_init_lifter_errors(config, checkpoint, tmp_path):
    with pytest.raises(ValueError, match='needs its checkpoint'):
        init_lifter(config)
    with pytest.raises(ValueError, match='no such file: .*none.pth'):
        init_lifter(config, tmp_path / 'none.pth')
    with pytest.raises(ValueError, match='no such file: none.py'):
        init_lifter('none.py', checkpoint)
    other = config.copy()
    other.model = dict(type='PoseLifter', backbone=dict(type='TCN'), head=dict(type='TemporalRegressionHead'))
    with pytest.raises(ValueError, match='its head is TemporalRegressionHead'):
        init_lifter(other, checkpoint)
    wider = config.copy()
    wider.model.head.width = 64
    with pytest.raises(ValueError, match='lifter.pth: not a checkpoint of the config'):
        init_lifter(wider, checkpoint)
    (tmp_path / 'junk.pth').write_bytes(b'junk')
    with pytest.raises(ValueError, match='junk.pth: cannot be loaded'):
        init_lifter(config, tmp_path / 'junk.pth')


def test_mmposes_own_inference_runs_the_lifter(lifter):
    from mmpose.apis import inference_pose_lifter_model  # after stereopose_mm, which makes it importable

    keypoints = make_keypoints(3)
    frame = []
    for i, points in enumerate(keypoints):
        sample = PoseDataSample()
        sample.gt_instances = InstanceData()
        sample.pred_instances = InstanceData(keypoints=points[None], bboxes=np.array([[0, 0, 100, 100.0]]))
        sample.track_id = i
        frame.append(sample)
    results = inference_pose_lifter_model(lifter, [frame], image_size=(1920, 1080))
    ours = lift_keypoints(lifter, keypoints, camera=Camera.from_fov(55, 1920, 1080))
    assert len(results) == 3
    for i, result in enumerate(results):
        found = result.pred_instances
        assert found.keypoints.shape == (1, K, 3)
        if ours.valid[i]:
            np.testing.assert_allclose(found.keypoints[0], ours.keypoints[i], atol=2e-3)
            np.testing.assert_allclose(found.keypoints_cam[0], ours.keypoints_cam[i], rtol=1e-3, atol=2e-3)
            assert found.reprojection_error[0] < 0.1
    assert ours.valid.any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_on_a_gpu(config, checkpoint, lifter):
    on_gpu = init_lifter(config, checkpoint, device='cuda')
    keypoints = torch.from_numpy(make_keypoints(10))
    result = lift_keypoints(on_gpu, keypoints.cuda(), camera=CAMERA)
    assert result.keypoints.is_cuda
    cpu = LiftResult(**{f.name: getattr(result, f.name).cpu() for f in fields(result)})
    assert_same(cpu, lift_keypoints(lifter, keypoints, camera=CAMERA), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize('kind', ['numpy', 'torch'])
@pytest.mark.parametrize('double', [False, True])
def test_coco_lifter_takes_coco(coco_lifter, kind, double):
    keypoints = make_keypoints(5, dtype=np.float64 if double else np.float32)
    given = keypoints if kind == 'numpy' else torch.from_numpy(keypoints)
    result = lift_keypoints(coco_lifter, given, skeleton='coco', camera=CAMERA)
    for name, shape in SHAPES.items():
        value = getattr(result, name)
        assert type(value) is type(given) and value.shape == (5, *shape), name
        mask_dtype = bool if kind == 'numpy' else torch.bool
        assert value.dtype == (mask_dtype if name in MASKS else given.dtype), name
    empty = lift_keypoints(coco_lifter, given[:0], skeleton='coco', camera=CAMERA)
    assert all(getattr(empty, name).shape == (0, *shape) for name, shape in SHAPES.items())


def test_used_coco_keypoints_lie_on_the_image_rays(coco_lifter):
    keypoints = make_keypoints(200, dtype=np.float64)
    scores = np.random.default_rng(0).uniform(0.2, 1, (200, K))
    # Where three keypoints are seen, whichever, a pose is found: COCO has no root that must be.
    scores[np.random.default_rng(1).random((200, K)) < 0.4] = 0
    result = lift_keypoints(coco_lifter, keypoints, scores, skeleton='coco', camera=CAMERA)
    valid = result.valid
    assert valid.sum() > 20
    assert (scores[valid][:, [11, 12]] == 0).all(1).any(), 'some without hips'
    distance = np.linalg.norm(
        CAMERA.project(torch.from_numpy(result.input_keypoints_cam[valid])).numpy() - keypoints[valid], axis=-1
    )
    used = result.used[valid]
    assert distance[used].max() < 1e-8 and distance[~used].max() > 1
    assert (scores[valid][used] > 0).all() and (used.sum(1) >= 3).all()
    assert result.reprojection_error[valid].max() < 1e-8
    np.testing.assert_allclose(result.keypoints_cam[valid][:, 0, 2], result.root_depth[valid])
    np.testing.assert_allclose(
        result.keypoints[valid], (result.keypoints_cam - result.keypoints_cam[:, :1])[valid], atol=1e-12
    )
    assert (result.keypoints_cam[valid][..., 2] > 0).all()
    moved = np.where(scores[..., None] > 0, keypoints, 5e4)
    assert_same(lift_keypoints(coco_lifter, moved, scores, skeleton='coco', camera=CAMERA), result, rtol=0, atol=0)


def test_three_coco_keypoints_do(coco_lifter):
    scores = np.zeros((K, K), np.float32)
    for i in range(K):
        scores[i, [i, (i + 1) % K, (i + 5) % K]] = 1
    keypoints = np.repeat(make_keypoints(1), K, 0)
    result = lift_keypoints(coco_lifter, keypoints, scores, skeleton='coco', camera=CAMERA)
    behind = np.isnan(result.root_depth) & (scores.sum(1) == 3)
    assert result.valid.any() and (result.valid | behind).all()
    scores[np.arange(K), np.arange(K)] = 0
    result = lift_keypoints(coco_lifter, keypoints, scores, skeleton='coco', camera=CAMERA)
    assert not result.valid.any()
    for name in set(SHAPES) - set(MASKS):
        assert np.isnan(getattr(result, name)).all(), name


def test_coco_lifter_takes_nothing_else(coco_lifter):
    for skeleton in ('h36m', 'mpi_inf_3dhp'):
        with pytest.raises(ValueError, match=rf"the lifter takes 'coco' keypoints, got '{skeleton}'"):
            lift_keypoints(coco_lifter, make_keypoints(2), skeleton=skeleton, camera=CAMERA)


@pytest.mark.parametrize('name', ['lifter', 'coco_lifter'])
def test_uncertainty(request, name):
    lifter, skeleton = request.getfixturevalue(name), 'coco' if name == 'coco_lifter' else 'h36m'
    keypoints = make_keypoints(40)
    result = lift_keypoints(lifter, keypoints, skeleton=skeleton, camera=CAMERA)
    assert (result.uncertainty[result.valid] > 0).all() and np.isnan(result.uncertainty[~result.valid]).all()
    lifter.head.uncertainty_scale.fill_(3.0)
    try:
        scaled = lift_keypoints(lifter, keypoints, skeleton=skeleton, camera=CAMERA)
    finally:
        lifter.head.uncertainty_scale.fill_(1.0)
    np.testing.assert_allclose(scaled.uncertainty, 3 * result.uncertainty, rtol=1e-5)
    # All weigh alike in the search, whatever the factor.
    np.testing.assert_allclose(scaled.keypoints_cam, result.keypoints_cam, rtol=1e-4, atol=1e-5)


def test_a_lifter_without_uncertainty_tells_none(config, tmp_path):
    config = config.copy()
    config.model.head.loss_uncertainty = None
    lifter = init_lifter(config, write_checkpoint(config, tmp_path / 'lifter.pth'))
    result = lift_keypoints(lifter, make_keypoints(20), camera=CAMERA)
    assert result.valid.any() and np.isnan(result.uncertainty).all()
    assert np.isfinite(result.keypoints_cam[result.valid]).all()


def test_shipped_lifters_by_skeleton():
    for skeleton, stem in dict(h36m='default', mpi_inf_3dhp='default', coco='coco').items():
        config, checkpoint = shipped_lifter(skeleton)
        assert (config.name, checkpoint.name) == (f'stereo-lift_{stem}.py', f'stereo-lift_{stem}.pth')
        assert config.parent == checkpoint.parent == PROJECT_ROOT / 'stereopose_mm/weights'
    assert shipped_lifter() == shipped_lifter('h36m')
    with pytest.raises(ValueError, match="unknown skeleton 'smpl'"):
        shipped_lifter('smpl')
