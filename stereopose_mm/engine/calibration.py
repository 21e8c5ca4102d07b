# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Makes the uncertainties that a lifter tells hold: 68 % of errors within one, 95 % within 1.96."""

from __future__ import annotations

import torch
from mmengine.config import Config
from mmpose.registry import DATASETS
from torch import Tensor, nn

_BATCH = 4096
# Shares of a normal distribution within 1 and 1.96 standard deviations.
COVERAGE = ((1.0, 0.6827), (1.96, 0.95))


def calibrate_uncertainty(lifter: nn.Module, config: Config, num_pairs: int = 65536, seed: int = 0) -> float:
    """Fit the factor of a lifter's uncertainties, and set it.

    Pairs made on the fly are new ones. Of a set of recorded pairs they are those that the lifter has learnt from, whose
    errors are smaller than others'.

    Args:
        lifter: MMPose's ``PoseLifter`` with a :class:`~stereopose_mm.models.StereoLifter` that has uncertainties.
        config: Its config: pairs are of ``calibration_dataset``, or of the training set where there is none. The set
            takes ``codec``.
        num_pairs: How many pairs.
        seed: Seed of the draw.

    Returns:
        The factor.

    Raises:
        ValueError: If the set has no codec.
    """
    dataset = DATASETS.build(config.get('calibration_dataset') or config.train_dataloader.dataset)
    if getattr(dataset, 'codec', None) is None:
        raise ValueError('the set to calibrate uncertainties with takes codec: give the config a calibration_dataset')
    generator = torch.Generator().manual_seed(seed)
    lifter.eval()
    lifter.head.uncertainty_scale.fill_(1.0)
    ratios = []
    for _ in range(-(-num_pairs // _BATCH)):
        indices = torch.randint(len(dataset), (_BATCH,), generator=generator).tolist()
        packed = dataset.__getitems__(indices)[0]
        labels = packed['data_samples'][0].gt_instance_labels
        with torch.no_grad():
            pose, deviation = lifter.head.forward_uncertain(lifter.backbone(packed['inputs'].cpu()))
        known = labels.lifting_target_weight.cpu() > 0
        ratios.append(error_ratios(pose[..., 2], labels.lifting_target_label[..., 2].cpu(), deviation)[known[:, 1:]])
    scale = _fit_scale(torch.cat(ratios))
    lifter.head.uncertainty_scale.fill_(scale)
    return scale


def error_ratios(depth: Tensor, target: Tensor, deviation: Tensor, root_index: int = 0) -> Tensor:
    """Depth errors relative to the root, in standard deviations.

    Args:
        depth: ``(N, J)`` metres.
        target: ``(N, J)`` metres.
        deviation: ``(N, J)`` metres.
        root_index: Index of the root, which has no error and is left out.

    Returns:
        ``(N, J - 1)``, not negative.
    """
    joints = [j for j in range(depth.shape[1]) if j != root_index]
    error = depth - target
    return ((error - error[:, root_index, None]).abs() / deviation)[:, joints]


def _fit_scale(ratios: Tensor) -> float:
    """Factor at which the squares of the two deviations from :data:`COVERAGE` have the least sum."""
    ordered = ratios.sort().values
    candidates = torch.logspace(-1, 1, 1001, dtype=ordered.dtype)
    off = [
        (torch.searchsorted(ordered, candidates * width).double() / len(ordered) - share).square()
        for width, share in COVERAGE
    ]
    return float(candidates[sum(off).argmin()])
