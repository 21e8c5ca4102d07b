# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""MMPose turns the keypoints of every 2D model into Human3.6M's before it calls a lifter.

`convert_keypoint_definition`, in its inferencer and its demo, knows no lifter of COCO-17. One is given pelvis, thorax,
spine and head, made of COCO's hips, shoulders and eyes, and would take them for nose, eyes and ears.
"""

from __future__ import annotations

import numpy as np

# COCO-17 -> H36M-17 of the keypoints that the conversion only moves: all but eyes and ears.
_COCO = (0, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
_H36M = (9, 11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3)
# Made by it: pelvis, thorax and spine, each the middle of two others.
_MADE, _FIRST, _SECOND = (0, 8, 7), (1, 11, 0), (4, 14, 8)
# Of the pose's size: what moving and scaling of the pose leaves of exact middles in single precision.
_TOLERANCE = 1e-4


def coco_of_converted(keypoints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COCO-17 keypoints again, where MMPose has converted them; others as they are.

    Converted ones are known by three keypoints that lie exactly half-way between others, which no detector's do.

    Args:
        keypoints: ``(N, 17, 2)`` pixels.
        visible: ``(N, 17)``.

    Returns:
        ``(N, 17, 2)`` and ``(N, 17)``; of converted poses, eyes and ears are missing.
    """
    middle = (keypoints[:, _FIRST] + keypoints[:, _SECOND]) / 2
    size = np.ptp(keypoints, axis=1).max(-1)
    converted = (np.abs(keypoints[:, _MADE] - middle).max((1, 2)) <= _TOLERANCE * size) & (size > 0)
    back, seen = np.zeros_like(keypoints), np.zeros_like(visible)
    back[:, _COCO], seen[:, _COCO] = keypoints[:, _H36M], visible[:, _H36M]
    return np.where(converted[:, None, None], back, keypoints), np.where(converted[:, None], seen, visible)
