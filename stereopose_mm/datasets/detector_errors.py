# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Errors of real 2D detectors, measured against annotations in the terms of :class:`DetectorNoise`."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from ..files import read_npz
from ..geometry import COCO_17
from .detector_noise import COCO_GROUPS, SCORE_FLOOR, DetectorNoise, body_size, imitate_detector
from .lifting_dataset import load_metainfo

# COCO's constants: spread of human annotators, 2D, per square root of the person's area (cocodataset.org, keypoint
# evaluation).
OKS_SIGMAS = {
    'nose': 0.026, 'eyes': 0.025, 'ears': 0.035, 'shoulders': 0.079, 'elbows': 0.072, 'wrists': 0.062, 'hips': 0.107,
    'knees': 0.087, 'ankles': 0.089,
}  # fmt: skip
# Square root of a person's area per body size, where no area is annotated: the median of COCO's own people.
AREA_PER_SIZE = 1.6
# Human3.6M's name for what COCO calls the ankle.
_ALIASES = {'left_foot': 'left_ankle', 'right_foot': 'right_ankle'}
# With fewer annotated joints a body has no size worth the name.
_MIN_JOINTS = 6
# A detection is at a place when it is within this of it; a pair of joints can be told apart beyond half as much again.
# Both in body sizes.
_AT, _APART = 0.2, 0.3
# Beyond this median error the detection is of somebody else, or of nobody: no model of joint errors.
_LOST = 0.5
# Samples that the mean of all joints weighs where a joint has few of its own.
_PRIOR = 10.0
_LIMB_JOINTS = slice(5, 17)
# Deviations of people's errors, in body sizes, among which the levels are sought.
_LEVELS = np.geomspace(0.004, 0.6, 24)
_LIMBS = ('arms', (5, 7, 9), (6, 8, 10)), ('legs', (11, 13, 15), (12, 14, 16))
_PAIRS = np.array([(a, b) for a, b in zip(COCO_17.left, COCO_17.right, strict=True) if a >= 5])
_SCORE_EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass
class DetectedPeople:
    """N annotated people and what a detector made of them, COCO-17.

    Attributes:
        annotated: ``(N, 17, 2)`` pixels; anything finite where not annotated.
        known: ``(N, 17)`` bool, where annotated.
        detected: ``(N, 17, 2)`` pixels.
        scores: ``(N, 17)`` in [0, 1].
        size: ``(N,)`` pixels, the annotated body's size as :func:`body_size` has it.
        area: ``(N,)`` square pixels.
        source: Name of each person's dataset.
    """

    annotated: np.ndarray
    known: np.ndarray
    detected: np.ndarray
    scores: np.ndarray
    size: np.ndarray
    area: np.ndarray
    source: np.ndarray

    def __len__(self) -> int:
        return len(self.size)

    def __getitem__(self, index: Any) -> DetectedPeople:
        """Some of the people, by what indexes an array."""
        return DetectedPeople(*(getattr(self, f.name)[index] for f in fields(self)))


def read_detected_people(
    ann_file: str | Path, detections: str | Path, dataset: str, exclude: Sequence[str] = ()
) -> DetectedPeople:
    """Match detections with the annotations that they were made for.

    Args:
        ann_file: COCO-style JSON, MPII's list in JSON, or NPZ in MMPose's Human3.6M format (``part``, ``imgname``).
        detections: COCO results of COCO-17 keypoints. A record names its person by ``annotation_id``, by ``record``
            (the place in a list), or by ``image_id`` or ``file_name`` and, where the picture has several, ``bbox``.
        dataset: MMPose's name of the annotated keypoint set, for example ``'aic'``: the file in
            ``configs/_base_/datasets``. Joints are matched by name.
        exclude: Patterns (``fnmatch``) of image files to leave out, such as drawings.

    Returns:
        The people who have at least six joints in common with COCO-17.

    Raises:
        ValueError: For a file that cannot be read, a detection whose person is not there, or bad values; names the
            file and the record. For an unknown dataset.
    """
    names = _joint_names(dataset)
    columns = [(COCO_17.index(name), k) for k, name in enumerate(names) if name in COCO_17.joint_names]
    annotations = _read_annotations(Path(ann_file), len(names))
    people: list[tuple] = []
    for index, record in enumerate(_read_results(Path(detections))):
        try:
            values = _numbers('keypoints', record.get('keypoints'), (17, 3))
            person = _find(annotations, record)
        except ValueError as error:
            raise ValueError(f'{detections}: record {index}: {error}') from None
        if any(fnmatch.fnmatch(person['file_name'], pattern) for pattern in exclude):
            continue
        marked = person['keypoints'][:, 2] > 0
        annotated, known = np.zeros((17, 2)), np.zeros(17, bool)
        for to, at in columns:
            annotated[to], known[to] = person['keypoints'][at, :2], marked[at]
        if known.sum() < _MIN_JOINTS:
            continue
        size = body_size(torch.from_numpy(person['keypoints'][None, marked, :2])).item()
        area = person['area'] or (AREA_PER_SIZE * size) ** 2
        people.append((annotated, known, values[:, :2], values[:, 2].clip(0, 1), size, area, dataset))
    if not people:
        raise ValueError(f'{detections}: has no person with {_MIN_JOINTS} joints annotated in {ann_file}')
    return DetectedPeople(*(np.array(column) for column in zip(*people, strict=True)))


def join_people(parts: Sequence[DetectedPeople]) -> DetectedPeople:
    """People of several files."""
    return DetectedPeople(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(DetectedPeople)))


def _joint_names(dataset: str) -> list[str]:
    try:
        metainfo = load_metainfo(dict(from_file=f'configs/_base_/datasets/{dataset}.py'))
    except (OSError, SyntaxError) as error:
        raise ValueError(f'dataset: MMPose has no configs/_base_/datasets/{dataset}.py: {error}') from None
    names = (metainfo['keypoint_id2name'][k] for k in range(metainfo['num_keypoints']))
    return [_ALIASES.get(name, name) for name in names]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path}: no readable JSON: {error}') from None


def _read_results(path: Path) -> list[dict]:
    records = _read_json(path)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError(f'{path}: takes a list of COCO results')
    return records


def _numbers(key: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.array(values, float).reshape(shape)
    except (TypeError, ValueError):
        raise ValueError(f'{key}: takes {np.prod(shape)} numbers, got {str(values)[:60]}') from None
    if not np.isfinite(array).all():
        raise ValueError(f'{key}: takes finite numbers')
    return array


def _read_annotations(path: Path, num_joints: int) -> list[dict]:
    """Each person's ``id``, ``record``, ``image_id``, ``file_name``, ``bbox``, ``area`` and ``(K, 3)`` keypoints."""
    if path.suffix.lower() == '.npz':
        return _people_of_npz(path, num_joints)
    data = _read_json(path)
    is_coco = isinstance(data, dict)
    people = data.get('annotations') if is_coco else data
    if not isinstance(people, list):
        raise ValueError(f"{path}: takes COCO's annotations or MPII's list, got {type(people).__name__}")
    read: Callable[[dict], dict]
    if is_coco:
        try:
            names = {image['id']: image['file_name'] for image in data['images']}
        except (KeyError, TypeError):
            raise ValueError(f'{path}: images: takes dicts with id and file_name') from None

        def read(person: dict) -> dict:
            # HumanArt lists more joints after COCO's in some of its files.
            values = _numbers('keypoints', person['keypoints'][: 3 * num_joints], (num_joints, 3))
            return dict(person, keypoints=values, file_name=names[person['image_id']], area=person.get('area'))
    else:

        def read(person: dict) -> dict:
            xy = _numbers('joints', person['joints'], (num_joints, 2))
            visible = _numbers('joints_vis', person['joints_vis'], (num_joints, 1))
            return dict(keypoints=np.hstack([xy, visible]), file_name=person['image'], area=None)

    result = []
    for index, person in enumerate(people):
        try:
            result.append(read(person) | dict(record=index))
        except (KeyError, TypeError) as error:
            raise ValueError(f'{path}: record {index}: has no {error}') from None
        except ValueError as error:
            raise ValueError(f'{path}: record {index}: {error}') from None
    return result


def _people_of_npz(path: Path, num_joints: int) -> list[dict]:
    arrays = read_npz(path, "MMPose's Human3.6M format holds part and imgname")
    for key in ('part', 'imgname'):
        if key not in arrays:
            raise ValueError(f'{path}: has no array {key}, only {sorted(arrays)}')
    part, names = arrays['part'], arrays['imgname']
    if part.shape != (len(names), num_joints, 3) or not np.isfinite(part).all():
        raise ValueError(f'{path}: part: takes finite ({len(names)}, {num_joints}, 3), got {part.shape}')
    return [
        dict(keypoints=keypoints.astype(float), file_name=str(name), record=index, area=None)
        for index, (keypoints, name) in enumerate(zip(part, names, strict=True))
    ]


def _find(annotations: list[dict], record: dict) -> dict:
    for key, of_person in (('annotation_id', 'id'), ('record', 'record')):
        if key in record:
            found = [person for person in annotations if person.get(of_person) == record[key]]
            break
    else:
        key = 'image_id' if 'image_id' in record else 'file_name'
        found = [person for person in annotations if key in record and person.get(key) == record[key]]
        if len(found) > 1:
            box = _numbers('bbox', record.get('bbox'), (4,))
            # Results have the boxes rounded to hundredths.
            found = [p for p in found if np.allclose(_numbers('bbox', p.get('bbox'), (4,)), box, atol=0.02)]
    if len(found) != 1:
        raise ValueError(f'{key}: {len(found)} annotations match {record.get(key)!r}')
    return found[0]


def error_lengths(people: DetectedPeople) -> tuple[np.ndarray, np.ndarray]:
    """How far detections are off.

    Returns:
        ``(N, 17)`` in body sizes, of anything where not annotated; and ``(N,)`` bool, people who were lost: half of
        their joints are off by more than half a body size.
    """
    error = np.linalg.norm(people.detected - people.annotated, axis=-1) / people.size[:, None]
    median = np.ma.median(np.ma.masked_array(error, ~people.known), axis=1).filled(np.inf)
    return error, median > _LOST


def measure_errors(people: DetectedPeople, num_bootstrap: int = 200, seed: int = 0) -> dict:
    """What a detector's errors are, in the terms of :class:`DetectorNoise`.

    Three kinds of error are told apart, after Ronchi and Perona ("Benchmarking and Error Diagnosis in Multi-Instance
    Pose Estimation", ICCV 2017): inversions, where a joint is found at its mirror image's place (or a limb is
    exchanged whole: a swap); people who were lost, of whom a median error beyond half a body size tells; and all
    others' errors ``e``, in body sizes, as a mixture of a core, normal with deviation ``level × factor``, and gross
    errors, normal with a deviation common to all joints. Each person has a level of his own. Expectation maximisation
    finds the most likely mixture; a joint with few samples is drawn to the mean of all.

    Args:
        people: Detections and annotations.
        num_bootstrap: Resamples of the people that the intervals come from.
        seed: Seed of the resampling.

    Returns:
        Measures by name, each ``value``, ``interval`` (2.5 and 97.5 % of the bootstrap) and ``samples`` where these
        apply; and ``score_bins``.
    """
    measured, samples = _measure(people)
    generator = np.random.default_rng(seed)
    draws = [_measure(people[generator.integers(len(people), size=len(people))])[0] for _ in range(num_bootstrap)]
    result = {}
    for name, value in measured.items():
        values = np.array([draw[name] for draw in draws])
        result[name] = dict(value=float(value), samples=int(samples[name]))
        if num_bootstrap:
            result[name]['interval'] = np.nanpercentile(values, [2.5, 97.5]).tolist()
    return dict(measures=result, score_bins=_score_bins(people))


def _measure(people: DetectedPeople) -> tuple[dict[str, float], dict[str, int]]:
    """Values and numbers of samples of all measures."""
    error, lost = error_lengths(people)
    swapped, can_swap, inverted, can_invert = _find_inversions(people)
    kept = ~(lost | swapped.any(1))
    squared = np.where(people.known & ~inverted, np.square(error), np.nan)[kept]
    fitted = _fit_mixture(squared)
    values = dict(lost=lost.mean(), **fitted)
    counts = dict.fromkeys(fitted, int(np.isfinite(squared).sum())) | dict(lost=len(people))
    in_group = {name: np.isfinite(squared[:, list(joints)]).sum() for name, joints in COCO_GROUPS.items()}
    counts |= {f'{kind}/{name}': n for kind in ('factor', 'gross') for name, n in in_group.items()}
    found = (~lost)[:, None]
    # Half an event and half a miss more: none of a few is not never (Jeffreys' prior).
    eligible = can_swap & ~lost
    values['swap_prob'] = ((swapped.any(1) & eligible).sum() + 0.5) / (eligible.sum() + 1)
    counts['swap_prob'] = int(eligible.sum())
    eligible = can_invert & found & ~swapped.any(1)[:, None]
    values['inversion_prob'] = ((inverted & eligible).sum() + 0.5) / (eligible.sum() + 1)
    counts['inversion_prob'] = int(eligible.sum())
    sample = people.known & found
    for threshold in (0.1, 0.2, 0.3):
        values[f'score_below_{threshold}'] = (people.scores[sample] < threshold).mean()
        counts[f'score_below_{threshold}'] = int(sample.sum())
    for name, value in _fit_scores(error, people.scores, sample).items():
        values[name], counts[name] = value, int(sample.sum())
    recall = average_recall(people)
    values['average_recall'], counts['average_recall'] = recall.mean(), len(people)
    values['average_recall_found'], counts['average_recall_found'] = recall[~lost].mean(), int((~lost).sum())
    return values, counts


def _find_inversions(people: DetectedPeople) -> tuple[np.ndarray, ...]:
    """``(N, 2)`` limbs swapped, ``(N,)`` whether that could be told, and both ``(N, 17)`` of single joints."""
    size = people.size[:, None]
    left, right = _PAIRS.T
    both = people.known[:, left] & people.known[:, right]
    apart = np.linalg.norm(people.annotated[:, left] - people.annotated[:, right], axis=-1) / size
    shape = people.known.shape
    can_invert, inverted = np.zeros(shape, bool), np.zeros(shape, bool)
    for a, b in ((left, right), (right, left)):
        own = np.linalg.norm(people.detected[:, a] - people.annotated[:, a], axis=-1) / size
        other = np.linalg.norm(people.detected[:, a] - people.annotated[:, b], axis=-1) / size
        can_invert[:, a] = both & (apart > _APART)
        inverted[:, a] = can_invert[:, a] & (other < _AT) & (own > _AT)
    swapped, can_swap = [], []
    for _, a, b in _LIMBS:
        told = can_invert[:, list(a)]
        exchanged = inverted[:, list(a)] & inverted[:, list(b)]
        can_swap.append(told.sum(1) >= 2)
        swapped.append(can_swap[-1] & (exchanged == told).all(1))
    return np.stack(swapped, 1), np.stack(can_swap, 1).any(1), inverted, can_invert


def _fit_mixture(squared: np.ndarray, steps: int = 60) -> dict[str, float]:
    """Most likely core and gross errors, by expectation maximisation; people's levels are free.

    Args:
        squared: ``(N, 17)`` squared errors in body sizes, NaN where there is none.
        steps: Steps of expectation maximisation.

    Returns:
        ``jitter``, twice the people's median level, as if levels were uniform; the people's ``level_tenth`` and
        ``level_nine_tenths``; ``gross_prob``, the mean over the limbs' joints; ``gross_scale``; and by joint
        ``factor/…`` (mean square 1 over the limbs' joints) and ``gross/…``, the share of gross errors.
    """
    known = np.isfinite(squared)
    squared = np.where(known, squared, 0.0)
    group_of = np.zeros(17, int)
    for g, joints in enumerate(COCO_GROUPS.values()):
        group_of[list(joints)] = g
    pool = np.eye(len(COCO_GROUPS))[group_of]  # (17, G): sums over both sides of the body
    level2 = np.square(_LEVELS)[:, None]
    prior, variance, share, wide = np.full(len(_LEVELS), 1 / len(_LEVELS)), np.ones(17), np.full(17, 0.1), 0.25
    for _ in range(steps):
        core = (1 - share) * _normal(squared[:, None], variance * level2)  # (N, L, 17)
        mixed = core + (share * _normal(squared, wide))[:, None]
        weight = np.log(mixed, where=known[:, None], out=np.zeros_like(mixed)).sum(-1)
        weight = np.exp(weight - weight.max(1, keepdims=True)) * prior
        weight /= weight.sum(1, keepdims=True)
        prior = weight.mean(0)
        is_core = weight[..., None] * core / mixed * known[:, None]
        inside = is_core.sum((0, 1)) @ pool
        scaled = (is_core / level2).sum(1)
        scaled = (scaled * squared).sum(0) @ pool / 2
        variance = ((scaled + _PRIOR * scaled.sum() / inside.sum()) / (inside + _PRIOR))[group_of]
        variance /= variance[_LIMB_JOINTS].mean()
        number = known.sum(0) @ pool
        outside = number - inside
        share = ((outside + _PRIOR * outside.sum() / number.sum()) / (number + _PRIOR))[group_of]
        wide = ((known - is_core.sum(1)) * squared).sum() / (2 * outside.sum())
    level = weight @ _LEVELS
    values = dict(
        jitter=2 * np.median(level), level_tenth=np.quantile(level, 0.1), level_nine_tenths=np.quantile(level, 0.9),
        gross_prob=share[_LIMB_JOINTS].mean(), gross_scale=np.sqrt(wide),
    )  # fmt: skip
    for name, joints in COCO_GROUPS.items():
        values[f'factor/{name}'] = np.sqrt(variance[joints[0]])
        values[f'gross/{name}'] = share[joints[0]]
    return values


def _normal(squared: np.ndarray, variance: np.ndarray | float) -> np.ndarray:
    """Density of the plane's normal distribution."""
    return np.exp(-squared / (2 * variance)) / (2 * np.pi * variance)


def _logit(score: np.ndarray) -> np.ndarray:
    return np.log(score / (1 - score))


def _fit_scores(error: np.ndarray, scores: np.ndarray, sample: np.ndarray) -> dict[str, float]:
    """Line of the score's logit over the logarithm of the error; scatter within a person, and between people."""
    x = np.log(error + SCORE_FLOOR)
    y = _logit(scores.clip(0.01, 0.99))
    correlation = spearmanr(x[sample], y[sample])[0] if np.ptp(y[sample]) > 0 else 0.0
    slope, intercept = np.polyfit(x[sample], y[sample], 1)
    residual = np.where(sample, y - intercept - slope * x, 0.0)
    residual, sample = residual[sample.any(1)], sample[sample.any(1)]
    number = sample.sum(1)
    mean = residual.sum(1) / number
    within = (np.square(residual - mean[:, None]) * sample).sum() / (number - 1).sum()
    return dict(
        score_intercept=intercept, score_slope=slope, score_blur=np.sqrt(within),
        score_spread=np.sqrt(max(mean.var() - (within / number).mean(), 0.0)),
        rank_correlation=correlation,
    )  # fmt: skip


def _score_bins(people: DetectedPeople) -> list[dict]:
    """Errors by score, of the people who were found: number, median, robust deviation per axis, share beyond 0.3."""
    error, lost = error_lengths(people)
    sample = people.known & ~lost[:, None]
    bins = np.digitize(people.scores[sample], _SCORE_EDGES)
    rows = []
    for k, (low, high) in enumerate(zip((0.0, *_SCORE_EDGES), (*_SCORE_EDGES, 1.0), strict=True)):
        inside = error[sample][bins == k]
        if len(inside):
            median = float(np.median(inside))
            # The median of a normal error's length is 1.1774 deviations.
            rows.append(
                dict(score=[low, high], samples=len(inside), median=median, core_sigma=median / 1.1774,
                     beyond=float((inside > _APART).mean()))
            )  # fmt: skip
    return rows


def average_recall(people: DetectedPeople) -> np.ndarray:
    """Share of COCO's ten thresholds, 0.50 … 0.95, that each person's keypoint similarity (OKS) reaches.

    Returns:
        ``(N,)``; the mean is COCO's average recall of a detector that finds everybody.
    """
    sigma = np.zeros(17)
    for name, joints in COCO_GROUPS.items():
        sigma[list(joints)] = OKS_SIGMAS[name]
    squared = np.square(people.detected - people.annotated).sum(-1)
    similarity = np.exp(-squared / (2 * people.area[:, None] * np.square(2 * sigma)))
    oks = (similarity * people.known).sum(1) / people.known.sum(1)
    return (oks[:, None] >= np.arange(0.5, 0.96, 0.05)).mean(1)


def imitate_people(people: DetectedPeople, noise: DetectorNoise, copies: int = 100, seed: int = 0) -> DetectedPeople:
    """The same people, detected by the imitation.

    Args:
        people: Whose annotated joints are taken as exact; joints that are not annotated are taken from the detector.
        noise: What to imitate.
        copies: How often each person is detected.
        seed: Seed of the randomness.
    """
    exact = np.where(people.known[..., None], people.annotated, people.detected)
    many = people[np.tile(np.arange(len(people)), copies)]
    keypoints: Tensor = torch.from_numpy(np.tile(exact, (copies, 1, 1)))
    detected, scores = imitate_detector(keypoints, noise, torch.Generator().manual_seed(seed), COCO_17)
    detected, scores = detected.numpy(), scores.numpy()
    return replace(many, detected=detected, scores=scores, known=many.known & (scores > 0))
