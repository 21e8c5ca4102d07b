# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The layers that both subnetworks are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..geometry import get_skeleton


class MaxNormLinear(nn.Linear):
    """Linear layer whose weight rows are kept within a Euclidean norm while training.

    Source: the max-norm constraint of Martinez et al., "A simple yet effective baseline for 3d human pose estimation",
    ICCV 2017.

    Args:
        in_features: Input size.
        out_features: Output size.
        max_norm: Largest norm of an output's weights, or ``None`` for no constraint.
    """

    def __init__(self, in_features: int, out_features: int, max_norm: float | None = None):
        super().__init__(in_features, out_features)
        if max_norm is not None and max_norm <= 0:
            raise ValueError(f'max_norm takes a positive number or None, got {max_norm}')
        self.max_norm = max_norm
        nn.init.kaiming_normal_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in_features)`` to ``(N, out_features)``."""
        if self.training and self.max_norm is not None:
            with torch.no_grad():
                self.weight.renorm_(p=2, dim=0, maxnorm=self.max_norm)
        return super().forward(x)


class LinearUnit(nn.Sequential):
    """Linear, batch normalisation, ReLU, dropout: one step of Martinez et al. (ICCV 2017)."""

    def __init__(self, in_features: int, out_features: int, dropout: float, max_norm: float | None):
        super().__init__(
            MaxNormLinear(in_features, out_features, max_norm),
            nn.BatchNorm1d(out_features),
            nn.ReLU(inplace=True),
            # Not in place: the gradient of ReLU needs its output.
            nn.Dropout(dropout),
        )


class ResidualMLP(nn.Module):
    """Linear stem, residual blocks of two linear units, linear output.

    Source: the network of Martinez et al. (ICCV 2017), which Wang et al. (ICCVW 2019) use for both subnetworks.

    Args:
        in_channels: Input size.
        out_channels: Output size.
        width: Size of the hidden layers.
        num_blocks: Number of residual blocks.
        dropout: Probability of dropout after each unit.
        max_norm: See :class:`MaxNormLinear`.

    Raises:
        ValueError: If a size is not positive or dropout is not in [0, 1).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 1024,
        num_blocks: int = 2,
        dropout: float = 0.5,
        max_norm: float | None = None,
    ):
        super().__init__()
        for name, value in dict(in_channels=in_channels, out_channels=out_channels, width=width).items():
            if value <= 0:
                raise ValueError(f'{name} takes a positive number, got {value}')
        if num_blocks < 0 or not 0 <= dropout < 1:
            raise ValueError(f'takes num_blocks >= 0 and 0 <= dropout < 1, got {num_blocks} and {dropout}')
        self.stem = LinearUnit(in_channels, width, dropout, max_norm)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(LinearUnit(width, width, dropout, max_norm) for _ in range(2))) for _ in range(num_blocks)
        )
        self.output = MaxNormLinear(width, out_channels, max_norm)
        # A start at zero output trains faster than one at the variance of a Kaiming layer, which is for ReLU.
        nn.init.xavier_normal_(self.output.weight, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in_channels)`` to ``(N, out_channels)``."""
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.output(x)


class BoneLengths(nn.Module):
    """How long each bone is seen: what tells, with its true length, how far it leads out of the picture's plane.

    A network of linear layers and ReLU finds lengths of 2D vectors only roughly and at the cost of many units.

    Note:
        - keypoint number: K
        - bone number: L

    Args:
        skeleton: Name of the keypoint set: ``'h36m'`` or ``'coco'``.
    """

    # Seen end on, a bone has no length, and its logarithm is as that of a twentieth of the body.
    _SHORTEST = 0.05

    def __init__(self, skeleton: str = 'h36m'):
        super().__init__()
        keypoints = get_skeleton(skeleton)
        links = list(keypoints.bones)
        if keypoints.root is None:
            # COCO's tree has no line across the hips or the shoulders.
            names = ('hip', 'shoulder')
            links += [(keypoints.index(f'left_{name}'), keypoints.index(f'right_{name}')) for name in names]
        self.num_keypoints, self.num_features = keypoints.num_keypoints, 2 * len(links)
        self.register_buffer('start', torch.tensor([a for a, _ in links]), persistent=False)
        self.register_buffer('end', torch.tensor([b for _, b in links]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Lengths of the bones.

        Args:
            x: ``(N, C)``: K x and y pairs, K scores, and anything else.

        Returns:
            ``(N, 2L)``: L lengths and L logarithms, each times both ends' scores.
        """
        k = self.num_keypoints
        points, scores = x[:, : 2 * k].unflatten(-1, (k, 2)), x[:, 2 * k : 3 * k]
        length = ((points[:, self.end] - points[:, self.start]).square().sum(-1) + 1e-6).sqrt()
        trust = scores[:, self.start] * scores[:, self.end]
        return torch.cat([length * trust, (length + self._SHORTEST).log() * trust], -1)


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold every :class:`LinearUnit`'s batch normalisation into its linear layer, in place, for inference.

    Args:
        module: A network in evaluation mode.

    Returns:
        The same network; its outputs are equal up to rounding.

    Raises:
        ValueError: If the network is in training mode, where batch statistics are not constants.
    """
    if module.training:
        raise ValueError('fold_batch_norm takes a network in evaluation mode: call .eval() first')
    for unit in [m for m in module.modules() if isinstance(m, LinearUnit)]:
        if isinstance(unit[1], nn.BatchNorm1d):
            unit[0] = torch.nn.utils.fuse_linear_bn_eval(unit[0], unit[1])
            unit[1] = nn.Identity()
            unit[3] = nn.Identity()
    return module
