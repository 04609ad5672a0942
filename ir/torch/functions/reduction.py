"""Reductions as ONNX's operators do them: over `axes`, all where None."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Axes = Sequence[int] | None


def _all(x: Tensor, axes: Axes) -> tuple[int, ...]:
    return tuple(range(x.dim())) if axes is None else tuple(axes)


def total(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """ReduceSum."""
    along = _all(x, axes)
    return torch.sum(x, along, keepdims, dtype=x.dtype) if along else x


def mean(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """ReduceMean; of integers towards zero."""
    along = _all(x, axes)
    if x.is_floating_point():
        return torch.mean(x, along, keepdims) if along else x
    count = math.prod(x.shape[axis] for axis in along)
    return torch.div(total(x, along, keepdims), count, rounding_mode="trunc")


def maximum(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """ReduceMax."""
    along = _all(x, axes)
    return torch.amax(x, along, keepdims) if along else x


def minimum(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """ReduceMin."""
    along = _all(x, axes)
    return torch.amin(x, along, keepdims) if along else x


def product(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """ReduceProd."""
    for axis in sorted((axis % x.dim() for axis in _all(x, axes)), reverse=True):
        x = torch.prod(x, axis, keepdims, dtype=x.dtype)
    return x


def l1(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """ReduceL1."""
    return total(torch.abs(x), axes, keepdims)


def l2(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """ReduceL2."""
    return torch.sqrt(sum_square(x, axes, keepdims))


def sum_square(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """ReduceSumSquare."""
    return total(x * x, axes, keepdims)


def log_sum(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """ReduceLogSum."""
    return torch.log(total(x, axes, keepdims))


def log_sum_exp(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """ReduceLogSumExp."""
    along = _all(x, axes)
    return torch.logsumexp(x, along, keepdims) if along else x


def flat_softmax(x: Tensor, axis: int, log: bool) -> Tensor:
    """Softmax and LogSoftmax before opset 13: over all axes from `axis` on."""
    flat = x.reshape(*x.shape[: axis % x.dim()], -1)
    target = functional.log_softmax if log else functional.softmax
    return target(flat, -1).reshape(x.shape)


def hardmax(x: Tensor, axis: int) -> Tensor:
    """Hardmax: 1 at the first largest element, 0 elsewhere."""
    largest = torch.argmax(x, axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, largest, 1)


def cumulative_sum(x: Tensor, axis: int, exclusive: bool, reverse: bool) -> Tensor:
    """CumSum."""
    x = torch.flip(x, (axis,)) if reverse else x
    made = torch.cumsum(x, axis, dtype=x.dtype)
    made = made - x if exclusive else made
    return torch.flip(made, (axis,)) if reverse else made
