"""Normalizations as ONNX defines them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def batch_norm(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, epsilon: float
) -> Tensor:
    """BatchNormalization with the given statistics, which may depend on what trains.

    Those of weights do, where a network standardizes them before it convolves (StdConv2d).
    """
    if mean.requires_grad or var.requires_grad:  # PyTorch's own takes statistics for constants
        shape = [1, -1] + [1] * (x.dim() - 2)
        factor = scale * torch.rsqrt(var + epsilon)
        return x * factor.reshape(shape) + (bias - mean * factor).reshape(shape)
    return functional.batch_norm(x, mean, var, scale, bias, False, 0.0, epsilon)


def layer_norm(x: Tensor, scale: Tensor, bias: Tensor | None, axis: int, epsilon: float) -> Tensor:
    """LayerNormalization over the axes from `axis` on."""
    shape = x.shape[axis % x.dim() :]
    made = functional.layer_norm(x, shape, None, None, epsilon) * scale
    return made if bias is None else made + bias


def rms_norm(x: Tensor, scale: Tensor, axis: int, epsilon: float) -> Tensor:
    """RMSNormalization over the axes from `axis` on."""
    along = tuple(range(axis % x.dim(), x.dim()))
    return x * torch.rsqrt(torch.mean(x * x, along, True) + epsilon) * scale


def group_norm(x: Tensor, scale: Tensor, bias: Tensor, groups: int, epsilon: float) -> Tensor:
    """GroupNormalization; before opset 21 scale and bias are one a group."""
    if scale.shape[0] != x.shape[1]:
        each = x.shape[1] // groups
        scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
    return functional.group_norm(x, groups, scale, bias, epsilon)


def local_response(x: Tensor, size: int, alpha: float, beta: float, bias: float) -> Tensor:
    """LRN: the window holds (size - 1) // 2 channels before and size // 2 after each."""
    square = (x * x).reshape(x.shape[0], 1, x.shape[1], -1)
    square = functional.pad(square, (0, 0, (size - 1) // 2, size // 2))
    total = functional.avg_pool2d(square, (size, 1), 1).reshape(x.shape)
    return x / (bias + alpha * total) ** beta


def lp(x: Tensor, axis: int, p: int) -> Tensor:
    """LpNormalization; zero vectors stay zero."""
    norm = torch.linalg.vector_norm(x, p, axis, True)
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


def mean_variance(x: Tensor, axes: Sequence[int]) -> Tensor:
    """MeanVarianceNormalization."""
    centred = x - torch.mean(x, tuple(axes), True)
    return centred / (torch.sqrt(torch.mean(centred * centred, tuple(axes), True)) + 1e-9)
