"""Layers: products with weights, and the normalization by constants that is one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ops.jumps import jumps
from ...ops.traits import traits_of
from ...ops.windows.attributes import WindowAttributes, window_attributes
from ..values import POINTS, Array, PointValues, UnsupportedError, require_few, spread
from .call import Call, in_floats, named, types_of

Rule = Callable[[Call], PointValues | list[PointValues]]

# Of so many channels one or fewer may hold numbers for the others to be left out.
_FEW = 8
# Windows that are written out may have so many times the elements that a tensor may have.
_OVERLAPS = 8


def whole(call: Call, shapes: Sequence[tuple[int, ...]]) -> list[PointValues]:
    """Apply the operator of `call` to its tensors, as a function of which nothing is known."""
    read = [part for v in call.values() for part in in_floats(spread(v.array))]
    flat = [each.reshape(POINTS, -1).T.reshape(-1) for each in read]
    rows = np.concatenate([np.empty(0), *flat])[None]
    sizes = [math.prod(shape) for shape in shapes]
    require_few(POINTS, sum(sizes))
    places = tuple(None if v is None else (*v.shape, *types_of([v])) for v in call.inputs)
    function = (named(call), places)
    found = call.setting.applications.rows(
        function, rows, sum(sizes), jumps=jumps(call.node, call.opset)
    )[0]
    parts = np.split(found, list(itertools.accumulate(sizes))[:-1])
    return [
        call.x.with_array(part.T.reshape(POINTS, *shape))
        for part, shape in zip(parts, shapes, strict=True)
    ]


def opaque(call: Call) -> list[PointValues]:
    """Apply any operator to its tensors, as a function of which nothing is known.

    Results have the shapes that inference finds at the sizes that the window has.
    """
    if not traits_of(call.node, call.opset).pure or call.result_types is None:
        raise UnsupportedError(f"{call.op}")
    types = call.result_types()
    found = whole(call, [shape for shape, _ in types])
    return [PointValues(value.array, dtype) for value, (_, dtype) in zip(found, types, strict=True)]


def _convolution(call: Call) -> PointValues:
    x, weight, bias = call.value(0), call.value(1), call.given(2)
    window = window_attributes(call.op, call.node.attrs, weight.shape[2:])
    if call.setting.free:
        return whole(call, [(x.shape[0], weight.shape[0], *_outputs(window, x.shape[2:]))])[0]
    call.uses_algebra()
    group = int(call.attribute("group"))
    result = convolve(x.array, _single(weight), window, group)
    if bias is not None:
        result = result + bias.array.reshape(bias.array.shape[0], 1, -1, *(1,) * window.rank)
    return x.with_array(result)


def _single(weight: PointValues) -> Array:
    """Return a weight that no input decides."""
    if not weight.is_fixed:
        raise UnsupportedError("a convolution whose weight is computed")
    return np.asarray(weight.array[0])


def _outputs(window: WindowAttributes, sizes: Sequence[int]) -> tuple[int, ...]:
    found = window.outputs(sizes)
    if not all(isinstance(size, int) for size in found):
        raise UnsupportedError("a window that does not fit its input")
    return tuple(size for size in found if isinstance(size, int))


def convolve(x: Array, weight: Array, window: WindowAttributes, group: int) -> Array:
    """Return the convolution of `x` [points, N, C, ...] with `weight` [M, C / group, ...]."""
    outputs = _outputs(window, x.shape[3:])
    merged = x.reshape(-1, *x.shape[2:])
    if group == 1 and (used := _used(merged)) is not None:
        return _convolve_few(merged, weight, window, used).reshape(
            *x.shape[:2], weight.shape[0], *outputs
        )
    windows = gathered(merged, window, outputs, 0.0)
    count, channels = merged.shape[:2]
    taps, places = math.prod(window.kernel), math.prod(outputs)
    require_few(count * channels * taps * places // _OVERLAPS)
    require_few(count, weight.shape[0], places)
    grouped = windows.reshape(count, group, channels // group * taps, places)
    columns: Array = np.ascontiguousarray(grouped.transpose(1, 2, 0, 3))
    columns = columns.reshape(group, -1, count * places)
    rows: Array = weight.reshape(group, weight.shape[0] // group, -1)
    product = np.matmul(rows, columns).reshape(weight.shape[0], count, places).transpose(1, 0, 2)
    return np.asarray(product.reshape(*x.shape[:2], weight.shape[0], *outputs))


def _used(x: Array) -> Array | None:
    """Return the channels [count, few] of `x` [count, C, ...] that hold numbers other than 0.

    None where many do. Of sparse draws, few do: the others need not be multiplied.
    """
    found = x.any(axis=tuple(range(2, x.ndim))) if x.ndim > 2 else x != 0
    few = int(found.sum(axis=1).max(initial=0))
    if _FEW * few >= found.shape[1]:
        return None
    return np.argsort(~found, axis=1, kind="stable")[:, : max(few, 1)]


def _convolve_few(x: Array, weight: Array, window: WindowAttributes, used: Array) -> Array:
    """Return the convolution of `x` [count, C, ...] whose channels are 0 but those `used`."""
    outputs = _outputs(window, x.shape[2:])
    few = np.take_along_axis(x, used.reshape(*used.shape, *(1,) * window.rank), axis=1)
    columns = gathered(few, window, outputs, 0.0).reshape(len(x), -1, math.prod(outputs))
    rows = weight.swapaxes(0, 1)[used].swapaxes(1, 2).reshape(len(x), len(weight), -1)
    return np.asarray(np.matmul(rows, columns))


def gathered(x: Array, window: WindowAttributes, outputs: Sequence[int], border: float) -> Array:
    """Return the windows of `x` [count, C, ...], as [count, C, *kernel, *outputs].

    `border`: what stands beside the input.
    """
    begins, ends = window.pads(x.shape[2:])
    reaches = window.reaches
    sides = [(0, 0), (0, 0)]
    for axis, count in enumerate(outputs):
        size = x.shape[2 + axis]
        needed = (count - 1) * window.strides[axis] + reaches[axis] - size - begins[axis]
        sides.append((begins[axis], max(needed, ends[axis])))
    if any(begin < 0 or end < 0 for begin, end in sides):
        raise UnsupportedError("a window with pads that cut")
    require_few(*(sum(pair) + size for pair, size in zip(sides, x.shape, strict=True)))
    padded = np.pad(x, sides, constant_values=border) if any(map(any, sides)) else x
    strides = padded.strides
    kernel = tuple(s * d for s, d in zip(strides[2:], window.dilations, strict=True))
    steps = tuple(s * d for s, d in zip(strides[2:], window.strides, strict=True))
    return np.lib.stride_tricks.as_strided(
        padded,
        (*x.shape[:2], *window.kernel, *outputs),
        (*strides[:2], *kernel, *steps),
        writeable=False,
    )


def _transposed_convolution(call: Call) -> PointValues:
    x, weight, bias = call.value(0), call.value(1), call.given(2)
    window = window_attributes(call.op, call.node.attrs, weight.shape[2:])
    group = int(call.attribute("group"))
    outputs = _outputs(window, x.shape[2:])
    channels = weight.shape[1] * group
    if call.setting.free:
        return whole(call, [(x.shape[0], channels, *outputs)])[0]
    call.uses_algebra()
    result = scatter(x.array, _single(weight), window, group, outputs)
    if bias is not None:
        result = result + bias.array.reshape(bias.array.shape[0], 1, -1, *(1,) * window.rank)
    return x.with_array(result)


def _tap_products(x: Array, weight: Array, group: int) -> Array:
    """Return what each tap of `weight` makes of `x` [count, C, ...]: [count, M, taps, places]."""
    count, channels = x.shape[:2]
    if group == 1 and (used := _used(x)) is not None:
        few = np.take_along_axis(x, used.reshape(*used.shape, *(1,) * (x.ndim - 2)), axis=1)
        every = weight.reshape(channels, -1)[used].swapaxes(1, 2)
        product = np.matmul(every, few.reshape(count, used.shape[1], -1))
        return np.asarray(product.reshape(count, weight.shape[1], -1, product.shape[-1]))
    grouped = x.reshape(count, group, channels // group, -1).transpose(1, 2, 0, 3)
    rows = weight.reshape(group, channels // group, -1).transpose(0, 2, 1)
    product = np.matmul(rows, grouped.reshape(group, channels // group, -1))
    made, places = weight.shape[1] * group, math.prod(x.shape[2:])
    return np.asarray(product.reshape(made, -1, count, places).transpose(2, 0, 1, 3))


def scatter(
    x: Array, weight: Array, window: WindowAttributes, group: int, outputs: Sequence[int]
) -> Array:
    """Return the transposed convolution of `x` [points, N, C, ...].

    `weight`: [C, M / group, ...].
    """
    begins, _ = window.pads(x.shape[3:])
    merged = x.reshape(-1, *x.shape[2:])
    count, sizes, made = len(merged), merged.shape[2:], weight.shape[1] * group
    product = _tap_products(merged, weight, group)
    full = [
        max((size - 1) * stride + reach, out + begin)
        for size, stride, reach, out, begin in zip(
            sizes, window.strides, window.reaches, outputs, begins, strict=True
        )
    ]
    result = np.zeros((count, made, *full))
    for at, tap in enumerate(itertools.product(*map(range, window.kernel))):
        place: Any = tuple(
            slice(t * d, t * d + (size - 1) * stride + 1, stride)
            for t, d, size, stride in zip(tap, window.dilations, sizes, window.strides, strict=True)
        )
        result[(slice(None), slice(None), *place)] += product[:, :, at].reshape(count, made, *sizes)
    kept: Any = tuple(slice(begin, begin + out) for begin, out in zip(begins, outputs, strict=True))
    found: Array = result[(slice(None), slice(None), *kept)]
    return found.reshape(*x.shape[:2], made, *outputs)


def _product(x: Array, y: Array) -> Array:
    """Return the products of matrices [points, ..., rows, n] and [points, ..., n, columns]."""
    require_few(*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1])
    if math.prod(y.shape[:-2]) == 1 and (used := _used(x.reshape(-1, x.shape[-1]))) is not None:
        few = np.take_along_axis(x.reshape(-1, x.shape[-1]), used, axis=1)
        found = np.matmul(few[:, None], y.reshape(y.shape[-2:])[used])
        return np.asarray(found.reshape(*x.shape[:-1], y.shape[-1]))
    return np.asarray(np.matmul(x, y))


def _matmul(call: Call) -> PointValues:
    a, b = call.value(0), call.value(1)
    if a.is_real != b.is_real or not a.is_real:
        raise UnsupportedError("products of integers")
    x, y = a.array, b.array
    if a.rank == 1:
        x = x[:, None, :]
    if b.rank == 1:
        y = y[:, :, None]
    rank = max(x.ndim, y.ndim)
    x, y = (
        each.reshape(each.shape[0], *(1,) * (rank - each.ndim), *each.shape[1:]) for each in (x, y)
    )
    if call.setting.free:
        batch = np.broadcast_shapes(x.shape[1:-2], y.shape[1:-2])
        shape = (
            *batch,
            *(x.shape[-2:-1] if a.rank > 1 else ()),
            *(y.shape[-1:] if b.rank > 1 else ()),
        )
        return whole(call, [shape])[0]
    call.uses_algebra()
    call.multiplies([a, b])
    result = _product(x, y)
    if a.rank == 1:
        result = result[..., 0, :]
    if b.rank == 1:
        result = result[..., 0]
    return a.with_array(result)


def _gemm(call: Call) -> PointValues:
    a, b, c = call.value(0), call.value(1), call.given(2)
    if not a.is_real:
        raise UnsupportedError("products of integers")
    x = a.array.transpose(0, 2, 1) if call.attribute("transA") else a.array
    y = b.array.transpose(0, 2, 1) if call.attribute("transB") else b.array
    if call.setting.free:
        return whole(call, [(x.shape[1], y.shape[2])])[0]
    call.uses_algebra()
    call.multiplies([a, b])
    result = _product(x, y) * float(call.attribute("alpha"))
    if c is not None:
        added = c.array.reshape(c.array.shape[0], *(1,) * (2 - c.rank), *c.shape)
        result = result + float(call.attribute("beta")) * added
    return a.with_array(result)


def _batchnorm(call: Call) -> PointValues | list[PointValues]:
    x = call.x
    if int(call.node.attrs.get("training_mode", 0)) or len(call.node.outputs) > 1:
        raise UnsupportedError("a BatchNormalization that trains")
    if call.setting.free:
        return whole(call, [x.shape])[0]
    call.uses_algebra()
    scale, bias, mean, variance = (of_channels(call.value(at), x.rank) for at in range(1, 5))
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + float(call.attribute("epsilon")))
    return x.with_array((x.array - mean) * factor + bias)


def of_channels(value: PointValues, rank: int) -> Array:
    """Return numbers of channels so that they broadcast to tensors of a rank, at all points."""
    return value.array.reshape(value.array.shape[0], 1, -1, *(1,) * (rank - 2))


RULES: dict[str, Rule] = {
    "BatchNormalization": _batchnorm,
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
