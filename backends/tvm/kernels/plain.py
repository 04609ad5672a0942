"""Element-wise operators on a tensor that lies as ONNX has it, with what broadcasts to it.

y[n, c, z, y, x] = epilogue(x[n, c, z, y, x])      an axis of size 1 has one position for all

Axes that all operands have, or lack, alike are one axis here (`broadcast`): the last, which is read
in vectors, is as long as can be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from .epilogue import Epilogue
from .frame import function, operand
from .loops import loops, parallel, unravel
from .registers import vector

# Below so many elements, starting threads costs more than they save.
_WORTH_THREADS = 4096


@dataclass(frozen=True, kw_only=True)
class PlainElementwise:
    """`epilogue` of `x`; vectors are of `lanes` elements along the last axis."""

    x: BufferSpec
    y: BufferSpec
    epilogue: ElementwiseChain
    batch: int | None
    lanes: int


def plain_elementwise(op: PlainElementwise) -> Any:
    """Return the function (x, operands of the epilogue..., y)."""
    from tvm.tirx.script.builder import ir as T

    depth, height, width = op.y.spatial
    outer = (op.y.channels, depth, height)
    small = op.batch is not None and op.batch * math.prod(outer) * width < _WORTH_THREADS
    whole, rest = divmod(width, op.lanes)
    with function("elementwise", op.batch) as frame:
        x = operand(frame, "X", op.x)
        epilogue = Epilogue.declare(frame, op.epilogue, op.y)
        epilogue.begin(frame)
        extents = [frame.batch, *outer]
        if small:
            with T.serial(0, math.prod(extents)) as counter:
                _row(epilogue, x, unravel(counter, extents), whole, rest, op.lanes)
        else:
            with parallel(extents) as places:
                _row(epilogue, x, places, whole, rest, op.lanes)
    return frame.func


def _row(epilogue: Epilogue, x: Any, places: Any, whole: int, rest: int, lanes: int) -> None:
    """Emit all elements of one row, `whole` vectors and a shorter one."""
    n, channel, z, row = places

    def some(first: Any, count: int) -> None:
        with vector(count, epilogue.chain.held) as open_vector:
            at = (z, row, first + open_vector.lane)
            value = x.load_broadcast(n, 0, at, channel)
            epilogue.store_at(value, (n, 0, at, channel), open_vector)

    if whole:
        with loops(whole) as (turn,):
            some(turn * lanes, lanes)
    if rest:
        some(whole * lanes, rest)
