# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from mmpose.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class DepthUncertaintyLoss(nn.Module):
    r"""Heteroscedastic loss: the negative log-likelihood of the depth errors under the deviations that are told.

    .. math:: \frac{|z - \hat z|}{b} + \log b \quad (laplace), \qquad
              \frac{(z - \hat z)^2}{2 \sigma^2} + \log \sigma \quad (gaussian)

    Source: Kendall and Gal, "What Uncertainties Do We Need in Bayesian Deep Learning for Computer Vision?", NIPS 2017.

    Args:
        distribution: ``'laplace'`` or ``'gaussian'``.
        detach: Whether errors count as given: the deviations are learnt and the pose does not heed this loss.
        loss_weight: Factor.

    Raises:
        ValueError: For an unknown distribution.
    """

    def __init__(self, distribution: str = 'laplace', detach: bool = True, loss_weight: float = 1.0):
        super().__init__()
        if distribution not in ('laplace', 'gaussian'):
            raise ValueError(f"distribution takes 'laplace' or 'gaussian', got {distribution!r}")
        self.distribution, self.detach, self.loss_weight = distribution, detach, loss_weight

    def forward(self, log_deviation: Tensor, depth: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Loss of B poses.

        Args:
            log_deviation: ``(B, J)`` logarithm of the deviation of each depth.
            depth: ``(B, J)``.
            target: ``(B, J)``, in the unit of ``depth``.
            weight: ``(B, J)``, 0 where the target is not known.

        Returns:
            The weighted mean, a scalar.
        """
        error = (depth.detach() if self.detach else depth) - target
        scaled = error.abs() * (-log_deviation).exp()
        likelihood = (scaled if self.distribution == 'laplace' else 0.5 * scaled.square()) + log_deviation
        return self.loss_weight * (likelihood * weight).sum() / weight.sum().clamp(min=1)
