"""Linear operators as tensor expressions, channels last, that schedules read as matrix products.

    y[n, p, o] = bias[o] + sum over k, c of x[n, p * stride + k * dilation - pad, c] * w[o, k, c]

With rows (n, p), columns o and depth (k, c) this is a product of matrices whose left one is never
stored: *implicit GEMM*. Both matrices have their depth innermost in memory, which is what tensor
cores load. A group of channels, and a phase of a transposed convolution, is a product of its own.
The sum is float32 whatever the type of the operands.

Source: Chetlur et al., cuDNN: Efficient Primitives for Deep Learning, 2014 (implicit GEMM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SUM = "float32"


@dataclass(frozen=True)
class WindowSizes:
    """Windows over positions: `out`, the sizes of the result, and `pads` before and after x."""

    out: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    pads: Sequence[tuple[int, int]]

    def place(self, at: Sequence[Any], taps: Sequence[Any]) -> list[Any]:
        """Return the position of the padded input that a tap of the result at `at` reads."""
        return [
            a * stride + k * dilation
            for a, stride, k, dilation in zip(at, self.strides, taps, self.dilations, strict=True)
        ]


def convolution(x: Any, w: Any, bias: Any, window: WindowSizes) -> Any:
    """Return the convolution of `x` [N, spatial, C] with `w` [group, O, kernel, C/group].

    `bias`: [group * O], or None.
    """
    from tvm import te

    groups, outs, *kernel, ins = (int(size) for size in w.shape)
    source = padded(x, window.pads)
    axes = _reduced(kernel, ins)
    *taps, c = axes

    def product(n: Any, *at: Any) -> Any:
        *p, g, o = at if groups > 1 else (*at[:-1], 0, at[-1])
        place = window.place(p, taps)
        left = source[(n, *place, g * ins + c)]
        right = w[(g, o, *taps, c)]
        return te.sum(left.astype(SUM) * right.astype(SUM), axis=axes)

    sizes = (groups, outs) if groups > 1 else (outs,)
    total = te.compute((x.shape[0], *window.out, *sizes), product, name="product")
    return finished(total, bias, str(x.dtype), groups, outs)


def depthwise(x: Any, w: Any, bias: Any, window: WindowSizes) -> Any:
    """Return the convolution of each channel of `x` alone with `w` [kernel, C * multiplier]."""
    from tvm import te

    *kernel, outs = (int(size) for size in w.shape)
    multiplier = outs // int(x.shape[-1])
    source = padded(x, window.pads)
    *taps, _ = _reduced(kernel, 1)

    def combined(n: Any, *at: Any) -> Any:
        *p, o = at
        place = window.place(p, taps)
        left = source[(n, *place, o // multiplier)]
        return te.sum(left.astype(SUM) * w[(*taps, o)].astype(SUM), axis=taps)

    total = te.compute((x.shape[0], *window.out, outs), combined, name="window")
    return finished(total, bias, str(x.dtype), 1, outs)


def max_pool(x: Any, kernel: Sequence[int], window: WindowSizes) -> Any:
    """Return the largest of each window of `x` [N, spatial, C]; a pad is smaller than anything."""
    from tvm import te, tirx

    source = padded(x, window.pads, tirx.min_value(str(x.dtype)))
    *taps, _ = _reduced(kernel, 1)

    def combined(n: Any, *at: Any) -> Any:
        *p, c = at
        place = window.place(p, taps)
        return te.max(source[(n, *place, c)], axis=taps)

    return te.compute((x.shape[0], *window.out, x.shape[-1]), combined, name="window")


def finished(total: Any, bias: Any, dtype: str, groups: int, outs: int) -> Any:
    """Return `total` plus `bias` as `dtype`; axes [group, O] of several groups become one."""
    from tvm import te

    def value(*at: Any) -> Any:
        *before, channel = at
        split = (channel // outs, channel % outs) if groups > 1 else (channel,)
        found = total[(*before, *split)]
        return (found if bias is None else found + bias[channel].astype(SUM)).astype(dtype)

    before = total.shape[: -2 if groups > 1 else -1]
    return te.compute((*before, groups * outs), value, name="finished")


def padded(x: Any, pads: Sequence[tuple[int, int]], value: Any = 0.0) -> Any:
    """Return `x` [N, spatial, C] with `value` around it."""
    from tvm import topi

    if not any(map(any, pads)):
        return x
    before = [0, *(low for low, _ in pads), 0]
    after = [0, *(high for _, high in pads), 0]
    return topi.nn.pad(x, before, after, pad_value=value, name="padded")


def matrix_product(x: Any, w: Any, bias: Any) -> Any:
    """Return `x` [N, C] times the transpose of `w` [O, C], plus `bias`."""
    from tvm import te

    outs, ins = (int(size) for size in w.shape)
    (c,) = _reduced((), ins)

    def product(n: Any, o: Any) -> Any:
        return te.sum(x[n, c].astype(SUM) * w[o, c].astype(SUM), axis=c)

    total = te.compute((x.shape[0], outs), product, name="product")
    return finished(total, bias, str(x.dtype), 1, outs)


def _reduced(kernel: Sequence[int], ins: int) -> list[Any]:
    from tvm import te

    taps = [te.reduce_axis((0, size), f"k{axis}") for axis, size in enumerate(kernel)]
    return [*taps, te.reduce_axis((0, ins), "c")]
