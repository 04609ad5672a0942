"""Sums along one axis, in many parts that are added at the end.

    y[r, i] = finish(scale * sum over l of term(x[r, l, i]))

One sum from the first number to the last would round as often as there are numbers, and each
addition wait for the one before: along a row the parts are the lanes of several vectors, elsewhere
several vectors of neighbours.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..spec.scalars import written_out
from .elements import constant
from .frame import function, weights
from .loops import loops, parallel
from .registers import Register, registers
from .rows import VECTORS, in_pairs, row_totals
from .tiles import start_of_tile

Term = Literal["value", "size", "square"]
Finish = Literal["sum", "root", "logarithm"]

_AT_ONCE = 8  # sums in flight along another axis than the last
_RUN = 16  # numbers of such a sum that are added one by one
_ROW = 64  # and of one along a row, where adding up its lanes costs more


@dataclass(frozen=True, kw_only=True)
class AxisSum:
    """Sums along the middle axis of [rows, length, inner]; `rows` is None where it is not known.

    `lanes` are computed at once.
    """

    rows: int | None
    length: int
    inner: int
    term: Term
    scale: float
    finish: Finish
    lanes: int


def reduction(op: AxisSum) -> Any:
    """Return the function (x [rows, length, inner], y [rows, inner])."""
    from tvm.tirx.script.builder import ir as T

    term, finish = _terms()[op.term], _finishes()[op.finish]
    with function("reduce", op.rows) as frame:
        x = weights("X", (frame.batch, op.length, op.inner))
        y = weights("Y", (frame.batch, op.inner))
        frame.begin()

        def finished(total: Any) -> Any:
            return finish(total if op.scale == 1.0 else total * constant(op.scale))

        if op.inner == 1:
            with parallel([frame.batch]) as (row,):
                total = _along(op, lambda at: term(x[row, at, 0]))
                T.buffer_store(y, finished(total[0]), [row, 0])
        else:
            width = min(op.lanes, op.inner)
            with parallel([frame.batch, math.ceil(op.inner / width)]) as (row, tile):
                first = start_of_tile(tile, width, op.inner)
                total = _neighbours(op, width, lambda at, lane: term(x[row, at, first + lane]))
                with T.vectorized(0, width) as lane:
                    T.buffer_store(y, finished(total[lane]), [row, first + lane])
    return frame.func


def _along(op: AxisSum, number: Callable[[Any], Any]) -> Register:
    """Emit the sum of `number(place)`, runs of numbers apart, and return its register."""
    whole = registers(1, 1)[0]
    whole.set(lambda _: constant(0.0))

    def add(length: int, first: Any) -> None:
        (total,) = row_totals(length, op.lanes, lambda at: [number(first + at)])
        whole.set(lambda lane: whole[lane] + total)

    most = _ROW * VECTORS * op.lanes
    runs, rest = divmod(op.length, most)
    if runs:
        with loops(runs) as (index,):
            add(most, index * most)
    if rest:
        add(rest, runs * most)
    return whole


def _neighbours(op: AxisSum, width: int, number: Callable[[Any, Any], Any]) -> Register:
    """Emit the sums of `number(place, lane)` for all lanes at once, and return their register.

    Runs of numbers are summed apart, and then their sums.
    """
    at_once = min(_AT_ONCE, op.length)
    whole, run = registers(1, width)[0], registers(at_once, width)
    whole.set(lambda _: constant(0.0))

    def add(turns: int, first: Any) -> None:
        for one in run:
            one.set(lambda _: constant(0.0))
        with loops(turns) as (turn,):
            for part, one in enumerate(run):
                place = first + turn * at_once + part
                one.set(lambda lane: one[lane] + number(place, lane))
        whole.set(lambda lane: whole[lane] + in_pairs([one[lane] for one in run], operator.add))

    turns, rest = divmod(op.length, at_once)
    runs, turns = divmod(turns, _RUN)
    if runs:
        with loops(runs) as (index,):
            add(_RUN, index * (_RUN * at_once))
    if turns:
        add(turns, runs * _RUN * at_once)
    for place in range(op.length - rest, op.length):
        whole.set(lambda lane: whole[lane] + number(place, lane))
    return whole


def _terms() -> dict[Term, Callable[[Any], Any]]:
    from tvm import tirx

    return {"value": written_out, "size": tirx.abs, "square": lambda x: x * x}


def _finishes() -> dict[Finish, Callable[[Any], Any]]:
    from tvm import tirx

    return {"sum": written_out, "root": tirx.sqrt, "logarithm": tirx.log}
