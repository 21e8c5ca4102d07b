# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""COCO's keypoints out of those that MMPose has converted."""

import numpy as np
import pytest

from stereopose_mm.compat.keypoint_conversion import coco_of_converted


def detections(count=200):
    generator = np.random.default_rng(0)
    centre, size = generator.uniform(0, 2000, (count, 1, 2)), generator.uniform(20, 900, (count, 1, 1))
    return (centre + size * generator.normal(0, 0.3, (count, 17, 2))).astype(np.float32)


@pytest.mark.parametrize('moved', [False, True])
def test_converted_keypoints_come_back(moved):
    from mmpose.apis import convert_keypoint_definition

    coco, visible = detections(), np.ones((200, 17), np.float32)
    converted = convert_keypoint_definition(coco, 'coco', 'h36m')
    if moved:  # as MMPose moves and scales boxes
        converted, coco = (((k - 300) / 517 * 400 + np.array([528, 427])).astype(np.float32) for k in (converted, coco))
    back, seen = coco_of_converted(converted, visible)
    kept = [0, *range(5, 17)]
    np.testing.assert_allclose(back[:, kept], coco[:, kept], atol=1e-3)
    assert (seen[:, kept] == 1).all() and (seen[:, 1:5] == 0).all()


def test_others_stay():
    coco = detections()
    visible = np.random.default_rng(1).random((200, 17)).astype(np.float32)
    for keypoints in (coco, coco.round(), np.zeros_like(coco), coco[:0]):
        back, seen = coco_of_converted(keypoints, visible[: len(keypoints)])
        np.testing.assert_array_equal(back, keypoints)
        np.testing.assert_array_equal(seen, visible[: len(keypoints)])
