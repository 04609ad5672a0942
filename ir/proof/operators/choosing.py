"""Operators that choose between numbers, and the conditions they choose by.

Conditions are 1 where they hold, else 0, so that choosing is arithmetic: c a + (1 - c) b. What a
comparison gives is open, but for what `steps` says.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..values import POINTS, Array, PointValues, spread
from . import piecewise
from .arithmetic import RULES as ARITHMETIC
from .arithmetic import unary
from .call import Call, broadcast, rows_of, unknown_elementwise

Rule = Callable[[Call], PointValues | list[PointValues]]
_BOOL = np.dtype(np.bool_)


def _by_pieces(call: Call) -> PointValues:
    """An operator of one operand: a function of what that is a function of, or of itself."""
    x = call.x
    found = piecewise.evaluated(call, x.dtype)
    if found is None and x.base is not None:
        alone = Call(call.node, [x.with_array(x.array), *call.inputs[1:]], call.opset, call.setting)
        found = piecewise.evaluated(alone, x.dtype)
    return unary(call) if found is None else found


def _stepped(call: Call, x: Array) -> tuple[Array, Array]:
    """Return stand-ins for [x > 0] and [x = 0]."""
    rows = rows_of(spread(x))
    above, at = piecewise.steps(call, rows)
    fixed = (rows == rows[:, :1]).all(axis=1)
    above, at = np.array(above), np.array(at)
    above[fixed], at[fixed] = rows[fixed] > 0, rows[fixed] == 0
    return (each.T.reshape(POINTS, *x.shape[1:]) for each in (above, at))  # type: ignore[return-value]


def _of_pieces_or(dtype_of_first: bool, otherwise: Callable[[Call], Array]) -> Rule:
    """Return the rule of an operator of several operands."""

    def rule(call: Call) -> PointValues:
        dtype = call.values()[-1].dtype if dtype_of_first else _BOOL
        found = piecewise.evaluated(call, dtype)
        if found is not None:
            return found
        call.uses_algebra()
        return PointValues(np.asarray(otherwise(call), np.float64), dtype)

    return rule


def _absolute(call: Call, x: Array) -> Array:
    """Return a stand-in for |x|, with |t x| = |t| |x|."""
    rows = rows_of(spread(x))
    size = np.sqrt(np.mean(np.square(rows), axis=1, keepdims=True))
    along = rows @ np.cos(np.arange(1.0, rows.shape[1] + 1))
    unit = rows * np.where(along < 0, -1.0, 1.0)[:, None] / np.where(size, size, 1.0)
    found = size * call.setting.applications.rows("absolute", unit)[:, 0]
    fixed = (rows == rows[:, :1]).all(axis=1)
    found[fixed] = np.abs(rows[fixed])
    return np.asarray(found.T.reshape(POINTS, *x.shape[1:]))


def _larger(call: Call, a: Array, b: Array, sign: float) -> Array:
    """Return the larger of both, or the smaller: (a + b + |a - b|) / 2, or with a minus."""
    if call.setting.scale is not None:
        return np.asarray(np.maximum(a, b) if sign > 0 else np.minimum(a, b), np.float64)
    apart = np.asarray(a - b, np.float64)
    return np.asarray((a + b + sign * _absolute(call, apart)) / 2)


def _extreme(sign: float) -> Callable[[Call], Array]:
    def rule(call: Call) -> Array:
        a, b = broadcast(call.values())
        return _larger(call, a, b, sign)

    return rule


def _several(two: Rule) -> Rule:
    """Return the rule of Max or Min: of more than two operands, nothing is known."""

    def rule(call: Call) -> PointValues | list[PointValues]:
        if len(call.values()) == 1:
            return call.x
        if len(call.values()) == 2 or piecewise.evaluated(call, call.x.dtype) is not None:
            return two(call)
        return unknown_elementwise(call, call.values(), call.x.dtype, symmetric=True)

    return rule


def _compared(*, swapped: bool, with_equal: bool) -> Rule:
    def rule(call: Call) -> PointValues:
        found = piecewise.evaluated(call, _BOOL)
        if found is not None:
            return found
        call.uses_algebra()
        a, b = broadcast(call.values())
        apart = np.asarray(b - a if swapped else a - b, np.float64)
        above, at = _stepped(call, apart)
        return PointValues(above + at if with_equal else above, _BOOL, apart=apart)

    return rule


def _equal(call: Call) -> Array:
    a, b = broadcast(call.values())
    return _stepped(call, np.asarray(a - b, np.float64))[1]


def _where(call: Call) -> Array:
    c, a, b = (np.asarray(each, np.float64) for each in broadcast(call.values()))
    apart = call.x.apart
    if apart is not None:  # of a and b themselves: at a tie, both are the same
        step = a - b
        for sign in (1.0, -1.0):
            if step.shape == apart.shape and np.allclose(step, sign * apart, rtol=1e-12, atol=0):
                return _larger(call, a, b, sign)
    found = np.asarray(b + c * (a - b))
    if call.setting.scale is None:
        return found
    return np.where(c == 1, a, np.where(c == 0, b, found))  # where the other is far larger


def _prelu(call: Call) -> PointValues:
    x, slope = broadcast(call.values())
    above, _ = _stepped(call, np.asarray(x))
    call.uses_algebra()
    return call.x.with_array(np.asarray(slope * x + (1 - slope) * x * above))


def _logical(function: Callable[[Array, Array], Array]) -> Callable[[Call], Array]:
    def rule(call: Call) -> Array:
        a, b = (np.asarray(each, np.float64) for each in broadcast(call.values()))
        return function(a, b)

    return rule


def _not(call: Call) -> PointValues:
    found = piecewise.evaluated(call, _BOOL)
    call.uses_algebra()
    return found or PointValues(1.0 - np.asarray(call.x.array, np.float64), _BOOL)


def _cast(call: Call) -> PointValues | list[PointValues]:
    """A condition as a number is that number."""
    x = call.x
    found = ARITHMETIC["Cast"](call)
    assert isinstance(found, PointValues)
    if x.dtype == _BOOL and found.is_real:
        found = PointValues(np.asarray(x.array, np.float64), found.dtype)
    kept = found.is_real and (x.is_real or x.dtype == _BOOL) and found.array is not None
    same = kept and np.array_equal(found.array, x.array)
    return found.as_function(*x.function()) if same else found


RULES: dict[str, Rule] = {
    "Abs": _by_pieces,
    "Clip": _by_pieces,
    "HardSigmoid": _by_pieces,
    "HardSwish": _by_pieces,
    "LeakyRelu": _by_pieces,
    "Relu": _by_pieces,
    "ThresholdedRelu": _by_pieces,
    "And": _of_pieces_or(False, _logical(lambda a, b: a * b)),
    "Cast": _cast,
    "CastLike": _cast,
    "Equal": _of_pieces_or(False, _equal),
    "Greater": _compared(swapped=False, with_equal=False),
    "GreaterOrEqual": _compared(swapped=False, with_equal=True),
    "Less": _compared(swapped=True, with_equal=False),
    "LessOrEqual": _compared(swapped=True, with_equal=True),
    "Max": _several(_of_pieces_or(True, _extreme(1.0))),
    "Min": _several(_of_pieces_or(True, _extreme(-1.0))),
    "Not": _not,
    "Or": _of_pieces_or(False, _logical(lambda a, b: a + b - a * b)),
    "PRelu": _prelu,
    "Where": _of_pieces_or(True, _where),
    "Xor": _of_pieces_or(False, _logical(lambda a, b: a + b - 2 * a * b)),
}
