# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""A data set of made-up records, for what all data sets share."""

import numpy as np
import torch
from mmpose.registry import DATASETS

from stereopose_mm.datasets import PoseRecords, RecordedDataset
from stereopose_mm.geometry import Camera

from .conftest import STANDING

CAMERAS = [
    dict(f=np.array([[1145.0], [1144.0]]), c=np.array([[512.0], [515.0]]), w=1000, h=1002),
    dict(
        f=np.array([[1145.0], [1143.8]]), c=np.array([[512.5], [515.5]]), w=1000, h=1002, id='54138969',
        k=np.array([[-0.207], [0.248], [-0.003]]), p=np.array([[-0.0014], [-0.001]]),
    ),
]  # fmt: skip


def make_records(num=10, seed=0, noise=0.03):
    """People before two cameras, one with Human3.6M's lens, and their exact 2D."""
    rng = np.random.default_rng(seed)
    body = (STANDING + rng.normal(size=(num, 17, 3)) * noise) * [1, -1, 1]
    pose = body + np.stack([rng.uniform(-1, 1, num), rng.uniform(-0.5, 0.5, num), rng.uniform(4, 6, num)], -1)[:, None]
    which = rng.integers(0, 2, num)
    camera = Camera.stack([Camera.from_mmpose(c) for c in CAMERAS])[which]
    return PoseRecords(
        keypoints=camera.project(torch.from_numpy(pose)).numpy(),
        keypoints_visible=np.ones((num, 17), np.float32),
        pose_cam=pose,
        pose_visible=np.ones((num, 17), np.float32),
        camera_params=CAMERAS,
        camera_index=which,
        img_path=np.array([f'images/{i:06d}.jpg' for i in range(num)]),
        meta=dict(subject=np.array([f'S{i % 3}' for i in range(num)]), frame=np.arange(num)),
    )


# What a config calls 'CHANGE'; a test puts its own here.
CHANGE = None


@DATASETS.register_module()
class MadeDataset(RecordedDataset):
    """Records of :func:`make_records`, changed."""

    def __init__(self, num=10, seed=0, noise=0.03, change=None, **kwargs):
        self.made = make_records(num, seed, noise)
        change = CHANGE if change == 'CHANGE' else change
        if change is not None:
            change(self.made)
        super().__init__(**kwargs)

    def _load(self):
        self.made.check('made')
        return self.made
