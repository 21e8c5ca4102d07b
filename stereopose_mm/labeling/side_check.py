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
from .quality import PARTS, depth_uncertainty

# What is added to each part of quality before its logarithm is taken: about the least that is found.
_FLOORS = {
    'residual': 0.005, 'unused': 0.02, 'doubt': 0.05, 'uncertainty': 0.005, 'disagreement': 0.005, 'bone_misfit': 0.1,
    'joint_excess': 0.1, 'depth_margin': 0.001,
}  # fmt: skip
# The parts that are compared with those of the exchanges.
_COMPARED = ('uncertainty', 'residual', 'unused')
# Evidence of an exchange that cannot be lifted.
_NONE = -10.0
# Rounds of the fit, each of which chooses the likeliest exchange of each person anew.
_ROUNDS = 4
# Share of the people found to be confused that the screen lets through.
_SCREENED = 0.9
# Weight of a ridge on the screen's weights, in people.
_RIDGE = 1.0


@dataclass(frozen=True, eq=False)
class SideModel:
    r"""From evidence to the probability that sides are confused.

    .. math:: p = \sigma\left(b + \max_e \sum_j w_j \log\frac{x_j + c_j}{x_{ej} + c_j}\right)

    for parts :math:`x_j` of the person as annotated and :math:`x_{ej}` with exchange e. Only people are looked at whose
    own parts let it be: :math:`\sum_j v_j \log(x_j + c_j) \geq s`.

    Attributes:
        weights: :math:`w_j \geq 0`, by part.
        intercept: b.
        screen: :math:`v_j`, by part.
        screen_above: s.
    """

    weights: Mapping[str, float]
    intercept: float
    screen: Mapping[str, float]
    screen_above: float

    def __post_init__(self) -> None:
        if set(self.weights) != set(_COMPARED) or not all(weight >= 0 for weight in self.weights.values()):
            raise ValueError(f'weights takes {list(_COMPARED)}, none negative, got {dict(self.weights)}')
        if set(self.screen) != set(PARTS):
            raise ValueError(f'screen takes {list(PARTS)}, got {dict(self.screen)}')
        numbers = [self.intercept, *self.screen.values(), self.screen_above]
        if not np.isfinite(numbers).all():
            raise ValueError(f'takes finite numbers, got {numbers}')

    def looks_at(self, parts: Mapping[str, np.ndarray]) -> np.ndarray:
        """``(N,)`` bool, who is worth three more lifts; by parts of quality."""
        return _logs(parts) @ np.array([self.screen[name] for name in PARTS]) >= self.screen_above

    def doubt(self, evidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Judge :func:`side_evidence`.

        Returns:
            ``(N,)`` probabilities, and the ``(N,)`` names of the likeliest exchange: legs, arms or all.
        """
        total = evidence @ np.array([self.weights[name] for name in _COMPARED])
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


def fit_sides(evidence: np.ndarray, confused: np.ndarray, parts: Mapping[str, np.ndarray]) -> SideModel:
    """Logistic regressions: of confusion on the evidence of the likeliest exchange, and of what that finds on parts.

    Args:
        evidence: ``(N, 3, 3)``, :func:`side_evidence`.
        confused: ``(N,)`` bool, the truth.
        parts: Of quality, ``(N,)`` each.

    Raises:
        ValueError: If all are confused, or none, or none that can be found.
    """
    if confused.all() or not confused.any():
        raise ValueError(f'confused: takes people of both kinds, got {confused.sum()} of {len(confused)}')
    weights, intercept = np.ones(len(_COMPARED)), 0.0
    rows = np.arange(len(evidence))
    for _ in range(_ROUNDS):
        chosen = evidence[rows, (evidence @ weights).argmax(1)]
        weights, intercept = _logistic(chosen, confused, least=0.0)
    logs = _logs(parts)
    found = confused & (intercept + (evidence @ weights).max(1) > 0)
    if not found.any():
        raise ValueError(f'evidence: none of the {confused.sum()} confused people can be found by it')
    screen, _ = _logistic(logs, found, ridge=_RIDGE)
    return SideModel(
        dict(zip(_COMPARED, weights.tolist(), strict=True)),
        intercept,
        dict(zip(PARTS, screen.tolist(), strict=True)),
        float(np.quantile(logs[found] @ screen, 1 - _SCREENED)),
    )


def _logistic(
    design: np.ndarray, target: np.ndarray, least: float | None = None, ridge: float = 0.0
) -> tuple[np.ndarray, float]:
    """Weights of at least ``least``, and the intercept, of the most probable logistic model."""
    sign = np.where(target, 1.0, -1.0)
    design = np.concatenate([design, np.ones((len(design), 1))], 1)
    penalty = ridge * (np.arange(design.shape[1]) < design.shape[1] - 1)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (design @ values)
        value = np.logaddexp(0, -margin).sum() + 0.5 * penalty @ values**2
        return float(value) / len(sign), (penalty * values - design.T @ (sign * expit(-margin))) / len(sign)

    bounds = [(least, None)] * (design.shape[1] - 1) + [(None, None)]
    values = minimize(loss, np.zeros(design.shape[1]), jac=True, bounds=bounds, method='L-BFGS-B').x
    return values[:-1], float(values[-1])


def _logs(parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """``(N, 8)``."""
    return np.stack([np.log(np.asarray(parts[name], np.float64) + _FLOORS[name]) for name in PARTS], 1)


def _tells(lifted: LiftResult) -> np.ndarray:
    """``(N, 3)`` logarithms of what is compared, NaN where a pose could not be lifted."""
    values = (depth_uncertainty(lifted), lifted.search_residual, 1 - np.asarray(lifted.used).mean(1))
    tells = [np.log(value + _FLOORS[name]) for name, value in zip(_COMPARED, values, strict=True)]
    return np.where(np.asarray(lifted.valid)[:, None], np.stack(tells, 1), np.nan)
