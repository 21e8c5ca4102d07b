# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from .detector_noise import MEASURED, DetectorNoise, imitate_detector
from .human36m_dataset import DAMAGED_CLIPS, H36M_ACTIONS, H36M_PROTOCOLS, StereoHuman36mDataset
from .lifting_dataset import LiftingBatch, LiftingDataset, collate_packed, h36m_metainfo
from .mixed_dataset import MixedLiftingDataset
from .mocap_dataset import MocapDataset, load_mocap
from .mpi_inf_3dhp_dataset import MpiInf3dhpDataset
from .pair_synthesis import CameraDistribution, PairBatch, Proportions, make_pairs
from .pose_augmentation import PoseAugmentation, augment_poses
from .recorded_dataset import PoseRecords, RecordedDataset
from .wild3d_dataset import Wild3dDataset

__all__ = [
    'DAMAGED_CLIPS',
    'H36M_ACTIONS',
    'H36M_PROTOCOLS',
    'CameraDistribution',
    'DetectorNoise',
    'LiftingBatch',
    'LiftingDataset',
    'MEASURED',
    'MixedLiftingDataset',
    'MocapDataset',
    'MpiInf3dhpDataset',
    'PairBatch',
    'PoseAugmentation',
    'PoseRecords',
    'Proportions',
    'RecordedDataset',
    'StereoHuman36mDataset',
    'Wild3dDataset',
    'augment_poses',
    'collate_packed',
    'h36m_metainfo',
    'imitate_detector',
    'load_mocap',
    'make_pairs',
]
