# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from mmengine.structures import InstanceData
from mmpose.models.heads.base_head import BaseHead
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import Tensor

from .layers import ResidualMLP

_LABELS_FOR_PREDICTION = ('rays', 'view_rotation', 'focal', 'search_weight', 'target_root')


@MODELS.register_module()
class StereoLifter(BaseHead):
    """3D pose reconstruction subnetwork: left ⊕ right to coarse root-relative 3D, then the geometric search.

    Source: Wang et al., "Generalizing Monocular 3D Human Pose Estimation in the Wild", ICCVW 2019.

    Note:
        - batch size: B
        - keypoint number: K
        - instances in all data samples: N (equal to B)

    Args:
        in_channels: Channels that :class:`ViewSynthesisNet` gives: left view, and 2K for the right view.
        num_joints: K.
        width: Size of the hidden layers.
        num_blocks: Number of residual blocks.
        dropout: Probability of dropout.
        max_norm: Norm that each output's weights are kept within while training. Default: none.
        loss: Config of the loss on the 3D pose.
        loss_view: Config of the loss on the synthesised right view; ``None`` for the monocular baseline.
        decoder: Config of the codec, :class:`StereoPoseLifting`.
        search: Config of :class:`GeometricSearch`, or ``None`` to keep the coarse pose.
        init_cfg: MMEngine's initialisation config.
    """

    _version = 2

    def __init__(
        self,
        in_channels: int = 86,
        num_joints: int = 17,
        width: int = 512,
        num_blocks: int = 2,
        dropout: float = 0.0,
        max_norm: float | None = None,
        loss: dict | None = None,
        loss_view: dict | None = None,
        decoder: dict | None = None,
        search: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        self.in_channels, self.num_joints = in_channels, num_joints
        self.net = ResidualMLP(in_channels, 3 * num_joints, width, num_blocks, dropout, max_norm)
        self.loss_module = MODELS.build(loss or dict(type='MPJPELoss', use_target_weight=True))
        self.loss_view = None if loss_view is None else MODELS.build(loss_view)
        self.decoder = None if decoder is None else KEYPOINT_CODECS.build(decoder)
        self.search = None if search is None else MODELS.build(search)

    def forward(self, feats: tuple[Tensor]) -> Tensor:
        """Reconstruct the coarse pose.

        Args:
            feats: The backbone's output, last entry ``(B, in_channels, 1)``.

        Returns:
            ``(B, K, 3)`` in the codec's target frame and unit.
        """
        return self.net(feats[-1].flatten(1)).unflatten(-1, (self.num_joints, 3))

    def loss(self, feats: tuple[Tensor], batch_data_samples: list, train_cfg: dict | None = None) -> dict:
        """Losses of a batch.

        Args:
            feats: The backbone's output, last entry ``(B, in_channels, 1)``.
            batch_data_samples: Data samples with ``gt_instance_labels`` from the codec. One may hold many instances.
            train_cfg: Unused; MMPose passes it.

        Returns:
            ``loss_pose3d``, ``loss_view`` if configured, and the metric ``mpjpe`` (target unit, no gradient).
        """
        pred = self.forward(feats)
        labels = {
            key: torch.cat([d.gt_instance_labels[key] for d in batch_data_samples])
            for key in ('lifting_target_label', 'lifting_target_weight', 'right_view_label', 'right_view_weight')
        }
        target, weight = labels['lifting_target_label'], labels['lifting_target_weight']
        losses = dict(loss_pose3d=self.loss_module(pred, target, weight[..., None]))
        if self.loss_view is not None:
            right = feats[-1][:, -2 * self.num_joints :].reshape(-1, self.num_joints, 2)
            losses['loss_view'] = self.loss_view(
                right, labels['right_view_label'], labels['right_view_weight'][..., None]
            )
        with torch.no_grad():
            error = (pred - target).norm(dim=-1) * weight
            losses['mpjpe'] = error.sum() / weight.sum().clamp(min=1)
        return losses

    def predict(
        self, feats: tuple[Tensor] | list[tuple[Tensor]], batch_data_samples: list, test_cfg: dict | None = None
    ) -> list[InstanceData]:
        """Predict the poses of a batch.

        Args:
            feats: The backbone's output.
            batch_data_samples: Data samples with ``gt_instance_labels`` from the codec. One may hold many instances.
            test_cfg: Unused; MMPose passes it.

        Returns:
            For each data sample with n instances, numpy arrays: ``keypoints`` ``(n, K, 3)`` metres, as MMPose's
            evaluators expect them: relative to the root, put at the ground truth's root where there is one;
            ``keypoint_scores`` ``(n, K)``; and with a search ``keypoints_cam`` ``(n, K, 3)`` metres, absolute,
            ``root_depth`` ``(n,)`` metres, ``reprojection_error`` ``(n,)`` pixels, ``search_residual`` ``(n,)`` metres.

        Raises:
            RuntimeError: If the head has no decoder.
        """
        if self.decoder is None:
            raise RuntimeError('StereoLifter.predict needs a decoder: set `decoder` in its config')
        if isinstance(feats, list):
            raise NotImplementedError(
                "StereoLifter does not support test_cfg.flip_test: MMPose's flip_coordinates takes (x, y) pairs only"
            )
        sizes = [len(d.gt_instance_labels.rays) for d in batch_data_samples]
        labels = {
            key: torch.cat([d.gt_instance_labels[key] for d in batch_data_samples]) for key in _LABELS_FOR_PREDICTION
        }
        relative = self.decoder.decode_batch(self.forward(feats), labels['view_rotation'])
        fields = {}
        if self.search is not None:
            found = self.search(
                relative, labels['rays'], labels['search_weight'], labels['focal'], labels['view_rotation']
            )
            # Evaluators count on a pose for each sample: where the search fails, the coarse one stands.
            searched = found.keypoints_cam - found.keypoints_cam[:, self.decoder.root_index, None]
            relative = torch.where(found.valid[:, None, None], searched, relative)
            fields = {k: v for k, v in found._asdict().items() if k != 'valid'}
        fields['keypoints'] = relative + labels['target_root'][:, None]
        fields['keypoint_scores'] = labels['search_weight']
        split = {key: value.detach().cpu().split(sizes) for key, value in fields.items()}
        return [InstanceData(**{key: values[i].numpy() for key, values in split.items()}) for i in range(len(sizes))]
