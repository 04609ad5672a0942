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

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .elements import constant
from .frame import function, weights
from .loops import loops, parallel
from .rows import cover, kept, row_totals


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
            (total,) = row_totals(op.length, op.lanes, lambda at: [x[row, at]])
            mean = kept(total * share)

            def gap_and_square(at: Any) -> list[Any]:
                gap = x[row, at] - mean
                return [gap, gap * gap]

            gaps, squares = row_totals(op.length, op.lanes, gap_and_square)
            gap = kept(gaps * share)
            variance = tirx.max(squares * share - gap * gap, constant(0.0))
            factor = kept(constant(1.0) / tirx.sqrt(variance + constant(op.epsilon)))
            first = tirx.floormod(row, op.period) * count

            def store(group: Any, at: Any) -> None:
                value = (x[row, at] - mean - gap) * factor
                place = first + group
                T.buffer_store(y, value * scale[place] + shift[place], [row, at])

            _write(op, store)
    return frame.func


def _write(op: Normalization, store: Callable[[Any, Any], None]) -> None:
    if op.run == 1:
        cover(op.length, op.lanes, lambda at: store(at, at))
        return
    with loops(op.length // op.run) as (group,):
        cover(op.run, op.lanes, lambda at: store(group, group * op.run + at))
