"""Rows brought to mean 0 and variance 1: layer, instance and group normalization.

    y[r, l] = (x[r, l] - m_r) / sqrt(v_r + epsilon) * scale[p] + shift[p]
    p = (r mod period) * length / run + l / run

Mean and variance are taken in two passes, and the second corrects what the first rounded away:
v = mean(d * d) - mean(d)^2 with d = x - m, where mean(d) is nearly 0. The sums of squares of a
single pass cancel as soon as the mean is large beside the deviation.

Source: Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance, The American
Statistician 37 (3), 1983, equation 1.7.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .elements import constant
from .frame import function, weights
from .loops import loops, parallel
from .registers import Register, each, registers

_AT_ONCE = 4  # sums in flight, so that an addition need not wait for the one before


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """Rows of `length` elements, `run` of which in a row share a scale; they repeat by `period`.

    `rows` is None where their number is not known; `lanes` are computed at once.
    """

    rows: int | None
    length: int
    run: int
    period: int
    epsilon: float
    lanes: int

    @property
    def parameters(self) -> int:
        """The number of scales."""
        return self.period * (self.length // self.run)


def normalization(op: Normalization) -> Any:
    """Return the function (x [rows, length], scale, shift, y [rows, length])."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    share, count = constant(1.0 / op.length), op.length // op.run
    with function("normalize", op.rows) as frame:
        x = weights("X", (frame.batch, op.length))
        scale, shift = (weights(name, (op.parameters,)) for name in ("scale", "shift"))
        y = weights("Y", (frame.batch, op.length))
        frame.begin()
        with parallel([frame.batch]) as (row,):
            (total,) = _sums(op, lambda at: [x[row, at]])
            mean = _kept(total * share)
            gaps, squares = _sums(op, lambda at: [x[row, at] - mean, _squared(x[row, at] - mean)])
            gap = _kept(gaps * share)
            variance = tirx.max(squares * share - gap * gap, constant(0.0))
            factor = _kept(constant(1.0) / tirx.sqrt(variance + constant(op.epsilon)))
            first = tirx.floormod(row, op.period) * count

            def store(group: Any, at: Any) -> None:
                value = (x[row, at] - mean - gap) * factor
                place = first + group
                T.buffer_store(y, value * scale[place] + shift[place], [row, at])

            _write(op, store)
    return frame.func


def _squared(value: Any) -> Any:
    return value * value


def _sums(op: Normalization, numbers: Callable[[Any], Sequence[Any]]) -> list[Any]:
    """Emit the sums of some numbers of every element of a row, and return them."""
    step = _AT_ONCE * op.lanes
    whole, rest = divmod(op.length, step)
    kinds = range(len(numbers(0)))
    totals = [registers(_AT_ONCE, op.lanes) for _ in kinds] if whole else []
    tails = [registers(1, 1)[0] for _ in kinds] if rest else []
    for one in itertools.chain(*totals, tails):
        one.set(lambda _: constant(0.0))
    if whole:
        with loops(whole) as (turn,):
            for part, kind in each((_AT_ONCE, len(kinds))):
                _add(totals[kind][part], turn * step + part * op.lanes, numbers, kind)
    if rest:
        with loops(rest) as (at,):
            for kind in kinds:
                _add(tails[kind], whole * step + at, numbers, kind)
    return [_whole_sum(parts) for parts in zip(*_columns(totals, tails), strict=True)]


def _add(total: Register, first: Any, numbers: Callable[[Any], Sequence[Any]], kind: int) -> None:
    total.set(lambda lane: total[lane] + numbers(first + lane)[kind])


def _columns(totals: list[list[Register]], tails: list[Register]) -> list[list[Any]]:
    """Return the sums that are in flight: rows of one for every kind of number."""
    found = [
        [one[lane] for one in row]
        for row in zip(*totals, strict=True)
        for lane in range(row[0].lanes)
    ]
    return [*found, *([[tail[0] for tail in tails]] if tails else [])]


def _whole_sum(parts: Sequence[Any]) -> Any:
    """Return the sum of `parts`, added in pairs."""
    while len(parts) > 1:
        parts = [functools.reduce(operator.add, parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return parts[0]


def _kept(value: Any) -> Any:
    """Emit `value` once, and return what reads it."""
    (one,) = registers(1, 1)
    one.set(lambda _: value)
    return one[0]


def _write(op: Normalization, store: Callable[[Any, Any], None]) -> None:
    if op.run == 1:
        _cover(op.length, op.lanes, lambda at: store(at, at))
        return
    with loops(op.length // op.run) as (group,):
        _cover(op.run, op.lanes, lambda at: store(group, group * op.run + at))


def _cover(count: int, lanes: int, emit: Callable[[Any], None]) -> None:
    """Emit something for each of `count` places, `lanes` at once as long as there are so many."""
    from tvm.tirx.script.builder import ir as T

    whole, rest = divmod(count, lanes)
    if whole:
        with loops(whole) as (turn,), T.vectorized(0, lanes) as lane:
            emit(turn * lanes + lane)
    if rest:
        with loops(rest) as (at,):
            emit(whole * lanes + at)
