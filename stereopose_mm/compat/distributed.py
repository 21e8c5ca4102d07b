# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Distributed runs on machines without a GPU.

MMEngine's `pytorch` launcher calls `torch.cuda.set_device`, and its Runner gives each process's
`DistributedDataParallel` a CUDA device index; both fail where there is no CUDA device. Nor does MMEngine ever leave
the process group, and gloo's threads, still there when the interpreter ends, can abort the process after its work.
"""

from __future__ import annotations

import atexit
import functools

from mmengine.device import get_device
from mmengine.dist import utils as dist_utils
from mmengine.model import MMDistributedDataParallel
from torch import distributed as torch_dist


def apply() -> None:
    """Let `init_dist('pytorch', backend='gloo')` and the Runner work on CPUs; with CUDA, nothing."""
    if getattr(dist_utils._init_dist_pytorch, 'stereopose_mm', False):
        return
    dist_utils._init_dist_pytorch = _without_set_device(dist_utils._init_dist_pytorch)
    MMDistributedDataParallel.__init__ = _without_device_ids(MMDistributedDataParallel.__init__)


def _without_set_device(upstream):
    @functools.wraps(upstream)
    def init_dist_pytorch(backend, init_backend='torch', **kwargs):
        # gloo alone: nccl keeps upstream's complaint that it needs a GPU.
        if get_device() == 'cpu' and backend == 'gloo' and init_backend == 'torch':
            torch_dist.init_process_group(backend=backend, **kwargs)
            atexit.register(_leave_process_group)
        else:
            upstream(backend, init_backend=init_backend, **kwargs)

    init_dist_pytorch.stereopose_mm = True
    return init_dist_pytorch


def _leave_process_group() -> None:
    if torch_dist.is_initialized():
        torch_dist.destroy_process_group()


def _without_device_ids(upstream):
    @functools.wraps(upstream)
    def init(self, module, *args, device_ids=None, **kwargs):
        if get_device() == 'cpu':
            device_ids = None  # what DistributedDataParallel takes for a module on CPUs
        upstream(self, module, *args, device_ids=device_ids, **kwargs)

    return init
