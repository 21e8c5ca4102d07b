# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""matplotlib 3.10 dropped `FigureCanvasAgg.tostring_rgb`, by which MMPose's 3D visualiser reads its picture."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg


def apply() -> None:
    """Give the canvas its method back where it has none."""
    if not hasattr(FigureCanvasAgg, 'tostring_rgb'):
        FigureCanvasAgg.tostring_rgb = _tostring_rgb


def _tostring_rgb(self: FigureCanvasAgg) -> bytes:
    """The picture as R, G, B bytes, row by row."""
    return np.asarray(self.buffer_rgba())[..., :3].tobytes()
