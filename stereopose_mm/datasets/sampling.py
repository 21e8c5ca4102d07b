# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Checks and draws that the distributions of pairs share."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor


def check_range(name: str, value: tuple[float, float], positive: bool = False) -> None:
    """Raise ValueError unless ``value`` is a finite range, of positive numbers where asked."""
    low, high = value
    if not (math.isfinite(low) and math.isfinite(high) and low <= high) or (positive and low <= 0):
        raise ValueError(f'{name} takes (low, high) with low <= high{", both positive" * positive}, got {value}')


def check_fraction(name: str, value: float, high: float = 1.0) -> None:
    """Raise ValueError unless ``value`` lies in 0 … ``high``."""
    if not 0 <= value <= high:
        raise ValueError(f'{name} takes 0 … {high}, got {value}')


def uniform(shape, low_high, generator: Generator) -> Tensor:
    """Draw a tensor of this shape between the two numbers."""
    low, high = low_high
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low
