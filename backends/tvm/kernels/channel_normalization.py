"""Channels of each position brought to mean 0 and variance 1: a layer normalization of images.

    y[n, c, p] = (x[n, c, p] - m[n, p]) / sqrt(v[n, p] + epsilon) * scale[c] + shift[c]

Mean and variance are taken in two passes, as in `normalization`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from .elements import constant
from .epilogue import Epilogue
from .frame import function, operand, weights
from .loops import loops, parallel
from .registers import Register, registers
from .rows import kept
from .tiles import runs


@dataclass(frozen=True, kw_only=True)
class ChannelNormalization:
    """Over the channels of `x`, which those of `y` are; `batch` None: told at run time."""

    x: BufferSpec
    y: BufferSpec
    epsilon: float
    epilogue: ElementwiseChain
    batch: int | None


def channel_normalization(op: ChannelNormalization) -> Any:
    """Return the function (x, scale, shift, of the epilogue..., y); parameters lie as blocks do."""
    from tvm import tirx

    share = constant(1.0 / op.x.channels)
    depth, height, width = op.y.spatial
    with function("normalize", op.batch) as frame:
        x = operand(frame, "X", op.x)
        blocks = len(op.y.blocks)
        scale, shift = (weights(name, (blocks, op.y.lanes)) for name in ("scale", "shift"))
        epilogue = Epilogue.declare(frame, op.epilogue, op.y)
        epilogue.begin(frame)
        with (
            parallel([frame.batch, depth, height]) as (n, z, row),
            loops(width) as (column,),
        ):
            at = (z, row, column)
            (total,) = _over_channels(op, 1, lambda block, lane: [x.load(n, block, at, lane)])
            mean = kept(total * share)

            def gap_and_square(block: Any, lane: Any) -> list[Any]:
                gap = x.load(n, block, at, lane) - mean
                return [gap, gap * gap]

            gaps, squares = _over_channels(op, 2, gap_and_square)
            gap = kept(gaps * share)
            variance = tirx.max(squares * share - gap * gap, constant(0.0))
            factor = kept(constant(1.0) / tirx.sqrt(variance + constant(op.epsilon)))
            with loops(blocks) as (block,), epilogue.vector() as vector:
                value = (x.load(n, block, at, vector.lane) - mean - gap) * factor
                value = value * scale[block, vector.lane] + shift[block, vector.lane]
                epilogue.store(value, n, block, at, vector)
    return frame.func


def _over_channels(
    op: ChannelNormalization, kinds: int, numbers: Callable[[Any, Any], Sequence[Any]]
) -> list[Any]:
    """Emit the sums of each of `kinds` of numbers over all channels, and return them.

    What is in lanes without a channel is undefined, and counts as 0.
    """
    from tvm import tirx

    zero = constant(0.0)
    totals = registers(kinds, op.x.lanes)
    for total in totals:
        total.set(lambda _: zero)
    for first, count, filled in runs(op.x.blocks):
        with loops(count) as (index,):
            for kind, total in enumerate(totals):

                def added(lane: Any) -> Any:
                    number = numbers(first + index, lane)[kind]
                    if filled < op.x.lanes:
                        number = tirx.Select(lane < filled, number, zero)
                    return total[lane] + number

                total.set(added)
    return [_total_of(total) for total in totals]


def _total_of(register: Register) -> Any:
    """Emit the sum of all lanes, one half added to the other until one is left."""
    while register.lanes > 1:
        half = register.lanes // 2
        (halved,) = registers(1, half)
        whole = register
        halved.set(lambda lane: whole[lane] + whole[lane + half])
        register = halved
    return register[0]
