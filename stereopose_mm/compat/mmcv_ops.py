# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""MMCV's compiled operators where only mmcv-lite is installed.

`mmcv.ops` is Python over one compiled module, `mmcv._ext`, that mmcv-lite lacks; `mmpose.models`
and `mmdet.apis` import `mmcv.ops` and so fail. A finder at the very end of `sys.meta_path` supplies
a stand-in for that module: a real one is always found first, so with full mmcv nothing changes.

The stand-in's functions have the names and arguments that `mmcv/ops/*.py` calls. torchvision computes
them, with MMCV's definitions: they agree to rounding on CPU and GPU. An operator that is not here
raises :class:`MissingOpError` when it is called.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import NoReturn

import torch
import torchvision
from torch import Tensor

EXTENSION = 'mmcv._ext'


class MissingOpError(NotImplementedError):
    """An operator of full mmcv was called, but mmcv-lite is installed."""

    def __init__(self, op: str):
        super().__init__(
            f"mmcv's operator '{op}' is not in mmcv-lite. Install full mmcv: "
            'pip uninstall mmcv-lite && mim install "mmcv>=2.0.0,<2.2.0"'
        )


def apply() -> None:
    """Make `import mmcv._ext` find the stand-in where there is no real one."""
    if not any(isinstance(finder, _ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.append(_ExtensionFinder())


class _Extension(ModuleType):
    """The stand-in module: every operator that it does not have is one that raises."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')

        def missing(*args, **kwargs) -> NoReturn:
            raise MissingOpError(name)

        missing.__name__ = name
        return missing


class _ExtensionFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    # A whole finder rather than an entry in `sys.modules`: MMEngine and MMCV look for the spec.
    def find_spec(self, fullname, path=None, target=None):
        if fullname == EXTENSION:
            return importlib.machinery.ModuleSpec(fullname, self, origin='stereopose_mm')
        return None

    def create_module(self, spec):
        return _Extension(spec.name)

    def exec_module(self, module):
        for op in OPS:
            setattr(module, op.__name__, op)


# --- boxes ---------------------------------------------------------------------------------------


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the kept boxes `(M,)`, best score first, of boxes `(N, 4)` x1y1x2y2.

    Width is `x2 - x1 + offset`: shifting x2 and y2 by the offset gives the same overlaps.
    """
    dtype = torch.promote_types(boxes.dtype, scores.dtype)
    shift = boxes.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms((boxes + shift).to(dtype), scores.to(dtype), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Write kept boxes and decayed scores into `dets` `(N, 5)`; return their indices `(M,)`.

    Soft-NMS (Bodla et al., ICCV 2017). Methods: 0 hard, 1 linear, 2 Gaussian decay of the scores.
    """
    shift = boxes.new_tensor([0, 0, offset, offset])
    shifted, scores = boxes + shift, scores.clone()
    left, kept = torch.arange(len(boxes)), []
    while len(left):
        best = left[scores[left].argmax()]
        kept.append(best)
        dets[len(kept) - 1] = torch.cat([boxes[best], scores[best, None]])
        left = left[left != best]
        overlap = torchvision.ops.box_iou(shifted[best, None], shifted[left])[0]
        if method == 2:
            decay = torch.exp(-(overlap**2) / sigma)
        else:
            decayed = torch.zeros_like(overlap) if method == 0 else 1 - overlap
            decay = torch.where(overlap >= iou_threshold, decayed, 1.0)
        scores[left] *= decay
        left = left[scores[left] >= min_score]
    return torch.stack(kept) if kept else left


# --- region pooling ------------------------------------------------------------------------------


def _roi_align(
    feature: Tensor,
    rois: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> Tensor:
    if pool_mode != 1:
        raise MissingOpError("roi_align with pool_mode='max'")
    size = (aligned_height, aligned_width)
    # MMCV's 0 and torchvision's -1 both mean: as many samples as the region needs.
    samples = sampling_ratio if sampling_ratio > 0 else -1
    return torchvision.ops.roi_align(feature, rois.to(feature.dtype), size, spatial_scale, samples, aligned)


def roi_align_forward(
    input: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, **options
) -> None:
    """Write average-pooled regions `(R, C, h, w)` of `input` `(N, C, H, W)` into `output`."""
    output.copy_(_roi_align(input, rois, **options))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    **options,
) -> None:
    """Write the gradient with respect to the feature map into `grad_input`."""
    with torch.enable_grad():
        # Pooling is linear in the feature map: the gradient is the same at any one, here zero.
        feature = torch.zeros_like(grad_input, requires_grad=True)
        pooled = _roi_align(feature, rois, **options)
    grad_input.copy_(torch.autograd.grad(pooled, feature, grad_output)[0])


# --- deformable convolution ----------------------------------------------------------------------
# Both libraries order the offsets y, x per kernel point within each deformable group, and take the
# number of groups from the shapes.


def _plain_deform_conv(input, offset, weight, options):
    return torchvision.ops.deform_conv2d(
        input,
        offset,
        weight,
        stride=(options['dH'], options['dW']),
        padding=(options['padH'], options['padW']),
        dilation=(options['dilationH'], options['dilationW']),
    )


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns, ones, **options
) -> None:
    """Write the deformable convolution (Dai et al., ICCV 2017) of `(N, C, H, W)` into `output`."""
    output.copy_(_plain_deform_conv(input, offset, weight, options))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns,
    **options,
) -> None:
    """Write the gradients with respect to the input and the offsets."""
    with torch.enable_grad():
        input, offset = _leaves(input, offset)
        output = _plain_deform_conv(input, offset, weight.detach(), options)
    grads = torch.autograd.grad(output, (input, offset), grad_output)
    _write(grads, (grad_input, grad_offset))


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns,
    ones,
    scale: float = 1,
    **options,
) -> None:
    """Add `scale` times the gradient with respect to the weight to `grad_weight`."""
    with torch.enable_grad():
        # Convolution is linear in the weight: the gradient is the same at any one, here zero.
        weight = torch.zeros_like(grad_weight, requires_grad=True)
        output = _plain_deform_conv(input.detach(), offset.detach(), weight, options)
    grad_weight.add_(torch.autograd.grad(output, weight, grad_output)[0], alpha=scale)


def _modulated_deform_conv(input, offset, mask, weight, bias, options):
    return torchvision.ops.deform_conv2d(
        input,
        offset,
        weight,
        bias if options['with_bias'] else None,
        stride=(options['stride_h'], options['stride_w']),
        padding=(options['pad_h'], options['pad_w']),
        dilation=(options['dilation_h'], options['dilation_w']),
        mask=mask,
    )


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns,
    **options,
) -> None:
    """Write the modulated deformable convolution (Zhu et al., CVPR 2019) into `output`."""
    output.copy_(_modulated_deform_conv(input, offset, mask, weight, bias, options))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones,
    offset: Tensor,
    mask: Tensor,
    columns,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    **options,
) -> None:
    """Write the gradients with respect to all of the inputs."""
    wanted = [grad_input, grad_offset, grad_mask, grad_weight]
    with torch.enable_grad():
        leaves = _leaves(input, offset, mask, weight)
        if options['with_bias']:
            leaves.append(*_leaves(bias))
            wanted.append(grad_bias)
        bias = leaves[4] if options['with_bias'] else None
        output = _modulated_deform_conv(*leaves[:4], bias, options)
    _write(torch.autograd.grad(output, leaves, grad_output), wanted)


def _leaves(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().requires_grad_() for tensor in tensors]


def _write(values, targets) -> None:
    for value, target in zip(values, targets, strict=True):
        target.copy_(value)


# --- what MMEngine's environment report asks ------------------------------------------------------


def get_compiler_version() -> str:
    """Return what the report of the environment says of MMCV's compiler."""
    return 'n/a (mmcv-lite)'


def get_compiling_cuda_version() -> str:
    """Return what the report of the environment says of MMCV's CUDA."""
    return 'n/a (mmcv-lite)'


OPS = (
    nms,
    softnms,
    roi_align_forward,
    roi_align_backward,
    deform_conv_forward,
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    modulated_deform_conv_forward,
    modulated_deform_conv_backward,
    get_compiler_version,
    get_compiling_cuda_version,
)
