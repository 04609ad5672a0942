"""Arithmetic that returns an operand.

x + 0, x - 0, x * 1, x / 1, x ^ 1, b and true, b or false; Sum, Max, Min and Mean of one; Cast to
its own type; Where with a constant condition; -(-x), not not b; Relu, Abs, Clip, LeakyRelu and Elu
of what is in their range already; rounding of what is integral
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ...analysis.value_range import clip_bounds, is_nonnegative, value_range
from .movement import Rule, keeps_shape

# The operand that changes nothing, and whether it may come first.
_NEUTRAL = {
    "Add": (0, True),
    "Sub": (0, False),
    "Mul": (1, True),
    "Div": (1, False),
    "Pow": (1, False),
    "And": (True, True),
    "Or": (False, True),
}
_INTEGRAL = frozenset({"Floor", "Ceil", "Round"})


def returned_operand(node: gs.Node, view: View) -> gs.Tensor | None:
    """Return the operand of `node` that its result equals, or None."""
    if node.op in _NEUTRAL:
        return _non_neutral(node, view)
    if node.op == "Where":
        return _chosen(node, view)
    if node.op in ("Neg", "Not"):
        inner = view.producer(node.inputs[0])
        twice = inner is not None and inner.op == node.op and is_standard(inner)
        return inner.inputs[0] if inner is not None and twice else None
    rule = _RULES.get(node.op)
    return node.inputs[0] if rule is not None and rule(node, view) else None


def _non_neutral(node: gs.Node, view: View) -> gs.Tensor | None:
    """Return the operand that is left of x + 0, 0 + x, x - 0, x * 1, 1 * x or x / 1."""
    if view.opset < 7:
        return None  # broadcasting was an attribute then
    neutral, commutes = _NEUTRAL[node.op]
    for kept, other in ((0, 1), (1, 0)) if commutes else ((0, 1),):
        values = view.constant(node.inputs[other])
        if values is None or values.dtype.kind == "O" or not np.all(values == neutral):
            continue
        shape = view.shape(node.inputs[kept])
        if shape is not None and keeps_shape(shape, values.shape):
            return node.inputs[kept]
    return None


def _chosen(node: gs.Node, view: View) -> gs.Tensor | None:
    """Return the operand that a constant condition takes everywhere."""
    condition = view.constant(node.inputs[0])
    if condition is None or not condition.size or condition.any() != condition.all():
        return None
    taken, other = node.inputs[1:] if condition.any() else node.inputs[:0:-1]
    shape, beside = view.shape(taken), view.shape(other)
    if shape is None or not keeps_shape(shape, condition.shape):
        return None
    fits = beside is not None and None not in beside and keeps_shape(shape, beside)
    return taken if fits or view.same_shape(taken, node.outputs[0]) else None


def _single(node: gs.Node, view: View) -> bool:
    return len(node.inputs) == 1


def _cast(node: gs.Node, view: View) -> bool:
    dtype = view.dtype(node.inputs[0])
    return dtype is not None and dtypes.elem_type(dtype) == node.attrs.get("to")


def _cast_like(node: gs.Node, view: View) -> bool:
    dtype = view.dtype(node.inputs[0])
    return dtype is not None and dtype == view.dtype(node.inputs[1])


def _clip(node: gs.Node, view: View) -> bool:
    bounds = clip_bounds(node, view)
    low, high = value_range(node.inputs[0], view)
    return bounds is not None and bounds[0] <= low and high <= bounds[1]


def _not_negative(node: gs.Node, view: View) -> bool:
    return is_nonnegative(node.inputs[0], view)


def _rounded(node: gs.Node, view: View) -> bool:
    inner = view.producer(node.inputs[0])
    return inner is not None and is_standard(inner) and inner.op in _INTEGRAL


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("Sum", "Max", "Min", "Mean"), _single),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Clip": _clip,
    **dict.fromkeys(("Relu", "Abs", "LeakyRelu", "Elu"), _not_negative),
    **dict.fromkeys(("Floor", "Ceil", "Round"), _rounded),
}
OPS = frozenset({*_RULES, *_NEUTRAL, "Where", "Neg", "Not"})
