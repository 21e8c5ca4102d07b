# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Whole test sets through a lifter of any kind: MMPose's networks, or ours with search and uncertainties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.registry import MODELS
from torch import Tensor, nn

from ...datasets.pair_synthesis import PairBatch
from ...geometry import H36M_17, back_project, mpjpe, n_mpjpe, p_mpjpe, root_relative, rotate_points, rotate_rays
from ..calibration import error_ratios

# Poses lifted together: the widest activation then stays in the cache.
_CHUNK = 2048
_BODY = H36M_17.num_keypoints
ERRORS = {'MPJPE': mpjpe, 'P-MPJPE': p_mpjpe, 'N-MPJPE': n_mpjpe}


@dataclass(frozen=True)
class Lifted:
    """Poses of N pairs, H36M-17, metres relative to the root, camera frame.

    Attributes:
        target: ``(N, 17, 3)``, the truth.
        pose: ``(N, 17, 3)``, the lifter's answer: after the search where it has one and it finds a depth.
        coarse: ``(N, 17, 3)``, before the search.
        failed: ``(N,)`` bool, whether a search found no depth.
        depth_ratio: ``(N, 16)`` errors of the joints' depths in standard deviations as the lifter tells them, or NaN
            where it tells none; the root, which has none, is left out.
    """

    target: Tensor
    pose: Tensor
    coarse: Tensor
    failed: Tensor
    depth_ratio: Tensor


def load_lifter(config: Config, checkpoint: str | Path) -> nn.Module:
    """Build the model of a config with the weights of a checkpoint, in evaluation mode.

    Args:
        config: Config.
        checkpoint: File of MMEngine's or of :func:`publish`; loaded with ``weights_only=True``.

    Returns:
        MMPose's ``PoseLifter``, whose head has a :class:`StereoPoseLifting` for a decoder.

    Raises:
        ValueError: If the checkpoint cannot be loaded or is of another network; names the file.
    """
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = MODELS.build(config.model)
    try:
        model.load_state_dict(torch.load(checkpoint, map_location='cpu', weights_only=True)['state_dict'])
    except Exception as error:  # torch's unpickler raises whatever a file that is none makes it run into
        raise ValueError(f'{checkpoint}: not a checkpoint of its config: {error}') from error
    return model.eval().to('cuda' if torch.cuda.is_available() else 'cpu')


def lift_pairs(model: nn.Module, pairs: PairBatch) -> Lifted:
    """Lift a test set.

    Args:
        model: From :func:`load_lifter`.
        pairs: N pairs of the keypoint set that the model takes.

    Returns:
        :class:`Lifted`, on the processor. The same poses as ``model.predict`` gives, which takes MMPose's own heads
        one by one.
    """
    device = next(model.parameters()).device
    chunks = []
    with torch.inference_mode():
        for start in range(0, len(pairs.keypoints), _CHUNK):
            chunks.append(_lift_chunk(model, _to(_part(pairs, slice(start, start + _CHUNK)), device)))
    return Lifted(*(torch.cat([getattr(chunk, f.name) for chunk in chunks]).cpu() for f in fields(Lifted)))


def _part(pairs: PairBatch, part: slice) -> PairBatch:
    return PairBatch(pairs.keypoints[part], pairs.keypoints_visible[part], pairs.pose_cam[part], pairs.camera[part])


def _to(pairs: PairBatch, device: torch.device) -> PairBatch:
    arrays = (array.to(device) for array in (pairs.keypoints, pairs.keypoints_visible, pairs.pose_cam))
    return PairBatch(*arrays, pairs.camera.to(device=device))


def _forward(model: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
    """``(N, J, 3)`` in the codec's frame and unit, and the ``(N, J)`` uncertainties of a head that has them."""
    features = model.backbone(inputs[..., None])
    if hasattr(model.head, 'forward_uncertain'):
        return model.head.forward_uncertain(features)
    return model.head.forward(features), None


def _lift_chunk(model: nn.Module, pairs: PairBatch) -> Lifted:
    codec, search = model.head.decoder, getattr(model.head, 'search', None)
    encoded = codec.encode_batch(pairs.keypoints, pairs.keypoints_visible, pairs.camera)
    rotation = encoded['view_rotation']
    pose, deviation = _forward(model, encoded['inputs'])
    relative = codec.decode_batch(pose, rotation)
    coarse = relative[:, :_BODY]
    target = root_relative(pairs.pose_cam[:, :_BODY])
    answer, failed = coarse, torch.zeros(len(coarse), dtype=torch.bool, device=coarse.device)
    if search is not None:
        found = search(relative, encoded['rays'], encoded['search_weight'], encoded['focal'], rotation, deviation)
        failed = ~found.valid
        # As in StereoLifter.predict: where the search fails, the coarse pose stands.
        answer = torch.where(failed[:, None, None], coarse, root_relative(found.keypoints_cam))
    if deviation is None:
        ratio = torch.full_like(target[:, 1:, 0], torch.nan)
    else:
        depth = [rotate_points(p, rotation)[..., 2] for p in (coarse, target)]
        ratio = error_ratios(*depth, deviation[:, :_BODY])
    return Lifted(target, answer, coarse, failed, ratio)


def pose_errors(pose: Tensor, target: Tensor) -> dict[str, Tensor]:
    """MPJPE, P-MPJPE and N-MPJPE of each pose.

    Args:
        pose: ``(N, 17, 3)`` metres, relative to the root.
        target: ``(N, 17, 3)`` metres, relative to the root.

    Returns:
        ``(N,)`` millimetres by the name of the error.
    """
    return {name: 1000 * error(pose, target).double() for name, error in ERRORS.items()}


def oracle_poses(model: nn.Module, pairs: PairBatch) -> dict[str, Tensor]:
    """What a lifter would answer if it were told what a picture does not tell.

    Args:
        model: A lifter of H36M-17 with a search.
        pairs: N pairs.

    Returns:
        ``(N, 17, 3)`` metres relative to the root by what was told: nothing; the body's mean bone length (the coarse
        pose is scaled to it); the root's true depth (joints are put on their rays there instead of at the depth that
        the search finds); and both.
    """
    device = next(model.parameters()).device
    chunks = []
    with torch.inference_mode():
        for start in range(0, len(pairs.keypoints), _CHUNK):
            chunks.append(_oracle_chunk(model, _to(_part(pairs, slice(start, start + _CHUNK)), device)))
    return {name: torch.cat([chunk[name] for chunk in chunks]).cpu() for name in chunks[0]}


def _oracle_chunk(model: nn.Module, pairs: PairBatch) -> Mapping[str, Tensor]:
    codec, search = model.head.decoder, model.head.search
    encoded = codec.encode_batch(pairs.keypoints, pairs.keypoints_visible, pairs.camera)
    rotation = encoded['view_rotation']
    pose, deviation = _forward(model, encoded['inputs'])
    coarse = codec.decode_batch(pose, rotation)
    scaled = coarse * (mean_bone_length(pairs.pose_cam) / mean_bone_length(coarse))[:, None, None]
    rays = rotate_rays(encoded['rays'], rotation)
    depth = rotate_points(pairs.pose_cam[:, :1], rotation)[:, 0, 2]

    def searched(relative: Tensor) -> Tensor:
        found = search(relative, encoded['rays'], encoded['search_weight'], encoded['focal'], rotation, deviation)
        return torch.where(found.valid[:, None, None], root_relative(found.keypoints_cam), relative)

    def placed(relative: Tensor) -> Tensor:
        on_rays = back_project(rays, depth, rotate_points(relative, rotation)[..., 2])
        return root_relative(rotate_points(on_rays, rotation.mT))

    return {
        'nothing': searched(coarse),
        'the mean bone length': searched(scaled),
        "the root's depth": placed(coarse),
        'both': placed(scaled),
    }


def mean_bone_length(pose: Tensor) -> Tensor:
    """``(N,)`` mean length of the bones of H36M-17 in ``(N, 17, 3)`` poses."""
    parents = list(H36M_17.parents[1:])
    return (pose[:, 1:_BODY] - pose[:, parents]).norm(dim=-1).mean(1)
