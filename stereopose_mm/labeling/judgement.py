# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Which labels are kept: their quality, a look at their sides where it matters, and the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from ..apis.lifting import LiftResult
from ..geometry import Camera
from .calibration import LabelModel
from .quality import GateThresholds, gate, label_quality
from .side_check import side_evidence


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is thought of N labels.

    Attributes:
        quality: ``(N,)`` in [0, 1].
        parts: What quality was told from, ``(N,)`` each, with ``expected_error`` in mm and ``side_doubt``, the
            probability that sides are confused; 0 where there was no need to look.
        reason: ``(N,)`` why a label is not kept; empty where it is.
        sides: ``(N,)`` what is probably confused: legs, arms or all; empty elsewhere.
    """

    quality: np.ndarray
    parts: Mapping[str, np.ndarray]
    reason: np.ndarray
    sides: np.ndarray


def judge_labels(
    lifter: nn.Module,
    model: LabelModel,
    keypoints: np.ndarray,
    scores: np.ndarray,
    camera: Camera,
    lifted: LiftResult,
    parts: Mapping[str, np.ndarray],
    thresholds: GateThresholds,
    min_score: float = 0.1,
) -> Judgement:
    """Judge labels.

    Sides are looked at for those that would be kept, and whose parts are like those of the confused: three more lifts
    of some. Quality falls by the probability that sides are confused.

    Args:
        lifter: What lifted them.
        model: Its calibration.
        keypoints: ``(N, 17, 2)`` pixels, as they were lifted.
        scores: ``(N, 17)``.
        camera: N cameras.
        lifted: What came of them, numpy.
        parts: From :func:`~stereopose_mm.labeling.quality.label_parts`.
        thresholds: What a label needs to be kept.
        min_score: Keypoints that score less count as missing.
    """
    quality, parts = label_quality(model.quality, parts)
    reason = gate(quality, parts, thresholds, model.quality)
    look = np.flatnonzero((reason == '') & model.sides.looks_at(parts))
    sides = np.full(len(quality), '', object)
    if len(look) and thresholds.max_side_doubt < 1:
        evidence = side_evidence(lifter, keypoints[look], scores[look], camera[look], lifted.select(look), min_score)
        parts['side_doubt'][look], likeliest = model.sides.doubt(evidence)
        quality = quality * (1 - parts['side_doubt'])
        sides[look] = np.where(parts['side_doubt'][look] > thresholds.max_side_doubt, likeliest, '')
        reason = gate(quality, parts, thresholds, model.quality)
    return Judgement(quality, parts, reason, sides)
