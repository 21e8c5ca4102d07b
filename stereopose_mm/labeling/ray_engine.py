# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Shards by Ray Data, on a cluster or on this machine."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from .lifters import load_labellers
from .shards import ShardJob


def label_with_ray(
    job: ShardJob, shards: Sequence[int], workers: int | None = None, address: str | None = None
) -> Iterator[dict[str, Any]]:
    """Label shards in actors of Ray; a shard of one that died is done again by another.

    All machines of a cluster need the package, and the folder of the set, that of the images and the lifters' files
    under the same paths.

    Args:
        job: What to do.
        shards: Which of its shards.
        workers: How many actors, of one core each. Default: as many as there are cores.
        address: Of a running cluster, ``'auto'`` to find one; None to start Ray on this machine.

    Yields:
        The note of each shard that is done, in any order.

    Raises:
        ValueError: If Ray is not installed or cannot be reached, or a shard cannot be labelled.
    """
    if not shards:
        return
    ray = import_ray()
    ours = not ray.is_initialized()
    try:
        if ours:
            # Without an address Ray would look for a cluster first.
            local = dict(address='local', num_cpus=workers, include_dashboard=False)
            ray.init(**(dict(address=address) if address else local), log_to_driver=False, logging_level='error')
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(f'address: no Ray at {address or "this machine"}: {error}') from error
    try:
        workers = workers or max(1, int(ray.cluster_resources().get('CPU', 1)))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger('ray.data').setLevel(logging.ERROR)
        # A block a shard, so that no more than one is lost with an actor.
        items = ray.data.from_items([{'shard': int(index)} for index in shards], override_num_blocks=len(shards))
        done = items.map_batches(
            ShardActor, fn_constructor_args=(job,), batch_size=1, batch_format='numpy',
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(shards)), max_tasks_in_flight_per_actor=2),
            num_cpus=1,
        )  # fmt: skip
        for row in done.iter_rows():
            yield json.loads(row['note'])
    except ray.exceptions.RayError as error:
        raise ValueError(f'{job.out}: Ray could not label all shards: {str(error).strip().splitlines()[-1]}') from error
    finally:
        if ours:
            ray.shutdown()


class ShardActor:
    """Labels shards with lifters that it loads once.

    Args:
        job: What to do.
    """

    def __init__(self, job: ShardJob):
        self.job, self.lifters = job, load_labellers(job.config, job.keypoint_sets)

    def __call__(self, batch: dict) -> dict:
        """Label the shards of a batch."""
        notes = [self.job.run(int(index), self.lifters) for index in batch['shard']]
        return {'note': [json.dumps(note) for note in notes]}


def import_ray() -> Any:
    """Ray with Ray Data.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError(
            f"--engine ray needs Ray Data ({error}): install it with pip install 'stereopose_mm[ray]'"
        ) from error
    return ray
