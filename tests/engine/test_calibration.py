# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Laplace, Normal

from stereopose_mm.engine.calibration import COVERAGE, _fit_scale, error_ratios


def draw(distribution, num, seed=0):
    torch.manual_seed(seed)
    return distribution(torch.zeros(num, dtype=torch.float64), torch.ones(num, dtype=torch.float64)).sample()


def coverage(ratios, scale):
    """Shares of the errors within 1 and 1.96 of the scaled deviations."""
    return [(ratios / scale < width).double().mean().item() for width, _ in COVERAGE]


def test_the_shares_are_those_of_a_normal_distribution():
    for width, share in COVERAGE:
        assert 2 * Normal(0.0, 1.0).cdf(torch.tensor(width)).item() - 1 == pytest.approx(share, abs=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(0.15, 8))
def test_normal_errors_are_covered_as_stated(seed, factor):
    """Whatever factor the deviations told are wrong by."""
    ratios = draw(Normal, 50000, seed).abs() * factor
    scale = _fit_scale(ratios)
    assert scale == pytest.approx(factor, rel=0.03)
    for found, (_, share) in zip(coverage(ratios, scale), COVERAGE, strict=True):
        assert found == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize('factor', [0.3, 1.0, 4.0])
def test_laplace_errors_are_covered_within_five_points(factor):
    """Of another shape than the normal one, neither share can be met exactly: one is missed above, one below."""
    ratios = draw(Laplace, 100000).abs() * factor

    def missed(scale):
        return [found - share for found, (_, share) in zip(coverage(ratios, scale), COVERAGE, strict=True)]

    scale = _fit_scale(ratios)
    one, two = missed(scale)
    assert 0 < one < 0.05 and -0.05 < two < 0
    # No other factor does better.
    for other in (0.9, 1.1):
        assert sum(m**2 for m in missed(other * scale)) > one**2 + two**2


def test_errors_are_relative_to_the_root_and_in_deviations():
    target = torch.tensor([[5.0, 1.0, -1.0], [0.0, 2.0, 3.0]])
    depth = target + torch.tensor([[0.1, 0.1, -0.3], [0.0, -0.2, 0.5]])
    deviation = torch.tensor([[9.0, 0.1, 0.2], [9.0, 0.1, 0.5]])
    found = error_ratios(depth, target, deviation)
    torch.testing.assert_close(found, torch.tensor([[0.0, 2.0], [2.0, 1.0]]), rtol=1e-5, atol=1e-5)
    of_another = error_ratios(depth, target, deviation, root_index=1)
    torch.testing.assert_close(of_another, torch.tensor([[0.0, 2.0], [0.2 / 9, 1.4]]), rtol=1e-5, atol=1e-5)
