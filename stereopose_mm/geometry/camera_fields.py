# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Reading and checking what a :class:`~stereopose_mm.geometry.camera.Camera` is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .distortion import COEFFICIENT_COUNTS


def as_number_or_batch(name: str, value: Any) -> float | Tensor:
    """A Python number, or a tensor ``(N,)``."""
    if isinstance(value, (int, float)):
        return value
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f'{name}: takes a number or (N,), got {value!r}') from error
    if tensor.ndim > 1:
        raise ValueError(f'{name}: takes a number or (N,), got shape {tuple(tensor.shape)}')
    return tensor if tensor.ndim else tensor.item()


def as_distortion(value: Any) -> Tensor | None:
    """Coefficients as a floating-point tensor ``(D,)`` or ``(N, D)``, or None."""
    if value is None:
        return None
    is_array = isinstance(value, (Tensor, np.ndarray))
    value = torch.as_tensor(value, dtype=None if is_array else torch.float64)
    if value.ndim not in (1, 2) or value.shape[-1] not in COEFFICIENT_COUNTS:
        raise ValueError(
            f'distortion: takes (D,) or (N, D) with D one of {COEFFICIENT_COUNTS}, got {tuple(value.shape)}'
        )
    return value if value.is_floating_point() else value.double()


def as_batch(values: dict, distortion: Tensor | None, n: int) -> tuple[dict, Tensor | None]:
    """All fields as tensors of length n with one floating dtype, on one device."""
    given = [v for v in (*values.values(), distortion) if isinstance(v, Tensor)]
    dtypes = [v.dtype for v in given if v.is_floating_point()] or [torch.get_default_dtype()]
    dtype = dtypes[0]
    for other in dtypes[1:]:
        dtype = torch.promote_types(dtype, other)
    device = given[0].device
    values = {name: torch.as_tensor(v, dtype=dtype, device=device).expand(n) for name, v in values.items()}
    if distortion is not None:
        distortion = distortion.to(device, dtype).expand(n, distortion.shape[-1])
    return values, distortion


def check_values(name: str, value: float | Tensor, positive: bool) -> None:
    """ValueError naming the field, the value and the pose, for the first value out of range."""
    tensor = torch.as_tensor(value)
    good = tensor.isfinite() & (tensor > 0) if positive else tensor.isfinite()
    if good.all():
        return
    takes = 'positive and finite' if positive else 'finite'
    first = tuple((~good).nonzero()[0].tolist())
    where = f' at pose {first[0]}' if first and (name != 'distortion' or tensor.ndim == 2) else ''
    raise ValueError(f'{name}: takes {takes} values, got {tensor[first].item()}{where}')


def check_in_front(points_cam: Tensor) -> None:
    """ValueError naming the first of ``(..., K, 3)`` points that no pixel of a camera shows."""
    bad = ~(points_cam.isfinite().all(-1) & (points_cam[..., 2] > 0))
    if bad.any():
        *pose, joint = bad.nonzero()[0].tolist()
        where = f'pose {pose[0] if len(pose) == 1 else tuple(pose)}, ' if pose else ''
        point = points_cam[(*pose, joint)].tolist()
        raise ValueError(f'points_cam: {where}keypoint {joint} is not in front of the camera: {point}')
