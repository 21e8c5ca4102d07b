# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""torch convolves single frames on a processor three to four times as slowly as it multiplies the same matrices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor, nn


@contextmanager
def single_frames_as_linear() -> Iterator[None]:
    """Within the block, 1D convolutions of kernel 1 over one frame run as the linear layers that they are.

    For MMPose's temporal networks trained on single frames: the same function, to rounding.
    """
    convolve = nn.Conv1d.forward

    def forward(self: nn.Conv1d, x: Tensor) -> Tensor:
        plain = self.kernel_size == (1,) and self.padding == (0,) and self.groups == 1
        if not plain or x.ndim != 3 or x.shape[-1] != 1:
            return convolve(self, x)
        return F.linear(x[..., 0], self.weight[..., 0], self.bias)[..., None]

    nn.Conv1d.forward = forward
    try:
        yield
    finally:
        nn.Conv1d.forward = convolve
