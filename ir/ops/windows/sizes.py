"""Pads that follow from sizes, and sizes that follow from pads, along one axis of a window.

    outputs = floor((n + begin + end - reach) / stride) + 1      reach = dilation * (kernel - 1) + 1
    SAME          outputs = ceil(n / stride)
    transposed    outputs = (n - 1) * stride + reach + extra - begin - end

Of an odd total SAME_UPPER puts the larger half at the end, everything else at the beginning. Sizes
may be symbolic; `larger` is the maximum of two of them. Source: ONNX operators Conv, ConvTranspose
and MaxPool, attributes auto_pad, ceil_mode, output_padding and output_shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Larger = Callable[[Any, Any], Any]


def reach_of(kernel: int, dilation: int) -> int:
    """Return how many positions a kernel spans."""
    return dilation * (kernel - 1) + 1


def halves(total: Any, *, upper: bool) -> tuple[Any, Any]:
    """Return how `total` is split between the beginning and the end."""
    small = total // 2
    return (small, total - small) if upper else (total - small, small)


def same_pads(
    size: Any, reach: int, stride: int, *, upper: bool, larger: Larger = max
) -> tuple[Any, Any]:
    """Return the pads with which an axis of `size` has ceil(size / stride) windows."""
    outputs = -(-size // stride)
    return halves(larger((outputs - 1) * stride + reach - size, 0), upper=upper)


def pool_same_pads(
    size: Any, kernel: int, stride: int, *, upper: bool, larger: Larger = max
) -> tuple[Any, Any]:
    """Return the pads of a pooling by SAME as ONNX Runtime has them.

    It leaves dilations out of them, so that those of a dilated window are too small, and they may
    be below zero where a stride is larger than the kernel (`pool_attributes.h`).
    """
    total = (-(-size // stride) - 1) * stride + kernel - size
    split = total if upper else total + 1
    begin = larger(split, 0) // 2 - larger(-split, 0) // 2  # towards zero, as C++ divides
    return begin, total - begin


def transposed_pads(
    size: Any,
    reach: int,
    stride: int,
    *,
    extra: int,
    wanted: int | None,
    upper: bool,
    larger: Larger = max,
) -> tuple[Any, Any]:
    """Return the pads with which a transposed axis of `size` has `wanted` outputs.

    `wanted` is None for auto_pad, which asks for size * stride where the kernel gives as many.
    `extra` is the output padding. The second pad is below zero where `output_shape` asks for more
    than the kernel gives: what is beyond the last window is zeros.
    """
    whole = (size - 1) * stride + reach + extra
    total = whole - (size * stride if wanted is None else wanted)
    begin, end = halves(larger(total, 0), upper=upper)
    return begin, end if wanted is None else total - begin


def outputs_of(
    size: Any, reach: int, stride: int, begin: int = 0, end: int = 0, *, ceil: bool = False
) -> Any:
    """Return how many windows an axis of `size` has; with `ceil` the last may reach beyond it.

    No window starts behind the input, in the pad at the end (ONNX operator MaxPool).
    """
    room = size + begin + end - reach
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + begin else count


def transposed_outputs(
    size: Any, reach: int, stride: int, begin: int, end: int, *, extra: int = 0
) -> Any:
    """Return how many outputs a transposed axis of `size` has."""
    return (size - 1) * stride + reach + extra - begin - end
