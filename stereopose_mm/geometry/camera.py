# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The pinhole camera with lens distortion: one camera, or a batch with one camera per pose."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .camera_fields import (
    as_batch,
    as_distortion,
    as_number_or_batch,
    check_in_front,
    check_values,
)
from .distortion import distort, h36m_to_opencv, undistort
from .exif import read_exif_intrinsics

# Horizontal field of view in degrees of a camera of which only the image size is known: between a phone's
# main camera (about 67) and a 50 mm lens on full frame (40).
DEFAULT_FOV_DEG = 55.0

# Serial numbers by which Human3.6M's four cameras are known; `id` in MMPose's cameras.pkl.
_H36M_CAMERA_IDS = ('54138969', '55011271', '58860488', '60457274')
#: A camera's intrinsics but for its lens, in the order in which arrays of them stand.
CAMERA_FIELDS = ('fx', 'fy', 'cx', 'cy', 'width', 'height')
_POSITIVE_FIELDS = ('fx', 'fy', 'width', 'height')


@dataclass(frozen=True, eq=False)
class Camera:
    r"""Intrinsics of one camera, or of N cameras, one per pose.

    Camera frame: x right, y down, z forward, in metres. Pixels: u right, v down,

    .. math:: u = f_x x' + c_x, \quad v = f_y y' + c_y,

    with :math:`(x', y') = (x, y) / z` after distortion. A single camera holds Python numbers and serves any number of
    poses. If any field is a tensor ``(N,)`` (or an array or a list), it is a batch: all fields become tensors
    ``(N,)`` of one dtype and device, and pose i is seen by camera i.

    Args:
        fx: Focal length in pixels, horizontal. Positive; a number or ``(N,)``, as all others.
        fy: Focal length in pixels, vertical. Positive.
        cx: Principal point in pixels, horizontal.
        cy: Principal point in pixels, vertical.
        width: Image width in pixels. Positive.
        height: Image height in pixels. Positive.
        distortion: Coefficients in OpenCV's order, (k1, k2, p1, p2[, k3[, k4, k5, k6[, s1, s2, s3, s4[, τx,
            τy]]]]), ``(D,)`` for all or ``(N, D)``. Default: none, which is also the fastest.

    Raises:
        ValueError: A field is not finite or not positive, has a wrong shape, or batch lengths differ.
    """

    fx: float | Tensor
    fy: float | Tensor
    cx: float | Tensor
    cy: float | Tensor
    width: float | Tensor
    height: float | Tensor
    distortion: Tensor | None = None

    def __post_init__(self) -> None:
        values = {name: as_number_or_batch(name, getattr(self, name)) for name in CAMERA_FIELDS}
        distortion = as_distortion(self.distortion)
        lengths = {name: len(v) for name, v in values.items() if isinstance(v, Tensor)}
        if distortion is not None and distortion.ndim == 2:
            lengths['distortion'] = len(distortion)
        if len(set(lengths.values())) > 1:
            raise ValueError(f'Camera: the batch lengths of its fields differ: {lengths}')
        if lengths:
            n = next(iter(lengths.values()))
            values, distortion = as_batch(values, distortion, n)
        for name, value in values.items():
            check_values(name, value, positive=name in _POSITIVE_FIELDS)
            object.__setattr__(self, name, value)
        if distortion is not None:
            check_values('distortion', distortion, positive=False)
        object.__setattr__(self, 'distortion', distortion)

    # Constructors

    @classmethod
    def from_fov(cls, fov_deg: float | Tensor, width: float | Tensor, height: float | Tensor) -> Camera:
        """Square pixels, principal point at the image centre (width / 2, height / 2).

        Args:
            fov_deg: Horizontal field of view in degrees, between 0 and 180; a number or ``(N,)``.
            width: Image width in pixels; a number or ``(N,)``.
            height: Image height in pixels; a number or ``(N,)``.
        """
        fov = as_number_or_batch('fov_deg', fov_deg)
        width = as_number_or_batch('width', width)
        height = as_number_or_batch('height', height)
        check_values('fov_deg', fov, positive=True)
        if bool((torch.as_tensor(fov) >= 180).any()):
            raise ValueError(f'fov_deg: takes degrees between 0 and 180, got {fov_deg}')
        tan = torch.tan if isinstance(fov, Tensor) else math.tan
        focal = width / 2 / tan(fov * (math.pi / 360))
        return cls(focal, focal, width / 2, height / 2, width, height)

    @classmethod
    def from_matrix(
        cls,
        K: Tensor | np.ndarray | Sequence,
        width: float | Tensor,
        height: float | Tensor,
        distortion: Tensor | None = None,
    ) -> Camera:
        """Camera of an intrinsic matrix [[fx, 0, cx], [0, fy, cy], [0, 0, 1]].

        Args:
            K: ``(3, 3)`` or ``(N, 3, 3)``.
            width: Image width in pixels; a number or ``(N,)``.
            height: Image height in pixels; a number or ``(N,)``.
            distortion: ``(D,)`` or ``(N, D)``, OpenCV's order.

        Raises:
            ValueError: K has another shape, skew, or another last row (as a transposed matrix has).
        """
        K = torch.as_tensor(K)
        if K.ndim not in (2, 3) or K.shape[-2:] != (3, 3):
            raise ValueError(f'K: takes (3, 3) or (N, 3, 3), got {tuple(K.shape)}')
        fixed = K[..., [0, 1, 2, 2, 2], [1, 0, 0, 1, 2]]
        if not torch.equal(fixed, fixed.new_tensor([0, 0, 0, 0, 1]).expand_as(fixed)):
            raise ValueError(f'K: takes [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] (no skew), got {K.tolist()}')
        (fx, fy), (cx, cy) = K[..., [0, 1], [0, 1]].unbind(-1), K[..., :2, 2].unbind(-1)
        return cls(fx, fy, cx, cy, width, height, distortion)

    @classmethod
    def from_mmpose(
        cls,
        camera_param: Mapping[str, Any],
        width: float | None = None,
        height: float | None = None,
        distortion_model: str = 'auto',
    ) -> Camera:
        """Camera of MMPose's ``camera_param`` dict, one camera.

        With only ``w`` and ``h``, the horizontal field of view is taken to be :data:`DEFAULT_FOV_DEG`, and a
        warning says so, once per process.

        Args:
            camera_param: ``K`` ``(2, 3)`` or ``(3, 3)``, or ``f`` and ``c`` ``(2,)`` or ``(2, 1)``, in pixels;
                image size ``w`` and ``h``; optional distortion ``k`` (up to k1…k6) and ``p`` (p1, p2). Other
                keys are ignored.
            width: Image width in pixels instead of ``w``, and ``height`` instead of ``h``, for files that lack
                them or have them wrong (the MPI-INF-3DHP files that MMPose's converter writes say h = 204 of
                images that are 2048 high).
            height: See ``width``.
            distortion_model: What ``k`` and ``p`` mean. ``'opencv'`` as OpenCV and MMPose 0.x's
                ``SimpleCamera`` have it; ``'h36m'`` as Human3.6M's 2D annotations were made, see
                :func:`~stereopose_mm.geometry.distortion.h36m_to_opencv`; ``'auto'`` is ``'h36m'`` if the dict's
                ``id`` is the serial number of one of Human3.6M's cameras.

        Raises:
            ValueError: An entry is missing, of a wrong size, or out of range.
        """
        width = camera_param.get('w') if width is None else width
        height = camera_param.get('h') if height is None else height
        if width is None or height is None:
            raise ValueError(f'camera_param: takes the image size as w and h, has only {sorted(camera_param)}')
        if 'K' in camera_param:
            matrix = np.asarray(camera_param['K'], dtype=np.float64)
            if matrix.shape == (2, 3):
                matrix = np.vstack([matrix, [0.0, 0.0, 1.0]])
            camera = cls.from_matrix(matrix, width, height)
        elif 'f' in camera_param and 'c' in camera_param:
            camera = cls(
                *_mmpose_vector(camera_param, 'f', (2,)),
                *_mmpose_vector(camera_param, 'c', (2,)),
                width,
                height,
            )
        elif 'f' in camera_param or 'c' in camera_param:
            raise ValueError(f'camera_param: takes f and c together, has {sorted(camera_param)}')
        else:
            _warn_default_fov()
            camera = cls.from_fov(DEFAULT_FOV_DEG, width, height)
        return replace(camera, distortion=_mmpose_distortion(camera_param, distortion_model))

    @classmethod
    def from_exif(cls, path: str | PathLike) -> Camera:
        """Camera of a photograph, from its EXIF data; principal point at the image centre.

        See :func:`~stereopose_mm.geometry.exif.read_exif_intrinsics` for the tags used. Width and height are those
        of the image displayed the right way up.

        Args:
            path: Image file, not cropped since it was taken.

        Raises:
            ValueError: The file is no readable image or tells no focal length. Names the file.
        """
        fx, fy, width, height = read_exif_intrinsics(path)
        return cls(fx, fy, width / 2, height / 2, width, height)

    @classmethod
    def stack(cls, cameras: Sequence[Camera]) -> Camera:
        """One batch of several cameras, in their order; single cameras and batches.

        Distortion is padded with zeros where the cameras have different numbers of coefficients.
        """
        cameras = list(cameras)
        if not cameras:
            raise ValueError('cameras: takes at least one Camera, got none')
        batches = [c.expand(1) if c.batch_size is None else c for c in cameras]
        values = [torch.cat([getattr(b, name) for b in batches]) for name in CAMERA_FIELDS]
        count = max((b.distortion.shape[-1] for b in batches if b.distortion is not None), default=0)
        if not count:
            return cls(*values)
        padded = []
        for batch in batches:
            rows = batch.fx.new_zeros(len(batch.fx), count)
            if batch.distortion is not None:
                rows[:, : batch.distortion.shape[-1]] = batch.distortion
            padded.append(rows)
        return cls(*values, torch.cat(padded))

    # Batches

    @property
    def batch_size(self) -> int | None:
        """Number of cameras N, or None for a single camera, which pairs with any number of poses."""
        return len(self.fx) if isinstance(self.fx, Tensor) else None

    @property
    def matrix(self) -> Tensor:
        """Intrinsic matrix K, ``(3, 3)`` (float64) or ``(N, 3, 3)``."""
        fx, fy, cx, cy = (
            torch.as_tensor(v, dtype=None if isinstance(v, Tensor) else torch.float64)
            for v in (self.fx, self.fy, self.cx, self.cy)
        )
        zero, one = torch.zeros_like(fx), torch.ones_like(fx)
        return torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one], -1).unflatten(-1, (3, 3))

    @property
    def fov_deg(self) -> float | Tensor:
        """Horizontal field of view in degrees of the ideal pinhole, a number or ``(N,)``."""
        half = self.width / (2 * self.fx)
        if isinstance(half, Tensor):
            return torch.rad2deg(2 * torch.atan(half))
        return math.degrees(2 * math.atan(half))

    def expand(self, n: int) -> Camera:
        """This camera n times, as a batch (float64 if the camera is single)."""
        if self.batch_size == n:
            return self
        if self.batch_size not in (None, 1):
            raise ValueError(f'n: a batch of {self.batch_size} cameras cannot be expanded to {n}')
        values = [
            torch.as_tensor(v, dtype=None if isinstance(v, Tensor) else torch.float64).expand(n)
            for v in (getattr(self, name) for name in CAMERA_FIELDS)
        ]
        d = self.distortion
        return Camera(*values, None if d is None else d.expand(n, d.shape[-1]))

    def __getitem__(self, index: int | slice | Tensor | np.ndarray | Sequence[int]) -> Camera:
        """Cameras of some poses: an integer gives a single camera, all else (slice, mask, indices) a batch."""
        if self.batch_size is None:
            raise ValueError('a single camera has no index: it serves every pose; see batch_size')
        index = torch.as_tensor(index) if isinstance(index, (np.ndarray, list, tuple)) else index
        # Of values that were checked when the batch was made: to check them again takes ten times as long.
        part = object.__new__(Camera)
        for field, value in zip(fields(self), self._values(), strict=True):
            chosen = None if value is None else value[index]
            is_number = field.name in CAMERA_FIELDS and not chosen.ndim
            object.__setattr__(part, field.name, chosen.item() if is_number else chosen)
        return part

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Camera:
        """The camera with its tensors moved or converted; the numbers of a single camera have neither."""
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f'dtype: takes a floating-point dtype, got {dtype}')
        values = self._values()
        return Camera(*(v.to(device=device, dtype=dtype) if isinstance(v, Tensor) else v for v in values))

    # Projection

    def project(self, points_cam: Tensor, check: bool = False) -> Tensor:
        """Pixels where points appear.

        Args:
            points_cam: ``(N, K, 3)`` metres, camera frame; ``(..., K, 3)`` with a single camera.
            check: Raise for points that have no pixel instead of returning NaN.

        Returns:
            ``(N, K, 2)`` pixels. A point that is not in front of the camera (z ≤ 0) gives NaN.

        Raises:
            ValueError: Wrong shape, another number of poses than cameras, or, with ``check``, a point that is
                not finite or not in front of the camera.
        """
        focal, centre = self._paired(points_cam, 'points_cam', 3)
        z = points_cam[..., 2:]
        if check:
            check_in_front(points_cam)
        rays = points_cam[..., :2] / z.where(z > 0, torch.nan)
        if self.distortion is not None:
            rays = self._through_lens(distort, rays)
        return torch.addcmul(centre, rays, focal)

    def unproject(self, keypoints: Tensor) -> Tensor:
        """Rays through pixels: K⁻¹ (u, v, 1) with the distortion taken out.

        Args:
            keypoints: ``(N, K, 2)`` pixels; ``(..., K, 2)`` with a single camera.

        Returns:
            ``(N, K, 2)`` rays at z = 1 (x, y in metres per metre of depth). NaN for pixels that no ray
            reaches, where a strong lens model folds over; see
            :func:`~stereopose_mm.geometry.distortion.undistort`.

        Raises:
            ValueError: Wrong shape, or another number of poses than cameras.
        """
        focal, centre = self._paired(keypoints, 'keypoints', 2)
        rays = (keypoints - centre) / focal
        return rays if self.distortion is None else self._through_lens(undistort, rays)

    def undistort(self, keypoints: Tensor) -> Tensor:
        """Pixels of the same points in the ideal pinhole camera, without distortion.

        Args:
            keypoints: ``(N, K, 2)`` pixels; ``(..., K, 2)`` with a single camera.

        Returns:
            ``(N, K, 2)`` pixels; ``keypoints`` itself if the camera has no distortion.
        """
        focal, centre = self._paired(keypoints, 'keypoints', 2)
        if self.distortion is None:
            return keypoints
        return torch.addcmul(centre, self.unproject(keypoints), focal)

    def _values(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]

    def _paired(self, points: Tensor, name: str, dims: int) -> tuple[Tensor, Tensor]:
        """Check ``points``; focal length and principal point in a shape that broadcasts with pixels of it."""
        n = self.batch_size
        if not isinstance(points, Tensor) or not points.is_floating_point():
            got = points.dtype if isinstance(points, Tensor) else type(points).__name__
            raise ValueError(f'{name}: takes a floating-point tensor, got {got}')
        if points.ndim < (2 if n is None else 3) or points.shape[-1] != dims:
            takes = f'(..., K, {dims})' if n is None else f'({n}, K, {dims}) with {n} cameras'
            raise ValueError(f'{name}: takes {takes}, got {tuple(points.shape)}')
        if n is None:
            return points.new_tensor([self.fx, self.fy]), points.new_tensor([self.cx, self.cy])
        if len(points) != n:
            raise ValueError(f'{name}: {len(points)} poses, but the batch has {n} cameras')
        shape = (n, *[1] * (points.ndim - 2), 2)
        pairs = ((self.fx, self.fy), (self.cx, self.cy))
        focal, centre = (torch.stack(pair, -1).to(points).view(shape) for pair in pairs)
        return focal, centre

    def _through_lens(self, function: Any, rays: Tensor) -> Tensor:
        flat = rays.reshape(-1, 2) if self.batch_size is None else rays.flatten(1, -2)
        return function(flat, self.distortion.to(rays)).view(rays.shape)


def _mmpose_vector(camera_param: Mapping, key: str, sizes: tuple[int, ...]) -> list[float]:
    vector = np.asarray(camera_param[key], dtype=np.float64).ravel()
    if vector.size not in sizes:
        takes = ' or '.join(map(str, sizes))
        raise ValueError(f'camera_param[{key!r}]: takes {takes} values, got {vector.size}')
    return vector.tolist()


def _mmpose_distortion(camera_param: Mapping, model: str) -> Tensor | None:
    if model not in ('auto', 'opencv', 'h36m'):
        raise ValueError(f"distortion_model: takes 'auto', 'opencv' or 'h36m', got {model!r}")
    has_k, has_p = (camera_param.get(key) is not None for key in 'kp')
    k = _mmpose_vector(camera_param, 'k', (1, 2, 3, 6)) if has_k else []
    p = _mmpose_vector(camera_param, 'p', (2,)) if has_p else [0.0, 0.0]
    if not any(k + p):
        return None
    is_h36m = str(camera_param.get('id')) in _H36M_CAMERA_IDS if model == 'auto' else model == 'h36m'
    if is_h36m:
        coefficients = h36m_to_opencv(k, p)
    else:
        k += [0.0] * (3 - len(k))
        coefficients = [*k[:2], *p, *k[2:]]
    return torch.tensor(coefficients, dtype=torch.float64)


@cache
def _warn_default_fov() -> None:
    """Warn; cached, so once per process."""
    warnings.warn(
        f'camera_param has no intrinsics (K, or f and c): taking a horizontal field of view of '
        f'{DEFAULT_FOV_DEG:g} degrees. Depth scales with the focal length: give the real camera if you can.',
        stacklevel=3,
    )
