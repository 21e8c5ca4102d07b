# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import math
import pickle

import cv2
import numpy as np
import pytest
import torch

from stereopose_mm.geometry.camera import Camera

# Camera 54138969 of Human3.6M, in OpenCV's model.
H36M = dict(
    fx=1145.04940459,
    fy=1143.78109572,
    cx=512.54150496,
    cy=515.45148698,
    width=1000,
    height=1002,
    distortion=torch.tensor([-0.20709891, 0.24777518, -0.00142447, -0.0009757, -0.00307515]),
)
DTYPES = (torch.float32, torch.float64)


def pixel_grid(width, height, dtype, steps=25):
    u, v = torch.linspace(0, width, steps), torch.linspace(0, height, steps)
    return torch.cartesian_prod(u, v).to(dtype)


@pytest.mark.parametrize('dtype, tolerance_px', [(torch.float32, 1e-3), (torch.float64, 1e-9)])
def test_distortion_round_trip_at_every_pixel_of_human36m(dtype, tolerance_px):
    camera = Camera(**H36M)
    pixels = pixel_grid(1000, 1002, dtype)
    rays = camera.unproject(pixels)
    again = camera.project(torch.cat([rays, torch.ones_like(rays[..., :1])], -1))
    assert (again - pixels).abs().max() < tolerance_px


def test_undistort_agrees_with_opencv():
    camera = Camera(**H36M)
    pixels = pixel_grid(1000, 1002, torch.float64)
    matrix, lens = camera.matrix.numpy(), camera.distortion.numpy().astype(float)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
    expected = cv2.undistortPointsIter(pixels.numpy()[:, None], matrix, lens, None, matrix, criteria)
    np.testing.assert_allclose(camera.undistort(pixels).numpy(), expected[:, 0], atol=1e-6)
    moved = (camera.undistort(pixels) - pixels).norm(dim=-1)
    assert moved.max() > 5  # the corner of the image


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('k1, k2, k3', [(-0.3, 0.0, 0.0), (0.1, 0.2, -0.1), (0.5, 0.0, -0.3)])
def test_strong_lens_is_inverted_towards_its_fold_and_nan_beyond(dtype, k1, k2, k3):
    camera = Camera(500, 500, 500, 500, 1000, 1000, torch.tensor([k1, k2, 0.0, 0.0, k3]))
    # The distorted radius grows up to the fold, then shrinks.
    radius = np.linspace(0, 2, 20001)
    distorted = radius * (1 + k1 * radius**2 + k2 * radius**4 + k3 * radius**6)
    turn = (np.diff(distorted) < 0).argmax()
    fold, highest = radius[turn], distorted[turn]
    angle = torch.linspace(0, 6, 20, dtype=dtype)[:, None]
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    rays = circle * torch.linspace(0, 0.85 * fold, 30, dtype=dtype)[:, None]
    pixels = camera.project(torch.cat([rays, torch.ones_like(rays[..., :1])], -1))
    torch.testing.assert_close(camera.unproject(pixels), rays, rtol=0, atol=1e-5)
    # Up to the fold: the ray or NaN, but no ray of the mirrored branch behind the fold.
    rays = circle * torch.linspace(0.85, 0.99, 50, dtype=dtype)[:, None] * fold
    got = camera.unproject(camera.project(torch.cat([rays, torch.ones_like(rays[..., :1])], -1)))
    torch.testing.assert_close(got.where(~got.isnan(), rays), rays, rtol=0, atol=1e-3)
    beyond = circle * torch.linspace(1.02 * highest, 5 * highest, 300, dtype=dtype)[:, None]
    assert camera.unproject(500 + 500 * beyond).isnan().all()


def test_undistort_without_distortion_is_the_identity_and_nan_stays_nan():
    pixels = torch.tensor([[[3.0, 4.0], [math.nan, 7.0]]])
    assert Camera.from_fov(50, 100, 100).undistort(pixels) is pixels
    got = Camera(**H36M).undistort(pixels + 500)
    assert got.isnan().any(-1).tolist() == [[False, True]]


def test_every_human36m_camera_round_trips_in_float32(shared_data):
    with open(shared_data / 'real/h36m/cameras.pkl', 'rb') as file:
        cams = Camera.stack([Camera.from_mmpose(p) for p in pickle.load(file).values()])
    pixels = pixel_grid(1000, 1000, torch.float32).expand(cams.batch_size, -1, 2)
    rays = cams.unproject(pixels)
    again = cams.project(torch.cat([rays, torch.ones_like(rays[..., :1])], -1))
    assert (again - pixels).abs().max() < 1e-3
