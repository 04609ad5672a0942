"""Resampling: every result is a sum of a few positions along each axis, by tables.

y[n, c, z, y, x] = epilogue(sum over i, j, k of wz[z, i] * wy[y, j] * wx[x, k]
                            * x[n, c, pz[z, i], py[y, j], px[x, k]])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from .elements import FLOAT, constant
from .epilogue import Epilogue
from .frame import function, operand, weights
from .loops import loops, parallel
from .registers import registers
from .tiles import Sizes

_UNROLLED_TAPS = 4


@dataclass(frozen=True)
class Resample:
    """`taps`: of each axis, 0 for one whose positions stay."""

    x: BufferSpec
    y: BufferSpec
    taps: Sizes
    epilogue: ElementwiseChain
    batch: int | None


@dataclass(frozen=True)
class _Table:
    """The places and weights of one axis; without them, positions stay."""

    places: Any = None
    weights: Any = None

    def place(self, position: Any, tap: Any) -> Any:
        return position if self.places is None else self.places[position, tap]

    def weighted(self, value: Any, position: Any, tap: Any) -> Any:
        return value if self.weights is None else value * self.weights[position, tap]


def resample(op: Resample) -> Any:
    """Return the function (x, places and weights of each axis that has any..., operands, y)."""

    depth, height, width = op.y.spatial
    taps = [max(1, count) for count in op.taps]
    with function("resample", op.batch) as frame:
        x = operand(frame, "X", op.x)
        tables = [_declare(axis, op) for axis in range(3)]
        epilogue = Epilogue.declare(frame, op.epilogue, op.y)
        epilogue.begin(frame)
        with (
            parallel([frame.batch, len(op.y.blocks), depth, height]) as (n, block, z, row),
            loops(width) as (column,),
        ):
            at = (z, row, column)
            (total,) = registers(1, op.y.lanes)
            total.set(lambda _: constant(0.0))
            few = all(count <= _UNROLLED_TAPS for count in taps)
            with loops(*taps, kind="unroll" if few else "serial") as steps:
                places = [t.place(p, k) for t, p, k in zip(tables, at, steps, strict=True)]

                def added(lane: Any) -> Any:
                    value = x.load(n, block, places, lane)
                    for table, position, step in zip(tables, at, steps, strict=True):
                        value = table.weighted(value, position, step)
                    return total[lane] + value

                total.set(added)
            with epilogue.vector() as vector:
                epilogue.store(total[vector.lane], n, block, at, vector)
    return frame.func


def _declare(axis: int, op: Resample) -> _Table:
    if not op.taps[axis]:
        return _Table()
    shape = (op.y.spatial[axis], op.taps[axis])
    return _Table(weights(f"P{axis}", shape, "int32"), weights(f"W{axis}", shape, FLOAT))
