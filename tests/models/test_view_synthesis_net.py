# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from mmpose.registry import MODELS

import stereopose_mm  # noqa: F401


def build(**arguments):
    torch.manual_seed(0)
    return MODELS.build(dict(type='ViewSynthesisNet', width=16, num_blocks=1) | arguments)


def test_appends_the_right_view():
    net = build()
    net.eval()
    x = torch.rand(5, 52, 1)
    (out,) = net(x)
    assert out.shape == (5, 52 + 34, 1) and net.out_channels == 86
    assert torch.equal(out[:, :52], x)
    torch.testing.assert_close(out[:, 52:, 0], net.net(x[..., 0]))
    assert torch.equal(net(x[..., 0])[0], out)


def test_left_out_it_is_the_monocular_baseline():
    net = build(synthesize=False)
    x = torch.rand(5, 52, 1)
    (out,) = net(x)
    assert torch.equal(out, x) and net.out_channels == 52
    assert list(net.parameters()) == []


def test_other_skeletons_and_inputs():
    net = build(in_channels=42, num_keypoints=21)
    assert net(torch.rand(3, 42, 1))[0].shape == (3, 84, 1) and net.out_channels == 84
    assert net.causal


@pytest.mark.parametrize('shape', [(5, 51, 1), (5, 52, 2), (52,), (5, 51)])
def test_wrong_input(shape):
    with pytest.raises(ValueError, match=r'ViewSynthesisNet takes \(B, 52, 1\), got'):
        build()(torch.rand(shape))


@pytest.mark.parametrize(('skeleton', 'num_bones'), [('h36m', 16), ('coco', 18)])
@pytest.mark.parametrize('synthesize', [True, False])
def test_bone_lengths_stand_between_the_views(skeleton, num_bones, synthesize):
    net = build(bone_lengths=skeleton, synthesize=synthesize)
    net.eval()
    x = torch.rand(5, 52, 1)
    (out,) = net(x)
    assert net.left_channels == 52 + 2 * num_bones
    assert out.shape == (5, net.out_channels, 1) and net.out_channels == net.left_channels + 34 * synthesize
    assert torch.equal(out[:, :52], x)
    assert torch.equal(out[:, 52 : net.left_channels, 0], net.bone_lengths(x[..., 0]))
    if synthesize:
        torch.testing.assert_close(out[:, net.left_channels :, 0], net.net(out[:, : net.left_channels, 0]))


def test_disparity_is_added_to_the_left_view():
    plain, net = build(), build(disparity=True)
    plain.eval()
    net.eval()
    net.load_state_dict(plain.state_dict())
    x = torch.randn(5, 52, 1)
    (left_and_right,), (expected,) = net(x), plain(x)
    torch.testing.assert_close(left_and_right[:, 52:], expected[:, 52:] + x[:, :34])
    assert torch.equal(left_and_right[:, :52], x)
    # Where the network knows nothing the second camera sees what the first does.
    torch.nn.init.zeros_(net.net.output.weight)
    torch.nn.init.zeros_(net.net.output.bias)
    assert torch.equal(net(x)[0][:, 52:], x[:, :34])
