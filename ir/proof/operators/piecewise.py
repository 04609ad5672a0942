"""Operators that are polynomials on pieces, on operands that are functions of one number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from .. import pieces
from ..pieces import IDENTITY, NotInPiecesError, Pieces, number
from ..values import POINTS, Array, PointValues, spread
from .call import Call, rows_of

_ZERO, _ONE = number(0.0), number(1.0)
_ABOVE_ZERO = pieces.greater(IDENTITY, _ZERO)
_RELU = pieces.largest(IDENTITY, _ZERO)
_NEGATED = pieces.minus(_ZERO, IDENTITY)


def _clip(low: float, high: float) -> Pieces:
    found = IDENTITY
    if low > -math.inf:
        found = pieces.largest(found, number(low))
    return pieces.smallest(found, number(high)) if high < math.inf else found


def _leaky(slope: float) -> Pieces:
    return pieces.choose(_ABOVE_ZERO, IDENTITY, pieces.times(IDENTITY, number(slope)))


def _hard_sigmoid(alpha: float, beta: float) -> Pieces:
    line = pieces.plus(pieces.times(IDENTITY, number(alpha)), number(beta))
    return pieces.compose(_clip(0.0, 1.0), line)


def _clip_of(call: Call) -> Pieces:
    bounds = []
    for position, name, default in ((1, "min", -math.inf), (2, "max", math.inf)):
        given = call.given(position)
        found = call.node.attrs.get(name, default) if given is None else _number_of(given)
        if found is None:
            raise NotInPiecesError
        bounds.append(float(found))
    return _clip(*bounds)


# What operators of one operand do to a number.
_UNARY: dict[str, Callable[[Call], Pieces]] = {
    "Abs": lambda call: pieces.largest(IDENTITY, _NEGATED),
    "Clip": _clip_of,
    "HardSigmoid": lambda call: _hard_sigmoid(call.attribute("alpha"), call.attribute("beta")),
    "HardSwish": lambda call: pieces.times(IDENTITY, _hard_sigmoid(1 / 6, 0.5)),
    "LeakyRelu": lambda call: _leaky(call.attribute("alpha")),
    "Neg": lambda call: _NEGATED,
    "Not": lambda call: pieces.minus(_ONE, IDENTITY),
    "Relu": lambda call: _RELU,
    "ThresholdedRelu": lambda call: pieces.choose(
        pieces.greater(IDENTITY, number(call.attribute("alpha"))), IDENTITY, _ZERO
    ),
}

_Join = Callable[[Pieces, Pieces], Pieces]
_BINARY: dict[str, _Join] = {
    "Add": pieces.plus,
    "Greater": pieces.greater,
    "GreaterOrEqual": lambda a, b: pieces.minus(_ONE, pieces.greater(b, a)),
    "Less": lambda a, b: pieces.greater(b, a),
    "LessOrEqual": lambda a, b: pieces.minus(_ONE, pieces.greater(a, b)),
    "Max": pieces.largest,
    "Min": pieces.smallest,
    "Mul": pieces.times,
    "Sub": pieces.minus,
    "Sum": pieces.plus,
    "And": pieces.times,
}


def formed(call: Call, found: PointValues) -> PointValues:
    """Return the result of arithmetic, with the function of one number that it is, if any."""
    try:
        base, form = _form(call)
    except NotInPiecesError:
        return found
    return found.as_function(base, form)


def evaluated(call: Call, dtype: Any) -> PointValues | None:
    """Return the result of an operator that chooses; None where it is no function of one number."""
    try:
        base, form = _form(call)
    except NotInPiecesError:
        return None
    form = form.within(base.low, base.high)
    call.uses_algebra()
    array = values_of(call, form, base.array)
    return PointValues(array, np.dtype(dtype)).as_function(base, form)


def _form(call: Call) -> tuple[PointValues, Pieces]:
    if call.op in _UNARY:
        base, form = call.x.function()
        _require_real(base)
        return base, pieces.compose(_UNARY[call.op](call), form)
    if call.op == "Where":
        base, forms = _of_one(call.values())
        return base, pieces.choose(*forms)
    if call.op == "Div":
        divisor = _number_of(call.value(1))
        if not divisor:
            raise NotInPiecesError
        base, form = call.x.function()
        return base, pieces.times(form, number(1 / divisor))
    if call.op in _BINARY:
        base, forms = _of_one(call.values())
        return base, reduce(_BINARY[call.op], forms)
    raise NotInPiecesError


def _require_real(base: PointValues) -> None:
    if base.is_fixed or not (base.is_real or base.dtype.kind == "b"):
        raise NotInPiecesError


def _of_one(values: Sequence[PointValues]) -> tuple[PointValues, list[Pieces]]:
    """Return operands as functions of the one tensor that they all depend on."""
    base: PointValues | None = None
    forms = []
    for value in values:
        constant = _number_of(value)
        if constant is not None:
            forms.append(number(constant))
            continue
        own, form = value.function()
        if base is not None and own is not base:
            raise NotInPiecesError
        base = own
        forms.append(form)
    if base is None or any(v.rank > base.rank for v in values):
        raise NotInPiecesError
    _require_real(base)
    return base, forms


def _number_of(value: PointValues) -> float | None:
    """Return the number that a constant is everywhere, None for others."""
    if not value.is_fixed or not value.array.size:
        return None
    first = float(value.array.flat[0])
    same = value.array.size == 1 or bool((value.array == value.array.flat[0]).all())
    return first if same and math.isfinite(first) else None


def values_of(call: Call, form: Pieces, base: Array) -> Array:
    """Return a function of the elements of `base`, with steps of which nothing is assumed."""
    if call.setting.scale is not None:
        return _computed(form, np.asarray(spread(base), np.float64))
    total = _polynomial(form.polynomials[0], base)
    if not form.breaks:
        return total
    rows = rows_of(spread(base))
    made = rows_of(spread(total)).copy()
    for x, step, point in form.jumps():
        above, at = steps(call, rows - x, jumps=not form.is_joined(x, step, point))
        made += _polynomial(step, rows) * above + point * at
    fixed = (rows == rows[:, :1]).all(axis=1)
    if fixed.any():
        made[fixed] = np.array([form.at(float(each)) for each in rows[fixed, 0]])[:, None]
    return made.T.reshape(POINTS, *base.shape[1:])


def steps(call: Call, rows: Array, *, jumps: bool = True) -> tuple[Array, Array]:
    """Return stand-ins for [y > 0] and [y = 0] of each row of `rows`.

    `jumps`: whether that is where a function jumps, and not where it bends. Both are the same for
    t y, t > 0, and [y > 0] + [y = 0] + [-y > 0] = 1.
    """
    if call.setting.scale is not None:
        return (rows > 0).astype(np.float64), (rows == 0).astype(np.float64)
    size = np.sqrt(np.mean(np.square(rows), axis=1, keepdims=True))
    along = rows @ np.cos(np.arange(1.0, rows.shape[1] + 1))
    sign = np.where(along < 0, -1.0, 1.0)[:, None]
    unit = rows * sign / np.where(size, size, 1.0)
    found = call.setting.applications.rows("step", unit, 2, jumps=jumps)
    above, at = found[:, 0], found[:, 1]
    return np.where(sign > 0, above, 1 - above - at), at


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    total = np.full_like(x, coefficients[-1], dtype=np.float64)
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def _computed(form: Pieces, base: Array) -> Array:
    """Return a function of the elements of `base`, each by the piece that it is on."""
    places = np.searchsorted(form.breaks, base)
    found = np.full_like(base, np.nan)
    with np.errstate(all="ignore"):
        for place, polynomial in enumerate(form.polynomials):
            on = places == place
            found[on] = _polynomial(polynomial, base[on])
    for x, value in zip(form.breaks, form.points, strict=True):
        found[base == x] = value
    return found
