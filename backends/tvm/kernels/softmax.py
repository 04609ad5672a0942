"""Rows whose exponentials sum to 1.

y[r, l] = exp(x[r, l] - max_r) / sum over l of exp(x[r, l] - max_r)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..spec.scalars import exp
from .elements import constant
from .frame import function, weights
from .loops import parallel
from .rows import cover, kept, row_totals


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """Rows of `length` elements, their number None where it is not known; `lanes` at once."""

    rows: int | None
    length: int
    lanes: int


def softmax(op: Softmax) -> Any:
    """Return the function (x [rows, length], y [rows, length])."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    with function("softmax", op.rows) as frame:
        x, y = (weights(name, (frame.batch, op.length)) for name in ("X", "Y"))
        frame.begin()
        with parallel([frame.batch]) as (row,):
            # Nothing above minus infinity: minus infinity less itself is no number, as ONNX has it.
            (top,) = row_totals(op.length, op.lanes, lambda at: [x[row, at]], tirx.max, -math.inf)
            cover(
                op.length,
                op.lanes,
                lambda at: T.buffer_store(y, exp(x[row, at] - top), [row, at]),
            )
            (total,) = row_totals(op.length, op.lanes, lambda at: [y[row, at]])
            share = kept(constant(1.0) / total)
            cover(op.length, op.lanes, lambda at: T.buffer_store(y, y[row, at] * share, [row, at]))
    return frame.func
