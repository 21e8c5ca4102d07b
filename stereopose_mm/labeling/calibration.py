# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What refinement and quality are calibrated with: labels of recorded poses, whose errors are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS
from scipy.optimize import nnls
from torch import Tensor, nn

from ..apis.lifting import LiftResult, lift_keypoints
from ..datasets.detector_noise import MEASURED, DetectorNoise
from ..datasets.pair_synthesis import PairBatch
from ..files import whole_file
from ..geometry import Camera, mpjpe, p_mpjpe, root_relative
from .annotation_files.sources import ANNOTATED_SCORES
from .quality import NUM_PASSES, PARTS, GateThresholds, QualityModel, label_parts, label_quality
from .refine import BodyPrior, RefinedLabels, bone_lengths, kind_means, refine_labels
from .side_check import SideModel, fit_sides, side_evidence

#: Where the calibrations of the shipped lifters are.
MODEL_FILE = Path(__file__).resolve().parents[1] / 'assets/labeling/label_models.json'
#: Labels are good up to this mean joint error.
TOLERANCE_MM = 80.0
#: Share of the labels that the gate keeps.
KEPT = 0.8
# Where the effects of parts bend: quantiles of the labels fitted to.
_QUANTILES = (0.01, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999)
# Weight of a ridge on the rise between two knots, in labels.
_RIDGE = 10.0
# The correlations of depth errors are drawn this far to none.
_SHRINKAGE = 0.1
# Variance added to that of bones' log lengths: a population of mocap has few bodies.
_BODY_VARIANCE = 0.01**2
# One annotated keypoint in so many is hidden, and its place a guess.
HIDDEN = 0.2

_ANNOTATORS = DetectorNoise(
    clean_prob=0.0, jitter=0.08, swap_prob=0.0, missing_prob=0.0, gross_prob=0.0, inversion_prob=0.0, scores=False
)


@dataclass(frozen=True)
class Kind:
    """A kind of 2D that labels are made from.

    Attributes:
        share: Of the population.
        explanation: What it is.
        noise: Its errors.
        annotated: Scores are those that stand for annotations.
    """

    share: float
    explanation: str
    noise: DetectorNoise
    annotated: bool = False


#: What an unsorted set is taken to be made of; of all but the first kind half the cameras are wrong.
POPULATION = {
    'exact': Kind(0.25, 'exact keypoints, scored 1', DetectorNoise()),
    'annotated': Kind(
        0.33, "an annotator's: jitter of up to 8 % of the body's size, 5 % unmarked, one in seven cut by the edge",
        replace(_ANNOTATORS, missing_prob=0.05, truncate_prob=0.15), True,
    ),
    'few': Kind(
        0.17, 'people half hidden: 7 to 12 of 17 keypoints are not marked',
        replace(_ANNOTATORS, missing_count=(7, 12)), True,
    ),
    'mistaken': Kind(
        0.02, 'left and right of the legs, the arms or all confused', replace(_ANNOTATORS, swap_prob=1.0), True
    ),
    'detected': Kind(0.13, 'a good detector: half the measured errors', replace(MEASURED, truncate_prob=0.15)),
    'poor': Kind(0.04, 'a small detector: errors as measured', replace(MEASURED, level=1.0, truncate_prob=0.15)),
    'lost': Kind(0.06, 'a small detector that lost the person', replace(MEASURED, level=1.0, gross_prob=1.0)),
}  # fmt: skip
_WRONG_CAMERAS = dict(wrong_focal_prob=0.5, wrong_focal=(0.6, 1.6))


@dataclass(frozen=True, eq=False)
class Population:
    """N people whose poses are known.

    Attributes:
        kind: ``(N,)`` names in :data:`POPULATION`.
        keypoints: ``(N, 17, 2)`` pixels.
        scores: ``(N, 17)``.
        camera: N cameras, as they are told.
        truth: ``(N, 17, 3)`` metres, H36M-17 in the camera frame.
    """

    kind: np.ndarray
    keypoints: Tensor
    scores: Tensor
    camera: Camera
    truth: Tensor

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, eq=False)
class LabelModel:
    """All that labels of one lifter are calibrated with.

    Attributes:
        keypoint_set: What the lifter takes.
        body: For refinement.
        quality: For the score.
        sides: For people whose left and right are confused.
        fitted: How it was got.
    """

    keypoint_set: str
    body: BodyPrior
    quality: QualityModel
    sides: SideModel
    fitted: Mapping


def load_label_model(keypoint_set: str, path: str | Path = MODEL_FILE) -> LabelModel:
    """Read a calibration.

    Args:
        keypoint_set: ``'coco'`` or ``'h36m'``.
        path: JSON file of :func:`save_label_models`. Default: that of the shipped lifters.

    Raises:
        ValueError: If it is missing, or not such a file; names the file and the key.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding='utf-8'))
        entry = stored[keypoint_set]
        body = BodyPrior(**{name: np.array(value, np.float64) for name, value in entry['body'].items()})
        tables = {
            table: {name: np.array(value, np.float64) for name, value in entry['quality'][table].items()}
            for table in ('knots', 'effects')
        }
        quality = QualityModel(**{**entry['quality'], **tables})
        return LabelModel(keypoint_set, body, quality, SideModel(**entry['sides']), entry['fitted'])
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f'{path}: cannot be read as JSON: {error}') from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f'{path}: no calibration of labels from {keypoint_set!r} keypoints: {error}') from error


def save_label_models(models: Sequence[LabelModel], path: str | Path) -> None:
    """Write calibrations as JSON."""
    stored = {}
    for model in models:
        quality = asdict(model.quality)
        for table in ('knots', 'effects'):
            quality[table] = {name: _rounded(value) for name, value in quality[table].items()}
        body = {name: _rounded(value) for name, value in asdict(model.body).items()}
        stored[model.keypoint_set] = dict(
            fitted=dict(model.fitted), body=body, quality=quality, sides=asdict(model.sides)
        )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write_text(json.dumps(stored, indent=1) + '\n', encoding='utf-8')


def _rounded(value: np.ndarray) -> list:
    return np.asarray(value, np.float64).round(9).tolist()


def make_population(config: Mapping, held_out: bool, num: int, seed: int, ann_file: str | None = None) -> Population:
    """Draw people of all kinds in :data:`POPULATION`.

    Args:
        config: A lifter's, which names its sets of pairs.
        held_out: From the subjects of its test set, their poses as recorded; else from those of its training set, with
            the changes of poses that it was trained with. Bodies are those of its test set.
        num: N.
        seed: Of everything.
        ann_file: The motion capture. Default: the config's.

    Returns:
        N people, kind by kind.

    Raises:
        ValueError: For fewer people than kinds, or files that cannot be read.
    """
    if num < 10 * len(POPULATION):
        raise ValueError(f'num takes {10 * len(POPULATION)} or more, got {num}')
    base = {k: deepcopy(v) for k, v in config['test_dataloader']['dataset'].items() if k not in ('codec', 'pipeline')}
    training = config['train_dataloader']['dataset']
    base.update(test_mode=True)
    if ann_file is not None:
        base.update(ann_file=ann_file)
    if not held_out:
        base.update(
            subjects=list(training.get('subjects', ['*'])), exclude=list(training['exclude']),
            augmentation=training.get('augmentation'), clip_balance=training.get('clip_balance', 1.0),
        )  # fmt: skip
    counts = np.diff(np.round(np.cumsum([0.0, *(kind.share for kind in POPULATION.values())]) * num).astype(int))
    batches = [
        _draw(base, kind, int(count), seed * len(POPULATION) + i, wrong_cameras=i > 0)
        for i, (kind, count) in enumerate(zip(POPULATION.values(), counts, strict=True))
    ]
    keypoints, scores, truth = (
        torch.cat([getattr(batch, name) for batch in batches])
        for name in ('keypoints', 'keypoints_visible', 'pose_cam')
    )
    camera = Camera.stack([batch.camera for batch in batches])
    return Population(np.repeat(list(POPULATION), counts), keypoints, scores, camera, truth[:, :17])


def _draw(base: Mapping, kind: Kind, num: int, seed: int, wrong_cameras: bool) -> PairBatch:
    config = {**base, 'num_pairs': num, 'seed': seed, 'noise': asdict(kind.noise)}
    if wrong_cameras:
        config['cameras'] = {**(base.get('cameras') or {}), **_WRONG_CAMERAS}
    with DefaultScope.overwrite_default_scope('mmpose'):
        pairs, _ = DATASETS.build(config).fixed_pairs()
    if not kind.annotated:
        return pairs
    hidden = torch.rand(pairs.keypoints_visible.shape, generator=torch.Generator().manual_seed(seed)) < HIDDEN
    scores = torch.where(hidden, ANNOTATED_SCORES[1], ANNOTATED_SCORES[2])
    return replace(pairs, keypoints_visible=torch.where(pairs.keypoints_visible > 0, scores, 0.0))


@dataclass(frozen=True, eq=False)
class MeasuredLabels:
    """Labels of a population with their true errors.

    Attributes:
        valid: ``(N,)`` bool, whether they could be lifted; what follows is NaN elsewhere.
        parts: See :func:`~stereopose_mm.labeling.quality.label_parts`.
        searched: ``(N, 17, 3)`` metres, before refinement.
        refined: ``(N, 17, 3)`` metres.
        errors: ``(N,)`` mm by name: ``MPJPE`` and ``P-MPJPE`` of refined labels, and with ``searched`` before them of
            those before refinement.
    """

    valid: np.ndarray
    parts: Mapping[str, np.ndarray]
    searched: np.ndarray
    refined: np.ndarray
    errors: Mapping[str, np.ndarray]


def lift_population(lifter: nn.Module, people: Population) -> LiftResult:
    """What the lifter makes of a population, numpy."""
    return lift_keypoints(
        lifter, people.keypoints.numpy(), people.scores.numpy(), lifter.head.decoder.keypoint_set, people.camera
    )


def refine_population(lifted: LiftResult, people: Population, body: BodyPrior, keypoint_set: str) -> RefinedLabels:
    """Refine what :func:`lift_population` gave."""
    return refine_labels(
        lifted.keypoints_cam, lifted.input_keypoints_cam, lifted.uncertainty, lifted.used, people.scores.numpy(), body,
        keypoint_set,
    )  # fmt: skip


def measure_labels(
    lifter: nn.Module, people: Population, lifted: LiftResult, body: BodyPrior, num_passes: int = NUM_PASSES
) -> MeasuredLabels:
    """Refine and judge what was lifted, and compare it with the truth."""
    refined = refine_population(lifted, people, body, lifter.head.decoder.keypoint_set)
    keys = np.arange(len(people), dtype=np.uint64)
    parts = label_parts(
        lifter, people.keypoints.numpy(), people.scores.numpy(), people.camera, lifted, refined, keys, body, num_passes
    )
    target = root_relative(people.truth.double())
    errors = {}
    for prefix, poses in (('searched ', lifted.keypoints_cam), ('', refined.keypoints_cam)):
        relative = root_relative(torch.from_numpy(poses).double())
        for name, error in (('MPJPE', mpjpe), ('P-MPJPE', p_mpjpe)):
            errors[prefix + name] = np.full(len(people), np.nan)
            errors[prefix + name][lifted.valid] = 1000 * error(relative[lifted.valid], target[lifted.valid]).numpy()
    return MeasuredLabels(lifted.valid, parts, lifted.keypoints_cam, refined.keypoints_cam, errors)


def fit_body_prior(people: Population, lifted: LiftResult) -> BodyPrior:
    """Bodies of a population, and how a lifter's depths err together."""
    logs = kind_means(bone_lengths(people.truth.double()).log())
    covariance = torch.cov(logs.T) + _BODY_VARIANCE * torch.eye(logs.shape[1])
    good = torch.from_numpy(lifted.valid)
    found = torch.from_numpy(lifted.keypoints_cam)[good].double()
    off = root_relative(found) - root_relative(people.truth[good].double())
    ratio = off[:, 1:, 2] / torch.from_numpy(lifted.uncertainty)[good][:, 1:].nan_to_num(0.05).clamp(min=0.01)
    second = ratio.clamp(-4, 4).T @ ratio.clamp(-4, 4)
    scale = second.diagonal().sqrt()
    correlation = (1 - _SHRINKAGE) * second / scale[:, None] / scale + _SHRINKAGE * torch.eye(len(second))
    return BodyPrior(logs.mean(0).numpy(), covariance.numpy(), correlation.numpy())


def fit_quality(labels: MeasuredLabels) -> QualityModel:
    """Fit errors with parts: non-negative least squares of their logarithm on ramps between quantiles."""
    good = labels.valid & np.isfinite([labels.parts[name] for name in PARTS]).all(0)
    target = np.log(np.maximum(labels.errors['MPJPE'][good], 0.1))
    knots = {name: np.unique(np.quantile(labels.parts[name][good], _QUANTILES)) for name in PARTS}
    ramps = [
        np.clip((labels.parts[name][good, None] - k[:-1]) / np.diff(k), 0, 1) for name, k in knots.items()
    ]  # fmt: skip
    design = np.concatenate([*ramps, np.ones((len(target), 1))], 1)
    ridge = np.sqrt(_RIDGE) * np.eye(design.shape[1])[:-1]
    # The intercept is of either sign: from well below all errors it is positive.
    floor = target.min() - 10
    weights, _ = nnls(np.concatenate([design, ridge]), np.concatenate([target - floor, np.zeros(len(ridge))]))
    rises = np.split(weights[:-1], np.cumsum([len(k) - 1 for k in knots.values()])[:-1])
    effects = {name: np.concatenate([[0.0], rise.cumsum()]) for name, rise in zip(knots, rises, strict=True)}
    expected = design @ weights + floor
    model = QualityModel(
        knots, effects, float(weights[-1] + floor), float((target - expected).std()), TOLERANCE_MM, 0.0
    )
    quality = np.zeros(len(labels.valid))
    quality[good] = model.quality(np.exp(expected))
    return replace(model, min_quality=float(np.quantile(quality, 1 - KEPT)))


def fit_label_model(lifter: nn.Module, people: Population, how: Mapping) -> LabelModel:
    """Calibrate the labels of a lifter.

    Args:
        lifter: From :func:`~stereopose_mm.apis.init_lifter`.
        people: Those to fit to.
        how: Told along with it.
    """
    lifted = lift_population(lifter, people)
    body = fit_body_prior(people, lifted)
    labels = measure_labels(lifter, people, lifted, body)
    quality, sides = fit_side_check(lifter, people, lifted, labels, fit_quality(labels))
    return LabelModel(lifter.head.decoder.keypoint_set, body, quality, sides, dict(how))


def fit_side_check(
    lifter: nn.Module, people: Population, lifted: LiftResult, labels: MeasuredLabels, model: QualityModel
) -> tuple[QualityModel, SideModel]:
    """Fit the check of sides to the labels that would be kept without it, and the least quality that keeps as many."""
    quality, _ = label_quality(model, labels.parts)
    rows = np.flatnonzero(quality >= model.min_quality)
    evidence = side_evidence(
        lifter, people.keypoints.numpy()[rows], people.scores.numpy()[rows], people.camera[rows], lifted.select(rows)
    )
    parts = {name: labels.parts[name][rows] for name in PARTS}
    sides = fit_sides(evidence, people.kind[rows] == 'mistaken', parts)
    doubt = np.where(sides.looks_at(parts), sides.doubt(evidence)[0], 0)
    quality[rows] = np.where(doubt > GateThresholds().max_side_doubt, 0, quality[rows] * (1 - doubt))
    return replace(model, min_quality=float(np.quantile(quality, 1 - KEPT))), sides
