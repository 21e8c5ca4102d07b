# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from mmengine.structures import InstanceData
from mmpose.models.heads.base_head import BaseHead
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import Tensor

from ..geometry import H36M_17, body_skeleton
from .layers import ResidualMLP

_LABELS_FOR_PREDICTION = ('rays', 'view_rotation', 'focal', 'search_weight', 'target_root')
_NUM_BODY_JOINTS = H36M_17.num_keypoints


@MODELS.register_module()
class StereoLifter(BaseHead):
    """3D pose reconstruction subnetwork: left ⊕ right to coarse root-relative 3D, then the geometric search.

    Source: Wang et al., "Generalizing Monocular 3D Human Pose Estimation in the Wild", ICCVW 2019.

    Note:
        - batch size: B
        - keypoint number: K
        - joint number: J (K, or 34 for COCO-17: the joints of H36M-17, then COCO's)
        - instances in all data samples: N (equal to B)

    Args:
        in_channels: Channels that :class:`ViewSynthesisNet` gives: left view, and 2K for the right view.
        num_joints: J.
        num_keypoints: K. Default: J.
        width: Size of the hidden layers.
        num_blocks: Number of residual blocks.
        dropout: Probability of dropout.
        max_norm: Norm that each output's weights are kept within while training. Default: none.
        loss: Config of the loss on the 3D pose.
        loss_view: Config of the loss on the synthesised right view; ``None`` for the monocular baseline.
        loss_uncertainty: Config of the loss that the joints' depth uncertainties are learnt with, for example
            :class:`DepthUncertaintyLoss`; ``None`` for a lifter without them.
        decoder: Config of the codec, :class:`StereoPoseLifting`.
        search: Config of :class:`GeometricSearch`, or ``None`` to keep the coarse pose.
        init_cfg: MMEngine's initialisation config.
    """

    _version = 2

    def __init__(
        self,
        in_channels: int = 86,
        num_joints: int = 17,
        num_keypoints: int | None = None,
        width: int = 512,
        num_blocks: int = 2,
        dropout: float = 0.0,
        max_norm: float | None = None,
        loss: dict | None = None,
        loss_view: dict | None = None,
        loss_uncertainty: dict | None = None,
        decoder: dict | None = None,
        search: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        self.in_channels, self.num_joints, self.num_keypoints = in_channels, num_joints, num_keypoints or num_joints
        outputs = (3 + (loss_uncertainty is not None)) * num_joints
        self.net = ResidualMLP(in_channels, outputs, width, num_blocks, dropout, max_norm)
        self.loss_module = MODELS.build(loss or dict(type='MPJPELoss', use_target_weight=True))
        self.loss_view = None if loss_view is None else MODELS.build(loss_view)
        self.decoder = None if decoder is None else KEYPOINT_CODECS.build(decoder)
        self.loss_uncertainty = None if loss_uncertainty is None else MODELS.build(loss_uncertainty)
        if self.loss_uncertainty is not None:
            if self.decoder is not None and self.decoder.view == 'pixel':
                raise ValueError("loss_uncertainty takes a decoder whose targets are metres, got view='pixel'")
            # From the network's output to standard deviations that hold on poses never seen; fitted after training.
            self.register_buffer('uncertainty_scale', torch.ones(()))
        self.search = None if search is None else MODELS.build(search)

    def forward(self, feats: tuple[Tensor]) -> Tensor:
        """Reconstruct the coarse pose.

        Args:
            feats: The backbone's output, last entry ``(B, in_channels, 1)``.

        Returns:
            ``(B, J, 3)`` in the codec's target frame and unit.
        """
        return self.forward_uncertain(feats)[0]

    def forward_uncertain(self, feats: tuple[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Reconstruct the coarse pose and tell how far its depths can be trusted.

        Args:
            feats: The backbone's output, last entry ``(B, in_channels, 1)``; if there is one before it, that of the
                mirrored pose, the result is the mean of both.

        Returns:
            ``(B, J, 3)`` in the codec's target frame and unit, and the ``(B, J)`` standard deviations of the joints'
            depths relative to the root's, in the same unit; ``None`` for a lifter without uncertainties.
        """
        pose, log_deviation = self._outputs(feats[-1])
        if len(feats) > 1:
            mirrored, log_mirrored = self._outputs(feats[0])
            flip = list(body_skeleton(self.num_joints).flip_indices)
            pose = 0.5 * (pose + mirrored[:, flip] * pose.new_tensor([-1.0, 1.0, 1.0]))
            if log_deviation is not None:
                log_deviation = 0.5 * (log_deviation + log_mirrored[:, flip])
        return pose, None if log_deviation is None else log_deviation.exp() * self.uncertainty_scale

    def _outputs(self, views: Tensor) -> tuple[Tensor, Tensor | None]:
        """``(B, J, 3)`` pose and the ``(B, J)`` logarithm of its depths' deviation as trained."""
        outputs = self.net(views.flatten(1))
        pose = outputs[:, : 3 * self.num_joints].unflatten(-1, (self.num_joints, 3))
        if self.loss_uncertainty is None:
            return pose, None
        # A start at about the deviation that training ends with, and no pose more certain than a tenth of a millimetre.
        return pose, (outputs[:, 3 * self.num_joints :] - 3.0).clamp(-9.0, 2.0)

    def loss(self, feats: tuple[Tensor], batch_data_samples: list, train_cfg: dict | None = None) -> dict:
        """Losses of a batch.

        Args:
            feats: The backbone's output, last entry ``(B, in_channels, 1)``.
            batch_data_samples: Data samples with ``gt_instance_labels`` from the codec. One may hold many instances.
            train_cfg: Unused; MMPose passes it.

        Returns:
            ``loss_pose3d``, ``loss_view`` and ``loss_uncertainty`` if configured, and the metric ``mpjpe`` (target
            unit, no gradient).
        """
        pred, log_deviation = self._outputs(feats[-1])
        labels = {
            key: torch.cat([d.gt_instance_labels[key] for d in batch_data_samples])
            for key in ('lifting_target_label', 'lifting_target_weight', 'right_view_label', 'right_view_weight')
        }
        target, weight = labels['lifting_target_label'], labels['lifting_target_weight']
        losses = dict(loss_pose3d=self.loss_module(pred, target, weight[..., None]))
        if self.loss_view is not None:
            right = feats[-1][:, -2 * self.num_keypoints :].reshape(-1, self.num_keypoints, 2)
            losses['loss_view'] = self.loss_view(
                right, labels['right_view_label'], labels['right_view_weight'][..., None]
            )
        if self.loss_uncertainty is not None:
            losses['loss_uncertainty'] = self.loss_uncertainty(log_deviation, pred[..., 2], target[..., 2], weight)
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
            For each data sample with n instances, numpy arrays of the 3D skeleton's 17 joints: ``keypoints``
            ``(n, 17, 3)`` metres, as MMPose's evaluators expect them: relative to the root, put at the ground truth's
            root where there is one; ``keypoint_scores`` ``(n, 17)``; with uncertainties ``uncertainty`` ``(n, 17)``
            metres; and with a search ``keypoints_cam`` ``(n, 17, 3)`` metres, absolute, ``input_keypoints_cam``
            ``(n, K, 3)``, ``root_depth`` ``(n,)`` metres, ``reprojection_error`` ``(n,)`` pixels, ``search_residual``
            ``(n,)`` metres.

        Raises:
            RuntimeError: If the head has no decoder.
        """
        if self.decoder is None:
            raise RuntimeError('StereoLifter.predict needs a decoder: set `decoder` in its config')
        if isinstance(feats, list):
            raise NotImplementedError(
                "StereoLifter does not support test_cfg.flip_test: MMPose's flip_coordinates takes (x, y) pairs only; "
                'set flip_test of ViewSynthesisNet'
            )
        sizes = [len(d.gt_instance_labels.rays) for d in batch_data_samples]
        labels = {
            key: torch.cat([d.gt_instance_labels[key] for d in batch_data_samples]) for key in _LABELS_FOR_PREDICTION
        }
        pose, uncertainty = self.forward_uncertain(feats)
        relative = self.decoder.decode_batch(pose, labels['view_rotation'])
        fields = {} if uncertainty is None else dict(uncertainty=uncertainty[:, :_NUM_BODY_JOINTS])
        if self.search is not None:
            found = self.search(
                relative, labels['rays'], labels['search_weight'], labels['focal'], labels['view_rotation'], uncertainty
            )
            relative = relative[:, : found.keypoints_cam.shape[1]]
            # Evaluators count on a pose for each sample: where the search fails, the coarse one stands.
            searched = found.keypoints_cam - found.keypoints_cam[:, self.decoder.root_index, None]
            relative = torch.where(found.valid[:, None, None], searched, relative)
            fields |= {k: v for k, v in found._asdict().items() if k != 'valid'}
        relative = relative[:, :_NUM_BODY_JOINTS]
        fields['keypoints'] = relative + labels['target_root'][:, None]
        # COCO's scores are of its keypoints: of the joints it is not known how well each was seen.
        has_scores = self.num_keypoints == self.num_joints
        fields['keypoint_scores'] = labels['search_weight'] if has_scores else torch.ones_like(relative[..., 0])
        split = {key: value.detach().cpu().split(sizes) for key, value in fields.items()}
        return [InstanceData(**{key: values[i].numpy() for key, values in split.items()}) for i in range(len(sizes))]
