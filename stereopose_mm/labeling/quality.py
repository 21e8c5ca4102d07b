# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""How good a label probably is, told without the truth, and which labels are not worth keeping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor, nn

from ..apis.lifting import LiftResult
from ..geometry import Camera
from .agreement import disagreement
from .joint_limits import joint_excess
from .refine import BONE_KINDS, KINDS, BodyPrior, RefinedLabels, bone_lengths, bone_misfit

#: What quality is told from, each greater where labels are worse. :func:`label_parts` explains them.
PARTS = (
    'residual', 'unused', 'doubt', 'uncertainty', 'disagreement', 'bone_misfit', 'joint_excess', 'depth_margin',
)  # fmt: skip
#: What only the gate looks at.
LIMITED = ('reprojection_error', 'root_depth', 'num_used', 'shortest_bone', 'longest_bone', 'body_size')
#: Passes of the lifter with shaken input.
NUM_PASSES = 2
_MIN_SCORE = 0.1
# Metres that keypoints are off where the search left no residual.
_LEAST_RESIDUAL = 0.02


@dataclass(frozen=True, eq=False)
class QualityModel:
    r"""From parts to quality: a monotone additive model of the logarithm of the error.

    .. math:: \log e = b + \sum_j f_j(x_j), \quad q = \Phi\left(\frac{\log t - \log e}{\sigma}\right)

    with :math:`f_j` piecewise linear and never falling: the error that parts :math:`x_j` let expect, and the
    probability that a label's error is below t.

    Attributes:
        knots: By part, the values where :math:`f_j` bends, rising.
        effects: By part, :math:`f_j` there, from 0, never falling.
        intercept: b, of millimetres.
        deviation: σ, of the logarithm of errors about the expected.
        tolerance_mm: t.
        min_quality: Below it are the worst fifth of the labels that it was fitted to.
    """

    knots: Mapping[str, np.ndarray]
    effects: Mapping[str, np.ndarray]
    intercept: float
    deviation: float
    tolerance_mm: float
    min_quality: float

    def __post_init__(self) -> None:
        for name in PARTS:
            knots, effects = (np.asarray(table.get(name, ()), np.float64) for table in (self.knots, self.effects))
            if knots.ndim != 1 or not len(knots) or knots.shape != effects.shape:
                raise ValueError(f'{name}: takes as many effects as knots, got {effects.shape} and {knots.shape}')
            if not (np.diff(knots) > 0).all() or not (np.diff(effects) >= 0).all():
                raise ValueError(f'{name}: takes rising knots and effects that never fall')
        if not (self.deviation > 0 and self.tolerance_mm > 0):
            raise ValueError(f'takes positive deviation and tolerance_mm, got {self.deviation}, {self.tolerance_mm}')

    def expected_error(self, parts: Mapping[str, np.ndarray]) -> np.ndarray:
        """``(N,)`` mm, median mean joint error (MPJPE, relative to the root) of labels like these."""
        return np.exp(self.intercept + sum(np.interp(parts[n], self.knots[n], self.effects[n]) for n in PARTS))

    def quality(self, expected_error: np.ndarray) -> np.ndarray:
        """``(N,)`` in [0, 1]: the probability of an error below the tolerance; 0 where the error is NaN."""
        with np.errstate(invalid='ignore'):
            q = ndtr((math.log(self.tolerance_mm) - np.log(expected_error)) / self.deviation)
        return np.nan_to_num(q, nan=0.0)


@dataclass(frozen=True)
class GateThresholds:
    """What a label needs to be kept.

    Attributes:
        min_quality: ``None``: the model's, which keeps four fifths of the labels that it was fitted to.
        max_reprojection_error: Pixels, mean over the used keypoints.
        root_depth: Least and greatest, metres.
        min_keypoints: On their rays.
        bone_ratio: Least and greatest length of a bone, as a share of the mean of its kind.
        body_ratio: The same of the whole body: the geometric mean over its bones. A child of one year has 0.45.
        max_joint_excess: Radians beyond the limits of joints, all together.
        max_side_doubt: Probability that left and right of the legs, the arms or all are confused.
    """

    min_quality: float | None = None
    max_reprojection_error: float = 1.0
    root_depth: tuple[float, float] = (0.3, 150.0)
    min_keypoints: int = 4
    bone_ratio: tuple[float, float] = (0.25, 2.5)
    body_ratio: tuple[float, float] = (0.4, 1.6)
    max_joint_excess: float = math.radians(60)
    max_side_doubt: float = 0.5

    def __post_init__(self) -> None:
        if self.min_quality is not None and not (is_number(self.min_quality) and 0 <= self.min_quality <= 1):
            raise ValueError(f'thresholds.min_quality takes 0 … 1 or None, got {self.min_quality!r}')
        for name in ('root_depth', 'bone_ratio', 'body_ratio'):
            value = getattr(self, name)
            pair = isinstance(value, tuple) and len(value) == 2 and all(map(is_number, value))
            if not pair or not 0 <= value[0] < value[1]:
                raise ValueError(f'thresholds.{name} takes 0 <= least < greatest, got {value!r}')
        for name in ('min_keypoints', 'max_reprojection_error', 'max_joint_excess', 'max_side_doubt'):
            value = getattr(self, name)
            if not is_number(value) or not value >= 0:
                raise ValueError(f'thresholds.{name} takes a number of at least 0, got {value!r}')


def is_number(value: object) -> bool:
    """Whether a setting is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def label_parts(
    lifter: nn.Module,
    keypoints: np.ndarray,
    scores: np.ndarray,
    camera: Camera,
    lifted: LiftResult,
    refined: RefinedLabels,
    record_keys: np.ndarray,
    body: BodyPrior,
    num_passes: int = NUM_PASSES,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """What tells of a label's quality.

    Args:
        lifter: What lifted them.
        keypoints: ``(N, 17, 2)`` pixels, as they were lifted.
        scores: ``(N, 17)``.
        camera: One camera, or N.
        lifted: What came of it, numpy.
        refined: What :func:`~stereopose_mm.labeling.refine.refine_labels` made of that.
        record_keys: ``(N,)`` uint64, a hash of each record's name: its noise depends on nothing else.
        body: Bodies and errors.
        num_passes: How often the input is shaken.
        seed: Of the noise.

    Returns:
        ``(N,)`` float64 each, NaN where a pose could not be lifted:

        - ``residual``: metres, how far back-projection moved the network's keypoints sideways.
        - ``unused``: share of the keypoints that are not on their rays.
        - ``doubt``: 1 less the mean score of all keypoints, 0 for those not used.
        - ``uncertainty``: metres, root mean square of the lifter's own for the joints' depths.
        - ``disagreement``: metres, spread of the answers to shaken input.
        - ``bone_misfit``: implausibility of the body's lengths before refinement, 1 for true ones.
        - ``joint_excess``: radians beyond the limits of joints.
        - ``depth_margin``: relative standard deviation of the root's depth: of the weighted squares that the search
          has its minimum of, by their second derivative. Great where keypoints are close together or miss much.
        - ``reprojection_error``: pixels; ``root_depth``: metres; ``num_used``: keypoints on their rays.
        - ``shortest_bone``, ``longest_bone``, ``body_size``: as shares of the mean lengths, after refinement.
    """
    used = np.asarray(lifted.used)
    trust = np.where(used, scores, 0.0).astype(np.float64)
    valid = np.asarray(lifted.valid) & np.isfinite(refined.keypoints_cam).all((1, 2))
    seen = np.where(np.asarray(scores) >= _MIN_SCORE, scores, 0.0).astype(np.float32)
    pixels = torch.from_numpy(np.asarray(keypoints, np.float32))
    before, after = (_poses(poses, valid) for poses in (lifted.keypoints_cam, refined.keypoints_cam))
    ratio = bone_lengths(after) / torch.from_numpy(np.exp(body.log_mean))[[KINDS.index(kind) for kind in BONE_KINDS]]
    margin = _depth_margin(pixels, camera, torch.from_numpy(trust), lifted)
    parts = dict(
        residual=lifted.search_residual,
        unused=1 - used.mean(1),
        doubt=1 - trust.mean(1),
        uncertainty=depth_uncertainty(lifted),
        disagreement=disagreement(lifter, pixels, torch.from_numpy(seen), camera, record_keys, num_passes, seed),
        bone_misfit=bone_misfit(before, torch.ones_like(before[..., 0]), body),
        joint_excess=joint_excess(after),
        depth_margin=margin,
        reprojection_error=lifted.reprojection_error,
        root_depth=after[:, 0, 2],
        num_used=used.sum(1),
        shortest_bone=ratio.amin(1),
        longest_bone=ratio.amax(1),
        body_size=ratio.log().mean(1).exp(),
    )
    return {name: np.where(valid, np.asarray(value, np.float64), np.nan) for name, value in parts.items()}


def depth_uncertainty(lifted: LiftResult) -> np.ndarray:
    """``(N,)`` metres, root mean square of the lifter's own uncertainties of the joints' depths."""
    return np.sqrt(np.square(np.asarray(lifted.uncertainty, np.float64)[:, 1:]).mean(1))


def label_quality(model: QualityModel, parts: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Quality of labels.

    Args:
        model: From :func:`~stereopose_mm.labeling.calibration.load_label_model`.
        parts: From :func:`label_parts`.

    Returns:
        ``(N,)`` in [0, 1], and the parts with ``expected_error``, ``(N,)`` mm, and ``side_doubt``, 0: sides are not
        looked at here, see :func:`~stereopose_mm.labeling.judgement.judge_labels`.
    """
    expected = model.expected_error(parts)
    return model.quality(expected), {**parts, 'expected_error': expected, 'side_doubt': np.zeros(len(expected))}


def gate(
    quality: np.ndarray, parts: Mapping[str, np.ndarray], thresholds: GateThresholds, model: QualityModel
) -> np.ndarray:
    """Why labels are not kept.

    Args:
        quality: ``(N,)``.
        parts: From :func:`label_quality`.
        thresholds: What a label needs.
        model: Its ``min_quality`` counts where the thresholds have none.

    Returns:
        ``(N,)`` text: the first limit that a label is beyond, empty for those that are kept.
    """
    t = thresholds
    least = model.min_quality if t.min_quality is None else t.min_quality

    def outside(name: str, low: float, high: float) -> np.ndarray:
        # NaN is outside of everything.
        return ~((parts[name] >= low) & (parts[name] <= high))

    known = np.isfinite([parts[name] for name in (*PARTS, *LIMITED)]).all(0) & np.isfinite(quality)
    checks = (
        ('not lifted', ~known),
        (f'fewer than {t.min_keypoints} keypoints agree', outside('num_used', t.min_keypoints, math.inf)),
        (f'reprojection error above {t.max_reprojection_error:g} px',
         outside('reprojection_error', -math.inf, t.max_reprojection_error)),
        (f'root depth outside {t.root_depth[0]:g} … {t.root_depth[1]:g} m', outside('root_depth', *t.root_depth)),
        (f'body size outside {t.body_ratio[0]:g} … {t.body_ratio[1]:g} of an adult',
         outside('body_size', *t.body_ratio)),
        (f'a bone outside {t.bone_ratio[0]:g} … {t.bone_ratio[1]:g} of its length',
         outside('shortest_bone', t.bone_ratio[0], math.inf) | outside('longest_bone', 0, t.bone_ratio[1])),
        (f'joints more than {math.degrees(t.max_joint_excess):.0f} degrees beyond their limits',
         outside('joint_excess', -math.inf, t.max_joint_excess)),
        ('left and right probably confused', outside('side_doubt', 0, t.max_side_doubt)),
        (f'quality below {least:.3f}', ~(quality >= least)),
    )  # fmt: skip
    return np.select([mask for _, mask in checks], [reason for reason, _ in checks], default='')


def _poses(poses: np.ndarray, valid: np.ndarray) -> Tensor:
    """Poses of double precision; ones for those that there are none of."""
    return torch.from_numpy(np.where(valid[:, None, None], poses, 1.0).astype(np.float64))


def _depth_margin(pixels: Tensor, camera: Camera, trust: Tensor, lifted: LiftResult) -> Tensor:
    r"""``(N,)`` relative standard deviations of the root's depth.

    Keypoints at :math:`a_i D` sideways from their mean, that miss by r, tell D to :math:`r / \sqrt{\sum a_i^2}`.
    """
    rays = camera.unproject(pixels).double()
    weight = (trust / trust.sum(1, keepdim=True).clamp(min=1e-9))[..., None]
    spread = ((rays - (rays * weight).sum(1, keepdim=True)).square() * weight).sum((1, 2)).sqrt()
    miss = torch.from_numpy(np.asarray(lifted.search_residual, np.float64)) + _LEAST_RESIDUAL
    count = (trust > 0).sum(1).clamp(min=1).sqrt()
    depth = torch.from_numpy(np.asarray(lifted.root_depth, np.float64))
    return miss / (depth * spread * count).clamp(min=1e-9)
