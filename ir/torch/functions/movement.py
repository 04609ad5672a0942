"""Moving data as ONNX's operators do; sizes are plain numbers (see `numbers`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .numbers import Numbers, array, bounds, sizes


def reshape(x: Tensor, target: Numbers, keeps_zeros: bool) -> Tensor:
    """Reshape: 0 copies the size of x at that place, unless `keeps_zeros`."""
    wanted = sizes(target)
    if not keeps_zeros:
        wanted = tuple(
            x.shape[axis] if isinstance(size, int) and size == 0 else size
            for axis, size in enumerate(wanted)
        )
    return torch.reshape(x, wanted)


def flatten(x: Tensor, axis: int) -> Tensor:
    """Flatten to two dimensions, of the axes before `axis` and those from it on."""
    axis = axis + x.dim() if axis < 0 else axis
    return torch.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def reverse_axes(x: Tensor) -> Tensor:
    """Transpose without a permutation."""
    return torch.permute(x, tuple(reversed(range(x.dim()))))


def unsqueeze(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Unsqueeze along several axes of the result."""
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = torch.unsqueeze(x, axis)
    return x


def split(x: Tensor, axis: int, count: int, pieces: Numbers | None) -> Sequence[Tensor]:
    """Split into `count` pieces, equal ones (the last may be smaller) where no sizes are given."""
    if pieces is None:
        each = -(-x.shape[axis] // count)
        return list(torch.split(x, each, axis))
    return list(torch.split(x, list(sizes(pieces)), axis))


def split_to_sequence(x: Tensor, axis: int, pieces: Numbers, keepdims: bool) -> list[Tensor]:
    """SplitToSequence."""
    held = array(pieces)
    parts = torch.split(x, held.item() if held.ndim == 0 else list(sizes(held)), axis)
    return list(parts) if keepdims else [part.squeeze(axis) for part in parts]


def sequence(*items: Tensor) -> list[Tensor]:
    """SequenceConstruct."""
    return list(items)


def item(items: Sequence[Tensor], index: Numbers) -> Tensor:
    """Return one of several results, or of a sequence."""
    return items[int(array(index).item())]


def crop(
    x: Tensor,
    starts: Numbers,
    ends: Numbers,
    axes: Numbers | None = None,
    steps: Numbers | None = None,
) -> Tensor:
    """Slice; negative steps run backwards."""
    first = sizes(starts)
    along = range(len(first)) if axes is None else sizes(axes)
    strides = (1,) * len(first) if steps is None else sizes(steps)
    taken: list[Any] = [slice(None)] * x.dim()
    reverse = []
    for axis, start, end, step in zip(along, first, sizes(ends), strides, strict=True):
        axis, length = axis % x.dim(), x.shape[axis]
        if step > 0:
            taken[axis] = slice(start, end, step)
            continue
        start, end = bounds(start, end, step, length)
        # The same elements forwards, from the last one taken to the first, then turned around.
        count = max(-(-(start - (-1 if end is None else end)) // -step), 0)
        last = start + (count - 1) * step
        taken[axis] = slice(last, start + 1, -step) if count else slice(0, 0)
        reverse.append(axis)
    x = x[tuple(taken)]
    return torch.flip(x, reverse) if reverse else x


def expand(x: Tensor, target: Numbers) -> Tensor:
    """Expand: both ways, a size of 1 in the target keeps that of x."""
    wanted = sizes(target)
    rank = max(x.dim(), len(wanted))
    own = (1,) * (rank - x.dim()) + tuple(x.shape)
    wanted = (1,) * (rank - len(wanted)) + wanted
    return x.expand(
        [
            size if isinstance(want, int) and want == 1 else want
            for size, want in zip(own, wanted, strict=True)
        ]
    )


def pad(
    x: Tensor, pads: Numbers, mode: str = "constant", value: Any = 0.0, axes: Numbers | None = None
) -> Tensor:
    """Pad: `pads` are begins then ends, of `axes`; negative ones crop."""
    amounts = sizes(pads)
    half = len(amounts) // 2
    along = range(half) if axes is None else sizes(axes)
    before, after = [0] * x.dim(), [0] * x.dim()
    for axis, begin, end in zip(along, amounts[:half], amounts[half:], strict=True):
        before[axis], after[axis] = begin, end
    if mode == "constant":
        flat = [n for axis in reversed(range(x.dim())) for n in (before[axis], after[axis])]
        fill = value.item() if isinstance(value, Tensor) else value
        return functional.pad(x, flat, "constant", fill)
    # Other modes one axis at a time, by index: torch has them for the last axes of some ranks only.
    for axis, (begin, end) in enumerate(zip(before, after, strict=True)):
        if not (isinstance(begin, int) and isinstance(end, int) and begin == end == 0):
            x = torch.index_select(x, axis, _source(x.shape[axis], begin, end, mode, x.device))
    return x


def _source(length: Any, begin: Any, end: Any, mode: str, device: torch.device) -> Tensor:
    index = torch.arange(-begin, length + end, device=device)
    if mode == "edge":
        return index.clamp(0, length - 1)
    if mode == "wrap":
        return torch.remainder(index, length)
    period = max(2 * (length - 1), 1)
    index = torch.remainder(index, period)
    return torch.where(index < length, index, period - index)


def depth_to_space(x: Tensor, block: int) -> Tensor:
    """DepthToSpace in DCR mode: the block's position is the outer part of the channel."""
    n, c, *sides = x.shape
    x = x.reshape(n, block, block, c // block**2, *sides).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // block**2, sides[0] * block, sides[1] * block)


def space_to_depth(x: Tensor, block: int, outer: bool = True) -> Tensor:
    """SpaceToDepth; the block's position is the outer or the inner part of the channel."""
    n, c, height, width = x.shape
    x = x.reshape(n, c, height // block, block, width // block, block)
    x = x.permute(0, 3, 5, 1, 2, 4) if outer else x.permute(0, 1, 3, 5, 2, 4)
    return x.reshape(n, c * block**2, height // block, width // block)


def arange(start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    """Range of computed bounds."""
    return torch.arange(
        start.item(), limit.item(), step.item(), dtype=start.dtype, device=start.device
    )


def one_hot(indices: Tensor, depth: Numbers, values: Tensor, axis: int) -> Tensor:
    """OneHot: negative indices count from the end, others outside give none."""
    count = int(array(depth).reshape(-1)[0])
    wrapped = torch.where(indices < 0, indices + count, indices)
    hot = wrapped.unsqueeze(-1) == torch.arange(count, device=indices.device)
    return torch.where(hot, values[1], values[0]).movedim(-1, axis)
