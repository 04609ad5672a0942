"""Arithmetic that returns an operand.

x + 0, x - 0, x * 1, x / 1, x ^ 1, b and true, b or false, a shift by 0; Sum, Max, Min and Mean of
one, max(x, x) and min(x, x); Cast to its own type; Where with a constant condition; -(-x), not not
b; Relu, Abs, Clip, LeakyRelu, Elu, ... of what they give back as it is; rounding of what is
integral; sign(sign(x))
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.clips import clip_bounds
from ....ir.ops.parameters import Array
from ....ir.ops.quantization.barriers import is_barrier
from ....ir.ops.traits import Integers, Kind, Traits, operators_with, traits_of
from ...analysis.value_range import is_nonnegative, value_range
from .movement import Rule, keeps_shape

_BY_TRAIT = operators_with(
    lambda traits: (
        traits.neutral is not None
        or (traits.elementwise and traits.keeps_single)
        or traits.gives_back != Kind.NONE
        or traits.idempotent
        or traits.involution
    )
)


def returned_operand(node: gs.Node, view: View) -> gs.Tensor | None:
    """Return the operand of `node` that its result equals, or None."""
    if not is_standard(node):
        return None
    if node.op == "Where":
        return _chosen(node, view)
    traits = traits_of(node, view.opset)
    if traits.neutral is not None:
        return _non_neutral(node, traits, view)
    inner = view.producer(node.inputs[0])
    alike = inner is not None and inner.op == node.op and is_standard(inner)
    if inner is not None and alike and traits.involution:
        return inner.inputs[0]
    single = traits.elementwise and traits.keeps_single and _is_of_one(node, traits)
    rule = _RULES.get(node.op)
    returns = (
        (rule is not None and rule(node, view))
        or single
        or (alike and traits.idempotent)
        or _is_given_back(node, traits, view)
    )
    return node.inputs[0] if returns else None


def _is_of_one(node: gs.Node, traits: Traits) -> bool:
    """Say whether `node` has one operand, or one several times that it rounds nothing of."""
    first, *others = node.inputs
    return not others or (traits.exact and all(other is first for other in others))


def _is_given_back(node: gs.Node, traits: Traits, view: View) -> bool:
    match traits.gives_back:
        case Kind.NOT_NEGATIVE if not is_barrier(node):
            return is_nonnegative(node.inputs[0], view) and _is_not_repeated(node, view)
        case Kind.INTEGRAL:
            inner = view.producer(node.inputs[0])
            return inner is not None and traits_of(inner, view.opset).integral
    return False


def _is_not_repeated(node: gs.Node, view: View) -> bool:
    """Say whether no slope of a PRelu has more elements than what it works on: that is repeated."""
    x, slopes = view.shape(node.inputs[0]), [view.shape(t) for t in node.inputs[1:]]
    known = [slope for slope in slopes if slope is not None]
    return not slopes or (
        x is not None and len(known) == len(slopes) and all(keeps_shape(x, s) for s in known)
    )


def _non_neutral(node: gs.Node, traits: Traits, view: View) -> gs.Tensor | None:
    """Return the operand that is left of x + 0, 0 + x, x - 0, x * 1, 1 * x or x / 1."""
    if not traits.elementwise:
        return None  # before opset 7 broadcasting was an attribute
    if traits.integers is Integers.OVERFLOW and not dtypes.is_float(view.dtype(node.inputs[0])):
        return None  # large integers to the power of one are rounded by runtimes that use floats
    for kept, other in ((0, 1), (1, 0)) if traits.commutative else ((0, 1),):
        values = view.constant(node.inputs[other])
        if values is None or values.dtype.kind == "O" or not np.all(values == traits.neutral):
            continue
        if view.signed_zeros and _turns_zero(traits, values):
            continue
        shape = view.shape(node.inputs[kept])
        if shape is not None and keeps_shape(shape, values.shape):
            return node.inputs[kept]
    return None


def _turns_zero(traits: Traits, values: Array) -> bool:
    """Say whether a zero that is added or subtracted makes 0.0 of -0.0: -0.0 + 0.0, -0.0 - -0.0."""
    if traits.neutral != 0 or not dtypes.is_float(values.dtype):
        return False
    negative = np.signbit(values.astype(np.float64))
    return not negative.all() if traits.commutative else bool(negative.any())


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


def _cast(node: gs.Node, view: View) -> bool:
    dtype = view.dtype(node.inputs[0])
    return dtype is not None and dtypes.elem_type(dtype) == node.attrs.get("to")


def _cast_like(node: gs.Node, view: View) -> bool:
    dtype = view.dtype(node.inputs[0])
    return dtype is not None and dtype == view.dtype(node.inputs[1])


def _clip(node: gs.Node, view: View) -> bool:
    bounds = clip_bounds(node, view)
    low, high = value_range(node.inputs[0], view)
    if view.signed_zeros and 0 in (low, high) and dtypes.is_float(view.dtype(node.inputs[0])):
        return False  # -0.0 is in range too, and what is made of it depends on the runtime
    return bounds is not None and bounds[0] <= low and high <= bounds[1]


_RULES: dict[str, Rule] = {"Cast": _cast, "CastLike": _cast_like, "Clip": _clip}
OPS = _BY_TRAIT | _RULES.keys() | {"Where"}
