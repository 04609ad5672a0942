"""Mean and maximum over all positions of an image: global pooling.

y[n, c] = chain(sum over p of x[n, c, p] / positions),   chain(max over p of x[n, c, p])
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ..chain import Chain
from ..layout import Form
from .nest import (
    Finish,
    constant,
    function,
    least,
    loops,
    number_type,
    operand,
    parallel,
)

_AT_ONCE = 8  # sums in flight, so that an addition need not wait for the one before


@dataclass(frozen=True)
class Reduction:
    """Over all positions of `x`; `y` has one position."""

    kind: Literal["mean", "max"]
    x: Form
    y: Form
    chain: Chain
    batch: int | None


def reduction(op: Reduction) -> Any:
    """Return the function (x, operands of the chain..., y)."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    lanes = op.y.lanes
    depth, height, width = op.x.spatial
    at_once = max(c for c in range(1, _AT_ONCE + 1) if width % c == 0)
    dtype = number_type(op.x)
    start = least(dtype) if op.kind == "max" else constant(0.0)

    def combine(a: Any, b: Any) -> Any:
        return tirx.max(a, b) if op.kind == "max" else a + b

    with function("global_" + op.kind, op.batch) as frame:
        x = operand(frame, "X", op.x)
        finish = Finish.declare(frame, op.chain, op.y)
        frame.ready()
        with parallel([frame.batch, len(op.y.blocks)]) as (n, block):
            total = T.alloc_buffer((at_once * lanes,), dtype, scope="local")
            with loops(at_once, kind="unroll") as (a,), T.vectorized(0, lanes) as lane:
                T.buffer_store(total, start, [a * lanes + lane])
            with loops(depth, height, width // at_once) as (z, row, column):
                for a in range(at_once):
                    with T.vectorized(0, lanes) as lane:
                        value = x.load(n, block, (z, row, column * at_once + a), lane)
                        here = a * lanes + lane
                        T.buffer_store(total, combine(total[here], value), [here])
            with T.vectorized(0, lanes) as lane:
                value = total[lane]
                for a in range(1, at_once):
                    value = combine(value, total[a * lanes + lane])
                if op.kind == "mean":
                    value = value * constant(1.0 / math.prod(op.x.spatial))
                finish.store(value, n, block, (0, 0, 0), lane)
    return frame.func
