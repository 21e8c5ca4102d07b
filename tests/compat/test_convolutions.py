# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from mmpose.registry import MODELS
from torch import nn

import stereopose_mm  # noqa: F401
from stereopose_mm.compat.convolutions import single_frames_as_linear


def test_a_temporal_network_on_one_frame_is_the_same_function():
    torch.manual_seed(0)
    net = MODELS.build(dict(type='mmpose.TCN', in_channels=34, stem_channels=16, num_blocks=2, kernel_sizes=(1, 1, 1)))
    net.eval()
    x = torch.randn(8, 34, 1, requires_grad=True)
    expected = net(x)[-1]
    (gradient,) = torch.autograd.grad(expected.square().sum(), x)
    with single_frames_as_linear():
        found = net(x)[-1]
        (found_gradient,) = torch.autograd.grad(found.square().sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found_gradient, gradient, rtol=1e-3, atol=1e-4)


OTHERS = (dict(kernel_size=3), dict(kernel_size=1, padding=1), dict(kernel_size=1, groups=2))


@pytest.mark.parametrize('options', OTHERS)
@pytest.mark.parametrize('frames', [1, 5])
def test_other_convolutions_are_left_alone(options, frames):
    convolution = nn.Conv1d(4, 6, **options)
    x = torch.randn(2, 4, frames if options['kernel_size'] == 1 else frames + 2)
    expected = convolution(x)
    with single_frames_as_linear():
        assert torch.equal(convolution(x), expected)


def test_the_patch_ends_with_the_block():
    before = nn.Conv1d.forward
    with pytest.raises(KeyError), single_frames_as_linear():
        assert nn.Conv1d.forward is not before
        raise KeyError
    assert nn.Conv1d.forward is before
