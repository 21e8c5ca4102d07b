# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Pure, batched functions on tensors: cameras, virtual views, the depth search, skeletons, alignment."""

from .alignment import mpjpe, mrpe, n_mpjpe, p_mpjpe, procrustes_align, root_relative
from .camera import CAMERA_FIELDS, DEFAULT_FOV_DEG, Camera
from .depth_search import back_project, search_objective, search_root_depth
from .errors import auc, bone_length_error, mpjve, mrpe_axis, pck
from .pose_sequence import PoseSequence
from .skeletons import (
    COCO_17,
    H36M_17,
    H36M_COCO,
    MPI_INF_3DHP_17,
    SKELETONS,
    Skeleton,
    body_skeleton,
    get_skeleton,
    map_scores,
    mapping_matrix,
    to_h36m_mapping,
)
from .virtual_view import (
    MIN_SCALE,
    VirtualView,
    from_virtual_view,
    right_view,
    root_centring_rotation,
    rotate_points,
    rotate_rays,
    to_virtual_view,
)

__all__ = [
    'CAMERA_FIELDS',
    'COCO_17',
    'Camera',
    'DEFAULT_FOV_DEG',
    'H36M_17',
    'H36M_COCO',
    'MIN_SCALE',
    'MPI_INF_3DHP_17',
    'PoseSequence',
    'SKELETONS',
    'Skeleton',
    'VirtualView',
    'auc',
    'back_project',
    'body_skeleton',
    'bone_length_error',
    'from_virtual_view',
    'get_skeleton',
    'map_scores',
    'mapping_matrix',
    'mpjpe',
    'mpjve',
    'mrpe',
    'mrpe_axis',
    'n_mpjpe',
    'p_mpjpe',
    'pck',
    'procrustes_align',
    'right_view',
    'root_centring_rotation',
    'root_relative',
    'rotate_points',
    'rotate_rays',
    'search_objective',
    'search_root_depth',
    'to_h36m_mapping',
    'to_virtual_view',
]
