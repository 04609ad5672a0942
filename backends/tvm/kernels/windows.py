"""What combines the positions of a window, channel by channel: depthwise convolution and pooling.

    y[n, c, p] = epilogue(sum over k of x[n, c, p * stride + k * dilation - pad] * w[c, k])
    y[n, c, p] = epilogue(max over k of x[...]),
    epilogue(sum over k of x[...] / how many there are)

A lane holds one channel, so every operation is on whole vectors. Maxima clamp positions outside to
the nearest inside, which stands in the same window as long as the window is not dilated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ..spec.machine import CpuMachine
from .elements import FLOAT, constant, converted, least, number_type, sum_type
from .epilogue import Epilogue
from .frame import function, operand, weights
from .global_pooling import combination
from .loops import affine, loops, parallel
from .padding import PaddedInput, padded
from .registers import registers
from .sliding import Sliding
from .tiles import start_of_tile

Kind = Literal["depthwise", "max", "average"]
_UNROLLED_TAPS = 9


@dataclass(frozen=True, kw_only=True)
class Windows(Sliding):
    """An operator on windows over three spatial axes.

    An average counts what lies inside only, or with `counts_pads` the whole window.
    """

    kind: Kind
    counts_pads: bool = False

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the packed weights of a depthwise convolution: [blocks, k, k, k, lanes]."""
        return (len(self.y.blocks), *self.kernel, self.y.lanes)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image; pooling has none."""
        taps = math.prod(self.kernel) if self.kind == "depthwise" else 0
        return math.prod(self.y.spatial) * self.y.channels * taps


def windows(op: Windows, machine: CpuMachine, columns: int | None = None) -> Any:
    """Return the function (x, [w,] operands of the epilogue..., y); `columns` None: the model's."""

    lanes = op.y.lanes
    depth, height, width = op.y.spatial
    columns = columns or choose_columns(op, machine)
    dtype = number_type(op.x) if op.kind == "max" else sum_type(op.x)
    start = least(dtype) if op.kind == "max" else constant(0, dtype)
    combine = combination(op.kind)
    with function(op.kind, op.batch) as frame:
        x = operand(frame, "X", op.x)
        w = weights("W", op.weight_shape) if op.kind == "depthwise" else None
        epilogue = Epilogue.declare(frame, op.epilogue, op.y)
        epilogue.begin(frame)
        # Only a sum of products reads zeros outside; the others say themselves what is outside.
        pads = op.pads if op.kind == "depthwise" else ((0, 0),) * 3
        with padded(frame, pads, x) as (images, source):
            tiles = [images, len(op.y.blocks), depth, height, math.ceil(width / columns)]
            with parallel(tiles) as (image, block, z, row, tile):
                n = source.image(image)
                x0 = start_of_tile(tile, columns, width)
                totals = registers(columns, lanes, dtype)
                for total in totals:
                    total.set(lambda _: start)
                few = math.prod(op.kernel) <= _UNROLLED_TAPS
                with loops(*op.kernel, kind="unroll" if few else "serial") as taps:
                    reached = [k * dilation for k, dilation in zip(taps, op.dilations, strict=True)]
                    for c, total in enumerate(totals):
                        place = affine((z, row, x0 + c), op.strides, reached)

                        def combined(lane: Any) -> Any:
                            value = _tap(op, source, (n, block), place, lane, dtype)
                            if w is not None:
                                value = value * w[(block, *taps, lane)]
                            return combine(total[lane], value)

                        total.set(combined)
                for c, total in enumerate(totals):
                    at = (z, row, x0 + c)
                    with epilogue.vector() as vector:
                        value = total[vector.lane]
                        if op.kind == "average":
                            value = converted(value, FLOAT) * _share(op, at)
                        epilogue.store(value, n, block, at, vector)
    return frame.func


def choose_columns(op: Windows, machine: CpuMachine) -> int:
    """Return how many positions to combine at once: registers for them, and few tiles."""
    width = op.y.spatial[2]
    most = min(width, machine.registers // 2 - 2)
    return min(range(1, most + 1), key=lambda c: (math.ceil(width / c) * (c + 2), -c))


def most_columns(op: Windows, machine: CpuMachine) -> int:
    """Return how many positions have a register each, with two left for what is read."""
    return min(op.y.spatial[2], machine.registers - 2)


def _tap(
    op: Windows,
    source: PaddedInput,
    plane: tuple[Any, Any],
    place: list[Any],
    lane: Any,
    dtype: str,
) -> Any:
    """Return one element of the window as `dtype`; `place` counts from the first padded position.

    `plane`: the image and the block of channels.
    """
    from tvm import tirx

    if op.kind == "depthwise":
        return converted(source.load(*plane, place, lane), dtype)
    tests = []
    inside = []
    for position, size, (low, _), outside in zip(
        place, op.x.spatial, op.pads, outside_axes(op), strict=True
    ):
        at = position - low
        if outside:
            tests += [at >= 0, at < size]
            at = tirx.max(0, tirx.min(at, size - 1))
        inside.append(at)
    value = converted(source.load(*plane, inside, lane), dtype)
    if op.kind == "max" or not tests:
        return value
    return tirx.if_then_else(tirx.all(*tests), value, constant(0, dtype))


def _share(op: Windows, at: tuple[Any, Any, Any]) -> Any:
    """Return one over the number of positions of the window at `at` that count."""
    from tvm import tirx

    if op.counts_pads or not any(outside_axes(op)):
        return constant(1.0 / math.prod(op.kernel))
    count: Any = 1
    for position, stride, kernel, size, (low, _), outside in zip(
        at, op.strides, op.kernel, op.x.spatial, op.pads, outside_axes(op), strict=True
    ):
        if outside:
            first = position * stride - low
            count = count * (tirx.min(first + kernel, size) - tirx.max(first, 0))
        else:
            count = count * kernel
    return constant(1.0) / tirx.Cast(FLOAT, count)


def outside_axes(op: Windows) -> list[bool]:
    """Say for each axis whether any window reaches outside the input."""
    return [
        low > 0 or (y - 1) * stride - low + (kernel - 1) * dilation >= x
        for y, x, stride, kernel, dilation, (low, _) in zip(
            op.y.spatial,
            op.x.spatial,
            op.strides,
            op.kernel,
            op.dilations,
            op.pads,
            strict=True,
        )
    ]
