"""Loops along a row: sums and maxima in several vectors at once, and element-wise passes."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from .elements import constant
from .loops import loops
from .registers import Register, each, registers

VECTORS = 4  # in flight, so that an addition need not wait for the one before

Combine = Callable[[Any, Any], Any]
Numbers = Callable[[Any], Sequence[Any]]


def row_totals(
    length: int,
    lanes: int,
    numbers: Numbers,
    combine: Combine = operator.add,
    start: float = 0.0,
) -> list[Any]:
    """Emit the totals of one or more numbers of every element of a row, and return them.

    `numbers(at)` gives those of the element at `at`, which may be several in a vector.
    """
    whole, rest = divmod(length, VECTORS * lanes)
    kinds = range(len(numbers(0)))
    totals = [registers(VECTORS, lanes) for _ in kinds] if whole else []
    tails = [registers(1, 1)[0] for _ in kinds] if rest else []
    for one in itertools.chain(*totals, tails):
        one.set(lambda _: constant(start))

    def add(total: Register, first: Any, kind: int) -> None:
        total.set(lambda lane: combine(total[lane], numbers(first + lane)[kind]))

    if whole:
        with loops(whole) as (turn,):
            for part, kind in each((VECTORS, len(kinds))):
                add(totals[kind][part], (turn * VECTORS + part) * lanes, kind)
    if rest:
        with loops(rest) as (at,):
            for kind in kinds:
                add(tails[kind], whole * VECTORS * lanes + at, kind)
    found = [[one[lane] for one in row for lane in range(lanes)] for row in totals]
    found = found or [[] for _ in kinds]
    for parts, tail in zip(found, tails, strict=False):
        parts.append(tail[0])
    return [kept(in_pairs(parts, combine)) for parts in found]


def in_pairs(parts: Sequence[Any], combine: Combine) -> Any:
    """Return all `parts` combined, as a tree."""
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [combine(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]


def kept(value: Any) -> Any:
    """Emit `value` once, and return what reads it."""
    (one,) = registers(1, 1)
    one.set(lambda _: value)
    return one[0]


def cover(count: int, lanes: int, emit: Callable[[Any], None]) -> None:
    """Emit something for each of `count` places, `lanes` at once as long as there are so many."""
    from tvm.tirx.script.builder import ir as T

    whole, rest = divmod(count, lanes)
    if whole:
        with loops(whole) as (turn,), T.vectorized(0, lanes) as lane:
            emit(turn * lanes + lane)
    if rest:
        with loops(rest) as (at,):
            emit(whole * lanes + at)
