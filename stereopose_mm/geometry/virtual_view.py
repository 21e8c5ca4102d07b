# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The root-centred virtual view: a camera turned so that the root lies on its optical axis.

Turning a camera about its own centre changes neither rays nor depths along them, so the same pose seen
anywhere in the image becomes the same picture in the virtual view: perspective is undone exactly, not
approximated by a crop.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Spread at z = 1 below which there is no picture to normalise: a few thousandths of a pixel.
MIN_SCALE = 1e-6


class VirtualView(NamedTuple):
    """How a virtual view was made, and what undoes it.

    Attributes:
        rotation: ``(N, 3, 3)``, camera frame to virtual-view frame.
        scale: ``(N,)``, root-mean-square distance of the used keypoints from the root at z = 1.
    """

    rotation: Tensor
    scale: Tensor


def root_centring_rotation(root_ray: Tensor) -> Tensor:
    r"""Smallest rotation that takes the root's ray to the optical axis.

    With the unit ray :math:`u = (x, y, z)` this is Rodrigues' formula about
    :math:`u \times e_z`, written out.

    Args:
        root_ray: ``(N, 2)`` ray at z = 1.

    Returns:
        ``(N, 3, 3)`` rotations R with ``R @ (x, y, 1)`` on the positive z axis.
    """
    ray = torch.cat([root_ray, torch.ones_like(root_ray[..., :1])], -1)
    x, y, z = (ray / ray.norm(dim=-1, keepdim=True)).unbind(-1)
    h = 1 / (1 + z)
    rows = [1 - x * x * h, -x * y * h, -x, -x * y * h, 1 - y * y * h, -y, x, y, z]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def rotate_rays(rays: Tensor, rotation: Tensor) -> Tensor:
    """Rays of the same points seen by the turned camera.

    Args:
        rays: ``(N, K, 2)`` rays at z = 1.
        rotation: ``(N, 3, 3)``.

    Returns:
        ``(N, K, 2)`` rays at z = 1 of the turned camera.
    """
    # R @ (x, y, 1) without building the homogeneous rays.
    turned = rays @ rotation[:, :, :2].mT + rotation[:, None, :, 2]
    return turned[..., :2] / turned[..., 2:]


def to_virtual_view(
    rays: Tensor, visible: Tensor | None = None, root_index: int = 0, centre: Tensor | None = None
) -> tuple[Tensor, VirtualView]:
    """Rays in the root-centred virtual view, divided by their spread about the root.

    Args:
        rays: ``(N, K, 2)`` rays at z = 1 in the camera frame.
        visible: ``(N, K)`` weights; keypoints of weight 0 do not count towards the scale. Default: all count.
        root_index: Keypoint that the view is centred on.
        centre: ``(N, 2)`` rays at z = 1 to centre the view on instead, where no keypoint is the root.

    Returns:
        ``(N, K, 2)`` normalised keypoints (root at 0, root-mean-square distance 1), and the
        :class:`VirtualView` that :func:`from_virtual_view` undoes them with. A pose whose counted keypoints
        all coincide with the root has a scale below :data:`MIN_SCALE` and normalised keypoints 0.
    """
    rotation = root_centring_rotation(rays[:, root_index] if centre is None else centre)
    centred = rotate_rays(rays, rotation)
    square = centred.square().sum(-1)
    if visible is None:
        scale = square.mean(-1).sqrt()
    else:
        used = visible > 0
        scale = (torch.where(used, square, 0.0).sum(-1) / used.sum(-1).clamp(min=1)).sqrt()
    # Keypoints that do not count may lie anywhere, also where those that do give no scale.
    inverse = torch.where(scale > MIN_SCALE, 1 / scale, 0.0)
    return centred * inverse[:, None, None], VirtualView(rotation, scale)


def from_virtual_view(normalised: Tensor, view: VirtualView) -> Tensor:
    """Exact inverse of :func:`to_virtual_view`.

    Args:
        normalised: ``(N, K, 2)``.
        view: What :func:`to_virtual_view` returned.

    Returns:
        ``(N, K, 2)`` rays at z = 1 in the camera frame.
    """
    return rotate_rays(normalised * view.scale[:, None, None], view.rotation.mT)


def rotate_points(points: Tensor, rotation: Tensor) -> Tensor:
    """Turn points or root-relative vectors into another frame.

    Args:
        points: ``(N, K, 3)``.
        rotation: ``(N, 3, 3)``; pass ``view.rotation`` to go to the virtual view, its ``.mT`` to come back.

    Returns:
        ``(N, K, 3)``, in the input's unit.
    """
    return points @ rotation.mT


def right_view(points_cam: Tensor, baseline: Tensor | float) -> Tensor:
    """Rays at which a camera shifted to the right by the baseline sees the same points.

    The construction of Wang et al. (ICCVW 2019): camera-space joints moved in x, y and z kept, projected again.
    A camera that moves right by ``b`` sees its world move left by ``b``.

    Args:
        points_cam: ``(N, K, 3)`` metres, z > 0.
        baseline: Metres, one number or ``(N,)``; negative shifts the camera to the left.

    Returns:
        ``(N, K, 2)`` rays at z = 1 of the shifted camera.
    """
    if isinstance(baseline, Tensor) and baseline.ndim:
        baseline = baseline[:, None]
    z = points_cam[..., 2]
    return torch.stack([(points_cam[..., 0] - baseline) / z, points_cam[..., 1] / z], -1)
