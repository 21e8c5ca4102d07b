# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from .detector_noise import DetectorNoise, imitate_detector
from .mocap_dataset import MocapDataset, collate_packed, h36m_metainfo, load_mocap
from .pair_synthesis import CameraDistribution, PairBatch, Proportions, make_pairs
from .pose_augmentation import PoseAugmentation, augment_poses

__all__ = [
    'CameraDistribution',
    'DetectorNoise',
    'MocapDataset',
    'PairBatch',
    'PoseAugmentation',
    'Proportions',
    'augment_poses',
    'collate_packed',
    'h36m_metainfo',
    'imitate_detector',
    'load_mocap',
    'make_pairs',
]
