"""Element-wise operators, concatenation and enlargement: one read, one write an element.

y[n, c, p] = chain(x_i[n, c - c_i, floor(p / scale_i)])      for the part i that c falls in
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from .epilogue import Epilogue
from .frame import can_flatten, function, operand
from .halo import zero_halo
from .loops import loops, parallel


@dataclass(frozen=True)
class Elementwise:
    """Parts that stand one after the other on the channel axis, each enlarged by whole factors."""

    parts: tuple[BufferSpec, ...]
    scales: tuple[tuple[int, int, int], ...]
    y: BufferSpec
    chain: ElementwiseChain
    batch: int | None


def elementwise(op: Elementwise) -> Any:
    """Return the function (parts..., operands of the chain..., y)."""
    from tvm.tirx.script.builder import ir as T

    forms = [*op.parts, op.y, *op.chain.extras]
    flattened = (
        can_flatten(forms)
        and all(scale == (1, 1, 1) for scale in op.scales)
        and all(form.spatial in (op.y.spatial, (1, 1, 1)) for form in forms)
    )
    with function("elementwise", op.batch) as frame:
        parts = [operand(frame, f"X{i}", form, flattened) for i, form in enumerate(op.parts)]
        finish = Epilogue.declare(frame, op.chain, op.y, flattened)
        frame.ready()
        zero_halo(frame, finish.y)
        depth, height, width = finish.y.form.spatial
        first = 0
        for part, scale in zip(parts, op.scales, strict=True):
            count = len(part.form.blocks)
            with (
                parallel([frame.batch, count, depth, height]) as (n, block, z, row),
                loops(width) as (column,),
                T.vectorized(0, op.y.lanes) as lane,
            ):
                place = _shrunk((z, row, column), scale)
                value = part.load(n, block, place, lane)
                finish.store(value, n, block + first, (z, row, column), lane)
            first += count
    return frame.func


def _shrunk(at: Sequence[Any], scale: Sequence[int]) -> list[Any]:
    from tvm import tirx

    return [
        p if s == 1 or isinstance(p, int) else tirx.floordiv(p, s)
        for p, s in zip(at, scale, strict=True)
    ]
