"""Clamps: Relu and Clip from Max and Min, and one of several in a row.

Max(x, 0) = Relu(x)     Min(Max(x, a), b) = Clip(x, a, b)     for a <= b
clamp(clamp(x; a, b); c, d) = clamp(x; clamp(a; c, d), clamp(b; c, d))

All of them pass NaN on in ONNX Runtime. Clip without a bound makes infinity the largest finite
number of its type, which is why Clip(x, 0) alone is no Relu.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.build import clip_parameters
from ....ir.ops.clips import clip_bounds
from ....ir.ops.opsets import broadcasts
from ....ir.ops.parameters import spell
from ..expressions import scalar
from ..replacement import Array, Recognition, RecognizedOperator

_INFINITY = float("inf")


@dataclass(frozen=True)
class Clamp:
    """min(max(source, low), high); an absent bound of Clip is the type's last finite number."""

    source: gs.Tensor
    low: float
    high: float


def read_clamp(node: gs.Node, view: View) -> Clamp | None:
    """Return the clamp of floats that Relu, Clip, or Max or Min with a scalar computes."""
    if not is_standard(node) or not node.inputs:
        return None
    x = node.inputs[0]
    match node.op:
        case "Relu":
            return Clamp(x, 0.0, _INFINITY)
        case "Clip":
            return _read_clip(node, view)
        case "Max" | "Min" if len(node.inputs) == 2 and broadcasts(node.op, view.opset):
            for source, bound in (node.inputs, reversed(node.inputs)):
                value = scalar(bound, source, view)
                if value is not None:
                    low = node.op == "Max"
                    return Clamp(source, value if low else -_INFINITY, _INFINITY if low else value)
    return None


def _read_clip(node: gs.Node, view: View) -> Clamp | None:
    bounds = clip_bounds(node, view) if dtypes.is_float(view.dtype(node.inputs[0])) else None
    if bounds is None or bounds[0] > bounds[1]:
        return None
    return Clamp(node.inputs[0], *bounds)


class RecognizeClamp(Recognition):
    """Write Relu for Max with zero, and one Relu or Clip for two clamps in a row."""

    ops = frozenset({"Relu", "Clip", "Max", "Min"})  # the spellings that `read_clamp` knows

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        """Return the Relu, Clip, Max or Min that says the same in one node."""
        outer = read_clamp(node, view)
        if outer is None:
            return None
        below = view.producer(outer.source)
        inner = read_clamp(below, view) if below is not None else None
        dtype = view.dtype(outer.source)
        if dtype is None or not dtypes.is_float(dtype):
            return None
        if inner is None or below is None:
            if node.op != "Max" or outer.low != 0 or view.signed_zeros:
                return None
            need(not np.signbit(outer.low), "its bound is -0.0, and Relu gives 0.0")
            return RecognizedOperator("Relu", (outer.source,), (node,))
        need(
            view.read_only_by(outer.source, node),
            f"the result of {below.op} inside it is read elsewhere too",
        )
        zero = 0 in (inner.low, inner.high, outer.low, outer.high)
        need(not (view.signed_zeros and zero), "which zero a bound of zero leaves is not known")
        low, high = (min(max(v, outer.low), outer.high) for v in (inner.low, inner.high))
        return _clamp(inner.source, low, high, dtype, (node, below), view)


def _clamp(
    x: gs.Tensor,
    low: float,
    high: float,
    dtype: np.dtype[Any],
    nodes: tuple[gs.Node, ...],
    view: View,
) -> RecognizedOperator:
    def value(bound: float) -> Array:
        return np.array(bound, dtype)

    if low == 0 and high == _INFINITY:
        return RecognizedOperator("Relu", (x,), nodes)
    if high == _INFINITY:
        return RecognizedOperator("Max", (x, value(low)), nodes)
    if low == -_INFINITY:
        return RecognizedOperator("Min", (x, value(high)), nodes)
    need(
        view.opset >= 12 or dtypes.bits(dtype) <= 32,
        "ONNX Runtime has Clip of float64 from opset 12 on",
    )
    largest = float(ml_dtypes.finfo(dtype).max)
    parameters = clip_parameters(
        low if low > -largest else None, high if high < largest else None, dtype
    )
    attrs, constants = spell("Clip", view.opset, parameters)
    bounds = [constants.get(place) for place in range(1, max(constants, default=0) + 1)]
    return RecognizedOperator("Clip", (x, *bounds), nodes, attrs)
