# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from .mocap_dataset import MocapDataset, collate_packed, h36m_metainfo, load_mocap
from .pair_synthesis import CameraDistribution, DetectorNoise, PairBatch, PoseAugmentation, Proportions, make_pairs

__all__ = [
    'CameraDistribution',
    'DetectorNoise',
    'MocapDataset',
    'PairBatch',
    'PoseAugmentation',
    'Proportions',
    'collate_packed',
    'h36m_metainfo',
    'load_mocap',
    'make_pairs',
]
