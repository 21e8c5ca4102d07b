# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The networks that label, each with its calibration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ..apis.lift_files import load_lifter
from .calibration import LabelModel, load_label_model
from .config import LabelConfig


@dataclass(frozen=True, eq=False)
class Labeller:
    """What people of one keypoint set are labelled by.

    Attributes:
        lifter: From :func:`~stereopose_mm.apis.init_lifter`.
        model: Bodies and quality that its labels are refined and judged by.
    """

    lifter: nn.Module
    model: LabelModel


def load_labellers(config: LabelConfig, keypoint_sets: Iterable[str]) -> Mapping[str, Labeller]:
    """Load the lifters of some keypoint sets, for one thread: more would change the last bits of labels.

    Raises:
        ValueError: If a file is missing or is none, or a lifter takes other keypoints.
    """
    torch.set_num_threads(1)
    labellers = {}
    for name in sorted(set(keypoint_sets)):
        lifter = load_lifter(*config.lifter_files(name), 'cpu', name)
        takes = lifter.head.decoder.keypoint_set
        if takes != name:
            raise ValueError(f'lifters.{name}: the lifter takes {takes!r} keypoints')
        labellers[name] = Labeller(lifter, load_label_model(name, config.label_model_file))
    return labellers
