"""Picking elements by index, as ONNX's operators do; negative indices count from the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def item(items: Sequence[Any], index: int) -> Any:
    """Return one of several results."""
    return items[index]


def gather(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Gather: the shape of `indices` takes the place of `axis`."""
    axis = axis % x.dim()
    taken = torch.index_select(x, axis, _wrapped(indices, x.shape[axis]).reshape(-1))
    return taken.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def gather_elements(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """GatherElements."""
    return torch.gather(x, axis, _wrapped(indices, x.shape[axis]))


def gather_nd(x: Tensor, indices: Tensor, batch: int) -> Tensor:
    """GatherND: the last axis of `indices` says where, after `batch` axes in common."""
    count = indices.shape[-1]
    where: list[Tensor] = []
    for axis in range(batch):
        shape = [1] * (indices.dim() - 1)
        shape[axis] = x.shape[axis]
        where.append(torch.arange(x.shape[axis], device=x.device).reshape(shape))
    where += [_wrapped(indices[..., i], x.shape[batch + i]) for i in range(count)]
    return x[tuple(where)]


def scatter_elements(
    x: Tensor, indices: Tensor, updates: Tensor, axis: int, reduction: str
) -> Tensor:
    """ScatterElements."""
    where = _wrapped(indices, x.shape[axis])
    if reduction == "none":
        return torch.scatter(x, axis, where, updates)
    return torch.scatter_reduce(x, axis, where, updates, _REDUCTIONS[reduction])


def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, reduction: str) -> Tensor:
    """ScatterND, without a reduction or adding."""
    where = tuple(_wrapped(indices[..., i], x.shape[i]) for i in range(indices.shape[-1]))
    return torch.index_put(x, where, updates, accumulate=reduction == "add")


def extremum(x: Tensor, axis: int, keepdims: bool, last: bool, largest: bool) -> Tensor:
    """ArgMax and ArgMin: the first of equals, or the last."""
    pick = torch.argmax if largest else torch.argmin
    if not last:
        return pick(x, axis, keepdims)
    return x.shape[axis] - 1 - pick(torch.flip(x, (axis,)), axis, keepdims)


def _wrapped(indices: Tensor, length: Any) -> Tensor:
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + length, indices)
