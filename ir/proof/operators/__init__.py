"""What operators compute on values at random points: one table, a module a family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...core import dtypes
from ...core.variables import is_standard
from ...ops.traits import traits_of
from ..values import PointValues, UnsupportedError
from . import arithmetic, linear, movement, reduction
from .call import Call, Setting, unknown_elementwise

__all__ = ["Call", "Setting", "results"]

Rule = Callable[[Call], PointValues | list[PointValues]]

RULES: dict[str, Rule] = {
    **arithmetic.RULES,
    **linear.RULES,
    **movement.RULES,
    **reduction.RULES,
}


def results(call: Call) -> list[PointValues]:
    """Return the results of a node. Raises UnsupportedError where nothing is known of it."""
    if not is_standard(call.node):
        raise UnsupportedError(f"operators of the domain '{call.node.domain}'")
    rule = RULES.get(call.op) or _by_traits(call)
    try:
        found = rule(call)
    except (ValueError, IndexError, TypeError, KeyError) as error:
        raise UnsupportedError(f"{call.op} that cannot be evaluated: {error}") from error
    return found if isinstance(found, list) else [found]


def _by_traits(call: Call) -> Rule:
    """Return the rule of an operator that has none of its own."""
    traits = traits_of(call.node, call.opset)
    if traits.unary and traits.pure and len(call.values()) == 1:
        return arithmetic.unary
    if traits.elementwise and traits.pure:
        return lambda call: unknown_elementwise(call, call.values(), call.x.dtype)
    if traits.keeps_shape and traits.pure and len(call.node.outputs) == 1:
        return lambda call: linear.whole(call, [call.x.shape])[0]
    raise UnsupportedError(f"{call.op}")


def unit(dtypes_of: list[np.dtype[np.generic]]) -> float:
    """Return the largest rounding unit of float types; 0 where there is none."""
    units = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
    return max((units.get(dtypes.type_name(dtype), 0.0) for dtype in dtypes_of), default=0.0)
