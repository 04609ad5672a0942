"""A tensor from ONNX's own layout to blocks, with an epilogue on the way.

    y[n, b, p, lane] = epilogue(x[n, b * lanes + lane, p])

Lanes are unrolled inside the loop over positions, so that their stores make whole vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from .elements import constant
from .epilogue import Epilogue
from .frame import function, operand
from .loops import loops, parallel
from .registers import scalar


@dataclass(frozen=True)
class Pack:
    """From `x`, not blocked, to `y`, whose blocks hold the channels in order.

    Where `y` has more channels, the others are zero before the epilogue; it is a single block then.
    """

    x: BufferSpec
    y: BufferSpec
    epilogue: ElementwiseChain
    batch: int | None


def pack(op: Pack) -> Any:
    """Return the function (x, operands of the epilogue..., y)."""
    from tvm import tirx

    with function("pack", op.batch) as frame:
        x = operand(frame, "X", op.x)
        epilogue = Epilogue.declare(frame, op.epilogue, op.y)
        epilogue.begin(frame)
        depth, height, width = op.y.spatial
        count = len(op.y.blocks)
        with (
            parallel([frame.batch, count, depth, height]) as (n, block, z, row),
            loops(width) as (column,),
        ):
            for lane in range(op.y.lanes):
                # Lanes that hold no channel repeat the last one.
                channel = tirx.min(block * op.y.lanes + lane, op.x.channels - 1)
                value = x.load(n, 0, (z, row, column), channel)
                if op.x.channels <= lane < op.y.channels:
                    value = constant(0.0)
                one = scalar(lane, op.epilogue.held)
                epilogue.store(value, n, block, (z, row, column), one)
    return frame.func
