"""Convolutions as products of tiles: 16 positions by 16 channels, 64 bytes of input at a time.

    c[position, m] += sum over k of a[position * stride + tap, k] * b[tap, k, m]

In the blocked layout a position's channels lie a block apart, and a row of a tile wants up to 64
bytes of them in a row. So the input of a run of positions is brought into that order first, once
for all taps and all output channels of the run, and the prologue is applied on the way. Sums go
through a buffer in the first cache to the epilogue, which is that of every kernel.

Channels that are not there are zero. The last tile along an axis overlaps the one before it. Where
positions are counted along one axis, so are those of all images: a row of a tile may be any.

Source: Intel 64 and IA-32 Architectures Optimization Reference Manual, volume 1, chapter 20.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..bfloat16 import bits_of, memory_type
from ..convolution import sums_of
from ..dot import ByteDot
from ..elements import FLOAT, constant
from ..epilogue import Epilogue
from ..frame import function, operand, operands, weights
from ..lane_store import spare_registers, store_lane
from ..loops import affine, loops, parallel
from ..padding import PaddedInput, padded
from ..prologue import Prologue
from ..registers import vector
from ..tiles import Sizes, TiledSum, runs, start_of_tile
from .plan import MatrixConvolution

_COPIED = 16  # numbers at a time
_TOP_BIT = 0x80


def matrix_convolution(op: MatrixConvolution) -> Any:
    """Return the function (x, of the prologue, w, [starts of sums,] of the epilogue, y)."""
    conv, flattened = op.conv, op.conv.is_flat
    with function("matrix_convolution", conv.batch) as frame, ExitStack() as stack:
        x = operand(frame, "X", conv.x, flattened)
        before = operands(frame, "L", conv.prologue.operands, flattened)
        w = weights("W", op.weight_shape, conv.dot.weights)
        start = None
        if conv.dot.total != FLOAT:
            start = weights("S", (len(conv.y.blocks), conv.y.lanes), conv.dot.total)
        epilogue = Epilogue.declare(frame, conv.epilogue, conv.y, flattened)
        epilogue.begin(frame)
        images, source = frame.batch, PaddedInput(x, (0, 0, 0))
        prologue = Prologue(conv.prologue, before) if conv.prologue.steps else None
        if prologue is None:
            images, source = stack.enter_context(padded(frame, conv.pads, x))
        for total in sums_of(replace(conv, x=x.spec, y=epilogue.y.spec)):
            nest = _Nest(
                op=op, total=total, x=source, prologue=prologue, w=w, start=start, epilogue=epilogue
            )
            nest.emit(1 if op.joins(conv) else images)
    return frame.func


@dataclass(frozen=True, kw_only=True)
class _Nest:
    """The loops over the sums `total` of `op`, and what they read and write."""

    op: MatrixConvolution
    total: TiledSum
    x: PaddedInput
    prologue: Prologue | None
    w: Any
    start: Any
    epilogue: Epilogue

    def emit(self, images: Any) -> None:
        """Emit all sums of so many images, run by run in parallel."""
        from tvm.tirx.script.builder import ir as T

        op, plan, total = self.op, self.op.plan, self.total
        depth, height, width = self._positions
        tiles = math.ceil(total.y_blocks / plan.blocks)
        share = min(math.ceil(tiles / plan.cuts) * plan.blocks, total.y_blocks)
        cuts = math.ceil(total.y_blocks / share)
        turns = math.ceil(height / plan.run_rows), math.ceil(width / plan.run_columns)
        with parallel([images, total.group, depth, *turns, cuts]) as (
            image, index, z, row_run, column_run, cut,
        ):  # fmt: skip
            group = index + total.first
            n = self.x.image(image)
            y0 = start_of_tile(row_run, plan.run_rows, height)
            x0 = start_of_tile(column_run, plan.run_columns, width)
            first = group * total.y_blocks + start_of_tile(cut, share, total.y_blocks)
            sizes = tuple(window.size for window in self.op.windows)
            rows = T.alloc_buffer((*sizes, op.depth), self._held)
            self._fill(rows, n, group * len(total.x_blocks), (z, y0, x0))
            sums = T.alloc_buffer((plan.across, plan.blocks, plan.rows, total.lanes), op.unit.total)
            across = math.ceil(plan.run_columns / plan.columns)
            with (
                op.unit.configured(),
                loops(math.ceil(share / plan.blocks), plan.run_rows, across) as (b, r, c),
            ):
                block = first + start_of_tile(b, plan.blocks, share)
                column = start_of_tile(c, plan.columns, plan.run_columns)
                self._sum(rows, sums, block, r, column)
                self._store(sums, n, block, (z, y0 + r, x0 + column))

    @property
    def _joined(self) -> int:
        """How many images are counted through."""
        conv = self.op.conv
        return (conv.batch or 1) if self.op.joins(conv) else 1

    @property
    def _positions(self) -> Sizes:
        depth, height, width = self.total.positions
        return depth, height, width * self._joined

    @property
    def _held(self) -> str:
        """The type of what is multiplied."""
        return "uint8" if self.op.conv.dot.total != FLOAT else memory_type(self._spec.dtype)

    @property
    def _spec(self) -> Any:
        return self.x.operand.spec

    def _place(self, n: Any, column: Any) -> tuple[Any, Any]:
        """Return the image and the position along its last axis of what is counted as `column`."""
        from tvm import tirx

        width = self.total.positions[2]
        if self._joined == 1:
            return n, column
        return tirx.floordiv(column, width), tirx.floormod(column, width)

    def _fill(self, rows: Any, n: Any, x_block: Any, start: Sequence[Any]) -> None:
        """Emit the copy of what a run reads, from the position of its first result on."""
        total, windows = self.total, self.op.windows
        each = self.op.lanes
        begin = affine(start, total.strides, total.origin)
        with loops(*(window.size for window in windows)) as place:
            *outer, x = affine(place, [window.step for window in windows], begin)
            image, x = self._place(n, x)
            for first, count, filled in runs(total.x_blocks):
                with loops(count) as (index,):
                    block = first + index
                    source = image, x_block + block, [*outer, x]
                    self._copy(rows, [*place, block * each], filled, *source)
                    _clear(rows, [*place, block * each + filled], each - filled)
            held = len(total.x_blocks) * each
            _clear(rows, [*place, held], self.op.depth - held)

    def _copy(
        self, rows: Any, here: Sequence[Any], filled: int, n: Any, block: Any, at: list[Any]
    ) -> None:
        """Emit the copy of the `filled` channels of a block to `here` and what follows."""
        from tvm.tirx.script.builder import ir as T

        *outer, begin = here
        if self.prologue is not None:
            chain, dtype = self.prologue.chain, self._spec.dtype
            with vector(self._spec.lanes, chain.held + spare_registers(dtype)) as row_of:
                found = self.prologue.load(self.x.operand, n, block, at, row_of)
                store_lane(rows, found, dtype, outer, row_of, first=begin)
            return
        for first, turns, lanes in _vectors(filled):
            with loops(turns) as (turn,), T.vectorized(0, lanes) as lane:
                channel = first + turn * lanes + lane
                value = self._multiplied(self.x.stored(n, block, at, channel))
                T.buffer_store(rows, value, [*outer, begin + channel])

    def _multiplied(self, stored: Any) -> Any:
        """Return what is multiplied of a number: bytes are unsigned, bfloat16 are bits."""
        from tvm import tirx

        dot = self.op.conv.dot
        if not isinstance(dot, ByteDot):
            return bits_of(stored)
        if not dot.signed:
            return stored
        return tirx.reinterpret("uint8", stored) ^ tirx.const(_TOP_BIT, "uint8")  # adds 128

    def _sum(self, rows: Any, sums: Any, block: Any, row: Any, column: Any) -> None:
        """Emit the sums of a tile, and their store to `sums`."""
        op, plan, total, unit = self.op, self.op.plan, self.total, self.op.unit
        products = [(i, j) for i in range(plan.across) for j in range(plan.blocks)]
        a, b = len(products), len(products) + plan.across
        strides = [window.stride for window in self.op.windows]
        row_bytes = op.depth * np.dtype(self._held).itemsize
        for number in range(len(products)):
            unit.clear(number)
        with loops(*total.kernel, op.chunks) as (*taps, chunk):
            reached = affine(taps, total.dilations, (0, 0, 0))
            channel = chunk * (op.chunk * op.conv.dot.width)
            for j in range(plan.blocks):
                unit.load(b + j, self.w, (block + j, *taps, chunk, 0, 0), total.lanes * 4)
            for i in range(plan.across):
                place = affine((0, row, column + i * plan.rows), strides, reached)
                unit.load(a + i, rows, (*place, channel), strides[2] * row_bytes)
                for j in range(plan.blocks):
                    unit.multiply(i * plan.blocks + j, a + i, b + j)
        for number, (i, j) in enumerate(products):
            unit.store(number, sums, (i, j, 0, 0), total.lanes * 4)

    def _store(self, sums: Any, n: Any, block: Any, at: Sequence[Any]) -> None:
        """Emit what follows the sums of a tile, and the stores of results."""
        plan, (z, y, x) = self.op.plan, at
        with loops(plan.across, plan.rows, plan.blocks) as (i, row, j):
            image, column = self._place(n, x + i * plan.rows + row)
            with self.epilogue.vector() as vector:
                found = sums[i, j, row, vector.lane]
                if self.start is not None:
                    found = found + self.start[block + j, vector.lane]
                self.epilogue.store(found, image, block + j, (z, y, column), vector)


def _clear(rows: Any, here: Sequence[Any], count: int) -> None:
    """Emit zeros for so many numbers from `here` on."""
    from tvm.tirx.script.builder import ir as T

    *outer, begin = here
    zero = constant(0, str(rows.dtype))
    for first, turns, lanes in _vectors(count):
        with loops(turns) as (turn,), T.vectorized(0, lanes) as lane:
            T.buffer_store(rows, zero, [*outer, begin + first + turn * lanes + lane])


def _vectors(count: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first, turns, lanes) of the vectors in which so many numbers are copied."""
    whole, rest = divmod(count, _COPIED)
    if whole:
        yield 0, whole, _COPIED
    if rest:
        yield whole * _COPIED, 1, rest
