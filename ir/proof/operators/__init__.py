"""What operators compute on values at random points: one table, a module a family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...core import dtypes
from ...core.variables import is_standard
from ...ops.traits import traits_of
from ..magnitudes import FLOAT_TYPES
from ..values import PointValues, UnsupportedError, require_few
from . import (
    arithmetic,
    choosing,
    control,
    linear,
    magnitudes,
    movement,
    piecewise,
    reduction,
    sequences,
)
from .call import Call, Setting, unknown_elementwise

__all__ = ["Call", "Setting", "results"]

Rule = Callable[[Call], PointValues | list[PointValues]]

RULES: dict[str, Rule] = {
    **arithmetic.RULES,
    **control.RULES,
    **linear.RULES,
    **movement.RULES,
    **reduction.RULES,
    **sequences.RULES,
}


def results(call: Call) -> list[PointValues]:
    """Return the results of a node. Raises UnsupportedError where nothing is known of it."""
    try:
        found = _results(call)
    except (ValueError, IndexError, TypeError, KeyError, OverflowError) as error:
        raise UnsupportedError(f"{call.op} that cannot be evaluated: {error}") from error
    values = found if isinstance(found, list) else [found]
    for value in values:
        require_few(value.array.size)
    return values


def _results(call: Call) -> PointValues | list[PointValues]:
    if call.setting.magnitudes is not None:
        return magnitudes.of_node(call, _by_rule, call.setting.magnitudes)
    if not is_standard(call.node):
        return linear.opaque(call)
    if all(value.is_fixed for value in call.values()) or call.setting.free:
        return _by_rule(call)
    chosen = choosing.RULES.get(call.op)
    if chosen is not None and call.x.is_real_or_condition:
        return chosen(call)
    if call.op in arithmetic.RING:
        found = _by_rule(call)
        return found if isinstance(found, list) else piecewise.formed(call, found)
    if call.op in movement.RULES and call.values():
        return _moved(call)
    if call.op in reduction.LARGEST and len(call.node.outputs) == 1:
        return _largest(call)
    return _by_rule(call)


def _by_rule(call: Call) -> PointValues | list[PointValues]:
    return (RULES.get(call.op) or _by_traits(call))(call)


def _moved(call: Call) -> PointValues | list[PointValues]:
    """Move what a tensor is a function of as the tensor is moved."""
    x, found = call.x, _by_rule(call)
    if x.is_fixed or not traits_of(call.node, call.opset).moves:
        return found
    several = isinstance(found, list)
    values = found if isinstance(found, list) else [found]
    data = [call.value(at) for at in traits_of(call.node, call.opset).data_of(len(call.inputs))]
    low, high = min(v.low for v in data), max(v.high for v in data)
    values = [replace(value, low=low, high=high) for value in values]
    if len(data) == 1 and x.base is not None and x.form is not None:
        bases = _by_rule(replace(call, inputs=[x.base, *call.inputs[1:]]))
        pairs = zip(values, bases if isinstance(bases, list) else [bases], strict=True)
        values = [value.as_function(base, x.form) for value, base in pairs]
    return values if several else values[0]


def _largest(call: Call) -> PointValues | list[PointValues]:
    """Apply an increasing function to the largest element, and not to each."""
    base, form = call.x.function()
    if base is call.x or not form.is_increasing:
        return _by_rule(call)
    inner = _by_rule(replace(call, inputs=[base, *call.inputs[1:]]))
    assert isinstance(inner, PointValues)
    made = piecewise.values_of(call, form, inner.array)
    return call.x.with_array(made).as_function(inner, form)


def _by_traits(call: Call) -> Rule:
    """Return the rule of an operator that has none of its own."""
    traits = traits_of(call.node, call.opset)
    if traits.unary and traits.pure and len(call.values()) == 1:
        return arithmetic.unary
    if traits.elementwise and traits.pure and not traits.comparison:
        return lambda call: unknown_elementwise(call, call.values(), call.x.dtype)
    return linear.opaque


def unit(dtypes_of: list[np.dtype[np.generic]]) -> float:
    """Return the largest rounding unit of float types; 0 where there is none."""
    known = (FLOAT_TYPES.get(dtypes.type_name(dtype)) for dtype in dtypes_of)
    return max((each.unit for each in known if each is not None), default=0.0)
