"""Reductions of axes and of windows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...ops.axes.reductions import keeps_all_without_axes, keeps_dims
from ...ops.jumps import jumps
from ...ops.traits import traits_of
from ...ops.windows.attributes import WindowAttributes, window_attributes
from ..values import POINTS, Array, PointValues, UnsupportedError, spread
from .call import Call, in_floats, named, sorted_rows, types_of
from .linear import gathered, whole

Rule = Callable[[Call], PointValues | list[PointValues]]

# Beside an input whose largest is taken: nothing, so that it is no number.
_NEVER = -math.inf


def axes_of(call: Call) -> tuple[int, ...]:
    """Return the axes that a reduction joins."""
    if not call.x.rank:
        return ()
    axes = call.ints("axes", 1)
    if not axes:
        if keeps_all_without_axes(call.node):
            return ()
        return tuple(range(call.x.rank))
    return tuple(sorted({axis % call.x.rank for axis in axes}))


def _reduced_shape(call: Call, axes: tuple[int, ...]) -> tuple[int, ...]:
    keeps = keeps_dims(call.node)
    shape = enumerate(call.x.shape)
    return tuple(1 if at in axes else size for at, size in shape if keeps or at not in axes)


def _sum_of(function: Callable[[Array], Array], *, mean: bool) -> Rule:
    def rule(call: Call) -> PointValues:
        x, axes = call.x, axes_of(call)
        if x.dtype.kind in "iu" and not x.is_fixed and not mean:
            return _of_integers(call, function, axes)
        if function is np.square:
            call.multiplies([x, x])
        if not axes:
            return x.with_array(function(x.array))
        if (call.setting.free or not x.is_real) and not x.is_fixed:
            return _by_rows(call, axes, _reduced_shape(call, axes))
        if not x.is_real and mean:
            raise UnsupportedError("a mean of integers")
        call.uses_algebra()
        places = tuple(axis + 1 for axis in axes)
        found = function(x.array).sum(axis=places)
        if mean:
            found = found / math.prod(x.shape[axis] for axis in axes)
        if not x.is_real:
            found = found.astype(x.dtype)
        return x.with_array(found.reshape(found.shape[0], *_reduced_shape(call, axes)))

    return rule


def _of_integers(
    call: Call, function: Callable[[Array], Array], axes: tuple[int, ...]
) -> PointValues:
    """Add in the fields of `primes`, where what is equal wraps around alike."""
    primes = call.setting.primes
    whole = primes.residues(call.x.array)
    found = (function(whole) % primes.beside(whole)).sum(axis=tuple(axis + 1 for axis in axes))
    found = found % primes.beside(found)
    return call.x.with_array(found.reshape(found.shape[0], *_reduced_shape(call, axes)))


def _by_rows(
    call: Call, axes: tuple[int, ...], shape: tuple[int, ...], *, symmetric: bool = False
) -> PointValues:
    """Apply a function of which nothing is known to what lies along `axes`."""
    x = call.x
    others = [axis for axis in range(x.rank) if axis not in axes]
    kept, width = (math.prod(x.shape[a] for a in each) for each in (others, axes))
    if width == 1 and traits_of(call.node, call.opset).keeps_single:
        return x.with_array(x.array.reshape(x.array.shape[0], *shape))
    order = (*(a + 1 for a in others), *(a + 1 for a in axes), 0)
    parts = [p.transpose(*order).reshape(kept, width, POINTS) for p in in_floats(spread(x.array))]
    if symmetric and len(parts) == 1:
        parts = [sorted_rows(parts[0])]
    rows = np.concatenate(parts, axis=1)
    function = (call.op, *named(call)[:3], width, types_of([x]))
    found = call.setting.applications.rows(
        function,
        rows.reshape(len(rows), math.prod(rows.shape[1:])),
        jumps=jumps(call.node, call.opset),
    )
    return x.with_array(found[:, 0].T.reshape(POINTS, *shape))


def _extreme(call: Call) -> PointValues:
    axes = axes_of(call)
    if call.x.is_fixed and axes:
        function = np.max if call.op == "ReduceMax" else np.min
        found = function(call.x.array, axis=tuple(axis + 1 for axis in axes))
        return call.x.with_array(found.reshape(1, *_reduced_shape(call, axes)))
    return _by_rows(call, axes, _reduced_shape(call, axes), symmetric=True)


def _symmetric(call: Call) -> PointValues:
    """A reduction of which nothing is known but that the order of the elements is no matter."""
    axes = axes_of(call)
    return _by_rows(call, axes, _reduced_shape(call, axes), symmetric=True)


def _global_average(call: Call) -> PointValues:
    x = call.x
    axes = tuple(range(2, x.rank))
    shape = (*x.shape[:2], *(1,) * len(axes))
    if call.setting.free:
        return _by_rows(call, axes, shape)
    call.uses_algebra()
    found = x.array.mean(axis=tuple(axis + 1 for axis in axes))
    return x.with_array(found.reshape(-1, *shape))


def _global_max(call: Call) -> PointValues:
    x = call.x
    return _by_rows(
        call, tuple(range(2, x.rank)), (*x.shape[:2], *(1,) * (x.rank - 2)), symmetric=True
    )


def _pool(call: Call) -> tuple[PointValues, WindowAttributes, tuple[int, ...]]:
    window = window_attributes(call.op, call.node.attrs, call.node.attrs["kernel_shape"])
    outputs = window.outputs(call.x.shape[2:])
    if not all(isinstance(size, int) for size in outputs):
        raise UnsupportedError("a window that does not fit its input")
    return call.x, window, tuple(size for size in outputs if isinstance(size, int))


def _windows(x: Array, window: WindowAttributes, outputs: tuple[int, ...], border: float) -> Array:
    """Return the windows of `x` [points, N, C, ...] as [points, N, C, taps, *outputs]."""
    merged = x.reshape(-1, *x.shape[2:])
    found = gathered(merged, window, outputs, border)
    return found.reshape(*x.shape[:3], math.prod(window.kernel), *outputs)


def _average_pool(call: Call) -> PointValues:
    x, window, outputs = _pool(call)
    if call.setting.free:
        return whole(call, [(*x.shape[:2], *outputs)])[0]
    if window.ceil and window.counts_pads:
        raise UnsupportedError("an AveragePool of ceil_mode that counts its pads")
    call.uses_algebra()
    total = _windows(x.array, window, outputs, 0.0).sum(axis=3)
    if window.counts_pads:
        return x.with_array(total / math.prod(window.kernel))
    inside = np.ones((1, 1, 1, *x.shape[2:]))
    return x.with_array(total / _windows(inside, window, outputs, 0.0).sum(axis=3))


def _max_pool(call: Call) -> PointValues | list[PointValues]:
    x, window, outputs = _pool(call)
    if len(call.node.outputs) > 1:
        return whole(call, [(*x.shape[:2], *outputs)] * 2)
    if not x.is_real and x.dtype.itemsize == 8:
        return whole(call, [(*x.shape[:2], *outputs)])[0]
    windows = _windows(np.asarray(spread(x.array), np.float64), window, outputs, _NEVER)
    axes = (1, 2, *range(4, windows.ndim))
    rows = windows.transpose(*axes, 3, 0)
    shape = rows.shape[: len(axes)]
    if windows.shape[3] == 1 and not window.is_padded:
        return x.with_array(windows.reshape(POINTS, *shape).astype(x.array.dtype))
    rows = sorted_rows(rows.reshape(math.prod(shape), *rows.shape[-2:]))
    function = ("MaxPool", rows.shape[1], types_of([x]))
    found = call.setting.applications.rows(
        function, rows.reshape(len(rows), math.prod(rows.shape[1:]))
    )
    return x.with_array(found[:, 0].T.reshape(POINTS, *shape))


def _softmax(call: Call) -> PointValues:
    """A function of the elements along an axis; up to opset 12, of all from it on."""
    x = call.x
    axis = int(call.attribute("axis")) % max(x.rank, 1)
    axes = (axis,) if call.opset >= 13 else tuple(range(axis, x.rank))
    others = [each for each in range(x.rank) if each not in axes]
    order = [*others, *axes]
    moved = spread(x.array).transpose(*(each + 1 for each in order), 0)
    width = math.prod(x.shape[each] for each in axes)
    rows = moved.reshape(math.prod(x.shape[each] for each in others), width * POINTS)
    found = call.setting.applications.rows((call.op, width, types_of([x])), rows, width)
    laid = found.reshape(*(x.shape[each] for each in order), POINTS)
    back = np.argsort([*(each + 1 for each in order), 0])
    return x.with_array(laid.transpose(*back))


def _named_rows(call: Call) -> PointValues:
    return whole(call, [call.x.shape])[0]


# The largest element.
LARGEST: dict[str, Rule] = {
    "GlobalMaxPool": _global_max,
    "MaxPool": _max_pool,
    "ReduceMax": _extreme,
}

RULES: dict[str, Rule] = {
    **LARGEST,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "LogSoftmax": _softmax,
    "ReduceL1": _symmetric,
    "ReduceL2": _symmetric,
    "ReduceLogSum": _symmetric,
    "ReduceLogSumExp": _symmetric,
    "ReduceMean": _sum_of(lambda x: x, mean=True),
    "ReduceMin": _extreme,
    "ReduceProd": _symmetric,
    "ReduceSum": _sum_of(lambda x: x, mean=False),
    "ReduceSumSquare": _sum_of(np.square, mean=False),
    "Softmax": _softmax,
}
