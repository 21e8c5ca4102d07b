# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Where the keypoints of COCO-17 are among those of other detectors."""

from __future__ import annotations

import numpy as np

from ...geometry import COCO_17

# OpenPose's models in the order of its POSE_BODY_PART_MAPPING (src/openpose/pose/poseParameters.cpp), by the number of
# their keypoints. The head of MPI is its top, which COCO-17 does not have.
_LIMBS = ('RShoulder', 'RElbow', 'RWrist', 'LShoulder', 'LElbow', 'LWrist')
_LEGS = ('RHip', 'RKnee', 'RAnkle', 'LHip', 'LKnee', 'LAnkle')
_FACE = ('REye', 'LEye', 'REar', 'LEar')
_FEET = ('LBigToe', 'LSmallToe', 'LHeel', 'RBigToe', 'RSmallToe', 'RHeel')
_OPENPOSE = {
    25: ('Nose', 'Neck', *_LIMBS, 'MidHip', *_LEGS, *_FACE, *_FEET),  # BODY_25
    18: ('Nose', 'Neck', *_LIMBS, *_LEGS, *_FACE),  # COCO
    15: ('Head', 'Neck', *_LIMBS, *_LEGS, 'Chest'),  # MPI
}

#: Numbers of keypoints that OpenPose's models have.
OPENPOSE_COUNTS = tuple(_OPENPOSE)

#: Numbers of keypoints of sets that begin with COCO-17: itself, Halpe-26, COCO-WholeBody and Halpe-136.
COCO_FIRST_COUNTS = (17, 26, 133, 136)


def openpose_to_coco(keypoints: np.ndarray) -> np.ndarray:
    """OpenPose's keypoints as COCO-17, told by their number.

    Args:
        keypoints: ``(N, K, 3)`` x, y and score; K is 25 (BODY_25), 18 (COCO) or 15 (MPI).

    Returns:
        ``(N, 17, 3)``; all 0 for the keypoints that the model lacks: those of the face in MPI.
    """
    parts = _OPENPOSE[keypoints.shape[1]]
    found = np.zeros((len(keypoints), COCO_17.num_keypoints, 3))
    for joint, name in enumerate(COCO_17.joint_names):
        part = _openpose_part(name)
        if part in parts:
            found[:, joint] = keypoints[:, parts.index(part)]
    return found


def _openpose_part(joint_name: str) -> str:
    """``'LShoulder'`` of ``'left_shoulder'``."""
    side, _, part = joint_name.rpartition('_')
    return side[:1].upper() + part.capitalize()
