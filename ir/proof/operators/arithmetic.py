"""Sums, products, and functions of single elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from ...core import dtypes
from ...ops.traits import function_of, traits_of
from ..values import POINTS, Array, PointValues, UnsupportedError, spread
from .call import Call, broadcast, rows_of, unknown_elementwise

Rule = Callable[[Call], PointValues | list[PointValues]]
_BOOL = np.dtype(np.bool_)


def _ring(function: Callable[[Any, Any], Any]) -> Rule:
    """Return the rule of an operator that adds or multiplies, integers with wrap-around."""

    def rule(call: Call) -> PointValues:
        values = call.values()
        fixed = all(value.is_fixed for value in values)
        if not fixed and values[0].dtype.kind in "iu":
            return _of_integers(call, function, values)
        if not fixed and (call.setting.free or not values[0].is_real):
            symmetric = traits_of(call.node, call.opset).commutative and len(values) == 2
            return unknown_elementwise(call, values, values[0].dtype, symmetric=symmetric)
        call.uses_algebra()
        if function is np.multiply:
            call.multiplies(values)
        with np.errstate(all="ignore"):
            found = reduce(function, broadcast(values))
        return values[0].with_array(np.asarray(found))

    return rule


def _of_integers(
    call: Call, function: Callable[[Any, Any], Any], values: Sequence[PointValues]
) -> PointValues:
    """Add or multiply in the fields of `primes`, where what is equal wraps around alike."""
    primes = call.setting.primes
    arrays = broadcast([v.with_array(primes.residues(v.array)) for v in values])
    found = reduce(lambda a, b: np.asarray(function(a, b) % primes.beside(a)), arrays)
    return values[0].with_array(found)


def _reciprocal(call: Call, y: Array) -> Array:
    """Return a stand-in for 1 / y, with 1 / (t y) = (1 / t) (1 / y) for numbers t.

    That y / y is 1 does not follow: at 0 it is none.
    """
    if call.setting.scale is not None:
        with np.errstate(all="ignore"):
            return np.asarray(1 / np.asarray(y, np.float64))
    rows = rows_of(spread(y))
    size = np.abs(rows).max(axis=1, keepdims=True)
    along = rows @ np.cos(np.arange(1.0, rows.shape[1] + 1))
    sign = np.where(along < 0, -1.0, 1.0)[:, None]
    unit = rows * sign / np.where(size, size, 1.0)
    with np.errstate(all="ignore"):
        made = sign / size * call.setting.applications.rows("reciprocal", unit)[:, 0]
        fixed = (rows == rows[:, :1]).all(axis=1)
        made[fixed] = 1 / rows[fixed]
    return np.asarray(made.T.reshape(POINTS, *y.shape[1:]))


def _div(call: Call) -> PointValues:
    a, b = call.value(0), call.value(1)
    if a.is_real and (not call.setting.free or (a.is_fixed and b.is_fixed)):
        call.uses_algebra()
        x, y = broadcast([a, b])
        with np.errstate(all="ignore"):
            return a.with_array(x / y if b.is_fixed else x * _reciprocal(call, y))
    if a.is_fixed and b.is_fixed:
        x, y = broadcast([a, b])
        if not np.all(y):
            raise UnsupportedError("a division of integers by zero")
        towards_zero = np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))
        return a.with_array(towards_zero.astype(a.dtype))
    return unknown_elementwise(call, [a, b], a.dtype)


def _mean(call: Call) -> PointValues:
    values = call.values()
    if call.setting.free:
        return unknown_elementwise(call, values, values[0].dtype)
    call.uses_algebra()
    return values[0].with_array(np.asarray(sum(broadcast(values)) / len(values)))


def _neg(call: Call) -> PointValues:
    if call.x.dtype.kind in "iu" and not call.x.is_fixed:
        return _of_integers(call, lambda _, x: -x, [call.x, call.x])
    if (call.setting.free or not call.x.is_real) and not call.x.is_fixed:
        return unknown_elementwise(call, [call.x], call.x.dtype)
    call.uses_algebra()
    return call.x.with_array(-call.x.array)


def _pow(call: Call) -> PointValues:
    x, y = call.value(0), call.value(1)
    if x.is_fixed and y.is_fixed:
        a, b = broadcast([x, y])
        with np.errstate(all="ignore"):
            return x.with_array(np.power(a, b.astype(a.dtype)))
    if not call.setting.free and x.is_real and y.is_fixed:
        powers = np.unique(y.array)
        if powers.size == 1 and powers[0] in (1, 2, 3, 4):
            call.uses_algebra()
            call.multiplies([x, x])
            a, b = broadcast([x, y])
            return x.with_array(np.asarray(a ** int(powers[0]) * np.ones_like(b, a.dtype)))
    return unknown_elementwise(call, [x, y], x.dtype)


def _cast(call: Call) -> PointValues:
    """Widening is exact; what narrows or changes the kind rounds as a function of its own.

    That arithmetic in the wider type is the same is no more than an identity: see `prove`.
    """
    x = call.x
    like = call.op == "CastLike"
    to = call.value(1).dtype if like else dtypes.numpy_dtype(int(call.attribute("to")))
    if to == x.dtype or (x.is_real and dtypes.is_float(to) and _holds(to, x.dtype)):
        return PointValues(x.array, to)
    if x.is_fixed:
        return _cast_constant(x, to)
    return unknown_elementwise(call, [x], to, name=f"Cast to {to.name} {_saturates(call)}")


def _saturates(call: Call) -> bool:
    """Say whether numbers beyond a type of eight bits become its largest."""
    return bool(int(call.node.attrs.get("saturate", 1)))


def _cast_constant(x: PointValues, to: np.dtype[Any]) -> PointValues:
    if to.kind not in "biuf" and not dtypes.is_float(to):
        raise UnsupportedError(f"Cast to {dtypes.type_name(to)}")
    held = x.array.astype(x.dtype) if x.is_real else x.array
    with np.errstate(all="ignore"):
        cast = held.astype(to)
    return PointValues(cast.astype(np.float64) if dtypes.is_float(to) else cast, to)


def _holds(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    """Say whether every number of the float type `narrow` is one of `wide`."""
    sizes = {"float64": (52, 11), "float32": (23, 8), "float16": (10, 5), "bfloat16": (7, 8)}
    a, b = sizes[dtypes.type_name(wide)], sizes[dtypes.type_name(narrow)]
    return a[0] >= b[0] and a[1] >= b[1]


def _unary(call: Call) -> PointValues:
    """A function of one element: known where the element is, uninterpreted elsewhere.

    With more operands than one, of which a bound of Clip is one, nothing is known of it.
    """
    x = call.x
    if len(call.values()) > 1:
        return unknown_elementwise(call, call.values(), x.dtype)
    function = function_of(call.node, call.opset) if x.is_real else None
    if x.is_fixed and function is not None:
        return x.with_array(function(x.array))
    traits = traits_of(call.node, call.opset)
    found = unknown_elementwise(call, [x], x.dtype)
    found = replace(found, low=traits.low, high=traits.high)
    if function is None or call.setting.free:
        return found
    known = (x.array == x.array[:1]).all(axis=0)
    if known.any():
        exact = function(x.array[0][known])
        array = np.array(found.array)
        array[:, known] = exact
        return replace(found, array=array)
    return found


def _comparison(call: Call) -> PointValues:
    values = call.values()
    if all(value.is_fixed for value in values):
        return _by_numpy(call, _COMPARE[call.op], _BOOL)
    return unknown_elementwise(call, values, _BOOL)


def _logical(call: Call) -> PointValues:
    values = call.values()
    if all(value.is_fixed for value in values):
        return _by_numpy(call, _COMPARE[call.op], _BOOL)
    return unknown_elementwise(call, values, _BOOL, symmetric=len(values) == 2)


def _by_numpy(call: Call, function: Callable[..., Array], dtype: Any) -> PointValues:
    return PointValues(np.asarray(function(*broadcast(call.values()))), dtype)


def _where(call: Call) -> PointValues:
    condition, x, y = call.value(0), call.value(1), call.value(2)
    if condition.is_fixed:
        c, a, b = broadcast([condition, x, y])
        points = max(a.shape[0], b.shape[0])
        return x.with_array(np.where(np.broadcast_to(c, (points, *c.shape[1:])), a, b))
    return unknown_elementwise(call, [condition, x, y], x.dtype)


_EXTREMES: dict[str, Callable[[Array, Array], Array]] = {"Max": np.maximum, "Min": np.minimum}


def _extreme(call: Call) -> PointValues:
    values = call.values()
    if all(value.is_fixed for value in values):
        return values[0].with_array(reduce(_EXTREMES[call.op], broadcast(values)))
    return unknown_elementwise(call, values, values[0].dtype, symmetric=True)


_COMPARE: dict[str, Callable[..., Array]] = {
    "And": np.logical_and,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
}

# Sums and products.
RING: dict[str, Rule] = {
    "Add": _ring(np.add),
    "Div": _div,
    "Mul": _ring(np.multiply),
    "Neg": _neg,
    "Sub": _ring(np.subtract),
    "Sum": _ring(np.add),
}

RULES: dict[str, Rule] = {
    **RING,
    "And": _logical,
    "Cast": _cast,
    "CastLike": _cast,
    "Equal": _comparison,
    "Greater": _comparison,
    "GreaterOrEqual": _comparison,
    "Less": _comparison,
    "LessOrEqual": _comparison,
    "Max": _extreme,
    "Mean": _mean,
    "Min": _extreme,
    "Not": _logical,
    "Or": _logical,
    "Pow": _pow,
    "Where": _where,
    "Xor": _logical,
}

unary = _unary
