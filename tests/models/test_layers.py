# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from torch import nn

from stereopose_mm.geometry import COCO_17, H36M_17
from stereopose_mm.models import ResidualMLP, fold_batch_norm
from stereopose_mm.models.layers import BoneLengths, LinearUnit, MaxNormLinear

# What is measured in a picture: the bones, and in COCO's, whose tree has none, the lines across the body.
LINKS = {'h36m': list(H36M_17.bones), 'coco': [*COCO_17.bones, (11, 12), (5, 6)]}


def make_net(**arguments):
    torch.manual_seed(0)
    net = ResidualMLP(**(dict(in_channels=6, out_channels=4, width=16, num_blocks=2, dropout=0.2) | arguments))
    # Statistics and affine parameters other than those that batch norm starts with.
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 2)
    return net


def linear_layers(net):
    return [m for m in net.modules() if isinstance(m, MaxNormLinear)]


def test_shapes_and_size():
    net = make_net(num_blocks=3)
    assert net(torch.rand(5, 6)).shape == (5, 4)
    assert len(linear_layers(net)) == 1 + 2 * 3 + 1
    assert make_net(num_blocks=0)(torch.rand(5, 6)).shape == (5, 4)


def test_blocks_are_residual():
    net = make_net(num_blocks=1, dropout=0.0).eval()
    x = torch.rand(3, 6)
    without = net.output(net.stem(x))
    # A block whose last unit gives nothing is the identity.
    nn.init.zeros_(net.blocks[0][1][1].weight)
    nn.init.zeros_(net.blocks[0][1][1].bias)
    torch.testing.assert_close(net(x), without)


@pytest.mark.parametrize('dropout', [0.0, 0.5])
def test_every_parameter_is_trained(dropout):
    net = make_net(dropout=dropout)
    net(torch.randn(32, 6)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert net.stem[0].weight.grad.abs().sum() > 0 and net.output.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_folded_equals_unfolded(dtype):
    net = make_net().to(dtype).eval()
    x = torch.randn(50, 6, dtype=dtype)
    expected = net(x)
    folded = fold_batch_norm(copy.deepcopy(net))
    torch.testing.assert_close(folded(x), expected)
    assert not any(isinstance(m, nn.BatchNorm1d | nn.Dropout) for m in folded.modules())
    # Folding what is folded changes nothing more.
    torch.testing.assert_close(fold_batch_norm(folded)(x), expected)


def test_folding_needs_evaluation_mode():
    with pytest.raises(ValueError, match='evaluation mode'):
        fold_batch_norm(make_net().train())


def test_max_norm_is_held_while_training():
    net = make_net(max_norm=0.5).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for step in range(3):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        loss = (net(x) - 3).square().sum()
        for layer in linear_layers(net):
            assert layer.weight.norm(dim=1).max() <= 0.5 + 1e-5
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    free = make_net(max_norm=None).train()
    free(torch.randn(8, 6))
    assert max(layer.weight.norm(dim=1).max() for layer in linear_layers(free)) > 0.5


def test_max_norm_leaves_short_rows_alone():
    layer = MaxNormLinear(3, 2, max_norm=1.0)
    weight = torch.tensor([[0.3, 0.4, 0.0], [3.0, 4.0, 0.0]])
    layer.weight.data.copy_(weight)
    layer.eval()(torch.rand(2, 3))
    assert torch.equal(layer.weight, weight)
    layer.train()(torch.rand(2, 3))
    torch.testing.assert_close(layer.weight.data, torch.tensor([[0.3, 0.4, 0.0], [0.6, 0.8, 0.0]]), atol=1e-5, rtol=0)


def test_dropout_works_in_training_only():
    torch.manual_seed(0)
    unit = LinearUnit(4, 200, dropout=0.5, max_norm=None)
    x = torch.randn(50, 4)
    active = (unit.eval()(x) > 0).float().mean()
    trained = (unit.train()(x) > 0).float().mean()
    assert trained < 0.7 * active
    assert torch.equal(unit.eval()(x), unit(x))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(width=0), 'width takes a positive number, got 0'),
        (dict(in_channels=-1), 'in_channels'),
        (dict(out_channels=0), 'out_channels'),
        (dict(num_blocks=-1), 'num_blocks >= 0'),
        (dict(dropout=1.0), 'dropout < 1'),
        (dict(max_norm=0.0), 'max_norm takes a positive number or None, got 0.0'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_net(**arguments)


@pytest.mark.parametrize('skeleton', ['h36m', 'coco'])
def test_bone_lengths(skeleton):
    net, links = BoneLengths(skeleton), LINKS[skeleton]
    g = torch.Generator().manual_seed(0)
    points, scores = torch.randn(6, 17, 2, generator=g), torch.rand(6, 17, generator=g)
    found = net(torch.cat([points.flatten(1), scores, torch.full((6, 1), 1e3)], 1))
    assert found.shape == (6, net.num_features) and net.num_features == 2 * len(links)
    for i, (start, end) in enumerate(links):
        length = (points[:, start] - points[:, end]).norm(dim=-1)
        trust = scores[:, start] * scores[:, end]
        torch.testing.assert_close(found[:, i], length * trust, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(found[:, len(links) + i], (length + 0.05).log() * trust, rtol=1e-3, atol=1e-3)
    assert not net.state_dict(), 'nothing is learnt'


@pytest.mark.parametrize('skeleton', ['h36m', 'coco'])
def test_a_bone_with_a_missing_end_tells_nothing(skeleton):
    net, links = BoneLengths(skeleton), LINKS[skeleton]
    points, scores = torch.randn(2, 17, 2), torch.ones(2, 17)
    for missing in range(17):
        seen = scores.clone()
        seen[:, missing] = 0
        found = net(torch.cat([points.flatten(1), seen], 1)).view(2, 2, -1)
        touched = torch.tensor([missing in link for link in links])
        assert touched.any() and (found[..., touched] == 0).all() and (found[..., ~touched] != 0).all()


def test_a_bone_seen_end_on_has_a_gradient():
    x = torch.cat([torch.zeros(1, 34), torch.ones(1, 17)], 1).requires_grad_()
    found = BoneLengths()(x)
    assert found[:, :16].abs().max() < 2e-3
    found.sum().backward()
    assert found.isfinite().all() and x.grad.isfinite().all()


def test_bone_lengths_of_an_unknown_set():
    with pytest.raises(ValueError, match="unknown skeleton 'smpl'"):
        BoneLengths('smpl')
