# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from .geometric_search import GeometricSearch, SearchResult
from .layers import ResidualMLP, fold_batch_norm
from .losses import DepthUncertaintyLoss
from .stereo_lifter import StereoLifter
from .view_synthesis_net import ViewSynthesisNet

__all__ = [
    'DepthUncertaintyLoss',
    'GeometricSearch',
    'ResidualMLP',
    'SearchResult',
    'StereoLifter',
    'ViewSynthesisNet',
    'fold_batch_norm',
]
