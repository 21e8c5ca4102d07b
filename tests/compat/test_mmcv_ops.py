# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The operators are called as MMDet and MMPose call them, through `mmcv.ops`."""

import importlib.util
import itertools
import sys

import mmcv
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.utils.dl_utils import mmcv_full_available
from torch.nn import functional as F

from stereopose_mm.compat import apply, mmcv_ops

apply()
from mmcv import ops  # noqa: E402

STAND_IN = isinstance(sys.modules['mmcv._ext'], mmcv_ops._Extension)
needs_stand_in = pytest.mark.skipif(not STAND_IN, reason='full mmcv is installed')


def random_boxes(seed, count, size=20.0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * size
    extent = torch.rand(count, 2, generator=generator) * size / 2
    scores = torch.rand(count, generator=generator)
    return torch.cat([corner, corner + extent], 1), scores


def overlap(a, b, offset):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    area_a, area_b = ((x[2] - x[0] + offset) * (x[3] - x[1] + offset) for x in (a, b))
    return width * height / (area_a + area_b - width * height)


def greedy_nms(boxes, scores, threshold, offset):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(overlap(boxes[i], boxes[j], offset) <= threshold for j in kept):
            kept.append(i)
    return kept


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 25), st.floats(0.05, 0.95), st.sampled_from([0, 1]))
def test_nms_is_greedy_suppression(seed, count, threshold, offset):
    boxes, scores = random_boxes(seed, count)
    dets, kept = ops.nms(boxes, scores, threshold, offset=offset)
    assert kept.tolist() == greedy_nms(boxes.tolist(), scores.tolist(), threshold, offset)
    torch.testing.assert_close(dets, torch.cat([boxes, scores[:, None]], 1)[kept])


def test_nms_offset_widens_the_boxes():
    # 1x2 against 2x2 with offset 0: overlap 1/2; with offset 1, 2x3 against 3x3: 2/3.
    boxes, scores = torch.tensor([[0.0, 0, 1, 2], [0, 0, 2, 2]]), torch.tensor([0.9, 0.8])
    assert ops.nms(boxes, scores, 0.6, offset=0)[1].tolist() == [0, 1]
    assert ops.nms(boxes, scores, 0.6, offset=1)[1].tolist() == [0]


def test_batched_nms_keeps_classes_apart():
    boxes, scores = random_boxes(3, 40)
    classes = torch.arange(40) % 3
    _, kept = ops.batched_nms(boxes, scores, classes, dict(type='nms', iou_threshold=0.3))
    expected = []
    for label in range(3):
        members = (classes == label).nonzero()[:, 0]
        inside = greedy_nms(boxes[members].tolist(), scores[members].tolist(), 0.3, 0)
        expected += members[inside].tolist()
    assert sorted(kept.tolist()) == sorted(expected)
    assert len(kept) > len(greedy_nms(boxes.tolist(), scores.tolist(), 0.3, 0))
    assert (scores[kept].diff() <= 0).all()


def loop_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    left, scores, kept = list(range(len(boxes))), list(scores), []
    while left:
        best = max(left, key=lambda i: scores[i])
        left.remove(best)
        kept.append((best, scores[best]))
        for i in left:
            iou = overlap(boxes[best], boxes[i], offset)
            if method == 'gaussian':
                scores[i] *= np.exp(-(iou**2) / sigma)
            elif iou >= threshold:
                scores[i] *= 0 if method == 'naive' else 1 - iou
        left = [i for i in left if scores[i] >= min_score]
    return kept


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('offset', [0, 1])
def test_soft_nms_decays_scores(method, offset):
    boxes, scores = random_boxes(5, 30)
    dets, kept = ops.soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    expected = loop_soft_nms(boxes.tolist(), scores.tolist(), 0.3, 0.5, 0.05, method, offset)
    assert kept.tolist() == [index for index, _ in expected]
    torch.testing.assert_close(dets[:, 4], torch.tensor([float(s) for _, s in expected]))
    torch.testing.assert_close(dets[:, :4], boxes[kept])


def test_soft_nms_of_nothing():
    dets, kept = ops.soft_nms(torch.zeros(0, 4), torch.zeros(0))
    assert dets.shape == (0, 5) and kept.shape == (0,)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_roi_align_of_a_ramp_is_the_ramp_at_bin_centres(aligned, sampling_ratio):
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing='ij')
    feature = torch.stack([torch.stack([columns + 100 * n, rows]) for n in range(2)])
    rois = torch.tensor([[0, 8.0, 12, 40, 44], [1, 10.0, 8, 34, 32]])
    pooled = ops.roi_align(feature, rois, (4, 2), 0.5, sampling_ratio, 'avg', aligned)
    for roi, values in zip(rois, pooled, strict=True):
        x1, y1, x2, y2 = (roi[1:] * 0.5 - (0.5 if aligned else 0)).tolist()
        centre_x = x1 + (x2 - x1) * (torch.arange(2) + 0.5) / 2 + 100 * roi[0]
        centre_y = y1 + (y2 - y1) * (torch.arange(4) + 0.5) / 4
        torch.testing.assert_close(values[0], centre_x.expand(4, 2))
        torch.testing.assert_close(values[1], centre_y[:, None].expand(4, 2))


def test_roi_align_gradient():
    generator = torch.Generator().manual_seed(0)
    feature = torch.rand(1, 2, 6, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 0.5, 1, 4.3, 5.2]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: ops.roi_align(x, rois, 2, 1.0, 2), feature)


def naive_deform_conv(x, offset, mask, weight, stride, pad, dilation, groups, deform_groups):
    """Write out Dai et al., eq. 2, and Zhu et al., eq. 1, point by point."""
    out_channels, _, kernel_h, kernel_w = weight.shape
    batch, channels, height, width = x.shape
    out_h, out_w = offset.shape[2:]
    out = np.zeros((batch, out_channels, out_h, out_w))

    def sample(plane, y, x):
        y0, x0 = int(np.floor(y)), int(np.floor(x))
        corners = itertools.product((y0, y0 + 1), (x0, x0 + 1))
        return sum(
            (1 - abs(y - v)) * (1 - abs(x - u)) * plane[v, u] for v, u in corners if 0 <= v < height and 0 <= u < width
        )

    for n, o, r, c in np.ndindex(*out.shape):
        group = o // (out_channels // groups)
        for ci, i, j in np.ndindex(channels // groups, kernel_h, kernel_w):
            channel = group * (channels // groups) + ci
            deform_group = channel // (channels // deform_groups)
            point = deform_group * kernel_h * kernel_w + i * kernel_w + j
            dy, dx = offset[n, 2 * point, r, c], offset[n, 2 * point + 1, r, c]
            y = r * stride[0] - pad[0] + i * dilation[0] + dy
            x_ = c * stride[1] - pad[1] + j * dilation[1] + dx
            value = sample(x[n, channel], y, x_) * mask[n, point, r, c]
            out[n, o, r, c] += weight[o, ci, i, j] * value
    return out


def deform_inputs(groups=2, deform_groups=2, scale=1.0):
    generator = torch.Generator().manual_seed(1)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    x, weight = rand(2, 4, 5, 6), rand(2, 4 // groups, 3, 2) - 0.5
    # Stride (2, 1), padding (1, 0) and dilation (1, 2) give 3 x 4 outputs.
    offset = (rand(2, deform_groups * 2 * 6, 3, 4) - 0.5) * 4 * scale
    return x, offset, rand(2, deform_groups * 6, 3, 4), weight, rand(2)


GEOMETRY = ((2, 1), (1, 0), (1, 2))


def test_deform_conv_by_definition():
    x, offset, mask, weight, _ = deform_inputs()
    out = ops.deform_conv2d(x, offset, weight, *GEOMETRY, 2, 2)
    ones = np.ones(mask.shape)
    expected = naive_deform_conv(x.numpy(), offset.numpy(), ones, weight.numpy(), *GEOMETRY, 2, 2)
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-12)


def test_modulated_deform_conv_by_definition():
    x, offset, mask, weight, bias = deform_inputs()
    out = ops.modulated_deform_conv2d(x, offset, mask, weight, bias, *GEOMETRY, 2, 2)
    arrays = (tensor.numpy() for tensor in (x, offset, mask, weight))
    expected = naive_deform_conv(*arrays, *GEOMETRY, 2, 2) + bias.numpy()[:, None, None]
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize('groups', [1, 2])
def test_deform_conv_without_offsets_is_a_convolution(groups):
    x, offset, mask, weight, bias = deform_inputs(groups=groups, scale=0.0)
    plain = F.conv2d(x, weight, None, *GEOMETRY, groups)
    torch.testing.assert_close(ops.deform_conv2d(x, offset, weight, *GEOMETRY, groups, 2), plain)
    half = torch.full_like(mask, 0.5)
    out = ops.modulated_deform_conv2d(x, offset, half, weight, bias, *GEOMETRY, groups, 2)
    torch.testing.assert_close(out, plain / 2 + bias[:, None, None])


@pytest.mark.parametrize('with_bias', [True, False])
def test_deform_conv_gradients(with_bias):
    x, offset, mask, weight, bias = deform_inputs()
    leaves = [tensor.requires_grad_() for tensor in (x, offset, mask, weight)]
    if with_bias:
        leaves.append(bias.requires_grad_())

    def plain(x, offset, weight):
        return ops.deform_conv2d(x, offset, weight, *GEOMETRY, 2, 2)

    def modulated(x, offset, mask, weight, bias=None):
        return ops.modulated_deform_conv2d(x, offset, mask, weight, bias, *GEOMETRY, 2, 2)

    assert torch.autograd.gradcheck(plain, (x, offset, weight), fast_mode=True)
    assert torch.autograd.gradcheck(modulated, leaves, fast_mode=True)


@needs_stand_in
@pytest.mark.parametrize(
    'name, call',
    [
        ('nms_rotated', lambda: ops.nms_rotated(torch.rand(2, 5), torch.rand(2), 0.5)),
        ('nms_match', lambda: ops.nms_match(torch.rand(2, 5), 0.5)),
        ('roi_pool_forward', lambda: ops.roi_pool(torch.rand(1, 1, 4, 4), torch.zeros(1, 5), 2)),
        (
            "roi_align with pool_mode='max'",
            lambda: ops.roi_align(torch.rand(1, 1, 4, 4), torch.zeros(1, 5), 2, 1.0, 0, 'max'),
        ),
    ],
)
def test_missing_op_says_its_name_and_the_way_out(name, call):
    with pytest.raises(mmcv_ops.MissingOpError) as error:
        call()
    assert f"'{name}'" in str(error.value)
    assert 'mim install "mmcv' in str(error.value)


@needs_stand_in
def test_stand_in_is_a_proper_module():
    assert mmcv_full_available()  # so that DCN layers get their own learning rate
    assert importlib.util.find_spec('mmcv._ext').loader is not None
    assert not hasattr(sys.modules['mmcv._ext'], '__path__')
    assert mmcv.utils.collect_env()['MMCV Compiler'] == 'n/a (mmcv-lite)'


def test_real_extension_comes_first(tmp_path, monkeypatch):
    (tmp_path / '_ext.py').write_text('REAL = True\n')
    monkeypatch.setattr(mmcv, '__path__', [*mmcv.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    importlib.invalidate_caches()
    assert importlib.util.find_spec('mmcv._ext').origin == str(tmp_path / '_ext.py')


def test_apply_again_changes_nothing():
    before = list(sys.meta_path)
    apply()
    assert sys.meta_path == before
