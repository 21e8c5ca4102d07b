# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from mmengine.structures import InstanceData
from mmpose.registry import KEYPOINT_CODECS, MODELS
from mmpose.structures import PoseDataSample

import stereopose_mm  # noqa: F401
from stereopose_mm.geometry import H36M_COCO, Camera

K = 17
CODEC = dict(type='StereoPoseLifting')


@pytest.fixture
def build_lifter():
    """Build a small stereo lifter from its config; keyword arguments override the head's."""

    def build(seed=0, backbone=None, keypoint_set='h36m', **head):
        torch.manual_seed(seed)
        if keypoint_set == 'coco':
            head = dict(num_joints=2 * K, num_keypoints=K, decoder=dict(CODEC, keypoint_set='coco')) | head
        return MODELS.build(
            dict(
                type='PoseLifter',
                backbone=dict(type='ViewSynthesisNet', in_channels=52, width=32, num_blocks=1) | (backbone or {}),
                head=dict(
                    type='StereoLifter',
                    in_channels=86,
                    width=32,
                    num_blocks=1,
                    loss=dict(type='MPJPELoss', use_target_weight=True),
                    loss_view=dict(type='MPJPELoss', use_target_weight=True),
                    decoder=CODEC,
                    search=dict(type='GeometricSearch'),
                )
                | head,
            )
        )

    return build


@pytest.fixture
def make_batch():
    """Encoded random poses: inputs ``(B, 52, 1)`` and data samples with the given numbers of instances."""

    def make(sizes, seed=0, with_target=True, keypoint_set='h36m'):
        num = sum(sizes)
        g = torch.Generator().manual_seed(seed)
        body = torch.randn(num, K, 3, generator=g) * torch.tensor([0.3, 0.5, 0.3])
        body[:, 0] = 0
        z = 4 + 4 * torch.rand(num, generator=g)
        pose = body + torch.stack([torch.zeros(num), torch.zeros(num), z], -1)[:, None]
        if keypoint_set == 'coco':
            offset = 0.05 * torch.randn(num, K, 3, generator=g)
            pose = torch.cat([pose, pose[:, list(H36M_COCO.parents[K:])] + offset], 1)
        camera = Camera(1200.0, 1200.0, 960.0, 540.0, 1920.0, 1080.0)
        codec = KEYPOINT_CODECS.build(dict(CODEC, keypoint_set=keypoint_set))
        encoded = codec.encode_batch(camera.project(pose[:, -K:]), None, camera, pose)
        inputs = encoded.pop('inputs')[..., None]
        if not with_target:
            encoded['target_root'] = torch.zeros_like(encoded['target_root'])
        samples, start = [], 0
        for size in sizes:
            part = slice(start, start + size)
            sample = PoseDataSample(metainfo=dict(target_img_path=['S9_Walking_1.54138969_000001.jpg']))
            sample.gt_instances = InstanceData(
                lifting_target=pose[part, :K].numpy(), lifting_target_visible=torch.ones(size, K).numpy()
            )
            sample.gt_instance_labels = InstanceData(**{key: value[part] for key, value in encoded.items()})
            samples.append(sample)
            start += size
        return inputs, samples, pose

    return make
