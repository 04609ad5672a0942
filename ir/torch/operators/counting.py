"""Operators on sizes and indices."""

from __future__ import annotations

import functools

import numpy as np
from torch import fx

from ...core import dtypes
from ..call import Handler, OperatorCall, Result
from ..functions import numbers
from ..tensors import torch_dtype


def _elementwise(call: OperatorCall) -> Result:
    operands = [call.numbers(position) for position in range(len(call.inputs))]
    return call.count(numbers.apply, call.op, *operands)


def _identity(call: OperatorCall) -> Result:
    return call.value(0)


def _gather(call: OperatorCall) -> Result:
    return call.count(numbers.gather, call.numbers(0), call.numbers(1), call.attribute("axis", 0))


def _concat(call: OperatorCall) -> Result:
    parts = [call.numbers(position) for position in range(len(call.inputs))]
    return call.count(numbers.concat, parts, call.attribute("axis", 0))


def _reshape(call: OperatorCall) -> Result:
    return call.count(numbers.reshape, call.numbers(0), call.numbers(1))


def _squeeze(call: OperatorCall) -> Result:
    return call.count(numbers.squeeze, call.numbers(0), call.optional_numbers(1, "axes"))


def _unsqueeze(call: OperatorCall) -> Result:
    return call.count(numbers.unsqueeze, call.numbers(0), call.optional_numbers(1, "axes"))


def _transpose(call: OperatorCall) -> Result:
    return call.count(numbers.transpose, call.numbers(0), call.attribute("perm"))


def _expand(call: OperatorCall) -> Result:
    return call.count(numbers.expand, call.numbers(0), call.numbers(1))


def _fill(call: OperatorCall) -> Result:
    value = call.attribute("value")
    held = np.zeros(1, np.float32) if value is None else np.asarray(getattr(value, "values", value))
    return call.count(numbers.fill, call.numbers(0), held.reshape(-1)[0].item())


def _slice(call: OperatorCall) -> Result:
    starts = call.optional_numbers(1, "starts")
    ends = call.optional_numbers(2, "ends")
    axes = call.optional_numbers(3, "axes")
    return call.count(numbers.crop, call.numbers(0), starts, ends, axes, call.optional_numbers(4))


def _range(call: OperatorCall) -> Result:
    bounds = [call.numbers(position) for position in range(3)]
    if not any(isinstance(bound, fx.Node) for bound in bounds):
        return call.count(numbers.arange, *bounds)
    # As many elements as a size says: one number each would fix the size where this is traced.
    kind = torch_dtype(call.dtype(call.node.outputs[0]) or np.int64)
    return call.function(numbers.arange_tensor, *bounds, kind, call.builder.anchor)


def _cast(call: OperatorCall) -> Result:
    kind = dtypes.numpy_dtype(call.attribute("to")).kind
    letter = {"i": "i", "u": "i", "b": "b"}.get(kind, "f")
    return call.count(numbers.cast, call.numbers(0), letter)


def _reduce(fold: str, call: OperatorCall) -> Result:
    keepdims = call.attribute("keepdims", 1) == 1
    axes = call.optional_numbers(1, "axes")
    if axes == () and call.attribute("noop_with_empty_axes", 0) == 1:
        return call.value(0)
    return call.count(numbers.reduce, call.numbers(0), fold, axes or None, keepdims)


OPERATORS: dict[str, Handler] = {
    **dict.fromkeys(numbers.ELEMENTWISE, _elementwise),
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _fill,
    "Expand": _expand,
    "Gather": _gather,
    "Identity": _identity,
    "Range": _range,
    "ReduceMax": functools.partial(_reduce, "max"),
    "ReduceMin": functools.partial(_reduce, "min"),
    "ReduceProd": functools.partial(_reduce, "prod"),
    "ReduceSum": functools.partial(_reduce, "sum"),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
