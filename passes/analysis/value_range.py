"""What is known of the values of a tensor from the operator that makes it."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.variables import is_standard
from ...ir.graph.view import View

Range = tuple[float, float]

_ALL: Range = (-math.inf, math.inf)
_NOT_NEGATIVE: Range = (0.0, math.inf)
_UNIT: Range = (0.0, 1.0)
_MADE = {
    **dict.fromkeys(
        ("Relu", "Abs", "Exp", "Sqrt", "Softplus", "ReduceL1", "ReduceL2", "ReduceSumSquare"),
        _NOT_NEGATIVE,
    ),
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "Softmax"), _UNIT),
    "Tanh": (-1.0, 1.0),
}
# These give elements of their first input, and no others.
_MOVES = frozenset(
    {
        "Identity",
        "Transpose",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Expand",
        "Tile",
        "DepthToSpace",
        "SpaceToDepth",
        "MaxPool",
        "GlobalMaxPool",
    }
)
# A mean lies between the least and the largest element only up to rounding, and Dropout in training
# scales: their sign is sure.
_MEANS = frozenset({"AveragePool", "Dropout", "GlobalAveragePool", "ReduceMean"})
# Of operands that are not negative these give none that is.
_JOINS = frozenset({"Concat", "Add", "Mul", "Max", "Sum"})
_FARTHEST = 8
_MOST_PRODUCERS = 16


def clip_bounds(node: gs.Node, view: View) -> Range | None:
    """Return the bounds of a Clip, or None where they are not known.

    An absent bound is the lowest or largest finite number, so that infinity is clipped too;
    integers have nothing beyond theirs (ONNX operator Clip).
    """
    dtype = view.dtype(node.inputs[0])
    if dtype is None or not (dtype.kind in "iu" or dtypes.is_float(dtype)):
        return None
    bounds: list[float] = []
    for index, (name, limit) in enumerate(zip(("min", "max"), limits(dtype), strict=True), start=1):
        values = view.constant(node.inputs[index]) if _is_given(node, index) else None
        if _is_given(node, index) and (values is None or values.size != 1):
            return None
        found = limit if values is None else float(values.item())
        bounds.append(float(node.attrs.get(name, found)))
    return bounds[0], bounds[1]


def _is_given(node: gs.Node, index: int) -> bool:
    return len(node.inputs) > index and not node.inputs[index].is_empty()


def limits(dtype: np.dtype[Any]) -> Range:
    """Return the lowest and the largest finite value of an integer or float type."""
    if dtype.kind in "iu":
        integers = np.iinfo(dtype)
        return integers.min, integers.max
    largest = float(ml_dtypes.finfo(dtype).max)
    return -largest, largest


def value_range(tensor: gs.Tensor, view: View) -> Range:
    """Return bounds of the elements of `tensor`; NaN is never excluded."""
    dtype = view.dtype(tensor)
    low, high = _made_range(tensor, view)
    if dtype is not None and dtype.kind in "iu":
        least, largest = limits(dtype)
        return max(low, least), min(high, largest)
    return low, high


def is_nonnegative(tensor: gs.Tensor, view: View) -> bool:
    """Say whether no element of `tensor` can be negative, as far as a few producers show."""
    pending, looked_at = [tensor], 0
    while pending:
        current = pending.pop()
        looked_at += 1
        if looked_at > _MOST_PRODUCERS:
            return False
        if value_range(current, view)[0] >= 0:
            continue
        node = view.producer(current)
        if node is None or not is_standard(node) or current is not node.outputs[0]:
            return False
        if node.op in _MOVES or node.op in _MEANS:
            pending.append(node.inputs[0])
        elif node.op in _JOINS:
            pending.extend(node.inputs)
        else:
            return False
    return True


def _made_range(tensor: gs.Tensor, view: View) -> Range:
    means = False
    for _ in range(_FARTHEST):
        node = view.producer(tensor)
        if node is None or not is_standard(node):
            return _ALL
        found = _MADE.get(node.op)
        if node.op == "Clip":
            found = clip_bounds(node, view)
            if found is not None and found[0] > found[1]:
                return _ALL
        if found is not None:
            return found if not means else _sign(found)
        if node.op not in _MOVES and node.op not in _MEANS:
            return _ALL
        means |= node.op in _MEANS
        if tensor is not node.outputs[0]:
            return _ALL  # the indices of a MaxPool
        tensor = node.inputs[0]
    return _ALL


def _sign(found: Range) -> Range:
    return (0.0 if found[0] >= 0 else -math.inf, 0.0 if found[1] <= 0 else math.inf)
