# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""From annotated people to labels: camera, lift, search, refine, score and gate, each over a whole batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..apis.lifting import LiftResult, lift_keypoints
from ..geometry import Camera
from ..version import __version__
from .annotations import Annotations
from .cameras import FoundCameras, find_cameras
from .config import LabelConfig, config_hash
from .judgement import Judgement, judge_labels
from .lifters import Labeller
from .quality import label_parts
from .refine import RefinedLabels, refine_labels
from .splits import record_ids
from .tables import label_table, reject_table

#: What is told as the labels' maker.
GENERATOR = f'stereopose_mm {__version__}'


@dataclass(frozen=True, eq=False)
class LabelledShard:
    """What became of some people, in their order.

    Attributes:
        labels: Rows of :func:`~.tables.label_schema`.
        rejects: Rows of :func:`~.tables.reject_schema`.
    """

    labels: pa.Table
    rejects: pa.Table


@dataclass(frozen=True, eq=False)
class JudgedLabels:
    """Labels of n people, good and bad.

    Attributes:
        lifted: What the lifter and the search gave.
        refined: Poses on which bones fit a body.
        judgement: What is thought of them.
    """

    lifted: LiftResult
    refined: RefinedLabels
    judgement: Judgement


def label_shard(
    annotations: Annotations,
    config: LabelConfig,
    lifters: Mapping[str, Labeller],
    images: str | Path | None = None,
    settings_hash: str | None = None,
) -> LabelledShard:
    """Label people; a function of nothing but its arguments and the images.

    Args:
        annotations: The people.
        config: Settings.
        lifters: From :func:`~.lifters.load_labellers`, by keypoint set.
        images: Folder of the images; None to do without.
        settings_hash: That of the settings, where it is known.

    Returns:
        A row in one of two tables for each of the people.

    Raises:
        ValueError: If there is no lifter for the keypoints, or no such folder.
    """
    if annotations.keypoint_set not in lifters:
        raise ValueError(f'lifters: none for {annotations.keypoint_set!r} keypoints, has {sorted(lifters)}')
    cameras = find_cameras(annotations, config.camera, images)
    problem = np.where(annotations.problem != '', annotations.problem.astype(object), cameras.problem)
    good = np.flatnonzero(problem == '')
    people, cameras = annotations.select(good), _select(cameras, good)
    judged = judge(people, cameras.camera, config, lifters[annotations.keypoint_set])
    judgement = judged.judgement
    kept = np.flatnonzero(judgement.reason == '')
    labels = label_table(
        people.select(kept), _select(cameras, kept), judged.lifted.used[kept], judged.lifted.uncertainty[kept],
        RefinedLabels(*(value[kept] for value in vars(judged.refined).values())), judgement.quality[kept],
        {name: value[kept] for name, value in judgement.parts.items()},
        dict(
            generator=GENERATOR, config_hash=settings_hash or config_hash(config.settings()), seed=config.seed,
        ),
    )  # fmt: skip
    return LabelledShard(labels, _rejects(annotations, problem, good, judged))


def judge(people: Annotations, camera: Camera, config: LabelConfig, labeller: Labeller) -> JudgedLabels:
    """Lift, search, refine, score and gate people without a problem.

    Args:
        people: n of them.
        camera: n cameras.
        config: Settings.
        labeller: For their keypoint set.
    """
    model, points, scores = labeller.model, people.keypoints, people.scores
    lifted = lift_keypoints(labeller.lifter, points, scores, people.keypoint_set, camera, config.min_score)
    refined = refine_labels(
        lifted.keypoints_cam, lifted.input_keypoints_cam, lifted.uncertainty, lifted.used, scores, model.body,
        people.keypoint_set, config.refine_steps,
    )  # fmt: skip
    parts = label_parts(
        labeller.lifter, points, scores, camera, lifted, refined, record_ids(people).astype(np.uint64), model.body,
        config.num_passes, config.seed,
    )  # fmt: skip
    judgement = judge_labels(
        labeller.lifter, model, points, scores, camera, lifted, parts, config.thresholds, config.min_score
    )
    return JudgedLabels(lifted, refined, judgement)


def _rejects(annotations: Annotations, problem: np.ndarray, good: np.ndarray, judged: JudgedLabels) -> pa.Table:
    """Those with a problem, and those whose label is not kept, in the order of the annotations."""
    reason, _, detail = np.array([text.partition(': ') for text in problem], object).reshape(-1, 3).T
    quality = np.full(len(annotations), np.nan)
    told = judged.judgement
    bad = told.reason != ''
    reason[good] = told.reason
    quality[good] = np.where(judged.lifted.valid, told.quality, np.nan)
    detail[good] = [
        f'{sides}{sides and ", "}quality {q:.3f}, expected error {e:.0f} mm' if np.isfinite(e) else ''
        for sides, q, e in zip(told.sides, told.quality, told.parts['expected_error'], strict=True)
    ]
    rejected = np.union1d(np.flatnonzero(problem != ''), good[bad])
    return reject_table(annotations.select(rejected), reason[rejected], detail[rejected], quality[rejected])


def _select(cameras: FoundCameras, rows: np.ndarray) -> FoundCameras:
    return FoundCameras(cameras.camera[rows], *(v[rows] for v in (cameras.image_size, cameras.origin, cameras.problem)))
