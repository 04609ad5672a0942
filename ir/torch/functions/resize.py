"""Resize, one axis at a time: coordinates in the input, then the elements around them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .numbers import Numbers, sizes


def resize(
    x: Tensor,
    scales: Numbers | None,
    target: Numbers | None,
    *,
    mode: str,
    coordinates: str,
    nearest: str,
    cubic: float,
    exclude_outside: bool,
    axes: Any,
) -> Tensor:
    """Resize `x` by `scales` or to `target`, along `axes` (all where None)."""
    along = range(x.dim()) if axes is None else axes
    factors = None if scales is None else sizes(scales)
    lengths = None if target is None else sizes(target)
    for index, axis in enumerate(along):
        length = x.shape[axis]
        if lengths is not None:
            wanted = lengths[index]
            factor = wanted / length
        elif factors is not None:
            factor = factors[index]
            wanted = length if factor == 1 else math.floor(length * factor)
        if isinstance(factor, int | float) and factor == 1:
            continue
        at = _coordinates(wanted, length, factor, coordinates, x.device)
        if mode == "nearest":
            chosen = _rounded(at, nearest).clamp(0, length - 1).to(torch.int64)
            x = torch.index_select(x, axis, chosen)
        elif mode == "linear":
            x = _linear(x, axis, at)
        else:
            x = _cubic(x, axis, at, cubic, exclude_outside)
    return x


def _coordinates(wanted: Any, length: Any, factor: Any, kind: str, device: torch.device) -> Tensor:
    """Return where in the input each element of the result lies, in float32 as runtimes do."""
    index = torch.arange(wanted, device=device, dtype=torch.float32)
    if kind == "asymmetric":
        return index / factor
    if kind == "align_corners":
        return index * ((length - 1) / (wanted - 1)) if wanted > 1 else index * 0
    if kind == "pytorch_half_pixel" and wanted == 1:
        return index * 0
    if kind == "tf_half_pixel_for_nn":
        return (index + 0.5) / factor
    centred = (index + 0.5) / factor - 0.5
    if kind == "half_pixel_symmetric":
        return length / 2 * (1 - wanted / (factor * length)) + centred
    return centred


def _rounded(at: Tensor, nearest: str) -> Tensor:
    if nearest == "floor":
        return torch.floor(at)
    if nearest == "ceil":
        return torch.ceil(at)
    return torch.ceil(at - 0.5) if nearest == "round_prefer_floor" else torch.floor(at + 0.5)


def _along(weights: Tensor, x: Tensor, axis: int) -> Tensor:
    shape = [1] * x.dim()
    shape[axis] = -1
    return weights.to(x.dtype).reshape(shape)


def _linear(x: Tensor, axis: int, at: Tensor) -> Tensor:
    last = x.shape[axis] - 1
    at = at.clamp(0, last)
    low = torch.floor(at)
    share = _along(at - low, x, axis)
    first = low.to(torch.int64)
    left = torch.index_select(x, axis, first)
    right = torch.index_select(x, axis, (first + 1).clamp(max=last))
    return left * (1 - share) + right * share


def _cubic(x: Tensor, axis: int, at: Tensor, a: float, exclude_outside: bool) -> Tensor:
    length = x.shape[axis]
    base = torch.floor(at)
    share = at - base
    weights = []
    for offset in (-1, 0, 1, 2):
        d = torch.abs(share - offset)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        weights.append(torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d))))
    places = [base.to(torch.int64) + offset for offset in (-1, 0, 1, 2)]
    if exclude_outside:
        inside = [(place >= 0) & (place < length) for place in places]
        weights = [w * keep for w, keep in zip(weights, inside, strict=True)]
        total = torch.stack(weights).sum(0)
        weights = [w / total for w in weights]
    made = x.new_zeros(())
    for weight, place in zip(weights, places, strict=True):
        taken = torch.index_select(x, axis, place.clamp(0, length - 1))
        made = made + taken * _along(weight, x, axis)
    return made
