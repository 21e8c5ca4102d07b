# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from .detector_noise import DetectorNoise, imitate_detector
from .lifting_dataset import LiftingBatch, LiftingDataset, collate_packed, h36m_metainfo
from .mixed_dataset import MixedLiftingDataset
from .mocap_dataset import MocapDataset, load_mocap
from .pair_synthesis import CameraDistribution, PairBatch, Proportions, make_pairs
from .pose_augmentation import PoseAugmentation, augment_poses
from .recorded_dataset import PoseRecords, RecordedDataset

__all__ = [
    'CameraDistribution',
    'DetectorNoise',
    'LiftingBatch',
    'LiftingDataset',
    'MixedLiftingDataset',
    'MocapDataset',
    'PairBatch',
    'PoseAugmentation',
    'PoseRecords',
    'Proportions',
    'RecordedDataset',
    'augment_poses',
    'collate_packed',
    'h36m_metainfo',
    'imitate_detector',
    'load_mocap',
    'make_pairs',
]
