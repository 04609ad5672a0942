"""float32 to bfloat16, in whatever order the numbers lie.

y[r, l] = round(x[r, l])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .bfloat16 import HALF, rounded, rounds_in_one_instruction, store_rounded
from .frame import function, weights
from .loops import loops, parallel
from .registers import registers
from .rows import cover


@dataclass(frozen=True, kw_only=True)
class RoundedRows:
    """Rows of `length` elements, their number None where it is not known; `lanes` at once."""

    rows: int | None
    length: int
    lanes: int


def rounding(op: RoundedRows) -> Any:
    """Return the function (x [rows, length], y [rows, length])."""
    from tvm.tirx.script.builder import ir as T

    at_once = op.length // op.lanes if rounds_in_one_instruction() else 0
    with function("round", op.rows) as frame:
        x = weights("X", (frame.batch, op.length))
        y = weights("Y", (frame.batch, op.length), HALF)
        frame.begin()
        with parallel([frame.batch]) as (row,):
            if at_once:
                with loops(at_once) as (turn,):
                    (held,) = registers(1, op.lanes)
                    held.set(lambda lane: x[row, turn * op.lanes + lane])
                    store_rounded(y, held, op.lanes, [row, turn * op.lanes])
            first = at_once * op.lanes
            cover(
                op.length - first,
                op.lanes,
                lambda at: T.buffer_store(y, rounded(x[row, first + at]), [row, first + at]),
            )
    return frame.func
