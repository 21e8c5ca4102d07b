# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from mmpose.models.backbones.base_backbone import BaseBackbone
from mmpose.registry import MODELS
from torch import Tensor

from ..geometry import get_skeleton
from .layers import BoneLengths, ResidualMLP


@MODELS.register_module()
class ViewSynthesisNet(BaseBackbone):
    """View synthesis subnetwork: the left view's 2D pose to the right view's.

    Source: Wang et al., "Generalizing Monocular 3D Human Pose Estimation in the Wild", ICCVW 2019.

    Note:
        - batch size: B
        - input channels: C, see :class:`StereoPoseLifting`
        - keypoint number: K

    Args:
        in_channels: C.
        num_keypoints: K.
        width: Size of the hidden layers.
        num_blocks: Number of residual blocks.
        dropout: Probability of dropout.
        max_norm: Norm that each output's weights are kept within while training. Default: none.
        bone_lengths: Name of the keypoint set, ``'h36m'`` or ``'coco'``, for both subnetworks to be told how long each
            bone is seen (:class:`BoneLengths`); takes the codec's ``'ray'`` view. ``None`` gives the keypoints only.
        disparity: Whether the network tells the right view's difference from the left one, whose keypoints come first.
        flip_test: In evaluation, also give the views of the mirrored pose, for :class:`StereoLifter` to average over
            both; takes ``bone_lengths``.
        synthesize: ``False`` leaves the right view out, which makes the lifter a monocular baseline.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        in_channels: int = 52,
        num_keypoints: int = 17,
        width: int = 512,
        num_blocks: int = 2,
        dropout: float = 0.0,
        max_norm: float | None = None,
        bone_lengths: str | None = None,
        disparity: bool = False,
        flip_test: bool = False,
        synthesize: bool = True,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        self.in_channels, self.num_keypoints = in_channels, num_keypoints
        self.disparity, self.flip_test, self.synthesize = disparity, flip_test, synthesize
        self.bone_lengths = None if bone_lengths is None else BoneLengths(bone_lengths)
        if flip_test:
            if bone_lengths is None:
                raise ValueError('flip_test takes bone_lengths, which names the keypoint set')
            self.register_buffer('mirror', torch.tensor(get_skeleton(bone_lengths).flip_indices), persistent=False)
        self.left_channels = in_channels + (0 if bone_lengths is None else self.bone_lengths.num_features)
        if synthesize:
            self.net = ResidualMLP(self.left_channels, 2 * num_keypoints, width, num_blocks, dropout, max_norm)

    @property
    def causal(self) -> bool:
        """A single frame has no future: MMPose's demos ask."""
        return True

    @property
    def out_channels(self) -> int:
        """Channels of the output: C, the bones' lengths, and 2K for the right view."""
        return self.left_channels + 2 * self.num_keypoints * self.synthesize

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Append the synthesised right view to the left view.

        Args:
            x: ``(B, C, 1)``, as MMPose's pose lifters pass it, or ``(B, C)``.

        Returns:
            One ``(B, C + 2K, 1)`` tensor: left ⊕ right; ``(B, C, 1)`` with ``synthesize=False``. With ``bone_lengths``
            these stand between the two. With ``flip_test``, in evaluation, the tensor of the mirrored pose comes before
            it.

        Raises:
            ValueError: If there are not C channels, or more than one frame.
        """
        if x.ndim == 3 and x.shape[-1] == 1:
            x = x[..., 0]
        if x.ndim != 2 or x.shape[1] != self.in_channels:
            raise ValueError(f'ViewSynthesisNet takes (B, {self.in_channels}, 1), got {tuple(x.shape)}')
        views = self.views(x)[..., None]
        if self.flip_test and not self.training:
            return self.views(self.mirrored(x))[..., None], views
        return (views,)

    def views(self, x: Tensor) -> Tensor:
        """Synthesise the right view.

        Args:
            x: ``(B, C)``.

        Returns:
            ``(B, C')``, left ⊕ right as :meth:`forward` describes it, whatever ``flip_test`` says.
        """
        if self.bone_lengths is not None:
            x = torch.cat([x, self.bone_lengths(x)], 1)
        if not self.synthesize:
            return x
        right = self.net(x)
        if self.disparity:
            right = right + x[:, : 2 * self.num_keypoints]
        return torch.cat([x, right], 1)

    def mirrored(self, x: Tensor) -> Tensor:
        """The left view of the mirrored pose; takes ``flip_test``.

        Args:
            x: ``(B, C)``.

        Returns:
            ``(B, C)``.
        """
        k = self.num_keypoints
        points = x[:, : 2 * k].unflatten(-1, (k, 2))[:, self.mirror] * x.new_tensor([-1.0, 1.0])
        return torch.cat([points.flatten(1), x[:, 2 * k : 3 * k][:, self.mirror], x[:, 3 * k :]], 1)
