"""Arithmetic on sizes and indices: plain numbers beside the tensors.

A value is a numpy array of Python numbers (or of PyTorch's symbolic ones, while a module is being
exported), or a nested tuple of such; results are arrays. Operators as in the ONNX specification.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

Numbers = Any
Array = np.ndarray[Any, Any]


def array(value: Numbers) -> Array:
    """Return `value` as an array of Python numbers."""
    if isinstance(value, np.ndarray):
        return value if value.dtype == object else value.astype(object)
    return np.array(value, dtype=object)


def shape(x: torch.Tensor, start: int = 0, end: int | None = None) -> Array:
    """Shape of a tensor."""
    return array(tuple(x.shape)[slice(start, end)])


def size(x: torch.Tensor) -> Array:
    """Return how many elements a tensor has."""
    return array(math.prod(x.shape))


def from_tensor(x: torch.Tensor) -> Array:
    """Return the values of a tensor."""
    return array(x.tolist())


def to_tensor(value: Numbers, dtype: torch.dtype, like: torch.Tensor) -> torch.Tensor:
    """Return numbers as a tensor on the device of `like`."""
    held = array(value)
    if all(isinstance(v, int | float | bool) for v in held.flat):
        return torch.tensor(held.tolist(), dtype=dtype, device=like.device).reshape(held.shape)
    parts = [torch.scalar_tensor(v, dtype=dtype, device=like.device) for v in held.flat]
    return torch.stack(parts).reshape(held.shape)


def sizes(value: Numbers) -> tuple[Any, ...]:
    """Return a rank-1 value as a tuple."""
    return tuple(array(value).reshape(-1).tolist())


def gather(value: Numbers, indices: Numbers, axis: int = 0) -> Array:
    """Gather."""
    return array(np.take(array(value), array(indices).astype(np.int64), axis))


def concat(values: Sequence[Numbers], axis: int = 0) -> Array:
    """Concat."""
    return np.concatenate([array(v) for v in values], axis)


def reshape(value: Numbers, target: Numbers) -> Array:
    """Reshape."""
    held = array(value)
    wanted = [held.shape[i] if n == 0 else int(n) for i, n in enumerate(sizes(target))]
    return held.reshape(wanted)


def squeeze(value: Numbers, axes: Numbers | None = None) -> Array:
    """Squeeze."""
    return array(value).squeeze(None if axes is None else tuple(int(a) for a in sizes(axes)))


def unsqueeze(value: Numbers, axes: Numbers) -> Array:
    """Unsqueeze."""
    return np.expand_dims(array(value), tuple(int(a) for a in sizes(axes)))


def transpose(value: Numbers, perm: Sequence[int] | None = None) -> Array:
    """Transpose."""
    return array(value).transpose(perm)


def expand(value: Numbers, target: Numbers) -> Array:
    """Expand."""
    held = array(value)
    wanted = tuple(int(n) for n in sizes(target))
    return np.broadcast_to(held, np.broadcast_shapes(held.shape, wanted))


def fill(target: Numbers, value: Any) -> Array:
    """ConstantOfShape."""
    return np.full(tuple(int(n) for n in sizes(target)), value, dtype=object)


def crop(
    value: Numbers,
    starts: Numbers,
    ends: Numbers,
    axes: Numbers | None = None,
    steps: Numbers | None = None,
) -> Array:
    """Slice."""
    held = array(value)
    first = sizes(starts)
    along = range(len(first)) if axes is None else sizes(axes)
    strides = (1,) * len(first) if steps is None else sizes(steps)
    taken = [slice(None)] * held.ndim
    for axis, start, end, step in zip(along, first, sizes(ends), strides, strict=True):
        length = held.shape[int(axis)]
        taken[int(axis)] = slice(*bounds(int(start), int(end), int(step), length), int(step))
    return held[tuple(taken)]


def bounds(start: Any, end: Any, step: Any, length: Any) -> tuple[Any, Any]:
    """Return the `start` and `end` of ONNX's Slice as Python's slice means them."""
    start = start + length if start < 0 else start
    end = end + length if end < 0 else end
    if step > 0:
        return min(max(start, 0), length), min(max(end, 0), length)
    start, end = min(max(start, 0), length - 1), min(max(end, -1), length - 1)
    return start, (None if end < 0 else end)


def split(value: Numbers, pieces: Sequence[int]) -> tuple[Array, ...]:
    """Split of rank-1 values."""
    return tuple(np.split(array(value), np.cumsum(pieces)[:-1]))


def arange(start: Numbers, limit: Numbers, step: Numbers) -> Array:
    """Range."""
    first, last, by = (array(v).item() for v in (start, limit, step))
    count = max(math.ceil((last - first) / by), 0)
    return array([first + i * by for i in range(count)])


def arange_tensor(
    start: Numbers, limit: Numbers, step: Numbers, dtype: torch.dtype, like: torch.Tensor
) -> torch.Tensor:
    """Range, as a tensor on the device of `like`."""
    first, last, by = (array(v).item() for v in (start, limit, step))
    return torch.arange(first, last, by, dtype=dtype, device=like.device)


def cast(value: Numbers, kind: str) -> Array:
    """Cast to "i" (integers, towards zero), "f" (float) or "b" (bool)."""
    kinds: dict[str, Callable[..., Any]] = {"i": _whole, "f": _real, "b": bool}
    return _each(kinds[kind], value)


def reduce(value: Numbers, fold: str, axes: Numbers | None, keepdims: bool) -> Array:
    """ReduceProd, ReduceSum, ReduceMin and ReduceMax."""
    held = array(value)
    along = tuple(range(held.ndim)) if axes is None else tuple(int(a) for a in sizes(axes))
    function: Any = {"prod": np.prod, "sum": np.sum, "min": np.min, "max": np.max}[fold]
    return array(function(held, axis=along, keepdims=keepdims))


def apply(op: str, *values: Numbers) -> Array:
    """Element-wise operators, with broadcasting."""
    return _each(_ELEMENTWISE[op], *values)


def _each(function: Callable[..., Any], *values: Numbers) -> Array:
    held = np.broadcast_arrays(*(array(v) for v in values))
    made = np.empty(held[0].shape, dtype=object)
    for index in np.ndindex(made.shape):
        made[index] = _rounded(function(*(v[index] for v in held)))
    return made


def _rounded(value: Any) -> Any:
    """Floats are float32 in the graph, whose rounding decides what a later Floor gives."""
    return float(np.float32(value)) if isinstance(value, float) else value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | torch.SymInt)


def _whole(value: Any) -> Any:
    return value if _is_whole(value) and not isinstance(value, bool) else math.trunc(value)


def _real(value: Any) -> Any:
    return torch.sym_float(value) if isinstance(value, torch.SymInt) else float(value)


def _divide(a: Any, b: Any) -> Any:
    if _is_whole(a) and _is_whole(b):
        return a // b if (a >= 0) == (b > 0) else -((-a) // b)
    return a / b if b else math.copysign(math.inf, a) if a else math.nan


def _least(*values: Any) -> Any:
    result = values[0]
    for value in values[1:]:
        result = torch.sym_min(result, value)
    return result


def _most(*values: Any) -> Any:
    result = values[0]
    for value in values[1:]:
        result = torch.sym_max(result, value)
    return result


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Abs": abs,
    "Add": lambda a, b: a + b,
    "And": lambda a, b: a and b,
    "Ceil": math.ceil,
    "Div": _divide,
    "Equal": lambda a, b: a == b,
    "Floor": math.floor,
    "Greater": lambda a, b: a > b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "Less": lambda a, b: a < b,
    "LessOrEqual": lambda a, b: a <= b,
    "Max": _most,
    "Min": _least,
    "Mod": lambda a, b: a % b,
    "Mul": lambda a, b: a * b,
    "Neg": lambda a: -a,
    "Not": lambda a: not a,
    "Or": lambda a, b: a or b,
    "Sub": lambda a, b: a - b,
    "Where": lambda c, a, b: a if c else b,
}
ELEMENTWISE = frozenset(_ELEMENTWISE)
