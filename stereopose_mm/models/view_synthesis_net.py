# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from mmpose.models.backbones.base_backbone import BaseBackbone
from mmpose.registry import MODELS
from torch import Tensor

from .layers import ResidualMLP


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
        synthesize: bool = True,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        self.in_channels, self.num_keypoints, self.synthesize = in_channels, num_keypoints, synthesize
        if synthesize:
            self.net = ResidualMLP(in_channels, 2 * num_keypoints, width, num_blocks, dropout, max_norm)

    @property
    def causal(self) -> bool:
        """A single frame has no future: MMPose's demos ask."""
        return True

    @property
    def out_channels(self) -> int:
        """Channels of the output: C, and 2K more for the right view."""
        return self.in_channels + 2 * self.num_keypoints * self.synthesize

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Append the synthesised right view to the left view.

        Args:
            x: ``(B, C, 1)``, as MMPose's pose lifters pass it, or ``(B, C)``.

        Returns:
            One ``(B, C + 2K, 1)`` tensor: left ⊕ right; ``(B, C, 1)`` with ``synthesize=False``.

        Raises:
            ValueError: If there are not C channels, or more than one frame.
        """
        if x.ndim == 3 and x.shape[-1] == 1:
            x = x[..., 0]
        if x.ndim != 2 or x.shape[1] != self.in_channels:
            raise ValueError(f'ViewSynthesisNet takes (B, {self.in_channels}, 1), got {tuple(x.shape)}')
        if self.synthesize:
            x = torch.cat([x, self.net(x)], 1)
        return (x[..., None],)
