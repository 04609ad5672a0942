"""Element-wise operators, concatenation and enlargement: one read, one write an element.

y[n, c, p] = epilogue(x_i[n, c - c_i, floor(p / scale_i)])      for the part i that c falls in
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from .epilogue import Epilogue
from .frame import can_flatten, function, operand
from .loops import loops, parallel


@dataclass(frozen=True)
class Elementwise:
    """Parts that stand one after the other on the channel axis, each enlarged by whole factors."""

    parts: tuple[BufferSpec, ...]
    scales: tuple[tuple[int, int, int], ...]
    y: BufferSpec
    epilogue: ElementwiseChain
    batch: int | None


def elementwise(op: Elementwise) -> Any:
    """Return the function (parts..., operands of the epilogue..., y)."""

    specs = [*op.parts, op.y, *op.epilogue.operands]
    flattened = (
        can_flatten(specs)
        and all(scale == (1, 1, 1) for scale in op.scales)
        and all(spec.spatial in (op.y.spatial, (1, 1, 1)) for spec in specs)
    )
    with function("elementwise", op.batch) as frame:
        parts = [operand(frame, f"X{i}", spec, flattened) for i, spec in enumerate(op.parts)]
        epilogue = Epilogue.declare(frame, op.epilogue, op.y, flattened)
        epilogue.begin(frame)
        depth, height, width = epilogue.y.spec.spatial
        first = 0
        for part, scale in zip(parts, op.scales, strict=True):
            count = len(part.spec.blocks)
            with (
                parallel([frame.batch, count, depth, height]) as (n, block, z, row),
                loops(width) as (column,),
                epilogue.vector() as vector,
            ):
                place = _shrunk((z, row, column), scale)
                value = part.load(n, block, place, vector.lane)
                epilogue.store(value, n, block + first, (z, row, column), vector)
            first += count
    return frame.func


def _shrunk(at: Sequence[Any], scale: Sequence[int]) -> list[Any]:
    from tvm import tirx

    return [
        p if s == 1 or isinstance(p, int) else tirx.floordiv(p, s)
        for p, s in zip(at, scale, strict=True)
    ]
