# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Shards by processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

import torch

from .lifters import Labeller
from .shards import ShardJob

# What a worker has from its parent.
_worker: tuple[ShardJob, Mapping[str, Labeller]] | None = None


def label_locally(
    job: ShardJob, shards: Sequence[int], workers: int, lifters: Mapping[str, Labeller]
) -> Iterator[dict[str, Any]]:
    """Label shards in several processes, which share the lifters' memory with this one.

    Args:
        job: What to do.
        shards: Which of its shards.
        workers: How many processes.
        lifters: From :func:`~.lifters.load_labellers`.

    Yields:
        The note of each shard that is done, in any order.

    Raises:
        ValueError: If a shard cannot be labelled, or a worker was killed; what is done stays done.
    """
    if not shards:
        return
    initargs = (job, lifters, os.getpid())
    # Forked, workers get the lifters without reading them again.
    context = multiprocessing.get_context('fork')
    pool = ProcessPoolExecutor(min(workers, len(shards)), context, _start_worker, initargs)
    try:
        todo = iter(shards)
        # A few at a time: a hundred million people are more shards than a queue should hold.
        running = {pool.submit(_run, index) for index in islice(todo, 2 * workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                if (index := next(todo, None)) is not None:
                    running.add(pool.submit(_run, index))
                yield future.result()
    except BrokenProcessPool as error:
        raise ValueError(
            f'{job.out}: a worker was killed, perhaps for want of memory; give the command again to go on, with fewer '
            'workers or a smaller shard_size'
        ) from error
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _start_worker(job: ShardJob, lifters: Mapping[str, Labeller], parent: int) -> None:
    global _worker
    _worker = (job, lifters)
    torch.set_num_threads(1)
    # The parent is interrupted too, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent was killed, which leaves it no one to work for."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _run(index: int) -> dict[str, Any]:
    job, lifters = _worker
    return job.run(index, lifters)
