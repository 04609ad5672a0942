"""Loops over many axes at once, and the arithmetic of their counters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def parallel(extents: Sequence[Any]) -> Iterator[list[Any]]:
    """Open one parallel loop over all `extents`, and give the position along each."""
    from tvm.tirx.script.builder import ir as T

    total: Any = 1
    for extent in extents:
        total = extent * total
    with T.parallel(0, total) as counter:
        yield unravel(counter, extents)


def unravel(counter: Any, extents: Sequence[Any]) -> list[Any]:
    """Return the position along each axis for a counter over all of them."""
    from tvm import tirx

    places: list[Any] = []
    rest = counter
    for extent in reversed(extents[1:]):
        if isinstance(extent, int) and extent == 1:
            places.append(0)
            continue
        places.append(tirx.floormod(rest, extent))
        rest = tirx.floordiv(rest, extent)
    first = extents[0]
    places.append(0 if isinstance(first, int) and first == 1 else rest)
    return places[::-1]


def affine(at: Sequence[Any], factors: Sequence[Any], offsets: Sequence[Any]) -> list[Any]:
    """Return `at` * `factors` + `offsets`, axis by axis."""
    return [a * factor + o for a, factor, o in zip(at, factors, offsets, strict=True)]


def ravel(places: Sequence[Any], inner: Sequence[int]) -> Any:
    """Return the counter for a position along every axis; `inner`: the extents but the first."""
    counter = places[0]
    for place, extent in zip(places[1:], inner, strict=True):
        counter = counter * extent + place
    return counter


@contextlib.contextmanager
def loops(*extents: Any, kind: str = "serial") -> Iterator[list[Any]]:
    """Open nested loops of one kind; an axis of size 1 has no loop."""
    from tvm.tirx.script.builder import ir as T

    with contextlib.ExitStack() as stack:
        places = []
        for extent in extents:
            if isinstance(extent, int) and extent == 1:
                places.append(0)
            else:
                places.append(stack.enter_context(getattr(T, kind)(0, extent)))
        yield places
