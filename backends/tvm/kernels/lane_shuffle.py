"""Channels from some places of blocks to others: what goes where is part of the code.

    y[n, b, p, lane] = x_i[n, block, p, l]      for the place i, block, l of b and lane

A vector of the result takes its lanes from few vectors of the inputs; two at a time are shuffled by
constant indices, which are instructions, where a table would be read lane by lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..spec.layout import BufferSpec
from .bfloat16 import BITS, HALF
from .frame import Operand, function, operand, operands
from .halo import zero_halo
from .loops import loops, parallel

_MOST_SOURCES = 4
Place = tuple[int, int, int]


@dataclass(frozen=True)
class LaneShuffle:
    """From `xs` to `y`, blocked alike; `places`: which x, block and lane for every lane of y."""

    xs: tuple[BufferSpec, ...]
    y: BufferSpec
    places: tuple[Place, ...]
    batch: int | None

    @property
    def rows(self) -> list[tuple[Place, ...]]:
        """The places of each block of y."""
        lanes = self.y.lanes
        return [self.places[at : at + lanes] for at in range(0, len(self.places), lanes)]


def can_shuffle(op: LaneShuffle) -> bool:
    """Say whether few vectors make one of the result, on average."""
    alike = all(x.lanes == op.y.lanes > 1 and x.dtype == op.y.dtype for x in op.xs)
    sources = sum(len({(x, block) for x, block, _ in row}) for row in op.rows)
    return alike and sources <= _MOST_SOURCES * len(op.rows)


def lane_shuffle(op: LaneShuffle) -> Any:
    """Return the function (xs..., y)."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    with function("lane_shuffle", op.batch) as frame:
        xs = operands(frame, "X", op.xs)
        y = operand(frame, "Y", op.y)
        frame.begin()
        zero_halo(frame, y)
        depth, height, width = op.y.spatial
        with (
            parallel([frame.batch, depth, height]) as (n, z, row),
            loops(width) as (column,),
        ):
            at = (z, row, column)
            for block, places in enumerate(op.rows):
                whole = tirx.Ramp(0, 1, op.y.lanes)
                found = joined(xs, n, at, places)
                T.buffer_store(y.buffer, found, y.spec.index(n, block, at, whole))
    return frame.func


def joined(xs: Sequence[Operand], n: Any, at: Sequence[Any], places: Sequence[Place]) -> Any:
    """Return a vector of the elements at `places`."""
    from tvm import tirx

    lanes = len(places)
    found: Any = None
    for source in dict.fromkeys((x, block) for x, block, _ in places):
        x = xs[source[0]]
        vector = x.stored(n, source[1], at, tirx.Ramp(0, 1, lanes))
        if x.spec.dtype == HALF:
            vector = tirx.reinterpret(f"{BITS}x{lanes}", vector)
        own = [lane if (x, block) == source else None for x, block, lane in places]
        if found is None:
            found = tirx.Shuffle([vector], [lane or 0 for lane in own])
            continue
        order = [i if lane is None else lanes + lane for i, lane in enumerate(own)]
        found = tirx.Shuffle([found, vector], order)
    half = xs[0].spec.dtype == HALF
    return tirx.reinterpret(f"{HALF}x{lanes}", found) if half else found
