# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from mmpose.registry import KEYPOINT_CODECS

import stereopose_mm  # noqa: F401
from stereopose_mm.geometry import H36M_COCO, Camera, root_centring_rotation

K = 17
VIEWS = ['ray', 'pixel', 'screen']
BATCH_KEYS = {'inputs', 'rays', 'view_rotation', 'focal', 'search_weight'}
TARGET_KEYS = {
    'lifting_target_label',
    'lifting_target_weight',
    'right_view_label',
    'right_view_weight',
    'target_root',
}
# The first of Human3.6M's cameras, as MMPose's cameras.pkl has it.
H36M_CAMERA = dict(
    f=np.array([[1145.04940459], [1143.78109572]]),
    c=np.array([[512.54150496], [515.45148698]]),
    k=np.array([[-0.20709891], [0.24777518], [-0.00307515]]),
    p=np.array([[-0.00142447], [-0.0009757]]),
    w=1000,
    h=1002,
    id='54138969',
)


def make_statistics(seed=0):
    rng = np.random.default_rng(seed)
    statistics = {}
    for name, dims, size in (('keypoints', 2, 80.0), ('right', 2, 80.0), ('target', 3, 0.3)):
        mean, std = rng.normal(size=(K, dims)) * size / 4, size * rng.uniform(0.5, 1.5, (K, dims))
        mean[0], std[0] = 0, 0
        statistics |= {f'{name}_mean': mean.tolist(), f'{name}_std': std.tolist()}
    return statistics


def build(view, **changes):
    statistics = dict(statistics=make_statistics()) if view == 'pixel' else {}
    return KEYPOINT_CODECS.build(dict(type='StereoPoseLifting', view=view, **statistics, **changes))


def make_samples(num=6, seed=0):
    """Poses before a camera each, and their exact 2D."""
    g = torch.Generator().manual_seed(seed)

    def rand(low, high):
        return torch.rand(num, generator=g) * (high - low) + low

    body = torch.randn(num, K, 3, generator=g) * torch.tensor([0.3, 0.5, 0.3])
    body[:, 0] = 0
    z = rand(4, 9)
    pose = body + torch.stack([rand(-0.3, 0.3) * z, rand(-0.3, 0.3) * z, z], -1)[:, None]
    camera = Camera(rand(800, 1500), rand(800, 1500), rand(900, 1000), rand(500, 600), 1920, 1080)
    return camera.project(pose), camera, pose


def as_camera_param(camera, i):
    return dict(K=camera.matrix[i].numpy(), w=float(camera.width[i]), h=float(camera.height[i]))


@pytest.mark.parametrize('view', VIEWS)
def test_a_sample_is_a_row_of_the_batch(view):
    codec = build(view)
    keypoints, camera, pose = make_samples()
    visible = torch.ones(6, K)
    visible[1, 3] = 0
    visible[2, 5:9] = 0.4
    target_visible = torch.ones(6, K)
    target_visible[4, 7] = 0
    batch = codec.encode_batch(keypoints, visible, camera, pose, target_visible)
    assert batch.keys() == BATCH_KEYS | TARGET_KEYS
    assert batch['inputs'].shape == (6, codec.input_channels)
    for i in range(6):
        row = slice(i, i + 1)
        sample = codec.encode(
            keypoints[row].numpy(),
            visible[row].numpy(),
            lifting_target=pose[row].numpy(),
            lifting_target_visible=target_visible[row, :, None].numpy(),
            camera_param=as_camera_param(camera, i),
        )
        assert sample['keypoint_labels'].shape == (codec.input_channels, 1)
        np.testing.assert_allclose(sample['keypoint_labels'][:, 0], batch['inputs'][i].numpy(), atol=2e-5)
        for key in BATCH_KEYS - {'inputs'} | TARGET_KEYS:
            assert sample[key].dtype == np.float32
            np.testing.assert_allclose(sample[key], batch[key][row].numpy(), rtol=1e-5, atol=2e-5, err_msg=key)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(VIEWS), st.sampled_from([torch.float32, torch.float64]))
def test_decode_undoes_encode(seed, view, dtype):
    codec = build(view)
    keypoints, camera, pose = make_samples(3, seed)
    keypoints, camera, pose = keypoints.to(dtype), camera.to(dtype=dtype), pose.to(dtype)
    encoded = codec.encode_batch(keypoints, None, camera, pose)
    assert all(value.dtype == dtype for value in encoded.values())
    decoded = codec.decode_batch(encoded['lifting_target_label'], encoded['view_rotation'])
    assert decoded.dtype == dtype
    exact = 2e-6 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(decoded, pose - pose[:, :1], rtol=0, atol=exact)
    # The numpy way, as MMPose's heads go, puts it where the ground truth is.
    numpy, scores = codec.decode(
        encoded['lifting_target_label'].numpy(), encoded['target_root'].numpy(), encoded['view_rotation'].numpy()
    )
    np.testing.assert_allclose(numpy, pose.numpy(), atol=5e-6)
    assert scores.shape == (3, K) and (scores == 1).all()


def test_ray_input_is_the_view_of_a_camera_that_looks_at_the_root():
    keypoints, camera, pose = make_samples()
    encoded = build('ray').encode_batch(keypoints, None, camera, pose)
    left, seen, log_scale = encoded['inputs'].split([2 * K, K, 1], -1)
    turned = pose @ encoded['view_rotation'].mT
    rays = turned[..., :2] / turned[..., 2:]
    spread = rays.square().sum(-1).mean(-1).sqrt()
    torch.testing.assert_close(left.view(6, K, 2), rays / spread[:, None, None], rtol=1e-4, atol=1e-5)
    assert (seen == 1).all()
    torch.testing.assert_close(log_scale[:, 0], (spread / 0.09).log(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(encoded['lifting_target_label'], turned - turned[:, :1], rtol=0, atol=5e-6)
    torch.testing.assert_close(encoded['rays'], pose[..., :2] / pose[..., 2:], rtol=0, atol=1e-6)


def test_ray_right_view_is_seen_from_half_the_distance_to_the_right():
    keypoints, camera, pose = make_samples()
    encoded = build('ray', baseline=0.5).encode_batch(keypoints, None, camera, pose)
    turned = pose @ encoded['view_rotation'].mT
    shifted = turned - torch.stack([0.5 * turned[:, 0, 2], *torch.zeros(2, 6)], -1)[:, None]
    rays = shifted[..., :2] / shifted[..., 2:]
    left = turned[..., :2] / turned[..., 2:]
    spread = left.square().sum(-1).mean(-1).sqrt()[:, None, None]
    torch.testing.assert_close(encoded['right_view_label'], (rays - rays[:, :1]) / spread, rtol=1e-4, atol=1e-4)
    # The disparity alone tells the depth order: nearer than the root is further left.
    disparity = encoded['right_view_label'][..., 0] - (left[..., 0] / spread[..., 0])
    nearer = turned[..., 2] < turned[:, :1, 2] - 1e-3
    assert (disparity[nearer] < 0).all() and (disparity[turned[..., 2] > turned[:, :1, 2] + 1e-3] > 0).all()


@pytest.mark.parametrize('view', ['pixel', 'screen'])
def test_pixel_right_view_is_the_projection_of_a_shifted_pose(view):
    keypoints, camera, pose = make_samples()
    codec = build(view, baseline=-0.4)
    encoded = codec.encode_batch(keypoints, None, camera, pose)
    pixels = camera.project(pose + torch.tensor([0.4, 0, 0]))
    if view == 'pixel':
        statistics = {k: torch.tensor(v) for k, v in make_statistics().items()}
        std = statistics['right_std'].where(statistics['right_std'] > 0, torch.tensor(1.0))
        expected = (pixels - pixels[:, :1] - statistics['right_mean']) / std
    else:
        expected = pixels / 960 - torch.tensor([1.0, 1080 / 1920])
    torch.testing.assert_close(encoded['right_view_label'], expected, rtol=1e-4, atol=1e-4)


def test_pixel_input_is_standardised():
    keypoints, camera, _ = make_samples()
    statistics = {k: np.array(v, np.float32) for k, v in make_statistics().items()}
    inputs = build('pixel').encode_batch(keypoints, None, camera)['inputs'].view(6, K, 2).numpy()
    relative = (keypoints - keypoints[:, :1]).numpy()
    expected = (relative[:, 1:] - statistics['keypoints_mean'][1:]) / statistics['keypoints_std'][1:]
    np.testing.assert_allclose(inputs[:, 1:], expected, rtol=1e-4, atol=1e-4)
    assert (inputs[:, 0] == 0).all()


def test_screen_input_spans_the_width():
    codec, camera = build('screen'), Camera(1000, 1000, 960, 540, 1920, 1080)
    keypoints = torch.tensor([[[0.0, 0.0], [960.0, 540.0], [1920.0, 1080.0]]]).repeat(1, 6, 1)[:, :K]
    inputs = codec.encode_batch(keypoints, None, camera)['inputs'].view(1, K, 2)
    torch.testing.assert_close(inputs[0, :3], torch.tensor([[-1, -0.5625], [0, 0], [1, 0.5625]]))


def test_ray_input_does_not_know_the_lens():
    _, _, pose = make_samples()
    first = Camera(900, 900, 960, 540, 1920, 1080)
    second = Camera(2200, 2150, 900, 600, 1920, 1080, torch.tensor([-0.1, 0.05, 0.001, -0.002], dtype=torch.float64))
    codec = build('ray')
    one, other = (codec.encode_batch(c.project(pose), None, c, pose) for c in (first, second))
    for key in ('inputs', 'right_view_label', 'lifting_target_label', 'rays'):
        torch.testing.assert_close(one[key], other[key], rtol=0, atol=2e-3 if key == 'inputs' else 5e-4)


def test_distorted_human36m_camera():
    _, _, pose = make_samples(1)
    camera = Camera.from_mmpose(H36M_CAMERA)
    assert camera.distortion is not None
    pixels = camera.project(pose)
    sample = build('ray').encode(pixels.numpy(), np.ones((1, K)), pose.numpy(), np.ones((1, K)), H36M_CAMERA)
    np.testing.assert_allclose(sample['rays'], (pose[..., :2] / pose[..., 2:]).numpy(), atol=1e-5)
    without = {k: v for k, v in H36M_CAMERA.items() if k not in 'kp'}
    plain = build('ray').encode(pixels.numpy(), np.ones((1, K)), pose.numpy(), np.ones((1, K)), without)
    assert np.abs(plain['rays'] - sample['rays']).max() > 1e-3
    np.testing.assert_allclose(sample['focal'], [[1145.04940459, 1143.78109572]])


@pytest.mark.parametrize('view', VIEWS)
def test_missing_joints_leave_no_trace_in_the_input(view):
    codec = build(view)
    keypoints, camera, pose = make_samples()
    visible = torch.ones(6, K)
    visible[:, [3, 11]] = 0
    moved = keypoints.clone()
    moved[:, [3, 11]] += 300
    one, other = (codec.encode_batch(k, visible, camera, pose) for k in (keypoints, moved))
    assert torch.equal(one['inputs'], other['inputs'])
    xy = one['inputs'][:, : 2 * K].view(6, K, 2)
    assert (xy[:, [3, 11]] == 0).all() and (xy[:, 4] != 0).all()
    if view == 'ray':
        # A pose that lacks keypoints is a detector's: none of it counts as exact.
        assert torch.equal(one['inputs'][:, 2 * K : 3 * K], 0.85 * visible)
    assert torch.equal(one['search_weight'], visible)
    # What is not seen is still to be learnt.
    assert (one['lifting_target_weight'] == 1).all()


@pytest.mark.parametrize('keypoint_set', ['h36m', 'coco'])
def test_a_score_is_an_input_and_a_weight_not_a_coordinate(keypoint_set):
    codec = build('ray', keypoint_set=keypoint_set)
    keypoints, camera, _ = make_samples()
    scores = 0.05 + 0.9 * torch.rand(6, K, generator=torch.Generator().manual_seed(0))
    encoded, exact = (codec.encode_batch(keypoints, s, camera) for s in (scores, None))
    assert torch.equal(encoded['inputs'][:, 2 * K : 3 * K], scores)
    assert (exact['inputs'][:, 2 * K : 3 * K] == 1).all(), 'no scores are those of exact keypoints'
    for part in (slice(0, 2 * K), slice(3 * K, None)):
        assert torch.equal(encoded['inputs'][:, part], exact['inputs'][:, part])
    assert torch.equal(encoded['search_weight'], scores)
    # Some detectors give logits or heatmap sums: to the network no score is better than exact.
    assert torch.equal(codec.encode_batch(keypoints, 40 * scores, camera)['inputs'], exact['inputs'])


@pytest.mark.parametrize('view', VIEWS)
def test_only_the_root_seen(view):
    keypoints, camera, pose = make_samples(2)
    encoded = build(view).encode_batch(keypoints, torch.zeros(2, K), camera, pose)
    assert all(value.isfinite().all() for value in encoded.values())
    assert encoded['inputs'].abs().max() < 20
    weighted = encoded['right_view_label'] * encoded['right_view_weight'][..., None]
    assert weighted.abs().max() < 100


@pytest.mark.parametrize('view', VIEWS)
def test_a_pose_behind_the_camera_has_no_right_view(view):
    keypoints, camera, pose = make_samples(3)
    pose[1, 4, 2] = -0.5
    encoded = build(view).encode_batch(keypoints, None, camera, pose)
    assert all(value.isfinite().all() for value in encoded.values())
    assert encoded['right_view_weight'].sum(1).tolist() == [17, 0, 17]
    assert (encoded['lifting_target_weight'] == 1).all()


@pytest.mark.parametrize('view', VIEWS)
def test_single_camera_serves_a_batch(view):
    keypoints, camera, _ = make_samples()
    one = Camera(1000.0, 1100.0, 960.0, 540.0, 1920.0, 1080.0)
    codec = build(view)
    single, batch = (codec.encode_batch(keypoints, None, c) for c in (one, one.expand(6)))
    assert single.keys() == BATCH_KEYS
    for key in BATCH_KEYS:
        torch.testing.assert_close(single[key], batch[key])
    assert single['focal'].tolist() == [[1000, 1100]] * 6


def pack(codec_config, **info):
    """Through MMPose's transforms, as a dataset or the inference API goes."""
    transforms = [dict(type='GenerateTarget', encoder=codec_config), dict(type='PackPoseInputs', meta_keys=())]
    with DefaultScope.overwrite_default_scope('mmpose'):
        return Compose(transforms)(info)


def test_through_mmpose_transforms():
    keypoints, camera, pose = make_samples(1)
    codec = dict(type='StereoPoseLifting')
    packed = pack(
        codec,
        keypoints=keypoints.numpy(),
        keypoints_visible=np.ones((1, K), np.float32),
        lifting_target=pose.numpy(),
        lifting_target_visible=np.ones((1, K), np.float32),
        camera_param=as_camera_param(camera, 0),
    )
    encoded = KEYPOINT_CODECS.build(codec).encode_batch(keypoints, None, camera, pose)
    torch.testing.assert_close(packed['inputs'], encoded['inputs'].T, rtol=0, atol=2e-5)
    sample = packed['data_samples']
    for key in BATCH_KEYS - {'inputs'} | TARGET_KEYS:
        torch.testing.assert_close(sample.gt_instance_labels[key], encoded[key], rtol=1e-5, atol=2e-5)
    np.testing.assert_array_equal(sample.gt_instances.lifting_target, pose.numpy())
    np.testing.assert_array_equal(sample.gt_instances.lifting_target_visible, np.ones((1, K)))


@pytest.mark.parametrize('view', VIEWS)
def test_what_mmpose_inference_passes(view):
    """No target, which MMPose writes as zeros, and only the image size of the camera."""
    statistics = dict(statistics=make_statistics()) if view == 'pixel' else {}
    packed = pack(
        dict(type='StereoPoseLifting', view=view, **statistics),
        keypoints=make_samples(1)[0].numpy(),
        keypoints_visible=np.ones((1, K), np.float32),
        lifting_target=np.zeros((1, K, 3), np.float32),
        lifting_target_visible=np.ones((1, K, 1), np.float32),
        camera_param=dict(w=1920, h=1080),
        factor=np.zeros(1, np.float32),
    )
    labels = packed['data_samples'].gt_instance_labels
    assert packed['inputs'].isfinite().all()
    assert all(value.isfinite().all() for _, value in labels.items())
    assert (labels.right_view_weight == 0).all()
    assert (labels.target_root == 0).all()


def test_errors_of_encode_and_decode():
    codec = build('ray')
    points = np.zeros((1, K, 2), np.float32)
    with pytest.raises(ValueError, match=r'keypoints takes \(1, 17, 2\), got \(2, 17, 2\)'):
        codec.encode(np.zeros((2, K, 2)), camera_param=dict(w=10, h=10))
    with pytest.raises(ValueError, match=r'keypoints takes \(1, 17, 2\), got \(1, 16, 2\)'):
        codec.encode(points[:, :16], camera_param=dict(w=10, h=10))
    with pytest.raises(ValueError, match='camera_param is needed'):
        codec.encode(points)
    with pytest.raises(ValueError, match="view_rotation is needed to decode the 'ray' view"):
        codec.decode(np.zeros((K, 3)))
    assert build('screen').decode(np.ones((K, 3)))[0].shape == (1, K, 3)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(view='rays'), "view takes .* got 'rays'"),
        (dict(baseline=0), 'baseline takes .* got 0'),
        (dict(baseline=float('inf')), 'baseline takes'),
        (dict(root_index=17), 'root_index takes 0 … 16, got 17'),
        (dict(view='pixel'), r'needs finite keypoints_mean of shape \(17, 2\), got nothing'),
        (dict(view='pixel', statistics='missing.json'), 'cannot read missing.json'),
    ],
)
def test_errors_of_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        KEYPOINT_CODECS.build(dict(type='StereoPoseLifting', **arguments))


def test_statistics_from_a_file(tmp_path):
    path = tmp_path / 'statistics.json'
    path.write_text(json.dumps(make_statistics()))
    keypoints, camera, pose = make_samples()
    from_file = KEYPOINT_CODECS.build(dict(type='StereoPoseLifting', view='pixel', statistics=str(path)))
    one, other = (c.encode_batch(keypoints, None, camera, pose) for c in (from_file, build('pixel')))
    assert all(torch.equal(one[key], other[key]) for key in one)

    for spoilt, message in (
        (make_statistics() | dict(right_std=[[1, 1]]), r'right_std of shape \(17, 2\), got shape \(1, 2\)'),
        (make_statistics() | dict(target_mean=[[float('nan')] * 3] * K), 'needs finite target_mean'),
    ):
        path.write_text(json.dumps(spoilt))
        with pytest.raises(ValueError, match=message):
            KEYPOINT_CODECS.build(dict(type='StereoPoseLifting', view='pixel', statistics=str(path)))
    path.write_text('{"keypoints_mean": [')
    with pytest.raises(ValueError, match='statistics: cannot read .*statistics.json'):
        KEYPOINT_CODECS.build(dict(type='StereoPoseLifting', view='pixel', statistics=str(path)))


def make_coco_samples(num=6, seed=0):
    """Poses of H36M-17 and COCO-17 before a camera each, and the exact 2D of COCO's keypoints."""
    _, camera, pose = make_samples(num, seed)
    offset = 0.05 * torch.randn(num, K, 3, generator=torch.Generator().manual_seed(seed))
    pose = torch.cat([pose, pose[:, list(H36M_COCO.parents[K:])] + offset], 1)
    return camera.project(pose[:, K:]), camera, pose


def unit(rays):
    directions = torch.cat([rays, torch.ones_like(rays[..., :1])], -1)
    return directions / directions.norm(dim=-1, keepdim=True)


def test_a_coco_sample_is_a_row_of_the_batch():
    codec = build('ray', keypoint_set='coco')
    keypoints, camera, pose = make_coco_samples()
    scores = torch.rand(6, K, generator=torch.Generator().manual_seed(1))
    scores[1, [11, 12]] = 0
    target_visible = torch.ones(6, 2 * K)
    target_visible[4, 20] = 0
    batch = codec.encode_batch(keypoints, scores, camera, pose, target_visible)
    assert batch.keys() == BATCH_KEYS | TARGET_KEYS
    shapes = dict(inputs=(52,), rays=(K, 2), search_weight=(K,), lifting_target_label=(2 * K, 3))
    shapes |= dict(lifting_target_weight=(2 * K,), right_view_label=(K, 2), right_view_weight=(K,), target_root=(3,))
    for key, shape in shapes.items():
        assert batch[key].shape == (6, *shape), key
    for i in range(6):
        row = slice(i, i + 1)
        sample = codec.encode(
            keypoints[row].numpy(),
            scores[row].numpy(),
            lifting_target=pose[row].numpy(),
            lifting_target_visible=target_visible[row, :, None].numpy(),
            camera_param=as_camera_param(camera, i),
        )
        np.testing.assert_allclose(sample['keypoint_labels'][:, 0], batch['inputs'][i].numpy(), atol=2e-5)
        for key in BATCH_KEYS - {'inputs'} | TARGET_KEYS:
            np.testing.assert_allclose(sample[key], batch[key][row].numpy(), rtol=1e-5, atol=2e-5, err_msg=key)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64]))
def test_coco_decode_undoes_encode(seed, dtype):
    codec = build('ray', keypoint_set='coco')
    keypoints, camera, pose = make_coco_samples(3, seed)
    keypoints, camera, pose = keypoints.to(dtype), camera.to(dtype=dtype), pose.to(dtype)
    encoded = codec.encode_batch(keypoints, None, camera, pose)
    assert all(value.dtype == dtype for value in encoded.values())
    decoded = codec.decode_batch(encoded['lifting_target_label'], encoded['view_rotation'])
    exact = 2e-6 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(decoded, pose - pose[:, :1], rtol=0, atol=exact)
    numpy, scores = codec.decode(
        encoded['lifting_target_label'].numpy(), encoded['target_root'].numpy(), encoded['view_rotation'].numpy()
    )
    np.testing.assert_allclose(numpy, pose.numpy(), atol=5e-6)
    assert scores.shape == (3, 2 * K) and (scores == 1).all()


HIPS, SHOULDERS = [11, 12], [5, 6]


@pytest.mark.parametrize(
    ('missing', 'centre'),
    [
        ([], HIPS),
        ([11], [12]),
        ([12, 5, 6, 0], [11]),
        (HIPS, SHOULDERS),
        ([*HIPS, 5], [6]),
        (HIPS + SHOULDERS, [0, 1, 2, 3, 4, 7, 8, 9, 10, 13, 14, 15, 16]),
        ([k for k in range(K) if k not in (3, 9, 15)], [3, 9, 15]),
        (list(range(K)), list(range(K))),
    ],
)
def test_centre_of_cocos_view(missing, centre):
    """Between the hips; between the shoulders where no hip is seen, else amid all keypoints."""
    keypoints, camera, pose = make_coco_samples()
    scores = torch.full((6, K), 0.3)
    scores[:, missing] = 0
    encoded = build('ray', keypoint_set='coco').encode_batch(keypoints, scores, camera)
    middle = unit(pose[:, K:][:, centre, :2] / pose[:, K:][:, centre, 2:]).mean(1)
    on_axis = (encoded['view_rotation'] @ middle[..., None])[..., 0]
    torch.testing.assert_close(on_axis[:, :2], torch.zeros(6, 2), rtol=0, atol=2e-6)
    assert (on_axis[:, 2] > 0).all()
    left = encoded['inputs'][:, : 2 * K].view(6, K, 2)
    seen = [k for k in range(K) if k not in missing]
    assert (left[:, missing] == 0).all()
    if seen:
        rms = left[:, seen].square().sum(-1).mean(-1).sqrt()
        torch.testing.assert_close(rms, torch.ones(6))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(-0.8, 0.8),
    st.floats(-0.8, 0.8),
    st.floats(300, 4000),
    st.sets(st.integers(0, K - 1), max_size=12),
)
def test_coco_input_does_not_know_where_in_the_image_nor_through_which_lens(seed, x, y, focal, missing):
    """The same body seen from the same point by another camera, turned another way."""
    codec = build('ray', keypoint_set='coco')
    keypoints, camera, pose = make_coco_samples(3, seed)
    keypoints, camera, pose = camera.to(dtype=torch.float64).project(pose[:, K:].double()), camera, pose.double()
    scores = torch.rand(3, K, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scores[:, list(missing)] = 0
    one = codec.encode_batch(keypoints, scores, camera.to(dtype=torch.float64), pose)
    # Turned so that the view's centre, which was on this camera's axis, is seen at (x, y).
    centred = pose @ one['view_rotation'].mT
    turned = centred @ root_centring_rotation(torch.tensor([[x, y]], dtype=torch.float64))
    assume(bool((turned[..., 2] > 0.1).all()))
    other_camera = Camera(focal, 1.1 * focal, 0.3 * focal, 0.2 * focal, focal, focal)
    other = codec.encode_batch(other_camera.project(turned[:, K:]), scores, other_camera, turned)
    for key in ('inputs', 'lifting_target_label', 'right_view_label', 'right_view_weight', 'search_weight'):
        torch.testing.assert_close(other[key], one[key], rtol=1e-7, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(
    st.sets(st.integers(0, K - 1), min_size=1, max_size=14),
    st.sampled_from([-300.0, 0.0, 1e7]),
    st.sampled_from([0.01, 0.4, 1.0]),
)
def test_missing_coco_keypoints_leave_no_trace(missing, garbage, score):
    codec = build('ray', keypoint_set='coco')
    keypoints, camera, pose = make_coco_samples()
    scores = torch.full((6, K), score)
    scores[:, list(missing)] = 0
    moved = keypoints.clone()
    moved[:, list(missing)] = garbage
    one, other = (codec.encode_batch(k, scores, camera, pose) for k in (keypoints, moved))
    for key in one.keys() - {'rays'}:
        assert torch.equal(one[key], other[key]), key
    trusted = scores.clamp(max=0.85) if missing else scores
    assert torch.equal(one['inputs'][:, 2 * K : 3 * K], trusted) and torch.equal(one['search_weight'], scores)


def test_cocos_right_view_is_the_left_one_from_half_the_pelvis_distance_to_the_right():
    keypoints, camera, pose = make_coco_samples()
    encoded = build('ray', keypoint_set='coco').encode_batch(keypoints, None, camera, pose)
    turned = pose @ encoded['view_rotation'].mT
    root = turned[:, :1]
    torch.testing.assert_close(encoded['lifting_target_label'], turned - root, rtol=0, atol=5e-6)
    torch.testing.assert_close(encoded['target_root'], pose[:, 0])
    seen = turned[:, K:, :2] / turned[:, K:, 2:]
    spread = seen.square().sum(-1).mean(-1).sqrt()[:, None, None]
    torch.testing.assert_close(encoded['inputs'][:, : 2 * K].view(6, K, 2), seen / spread, rtol=1e-4, atol=1e-4)
    shifted = turned - torch.stack([0.5 * root[:, 0, 2], *torch.zeros(2, 6)], -1)[:, None]
    rays = shifted[..., :2] / shifted[..., 2:]
    expected = (rays[:, K:] - rays[:, :1]) / spread
    torch.testing.assert_close(encoded['right_view_label'], expected, rtol=1e-4, atol=1e-4)


def test_what_is_not_known_of_a_body_with_coco():
    codec = build('ray', keypoint_set='coco')
    keypoints, camera, pose = make_coco_samples(3)
    known = torch.ones(3, 2 * K)
    known[0, 0], known[1, 5], known[2, K + 9] = 0, 0, 0
    pose[1, 5], pose[2, K + 9] = 1e6, -1e6
    encoded = codec.encode_batch(keypoints, None, camera, pose, known)
    assert all(value.isfinite().all() for value in encoded.values())
    weight, right_weight = encoded['lifting_target_weight'], encoded['right_view_weight']
    assert (weight[0] == 0).all() and (right_weight[0] == 0).all(), 'all is relative to the root'
    assert torch.equal(weight[1:], known[1:])
    # The joints of H36M-17 are no keypoints of the right view.
    assert (right_weight[1] == 1).all() and torch.equal(right_weight[2], known[2, K:])


def test_coco_as_mmpose_inference_passes_it():
    packed = pack(
        dict(type='StereoPoseLifting', keypoint_set='coco'),
        keypoints=make_coco_samples(1)[0].numpy(),
        keypoints_visible=np.ones((1, K), np.float32),
        lifting_target=np.zeros((1, K, 3), np.float32),
        lifting_target_visible=np.ones((1, K, 1), np.float32),
        camera_param=dict(w=1920, h=1080),
    )
    labels = packed['data_samples'].gt_instance_labels
    assert packed['inputs'].shape == (52, 1) and packed['inputs'].isfinite().all()
    assert labels.lifting_target_label.shape == (1, 2 * K, 3)
    assert (labels.right_view_weight == 0).all() and (labels.target_root == 0).all()


@pytest.mark.parametrize('changes', [dict(view='pixel'), dict(num_keypoints=21), dict(root_index=3)])
def test_coco_takes_the_ray_view_of_its_keypoints(changes):
    with pytest.raises(
        ValueError, match="keypoint_set='coco' takes view='ray', num_keypoints=17 and root_index=0, got"
    ):
        KEYPOINT_CODECS.build(dict(type='StereoPoseLifting', keypoint_set='coco') | changes)
    with pytest.raises(ValueError, match="keypoint_set takes 'h36m' or 'coco', got 'body25'"):
        build('ray', keypoint_set='body25')
