"""Operators that move elements, and what says where: exact for whatever the elements are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import dtypes
from ...core.constant_nodes import dense_value_of_constant_node
from ..values import Array, PointValues, UnsupportedError, constant, require_few, spread
from .call import Call

Rule = Callable[[Call], PointValues | list[PointValues]]


def _axis(axis: int, rank: int) -> int:
    """Return the axis of the array behind an axis of the tensor: points come first."""
    return axis + 1 if axis >= 0 else axis + rank + 1


def _reshaped(value: PointValues, shape: Sequence[int]) -> PointValues:
    return value.with_array(value.array.reshape(value.array.shape[0], *shape))


def _identity(call: Call) -> PointValues:
    return call.x


def _transpose(call: Call) -> PointValues:
    x = call.x
    order = call.ints("perm") or list(range(x.rank))[::-1]
    return x.with_array(x.array.transpose(0, *(each + 1 for each in order)))


def _reshape(call: Call) -> PointValues:
    x = call.x
    wanted = call.ints("shape", 1)
    if wanted is None:
        raise UnsupportedError("Reshape without a shape")
    copies = not call.attribute("allowzero")
    sizes = [x.shape[at] if size == 0 and copies else size for at, size in enumerate(wanted)]
    return _reshaped(x, sizes)


def _flatten(call: Call) -> PointValues:
    x, axis = call.x, int(call.attribute("axis"))
    axis = axis if axis >= 0 else axis + x.rank
    return _reshaped(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def _squeeze(call: Call) -> PointValues:
    x, axes = call.x, call.ints("axes", 1)
    if axes is None:
        axes = [axis for axis, size in enumerate(x.shape) if size == 1]
    gone = {axis % x.rank for axis in axes}
    return _reshaped(x, [size for axis, size in enumerate(x.shape) if axis not in gone])


def _unsqueeze(call: Call) -> PointValues:
    x, axes = call.x, call.ints("axes", 1) or []
    rank = x.rank + len(axes)
    fresh, sizes = {axis % rank for axis in axes}, iter(x.shape)
    return _reshaped(x, [1 if axis in fresh else next(sizes) for axis in range(rank)])


def _concat(call: Call) -> PointValues:
    values = call.values()
    points = max(value.array.shape[0] for value in values)
    arrays = [spread(v.array, points) for v in values]
    axis = _axis(int(call.attribute("axis")), values[0].rank)
    return values[0].with_array(np.concatenate(arrays, axis=axis))


def _split(call: Call) -> list[PointValues]:
    x, sizes = call.x, call.ints("split", 1)
    axis, parts = int(call.attribute("axis") or 0), len(call.node.outputs)
    axis = _axis(axis, x.rank)
    if sizes is None:
        size = -(-x.array.shape[axis] // parts)
        last = x.array.shape[axis] - size * (parts - 1)
        sizes = [size] * (parts - 1) + [last]
    ends = list(itertools.accumulate(sizes))
    return [x.with_array(each) for each in np.split(x.array, ends[:-1], axis=axis)]


def _slice(call: Call) -> PointValues:
    x = call.x
    starts, ends = call.ints("starts", 1), call.ints("ends", 2)
    if starts is None or ends is None:
        raise UnsupportedError("Slice without bounds")
    axes, steps = call.ints("axes", 3), call.ints("steps", 4)
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    parts = [slice(None)] * (x.rank + 1)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = x.shape[axis]
        parts[_axis(axis, x.rank)] = _part(start, end, step, size)
    return x.with_array(x.array[tuple(parts)])


def _part(start: int, end: int, step: int, size: int) -> slice:
    """Return the elements of an axis of `size` that ONNX takes, which clamps both bounds."""
    start, end = (each + size if each < 0 else each for each in (start, end))
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    return slice(start, None if end < 0 else end, step)


def _gather(call: Call) -> PointValues:
    x, axis = call.x, int(call.attribute("axis"))
    indices = call.value(1).fixed().astype(np.int64)
    at = _axis(axis, x.rank)
    size = x.array.shape[at]
    require_few(x.array.size // max(size, 1), indices.size)
    if indices.size and (indices.min() < -size or indices.max() >= size):
        raise UnsupportedError("Gather beyond the axis")
    return x.with_array(np.take(x.array, indices % max(size, 1), axis=at))


def _gather_elements(call: Call) -> PointValues:
    x, axis = call.x, int(call.attribute("axis"))
    indices = call.value(1).fixed().astype(np.int64)
    at = _axis(axis, x.rank)
    wrapped = np.where(indices < 0, indices + x.array.shape[at], indices)[None]
    index = np.broadcast_to(wrapped, (x.array.shape[0], *indices.shape))
    if any(
        a > b for k, (a, b) in enumerate(zip(index.shape, x.array.shape, strict=True)) if k != at
    ):
        raise UnsupportedError("GatherElements beyond the data")
    kept = tuple(slice(None) if k == at else slice(0, n) for k, n in enumerate(index.shape))
    return x.with_array(np.take_along_axis(x.array[kept], index, axis=at))


def _expand(call: Call) -> PointValues:
    x, wanted = call.x, [int(size) for size in call.value(1).fixed()]
    shape = np.broadcast_shapes(x.shape, tuple(wanted))
    full = x.array.reshape(x.array.shape[0], *(1,) * (len(shape) - x.rank), *x.shape)
    return x.with_array(np.broadcast_to(full, (x.array.shape[0], *shape)))


def _tile(call: Call) -> PointValues:
    x = call.x
    repeats = [int(each) for each in call.value(1).fixed()]
    require_few(x.array.size, *repeats)
    return x.with_array(np.tile(x.array, (1, *repeats)))


def _pad(call: Call) -> PointValues:
    x = call.x
    mode = call.attribute("mode")
    pads = call.ints("pads", 1) or call.ints("paddings") or []
    axes = call.ints("axes", 3)
    axes = list(range(x.rank)) if axes is None else [axis % x.rank for axis in axes]
    sides = [(0, 0)] * (x.rank + 1)
    for at, axis in enumerate(axes):
        sides[axis + 1] = (pads[at], pads[at + len(axes)])
    cut = tuple(
        slice(max(-begin, 0), size - max(-end, 0))
        for (begin, end), size in zip(sides, x.array.shape, strict=True)
    )
    added = [(max(begin, 0), max(end, 0)) for begin, end in sides]
    require_few(*(sum(pair) + size for pair, size in zip(added, x.array.shape, strict=True)))
    if mode != "constant":
        if any(begin < 0 or end < 0 for begin, end in sides):
            raise UnsupportedError("Pad that cuts and repeats elements")
        modes: dict[str, Any] = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}
        return x.with_array(np.pad(x.array, added, mode=modes[mode]))
    given = call.given(2)
    value = call.node.attrs.get("value", 0) if given is None else given.fixed().reshape(())[()]
    with np.errstate(invalid="ignore"):  # NaN around integers, where nothing is added
        return x.with_array(np.pad(x.array[cut], added, constant_values=value))


def _depth_to_space(call: Call) -> PointValues:
    x, b = call.x, int(call.attribute("blocksize"))
    n, c, h, w = x.shape
    points = x.array.shape[0]
    if call.attribute("mode") == "CRD":
        split = x.array.reshape(points, n, c // (b * b), b, b, h, w)
        moved = split.transpose(0, 1, 2, 5, 3, 6, 4)
    else:
        split = x.array.reshape(points, n, b, b, c // (b * b), h, w)
        moved = split.transpose(0, 1, 4, 5, 2, 6, 3)
    return x.with_array(moved.reshape(points, n, c // (b * b), h * b, w * b))


def _space_to_depth(call: Call) -> PointValues:
    x, b = call.x, int(call.attribute("blocksize"))
    n, c, h, w = x.shape
    points = x.array.shape[0]
    split = x.array.reshape(points, n, c, h // b, b, w // b, b)
    columns_last = call.node.attrs.get("mode", "DCR") in ("CRD", b"CRD")
    moved = split.transpose(*((0, 1, 2, 4, 6, 3, 5) if columns_last else (0, 1, 4, 6, 2, 3, 5)))
    return x.with_array(moved.reshape(points, n, c * b * b, h // b, w // b))


def _shape(call: Call) -> PointValues:
    x = call.x
    start = int(call.node.attrs.get("start", 0))
    end = call.node.attrs.get("end")
    sizes = np.array(x.shape, np.int64)[start : None if end is None else int(end)]
    return PointValues(sizes[None], np.dtype(np.int64))


def _size(call: Call) -> PointValues:
    return PointValues(np.array([math.prod(call.x.shape)], np.int64), np.dtype(np.int64))


def _constant_of_shape(call: Call) -> PointValues:
    held = call.node.attrs.get("value")
    value: Array = np.zeros(1, np.float32) if held is None else np.asarray(held.values)
    sizes = [int(size) for size in call.x.fixed()]
    return constant(np.broadcast_to(value.reshape(()), sizes))


def _constant(call: Call) -> PointValues:
    held = dense_value_of_constant_node(call.node)
    if held is None:
        raise UnsupportedError("a Constant that is no tensor")
    return constant(np.asarray(held))


def _range(call: Call) -> PointValues:
    start, limit, delta = (value.fixed().reshape(())[()] for value in call.values())
    dtype = call.x.dtype
    require_few(max(0, math.ceil((float(limit) - float(start)) / float(delta))))
    made: Array = np.arange(start, limit, delta)  # type: ignore[call-overload]
    return PointValues(made.astype(np.float64 if dtypes.is_float(dtype) else dtype)[None], dtype)


def _dropout(call: Call) -> list[PointValues]:
    """Nothing is dropped but in training; then, what is kept is random."""
    training = call.given(2)
    if call.opset < 7 or (training is not None and bool(training.fixed().reshape(()))):
        raise UnsupportedError("a Dropout that trains")
    kept = np.ones((1, *call.x.shape), np.bool_)
    if call.opset < 10:
        return [call.x]
    return [call.x, PointValues(kept, np.dtype(np.bool_))]


RULES: dict[str, Rule] = {
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Identity": _identity,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
