# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What making a set would take, told without making it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .annotation_files import AnnotationFile
from .config import LabelConfig
from .generate import Work, open_annotations
from .lifters import load_labellers
from .pipeline import label_shard

# People that are labelled to measure the rate.
_SAMPLE = 2048


@dataclass(frozen=True)
class GenerationPlan:
    """What :func:`plan_labels` found.

    Attributes:
        inputs: What the manifest would tell of each annotation file.
        people: In all.
        shards: How many.
        workers: How many processes the time is of.
        rate: People a second of one process.
        kept: Part of the sample that was kept.
        seconds: Estimated time in all.
        bytes: Estimated size of all files.
    """

    inputs: list[dict]
    people: int
    shards: int
    workers: int
    rate: float
    kept: float
    seconds: float
    bytes: int


def plan_labels(
    annotations: Sequence[str | Path],
    out: str | Path,
    config: LabelConfig | None = None,
    images: str | Path | None = None,
    format: str | None = None,
    workers: int | None = None,
) -> GenerationPlan:
    """Read the files, label some of their people, and estimate time and size of the whole; writes nothing.

    Args:
        annotations: See :func:`~.generate.generate_labels`, as all.
        out: Folder that would be written to.
        config: Settings.
        images: Folder of the images.
        format: Of the files.
        workers: Processes.

    Raises:
        ValueError: As :func:`~.generate.generate_labels`, except for what the folder holds.
    """
    config = config or LabelConfig()
    work = Work(annotations, out, config, images, format)
    start = time.perf_counter()
    opened = open_annotations(work.paths, format, config.shard_size, work.images)
    checking = time.perf_counter() - start
    inputs = work.describe(opened)
    people = sum(file.num_people for file in opened)
    workers = workers or len(os.sched_getaffinity(0))
    seconds, size, kept, sampled = _measure(opened, config, work)
    # Files are walked through twice: to check them, and to read them.
    total = 2 * checking + people * seconds / sampled / workers
    shards = sum(-(-file.num_people // config.shard_size) for file in opened)
    return GenerationPlan(
        inputs, people, shards, workers, sampled / seconds, kept / sampled, total, int(people * size / sampled)
    )


def _measure(opened: Sequence[AnnotationFile], config: LabelConfig, work: Work) -> tuple[float, int, int, int]:
    """Seconds, bytes, labels kept and people of a sample of each file, in which its part is as in all files."""
    everyone = sum(file.num_people for file in opened)
    lifters = load_labellers(config, {file.keypoint_set for file in opened if file.num_people})
    seconds, size, kept, sampled = 0.0, 0, 0, 0
    for file in opened:
        first = next(iter(file), None)
        if first is None:
            continue
        sample = first.select(slice(-(-_SAMPLE * file.num_people // everyone)))
        label_shard(sample.select(slice(32)), config, lifters, work.folder, work.fresh['config_hash'])  # warms up
        start = time.perf_counter()
        labelled = label_shard(sample, config, lifters, work.folder, work.fresh['config_hash'])
        for table in (labelled.labels, labelled.rejects):
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink, compression='zstd')
            size += sink.getvalue().size
        seconds += time.perf_counter() - start
        kept += len(labelled.labels)
        sampled += len(sample)
    return seconds, size, kept, sampled
