"""Mean and maximum over all positions of an image: global pooling.

y[n, c] = epilogue(sum over p of x[n, c, p] / positions),   epilogue(max over p of x[n, c, p])
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from .elements import FLOAT, constant, converted, least, number_type, sum_type
from .epilogue import Epilogue
from .frame import function, operand
from .loops import loops, parallel
from .registers import registers

_AT_ONCE = 8  # sums in flight, so that an addition need not wait for the one before


@dataclass(frozen=True)
class GlobalPooling:
    """Over all positions of `x`; `y` has one position."""

    kind: Literal["mean", "max"]
    x: BufferSpec
    y: BufferSpec
    epilogue: ElementwiseChain
    batch: int | None


def global_pooling(op: GlobalPooling) -> Any:
    """Return the function (x, operands of the epilogue..., y)."""

    lanes = op.y.lanes
    depth, height, width = op.x.spatial
    at_once = max(c for c in range(1, _AT_ONCE + 1) if width % c == 0)
    dtype = number_type(op.x) if op.kind == "max" else sum_type(op.x)
    start = least(dtype) if op.kind == "max" else constant(0, dtype)
    combine = combination(op.kind)
    with function("global_" + op.kind, op.batch) as frame:
        x = operand(frame, "X", op.x)
        epilogue = Epilogue.declare(frame, op.epilogue, op.y)
        epilogue.begin(frame)
        with parallel([frame.batch, len(op.y.blocks)]) as (n, block):
            totals = registers(at_once, lanes, dtype)
            for total in totals:
                total.set(lambda _: start)
            with loops(depth, height, width // at_once) as (z, row, column):
                for a, total in enumerate(totals):
                    at = (z, row, column * at_once + a)
                    total.set(
                        lambda lane: combine(
                            total[lane], converted(x.load(n, block, at, lane), dtype)
                        )
                    )
            with epilogue.vector() as vector:
                value = functools.reduce(combine, [total[vector.lane] for total in totals])
                if op.kind == "mean":
                    value = converted(value, FLOAT) * constant(1.0 / math.prod(op.x.spatial))
                epilogue.store(value, n, block, (0, 0, 0), vector)
    return frame.func


def combination(kind: str) -> Callable[[Any, Any], Any]:
    """Return what combines two numbers: the larger one for "max", else their sum."""
    from tvm import tirx

    return tirx.max if kind == "max" else operator.add
