# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpose.registry import MODELS
from torch.distributions import Laplace, Normal

from stereopose_mm.models import DepthUncertaintyLoss


def build(**arguments):
    return MODELS.build(dict(type='DepthUncertaintyLoss', **arguments))


def randn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(['laplace', 'gaussian']), st.floats(0.01, 3))
def test_it_is_the_negative_log_likelihood(seed, distribution, loss_weight):
    log_deviation, depth, target = randn(seed, 3, 4, 17).unbind()
    weight = randn(seed + 1, 4, 17).abs()
    loss = build(distribution=distribution, loss_weight=loss_weight)(log_deviation, depth, target, weight)
    # Up to what does not depend on the deviation.
    if distribution == 'laplace':
        likelihood = Laplace(depth, log_deviation.exp()).log_prob(target) + math.log(2)
    else:
        likelihood = Normal(depth, log_deviation.exp()).log_prob(target) + math.log(2 * math.pi) / 2
    expected = -loss_weight * (likelihood * weight).sum() / weight.sum()
    torch.testing.assert_close(loss, expected)
    assert loss.ndim == 0


@pytest.mark.parametrize('distribution', ['laplace', 'gaussian'])
def test_it_is_least_at_the_mean_error(distribution):
    """A deviation for all: the mean absolute error, or the root mean square error."""
    error = 0.07 * randn(0, 200, 5)
    best = error.abs().mean() if distribution == 'laplace' else error.square().mean().sqrt()
    log_deviation = best.log().clone().requires_grad_()
    loss = build(distribution=distribution)
    arguments = error, torch.zeros_like(error), torch.ones_like(error)
    value = loss(log_deviation.expand(200, 5), *arguments)
    value.backward()
    assert abs(log_deviation.grad) < 1e-12
    for step in (-0.1, 0.1):
        assert loss((best.log() + step).expand(200, 5), *arguments) > value


@pytest.mark.parametrize('detach', [True, False])
def test_gradients(detach):
    log_deviation, depth = (t.requires_grad_() for t in randn(1, 2, 3, 17).unbind())
    loss = build(detach=detach)(log_deviation, depth, torch.zeros_like(depth), torch.ones_like(depth))
    loss.backward()
    assert log_deviation.grad.abs().min() > 0
    if detach:
        assert depth.grad is None
    else:
        expected = depth.detach().sign() / log_deviation.detach().exp() / depth.numel()
        torch.testing.assert_close(depth.grad, expected)


def test_what_is_not_known_does_not_count():
    log_deviation, depth, target = randn(2, 3, 4, 17).unbind()
    weight = torch.ones_like(depth)
    weight[:, 3] = 0
    kept = [k for k in range(17) if k != 3]
    loss = build()
    value = loss(log_deviation, depth, target, weight)
    torch.testing.assert_close(value, loss(*(t[:, kept] for t in (log_deviation, depth, target, weight))))
    target[:, 3], log_deviation[:, 3] = 1e6, 2.0
    torch.testing.assert_close(loss(log_deviation, depth, target, weight), value)
    assert loss(log_deviation, depth, target, torch.zeros_like(weight)) == 0


def test_bad_distribution():
    with pytest.raises(ValueError, match="distribution takes 'laplace' or 'gaussian', got 'cauchy'"):
        DepthUncertaintyLoss('cauchy')
