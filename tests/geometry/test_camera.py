# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import math
import pickle
import warnings

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.geometry.camera.perspective import project_points

from stereopose_mm.geometry import camera as camera_module
from stereopose_mm.geometry.camera import DEFAULT_FOV_DEG, Camera

DTYPES = (torch.float32, torch.float64)

focals = st.floats(200, 5000)
offsets = st.floats(-200, 200)
cameras = st.builds(
    lambda fx, fy, dx, dy: Camera(fx, fy, 960 + dx, 540 + dy, 1920, 1080), focals, focals, offsets, offsets
)
seeds = st.integers(0, 2**31 - 1)


def random_points(seed, n=4, dtype=torch.float64):
    """Points (n, 17, 3) within 40 degrees of the optical axis, 1 to 20 m away."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(n, 17, 3, generator=generator, dtype=torch.float64)
    z = 1 + 19 * xyz[..., 2:]
    return torch.cat([(xyz[..., :2] * 1.6 - 0.8) * z, z], -1).to(dtype)


def random_batch(seed, n, dtype=torch.float64, coefficients=0):
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(7, n, generator=generator, dtype=torch.float64)
    distortion = None
    if coefficients:
        distortion = 0.02 * torch.randn(n, coefficients, generator=generator, dtype=dtype)
    fields = (900 + 600 * u[0], 900 + 600 * u[1], 900 + 100 * u[2], 500 + 80 * u[3])
    size = (1800 + 100 * u[4], 1000 + 100 * u[5])
    return Camera(*(f.to(dtype) for f in (*fields, *size)), distortion)


# Projection


@settings(max_examples=30, deadline=None)
@given(cameras, seeds)
def test_project_after_unproject_is_the_identity(camera, seed):
    points = random_points(seed)
    pixels = camera.project(points)
    rays = camera.unproject(pixels)
    torch.testing.assert_close(rays, points[..., :2] / points[..., 2:])
    again = camera.project(torch.cat([rays, torch.ones_like(rays[..., :1])], -1))
    torch.testing.assert_close(again, pixels)


@settings(max_examples=20, deadline=None)
@given(cameras, seeds)
def test_project_agrees_with_kornia_without_distortion(camera, seed):
    points = random_points(seed)
    torch.testing.assert_close(camera.project(points), project_points(points, camera.matrix))


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([4, 5, 8, 12, 14]))
def test_project_agrees_with_opencv_with_distortion(seed, count):
    camera = random_batch(seed, 3, coefficients=count)
    points = random_points(seed, n=3)
    got = camera.project(points)
    for i in range(3):
        expected, _ = cv2.projectPoints(
            points[i].numpy()[:, None],
            np.zeros(3),
            np.zeros(3),
            camera.matrix[i].numpy(),
            camera.distortion[i].numpy(),
        )
        np.testing.assert_allclose(got[i].numpy(), expected[:, 0], atol=1e-6)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('coefficients', [0, 5])
def test_dtype_is_preserved_and_single_equals_batch(dtype, coefficients):
    batch = random_batch(0, 6, coefficients=coefficients)
    points = random_points(1, n=6, dtype=dtype)
    pixels = batch.project(points)
    for function, given_ in (('project', points), ('unproject', pixels), ('undistort', pixels)):
        got = getattr(batch, function)(given_)
        assert got.dtype == dtype and got.shape == (6, 17, 2)
        single = torch.stack([getattr(batch[i], function)(given_[i]) for i in range(6)])
        tolerance = dict(rtol=0, atol=(1e-6 if function == 'unproject' else 1e-3) if dtype == torch.float32 else 1e-9)
        torch.testing.assert_close(got, single, **tolerance)
        repeated = getattr(batch[2].expand(6), function)(given_)
        torch.testing.assert_close(getattr(batch[2], function)(given_), repeated, **tolerance)


def test_leading_dimensions_of_a_video_are_kept():
    points = random_points(0, n=6).view(3, 2, 17, 3)
    batch = random_batch(0, 3, coefficients=5)
    torch.testing.assert_close(batch.project(points)[:, 1], batch.project(points[:, 1]))
    torch.testing.assert_close(batch[0].project(points)[2, 1], batch[0].project(points[2, 1]))
    torch.testing.assert_close(batch.unproject(batch.project(points)), points[..., :2] / points[..., 2:])


def test_points_not_in_front_of_the_camera_are_nan_or_an_error():
    camera = Camera.from_fov(60, 640, 480)
    points = random_points(0, n=3)
    points[1, 4, 2] = -2.0
    points[2, 0, 2] = 0.0
    invisible = camera.project(points).isnan().all(-1)
    assert invisible.nonzero().tolist() == [[1, 4], [2, 0]]
    with pytest.raises(ValueError, match='pose 1, keypoint 4'):
        camera.project(points, check=True)
    assert not camera.project(points[:1], check=True).isnan().any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('coefficients', [0, 5])
def test_device_is_preserved(coefficients):
    camera, points = random_batch(0, 4, coefficients=coefficients), random_points(0)
    pixels = camera.project(points.cuda())
    assert pixels.is_cuda and camera.to('cuda').unproject(pixels).is_cuda
    torch.testing.assert_close(pixels.cpu(), camera.project(points))


def test_gradients_flow_through_the_camera():
    camera, points = random_batch(0, 2, coefficients=5), random_points(0, n=2)[:, :3]
    pixels = camera.project(points)
    assert torch.autograd.gradcheck(camera.project, points.requires_grad_())
    assert torch.autograd.gradcheck(camera.unproject, pixels.requires_grad_())


# Constructors


@settings(max_examples=30, deadline=None)
@given(st.floats(1, 170), st.integers(16, 8000), st.integers(16, 8000))
def test_from_fov_has_that_field_of_view(fov, width, height):
    camera = Camera.from_fov(fov, width, height)
    assert camera.fov_deg == pytest.approx(fov)
    assert camera.fx == camera.fy and (camera.cx, camera.cy) == (width / 2, height / 2)
    edges = camera.unproject(torch.tensor([[0.0, height / 2], [width, height / 2]], dtype=torch.float64))
    assert math.degrees(sum(math.atan(abs(x)) for x in edges[:, 0].tolist())) == pytest.approx(fov)


def test_from_fov_of_a_batch():
    fov = torch.tensor([40.0, 60.0, 90.0])
    camera = Camera.from_fov(fov, 1920, 1080)
    assert camera.batch_size == 3 and camera.fx.dtype == torch.float32
    torch.testing.assert_close(camera.fov_deg, fov)
    torch.testing.assert_close(camera.fx[2], torch.tensor(960.0))


def test_from_matrix_keeps_the_matrix():
    batch = random_batch(0, 5, coefficients=5)
    again = Camera.from_matrix(batch.matrix, batch.width, batch.height, batch.distortion)
    torch.testing.assert_close(again.matrix, batch.matrix)
    single = Camera.from_matrix(batch.matrix[3].numpy(), 1920, 1080)
    assert single.batch_size is None and single.fy == batch.fy[3].item()
    torch.testing.assert_close(single.matrix, batch.matrix[3])


@pytest.mark.parametrize(
    'matrix, message',
    [
        (torch.eye(4), r'K: takes \(3, 3\) or \(N, 3, 3\), got \(4, 4\)'),
        (random_batch(0, 1).matrix[0].T, 'no skew'),
        ([[900.0, 2.0, 320.0], [0.0, 900.0, 240.0], [0.0, 0.0, 1.0]], 'no skew'),
        ([[-900.0, 0.0, 320.0], [0.0, 900.0, 240.0], [0.0, 0.0, 1.0]], 'fx: takes positive'),
    ],
)
def test_from_matrix_refuses_what_is_no_intrinsic_matrix(matrix, message):
    with pytest.raises(ValueError, match=message):
        Camera.from_matrix(matrix, 640, 480)


def test_from_mmpose_reads_all_its_forms():
    size = dict(w=640, h=480)
    matrix = [[900.0, 0.0, 330.0], [0.0, 910.0, 250.0]]
    forms = (
        dict(K=np.array(matrix), **size),
        dict(K=np.array([*matrix, [0.0, 0.0, 1.0]], dtype=np.float32), **size),
        dict(f=np.array([900.0, 910.0]), c=np.array([330.0, 250.0]), **size),
        dict(f=[[900.0], [910.0]], c=[[330.0], [250.0]], R=np.eye(3), name='x', **size),
    )
    for form in forms:
        camera = Camera.from_mmpose(form)
        got = (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
        assert got == (900, 910, 330, 250, 640, 480) and camera.distortion is None
    assert Camera.from_mmpose(forms[0], height=481).height == 481


def test_from_mmpose_distortion_is_opencvs_unless_the_camera_is_human36ms():
    param = dict(f=[900.0, 900.0], c=[320.0, 240.0], w=640, h=480, k=[[0.1], [0.2], [0.3]], p=[0.01, 0.02])
    opencv = torch.tensor([0.1, 0.2, 0.01, 0.02, 0.3], dtype=torch.float64)
    torch.testing.assert_close(Camera.from_mmpose(param).distortion, opencv)
    h36m = Camera.from_mmpose({**param, 'id': '60457274'})
    torch.testing.assert_close(h36m.distortion, Camera.from_mmpose(param, distortion_model='h36m').distortion)
    again = Camera.from_mmpose({**param, 'id': '60457274'}, distortion_model='opencv')
    torch.testing.assert_close(again.distortion, opencv)
    # Human3.6M's projection, written out.
    points = random_points(0)
    x, y = (points[..., :2] / points[..., 2:]).unbind(-1)
    r2 = x * x + y * y
    factor = 1 + 0.1 * r2 + 0.2 * r2**2 + 0.3 * r2**3 + 0.01 * y + 0.02 * x
    expected = torch.stack([x * factor + 0.02 * r2, y * factor + 0.01 * r2], -1) * 900
    torch.testing.assert_close(h36m.project(points), expected + torch.tensor([320.0, 240.0]))
    rational = Camera.from_mmpose({**param, 'k': [1, 2, 3, 4, 5, 6]}).distortion
    assert rational.tolist() == [1, 2, 0.01, 0.02, 3, 4, 5, 6]
    assert Camera.from_mmpose({**param, 'k': np.zeros(3), 'p': np.zeros(2)}).distortion is None


def test_from_mmpose_with_only_the_size_warns_once():
    camera_module._warn_default_fov.cache_clear()
    with pytest.warns(UserWarning, match='55 degrees'):
        camera = Camera.from_mmpose(dict(w=1920, h=1080))
    assert camera.fov_deg == pytest.approx(DEFAULT_FOV_DEG)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Camera.from_mmpose(dict(w=640, h=480))


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(w=None), 'image size as w and h'),
        (dict(c=None), 'f and c together'),
        (dict(f=[1.0, 2.0, 3.0]), r"camera_param\['f'\]: takes 2 values, got 3"),
        (dict(k=[1.0] * 4), r"camera_param\['k'\]: takes 1 or 2 or 3 or 6 values, got 4"),
        (dict(f=[-1.0, 900.0]), 'fx: takes positive and finite values, got -1'),
    ],
)
def test_from_mmpose_names_what_is_wrong(change, message):
    param = dict(f=[900.0, 900.0], c=[320.0, 240.0], w=640, h=480)
    param = {key: value for key, value in {**param, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        Camera.from_mmpose(param)
    with pytest.raises(ValueError, match='distortion_model'):
        Camera.from_mmpose(dict(w=640, h=480), distortion_model='fisheye')


# Batches and validation


def test_fields_of_a_batch_become_tensors_of_one_dtype():
    fx = torch.tensor([900.0, 1000.0], dtype=torch.float64)
    camera = Camera(fx, fx, 320, 240, torch.tensor([640, 650]), 480, [0.1, 0.0, 0.0, 0.0])
    assert camera.batch_size == 2 and camera.distortion.shape == (2, 4)
    assert all(getattr(camera, name).dtype == torch.float64 for name in ('fx', 'cx', 'width', 'distortion'))
    assert camera.to(dtype=torch.float32).cy.dtype == torch.float32
    lens_only = Camera(900, 900, 320, 240, 640, 480, torch.zeros(3, 5))
    assert lens_only.batch_size == 3 and lens_only.fx.tolist() == [900.0] * 3


def test_index_slice_mask_and_stack():
    batch = random_batch(0, 5, coefficients=5)
    assert isinstance(batch[1].fx, float) and batch[1].distortion.shape == (5,)
    mask = torch.tensor([True, False, True, False, False])
    for index in (mask, mask.numpy(), [0, 2], torch.tensor([0, 2]), slice(0, 3, 2)):
        assert batch[index].fx.tolist() == batch.fx[[0, 2]].tolist()
        assert torch.equal(batch[index].distortion, batch.distortion[[0, 2]])
    assert batch[:0].batch_size == 0
    assert batch[:0].project(torch.zeros(0, 17, 3)).shape == (0, 17, 2)
    stacked = Camera.stack(list(batch))
    assert torch.equal(stacked.matrix, batch.matrix) and torch.equal(stacked.distortion, batch.distortion)
    lens = Camera(1145, 1143, 512, 515, 1000, 1002, torch.tensor([-0.2, 0.25, -0.001, 0.002]))
    mixed = Camera.stack([Camera.from_fov(60, 640, 480), batch, lens])
    assert mixed.batch_size == 7 and mixed.distortion[0].tolist() == [0.0] * 5
    pixels = random_points(3, n=1)[..., :2] * 100 + 500
    torch.testing.assert_close(mixed[6].unproject(pixels), lens.unproject(pixels))


def test_batch_misuse_is_an_error():
    batch, single = random_batch(0, 5), Camera.from_fov(60, 640, 480)
    with pytest.raises(ValueError, match='4 poses, but the batch has 5 cameras'):
        batch.project(random_points(0, n=4))
    with pytest.raises(ValueError, match=r'takes \(5, K, 2\) with 5 cameras, got \(5, 2\)'):
        batch.unproject(torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r'keypoints: takes \(..., K, 2\), got \(4, 17, 3\)'):
        single.unproject(random_points(0))
    with pytest.raises(ValueError, match='floating-point tensor, got torch.int64'):
        single.unproject(torch.zeros(1, 17, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match='floating-point tensor, got ndarray'):
        single.undistort(np.zeros((1, 17, 2)))
    with pytest.raises(ValueError, match='batch of 5 cameras cannot be expanded to 3'):
        batch.expand(3)
    with pytest.raises(ValueError, match='single camera has no index'):
        single[0]
    with pytest.raises(ValueError, match='at least one Camera'):
        Camera.stack([])
    with pytest.raises(ValueError, match='floating-point dtype'):
        batch.to(dtype=torch.int64)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(fx=-3.0), 'fx: takes positive and finite values, got -3.0$'),
        (dict(fy=math.nan), 'fy: takes positive and finite values, got nan$'),
        (dict(fx=torch.tensor([900.0, 0.0])), 'fx: .* got 0.0 at pose 1'),
        (dict(cy=[240.0, 240.0, math.inf]), 'cy: takes finite values, got inf at pose 2'),
        (dict(width=0), 'width: takes positive'),
        (dict(height=torch.tensor([480, -1])), r'height: .* got -1.0 at pose 1'),
        (dict(fx=torch.ones(2), fy=torch.ones(3)), "lengths of its fields differ: {'fx': 2, 'fy': 3}"),
        (dict(fx=torch.ones(2), distortion=torch.zeros(3, 5)), "'distortion': 3"),
        (dict(distortion=torch.zeros(3)), r'distortion: takes \(D,\) or \(N, D\) with D one of'),
        (dict(distortion=torch.full((5,), math.nan)), 'distortion: takes finite values, got nan$'),
        (dict(fx=torch.ones(2, 2)), r'fx: takes a number or \(N,\), got shape \(2, 2\)'),
        (dict(fx='wide'), "fx: takes a number or .* got 'wide'"),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_pose(change, message):
    good = dict(fx=900.0, fy=900.0, cx=320.0, cy=240.0, width=640, height=480)
    with pytest.raises(ValueError, match=message):
        Camera(**{**good, **change})


@pytest.mark.parametrize('fov', [0.0, 180.0, -20.0, math.nan])
def test_field_of_view_out_of_range_is_an_error(fov):
    with pytest.raises(ValueError, match='fov_deg'):
        Camera.from_fov(fov, 640, 480)


# Real data


def test_human36m_samples_reproject_exactly(shared_data):
    with open(shared_data / 'real/h36m/cameras.pkl', 'rb') as file:
        params = pickle.load(file)
    with np.load(shared_data / 'real/h36m/annotations.npz') as data:
        points, pixels, names = torch.tensor(data['S'][..., :3]), data['part'][..., :2], data['imgname']
    own = [params[(name[:2], name.split('.')[1][:8])] for name in names]

    def residual(camera):
        return (camera.project(points) - torch.tensor(pixels)).norm(dim=-1).max()

    cams = Camera.stack([Camera.from_mmpose(p) for p in own])
    assert residual(cams) < 1e-4
    as_opencv = [Camera.from_mmpose(p, distortion_model='opencv') for p in own]
    assert 0.05 < residual(Camera.stack(as_opencv)) < 0.1
    pinhole = [Camera.from_mmpose({k: p[k] for k in 'fcwh'}) for p in own]
    assert residual(Camera.stack(pinhole)) > 1
    rays = cams.unproject(torch.tensor(pixels))
    torch.testing.assert_close(rays, points[..., :2] / points[..., 2:], rtol=0, atol=1e-7)


def test_mpi_inf_3dhp_samples_reproject(shared_data):
    with open(shared_data / 'real/mpi_inf_3dhp/cameras_train.pkl', 'rb') as file:
        params = pickle.load(file)
    with np.load(shared_data / 'real/mpi_inf_3dhp/annotations.npz') as data:
        points, pixels, names = torch.tensor(data['S'][..., :3]), data['part'][..., :2], data['imgname']
    own = [params[name.rsplit('_', 1)[0]] for name in names]
    cams = Camera.stack([Camera.from_mmpose(p, height=2048) for p in own])
    assert (cams.width == 2048).all() and (cams.height == 2048).all() and cams.distortion is None
    residual = (cams.project(points) - torch.tensor(pixels)).norm(dim=-1)
    # MMPose's converter makes hips and spine as weighted means of joints, once in 3D and once in the image.
    interpolated = torch.zeros(17, dtype=torch.bool)
    interpolated[[8, 11, 15]] = True
    assert residual[:, ~interpolated].max() < 0.01 and residual[:, interpolated].max() < 2.5
