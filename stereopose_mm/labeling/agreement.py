# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""How far a lifter's answers differ when its input is shaken as much as the input may be wrong."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ..geometry import Camera, body_skeleton, root_relative

# Poses lifted together, times the passes: the widest activation then stays in the cache.
_ROWS = 4096
# Deviation of a keypoint scored 1, and what a score of 0 adds, in sizes of the body.
_EXACT_JITTER, _JITTER_OF_SCORE = 0.01, 0.12
# Share of the keypoints that a pass leaves out.
_DROPPED = 0.06
_LEAST_KEYPOINTS = 4


def record_noise(record_keys: np.ndarray, seed: int, num_passes: int, num_keypoints: int) -> tuple[Tensor, Tensor]:
    """Random numbers that depend on the record alone, not on the batch it is in.

    One 64-bit hash (the finaliser of SplitMix64, Steele et al., OOPSLA 2014) of record, seed, pass and keypoint gives
    two normal numbers by Box and Muller's transform, and a uniform one.

    Args:
        record_keys: ``(N,)`` uint64, a hash of each record's name.
        seed: Non-negative.
        num_passes: M.
        num_keypoints: K.

    Returns:
        ``(N, M, K, 2)`` normal and ``(N, M, K)`` uniform numbers in [0, 1), float32.
    """
    counter = np.arange(num_passes * num_keypoints, dtype=np.uint64)
    start = _mix(np.asarray(record_keys, np.uint64) ^ _mix(np.array([seed], np.uint64)))
    bits = _mix(start[:, None] + counter * np.uint64(0x9E3779B97F4A7C15))
    radius = ((bits & np.uint64(0x3FFFFF)).astype(np.float32) + 0.5) * np.float32(2.0**-22)
    angle = ((bits >> np.uint64(22)) & np.uint64(0x1FFFFF)).astype(np.float32) * np.float32(2 * math.pi * 2.0**-21)
    uniform = (bits >> np.uint64(43)).astype(np.float32) * np.float32(2.0**-21)
    radius = np.sqrt(-2 * np.log(radius))
    normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    shape = (len(record_keys), num_passes, num_keypoints)
    return torch.from_numpy(normal.reshape(*shape, 2)), torch.from_numpy(uniform.reshape(shape))


def _mix(value: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser of uint64 numbers, which wrap round."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def disagreement(
    lifter: nn.Module,
    keypoints: Tensor,
    scores: Tensor,
    camera: Camera,
    record_keys: np.ndarray,
    num_passes: int = 2,
    seed: int = 0,
) -> Tensor:
    """Spread of the poses that a lifter gives when keypoints are shaken and left out at random.

    A keypoint moves by about its expected error: 1 % of the body's size in the picture at a score of 1, 13 % at 0; six
    in a hundred are left out, as in dropout, of which the lifter itself has none. The network alone answers, without
    search; one that looks at the mirrored pose too (``flip_test``) sees that in every second pass.

    Args:
        lifter: From :func:`~stereopose_mm.apis.init_lifter`.
        keypoints: ``(N, 17, 2)`` pixels, of the set that the lifter takes.
        scores: ``(N, 17)``, 0 for those that are missing.
        camera: One camera, or N.
        record_keys: ``(N,)`` uint64, see :func:`record_noise`.
        num_passes: M, 2 or more, each with noise of its own.
        seed: Of the noise.

    Returns:
        ``(N,)`` metres, root mean square deviation of the joints of H36M-17 from their means, relative to the root.

    Raises:
        ValueError: For fewer than two passes, or as many keys as there are not records.
    """
    if num_passes < 2:
        raise ValueError(f'num_passes takes 2 or more, got {num_passes}')
    if len(record_keys) != len(keypoints):
        raise ValueError(f'record_keys: takes {len(keypoints)}, got {len(record_keys)}')
    spreads = []
    with torch.inference_mode():
        for part in torch.arange(len(keypoints)).split(max(1, _ROWS // num_passes)) if len(keypoints) else ():
            cameras = camera if camera.batch_size is None else camera[part.repeat_interleave(num_passes)]
            noise = record_noise(record_keys[part.numpy()], seed, num_passes, keypoints.shape[1])
            shaken, kept = _shake(keypoints[part], scores[part], *noise)
            answers = _answers(lifter, shaken, kept, cameras)
            spreads.append(answers.var(1).sum(-1).mean(-1).sqrt())
    return torch.cat(spreads) if spreads else keypoints.new_zeros(0)


def _shake(keypoints: Tensor, scores: Tensor, normal: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Keypoints ``(n, M, K, 2)`` and scores ``(n, M, K)`` of all passes."""
    seen = (scores > 0).to(keypoints)[..., None]
    count = seen.sum(1, keepdim=True).clamp(min=1)
    centre = (keypoints * seen).sum(1, keepdim=True) / count
    size = (((keypoints - centre) * seen).square().sum((1, 2)) / count[:, 0, 0]).sqrt()
    deviation = (_EXACT_JITTER + _JITTER_OF_SCORE * (1 - scores.clamp(0, 1))) * size[:, None]
    shaken = keypoints[:, None] + normal.to(keypoints) * deviation[:, None, :, None]
    # The keypoints with the greatest numbers stay, whatever is dropped.
    order = torch.where(scores[:, None] > 0, uniform.to(keypoints), -1.0)
    least = order.topk(_LEAST_KEYPOINTS, -1).values[..., -1:]
    return shaken, torch.where((order >= _DROPPED) | (order >= least), scores[:, None], 0.0)


def _answers(lifter: nn.Module, keypoints: Tensor, scores: Tensor, camera: Camera) -> Tensor:
    """``(n, M, 17, 3)`` metres relative to the root, camera frame; of n times M cameras, or one."""
    codec, backbone, head = lifter.head.decoder, lifter.backbone, lifter.head
    encoded = codec.encode_batch(keypoints.flatten(0, 1), scores.flatten(0, 1), camera)
    inputs = encoded['inputs'].float().unflatten(0, scores.shape[:2])
    if backbone.flip_test:
        # As telling as both of each, at half the cost.
        inputs[:, 1::2] = backbone.mirrored(inputs[:, 1::2].flatten(0, 1)).view_as(inputs[:, 1::2])
    poses, _ = head.forward_uncertain((backbone.views(inputs.flatten(0, 1)),))
    if backbone.flip_test:
        poses = poses.unflatten(0, scores.shape[:2])
        flip = list(body_skeleton(poses.shape[2]).flip_indices)
        poses[:, 1::2] = poses[:, 1::2, flip] * poses.new_tensor([-1.0, 1.0, 1.0])
        poses = poses.flatten(0, 1)
    decoded = codec.decode_batch(poses.to(keypoints), encoded['view_rotation'])[:, :17]
    return root_relative(decoded).unflatten(0, scores.shape[:2])
