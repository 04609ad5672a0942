"""Sliding windows as ONNX's operators have them: pads at either end, ceil mode, dilations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...ops.windows.sizes import (
    outputs_of,
    pool_same_pads,
    reach_of,
    same_pads,
    transposed_pads,
)
from .numbers import Numbers, sizes

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
Ints = Sequence[int]


def pad(x: Tensor, begin: Sequence[Any], end: Sequence[Any], value: float = 0.0) -> Tensor:
    """Pad the last axes; negative pads crop."""
    flat = [n for pair in reversed(list(zip(begin, end, strict=True))) for n in pair]
    return functional.pad(x, flat, "constant", value)


def pad_same(
    x: Tensor, kernel: Ints, strides: Ints, dilations: Ints, upper: bool, value: float = 0.0
) -> Tensor:
    """Pad as auto_pad SAME_UPPER or SAME_LOWER: the result has ceil(size / stride) windows."""
    axes = zip(x.shape[2:], kernel, strides, dilations, strict=True)
    pads = [
        same_pads(size, reach_of(k, d), s, upper=upper, larger=torch.sym_max)
        for size, k, s, d in axes
    ]
    return pad(x, [begin for begin, _ in pads], [end for _, end in pads], value)


def pad_same_pool(
    x: Tensor, kernel: Ints, strides: Ints, upper: bool, value: float = 0.0
) -> Tensor:
    """Pad as auto_pad of a pooling, for which no dilation counts and negative pads crop."""
    axes = zip(x.shape[2:], kernel, strides, strict=True)
    pads = [pool_same_pads(size, k, s, upper=upper, larger=torch.sym_max) for size, k, s in axes]
    return pad(x, [begin for begin, _ in pads], [end for _, end in pads], value)


def conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, strides: Ints, dilations: Ints, group: int
) -> Tensor:
    """Conv of an input that is padded already."""
    target = _CONV[len(strides)]
    return target(x, weight, bias, tuple(strides), 0, tuple(dilations), group)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    strides: Ints,
    dilations: Ints,
    group: int,
    output_padding: Ints,
    begin: Ints | None,
    end: Ints | None,
    output_shape: Ints | None = None,
    upper: bool = False,
) -> Tensor:
    """ConvTranspose: the whole result, then cropped by the pads.

    Where `begin` is None, the pads follow from `output_shape`, or from input size times stride
    (auto_pad); the larger half goes to the end if `upper`, else to the beginning.
    """
    made = _TRANSPOSED[len(strides)](x, weight, None, tuple(strides), 0, 0, group, tuple(dilations))
    before, after = list(begin or ()), list(end or ())
    if begin is None or end is None:
        pads = [
            transposed_pads(
                x.shape[2 + axis],
                reach_of(weight.shape[2 + axis], dilations[axis]),
                stride,
                extra=output_padding[axis],
                wanted=None if output_shape is None else output_shape[axis],
                upper=upper,
                larger=torch.sym_max,
            )
            for axis, stride in enumerate(strides)
        ]
        before, after = [begin for begin, _ in pads], [end for _, end in pads]
    after = [n - more for n, more in zip(after, output_padding, strict=True)]
    # What output padding adds beyond the last window is zeros, as no window reaches there.
    made = pad(made, [-n for n in before], [-n for n in after])
    return made if bias is None else made + bias.reshape(-1, *(1,) * len(strides))


def max_pool(x: Tensor, kernel: Ints, strides: Ints, dilations: Ints, ceil: bool) -> Tensor:
    """MaxPool of an input that is padded already (with the lowest value)."""
    return _MAX_POOL[len(kernel)](x, tuple(kernel), tuple(strides), 0, tuple(dilations), ceil)


def max_pool_indices(
    x: Tensor,
    kernel: Ints,
    strides: Ints,
    dilations: Ints,
    *,
    begin: Ints,
    end: Ints,
    ceil: bool,
    column_major: bool,
) -> tuple[Tensor, Tensor]:
    """MaxPool, and where each largest element lies in the whole input, flattened.

    `column_major`: the first spatial axis runs fastest within an image (storage_order 1).
    """
    rank, inner = len(kernel), x.shape[2:]
    padded = pad(x, begin, end, -float("inf"))
    pool: Any = _MAX_POOL[rank]
    made, flat = pool(
        padded, tuple(kernel), tuple(strides), 0, tuple(dilations), ceil, return_indices=True
    )
    places = torch.unravel_index(flat, padded.shape[2:])
    at = torch.zeros_like(flat)
    for axis in reversed(range(rank)) if column_major else range(rank):
        at = at * inner[axis] + (places[axis] - begin[axis])
    images = torch.arange(x.shape[0] * x.shape[1], device=x.device)
    images = images.reshape(x.shape[0], x.shape[1], *(1,) * rank)
    return made, at + images * math.prod(inner)


def unpooled_sizes(x: Tensor, kernel: Ints, strides: Ints, begin: Ints, end: Ints) -> list[Any]:
    """Return the shape that MaxUnpool gives where it is told none."""
    axes = zip(x.shape[2:], kernel, strides, begin, end, strict=True)
    return [*x.shape[:2], *((size - 1) * s + k - a - b for size, k, s, a, b in axes)]


def max_unpool(x: Tensor, indices: Tensor, shape: Numbers) -> Tensor:
    """MaxUnpool: zeros of `shape`, and each element of `x` at its place in them, flattened."""
    found = sizes(shape)
    made = x.new_zeros(math.prod(found))
    return made.scatter(0, indices.reshape(-1), x.reshape(-1)).reshape(found)


def col2im(
    x: Tensor, image: Numbers, kernel: Ints, strides: Ints, dilations: Ints, pads: Ints
) -> Tensor:
    """Col2Im of one or two axes: blocks [N, C kernel, L] added up where they lie in the image."""
    rank = len(kernel)
    begin, end = list(pads[:rank]), list(pads[rank:])
    wide = [size + a + b for size, a, b in zip(sizes(image), begin, end, strict=True)]
    ones = [1] * (2 - rank)
    made = functional.fold(
        x, (*ones, *wide), (*ones, *kernel), (*ones, *dilations), 0, (*ones, *strides)
    )
    made = made.reshape(*made.shape[:2], *wide)
    return pad(made, [-n for n in begin], [-n for n in end])


def average_pool(
    x: Tensor,
    kernel: Ints,
    strides: Ints,
    dilations: Ints,
    *,
    begin: Ints | None,
    end: Ints | None,
    ceil: bool,
    counts_pads: bool,
    upper: bool,
) -> Tensor:
    """AveragePool: sum over each window by the number of elements it counts.

    What ceil mode adds beyond the pads is never counted.
    """
    rank, sides = len(kernel), x.shape[2:]
    flat = x.reshape(-1, 1, *sides)
    ones = torch.ones((1, 1, *sides), dtype=x.dtype, device=x.device)
    if begin is None or end is None:
        flat = pad_same_pool(flat, kernel, strides, upper)
        ones = pad_same_pool(ones, kernel, strides, upper, float(counts_pads))
        begin = (0,) * rank
    else:
        flat = pad(flat, begin, end)
        ones = pad(ones, begin, end, float(counts_pads))
    if ceil:
        more = [
            _ceil_extra(size, first, inner, k, s, d)
            for size, first, inner, k, s, d in zip(
                flat.shape[2:], begin, sides, kernel, strides, dilations, strict=True
            )
        ]
        flat, ones = pad(flat, (0,) * rank, more), pad(ones, (0,) * rank, more)
    window = torch.ones((1, 1, *kernel), dtype=x.dtype, device=x.device)
    total = conv(flat, window, None, strides, dilations, 1)
    made = total / conv(ones, window, None, strides, dilations, 1)
    return made.reshape(*x.shape[:2], *made.shape[2:])


def _ceil_extra(size: Any, begin: int, inner: Any, kernel: int, stride: int, dilation: int) -> Any:
    """Return how far the windows of ceil mode reach beyond `size`, which is padded already."""
    reach = reach_of(kernel, dilation)
    count = outputs_of(inner, reach, stride, begin, size - inner - begin, ceil=True)
    return torch.sym_max((count - 1) * stride + reach - size, 0)


def lp_pool(x: Tensor, p: int, kernel: Ints, strides: Ints, dilations: Ints) -> Tensor:
    """LpPool of an input that is padded already."""
    flat = torch.abs(x).reshape(-1, 1, *x.shape[2:]) ** p
    window = torch.ones((1, 1, *kernel), dtype=x.dtype, device=x.device)
    made = conv(flat, window, None, strides, dilations, 1) ** (1 / p)
    return made.reshape(*x.shape[:2], *made.shape[2:])


def global_average(x: Tensor) -> Tensor:
    """GlobalAveragePool."""
    return torch.mean(x, tuple(range(2, x.dim())), True)


def global_max(x: Tensor) -> Tensor:
    """GlobalMaxPool."""
    return torch.amax(x, tuple(range(2, x.dim())), True)


def global_lp(x: Tensor, p: int) -> Tensor:
    """GlobalLpPool."""
    along = tuple(range(2, x.dim()))
    return torch.sum(torch.abs(x) ** p, along, True) ** (1 / p)
