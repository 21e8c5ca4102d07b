# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Left and right confused: whether a person is better explained with sides exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from torch import nn

from ..apis.lifting import LiftResult, lift_keypoints
from ..datasets.detector_noise import SWAPPED, swapped_indices
from ..geometry import Camera
from .quality import depth_uncertainty

# What tells of it, and what is added to each before its logarithm is taken: about the least that is found.
_FLOORS = {'uncertainty': 0.005, 'residual': 0.005, 'unused': 0.02}
# Evidence of an exchange that cannot be lifted.
_NONE = -10.0
# Rounds of the fit, each of which chooses the likeliest exchange of each person anew.
_ROUNDS = 4
# Share of the confused people that are to be among those checked.
_CHECKED = 0.95


@dataclass(frozen=True, eq=False)
class SideModel:
    r"""From evidence to the probability that sides are confused.

    .. math:: p = \sigma\left(b + \max_e \sum_j w_j \log\frac{x_j + c_j}{x_{ej} + c_j}\right)

    for parts :math:`x_j` of the person as annotated and :math:`x_{ej}` with exchange e.

    Attributes:
        weights: :math:`w_j >= 0`, by part.
        intercept: b.
        checked_below: Labels of a higher quality need no check: hardly any of the confused have it.
    """

    weights: Mapping[str, float]
    intercept: float
    checked_below: float

    def __post_init__(self) -> None:
        if set(self.weights) != set(_FLOORS) or not all(weight >= 0 for weight in self.weights.values()):
            raise ValueError(f'weights takes {list(_FLOORS)}, none negative, got {dict(self.weights)}')
        if not (np.isfinite(self.intercept) and 0 <= self.checked_below <= 1):
            raise ValueError(
                f'takes a finite intercept and checked_below in 0 … 1, got {self.intercept}, {self.checked_below}'
            )

    def doubt(self, evidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Judge :func:`side_evidence`.

        Returns:
            ``(N,)`` probabilities, and the ``(N,)`` names of the likeliest exchange: legs, arms or all.
        """
        total = evidence @ np.array([self.weights[name] for name in _FLOORS])
        return expit(self.intercept + total.max(1)), np.array(SWAPPED, object)[total.argmax(1)]


def side_evidence(
    lifter: nn.Module,
    keypoints: np.ndarray,
    scores: np.ndarray,
    camera: Camera,
    lifted: LiftResult,
    min_score: float = 0.1,
) -> np.ndarray:
    """How much better people are explained when left and right of the legs, the arms, or all are exchanged.

    Each exchange is lifted and searched as the person itself was. A wrong side makes the network less certain of its
    depths, moves joints further to their rays and leaves more of the keypoints off them.

    Args:
        lifter: What lifted them.
        keypoints: ``(N, 17, 2)`` pixels, of the set that the lifter takes.
        scores: ``(N, 17)``.
        camera: One camera, or N.
        lifted: What came of them, numpy.
        min_score: Keypoints that score less count as missing.

    Returns:
        ``(N, 3, 3)`` logarithms of the ratio of what is found as annotated and with each exchange: positive where the
        exchange is better. The last axis has uncertainty, residual, and keypoints not used.
    """
    keypoint_set = lifter.head.decoder.keypoint_set
    exchanged = [
        _tells(lift_keypoints(lifter, keypoints[:, swap], scores[:, swap], keypoint_set, camera, min_score))
        for swap in swapped_indices(keypoint_set).numpy()
    ]
    return np.nan_to_num(_tells(lifted)[:, None] - np.stack(exchanged, 1), nan=_NONE)


def fit_sides(evidence: np.ndarray, confused: np.ndarray, quality: np.ndarray) -> SideModel:
    """Logistic regression of confusion on the evidence of the likeliest exchange.

    Args:
        evidence: ``(N, 3, 3)``, :func:`side_evidence`.
        confused: ``(N,)`` bool, the truth.
        quality: ``(N,)`` of the labels, sides not looked at.

    Raises:
        ValueError: If all are confused, or none.
    """
    if confused.all() or not confused.any():
        raise ValueError(f'confused: takes people of both kinds, got {confused.sum()} of {len(confused)}')
    weights = np.ones(len(_FLOORS))
    intercept = 0.0
    sign = np.where(confused, 1.0, -1.0)
    rows = np.arange(len(evidence))
    for _ in range(_ROUNDS):
        chosen = evidence[rows, (evidence @ weights).argmax(1)]
        design = np.concatenate([chosen, np.ones((len(chosen), 1))], 1)

        def loss(values: np.ndarray, design: np.ndarray = design) -> tuple[float, np.ndarray]:
            margin = sign * (design @ values)
            return float(np.logaddexp(0, -margin).mean()), -(design.T @ (sign * expit(-margin))) / len(sign)

        bounds = [(0.0, None)] * len(weights) + [(None, None)]
        *weights, intercept = minimize(loss, [*weights, intercept], jac=True, bounds=bounds, method='L-BFGS-B').x
    told = dict(zip(_FLOORS, (float(weight) for weight in weights), strict=True))
    return SideModel(told, float(intercept), float(np.quantile(quality[confused], _CHECKED)))


def _tells(lifted: LiftResult) -> np.ndarray:
    """``(N, 3)`` logarithms of what tells of wrong sides, NaN where a pose could not be lifted."""
    values = (depth_uncertainty(lifted), lifted.search_residual, 1 - np.asarray(lifted.used).mean(1))
    tells = np.stack([np.log(value + floor) for value, floor in zip(values, _FLOORS.values(), strict=True)], 1)
    return np.where(np.asarray(lifted.valid)[:, None], tells, np.nan)
