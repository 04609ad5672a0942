"""A prologue: a 1x1 convolution applies a chain to its input as it reads it, and stores none of it.

    y[n, o, p] = epilogue(sum over c of prologue(x[n, c, p]) * w[o, c])

A run of positions that fits in the first cache goes through the chain for all channels, once, and
all output blocks read it there: a normalization before its convolution (DenseNet), a gate on its
channels (squeeze and excite).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..spec.chain import ElementwiseChain
from .bfloat16 import memory_type
from .frame import Operand, OperandsAt
from .lane_store import spare_registers, store_lane
from .loops import loops, parallel
from .padding import PaddedInput
from .registers import Vector, vector
from .tile_sizes import RegisterTile
from .tiles import TiledSum, TileOperands, TileOrigin, add_tile, start_of_tile


@dataclass(frozen=True)
class Prologue:
    """What an input goes through before it is summed: a chain and the chain's operands."""

    chain: ElementwiseChain
    operands: Sequence[Operand]

    def load(self, x: Operand, n: Any, block: Any, at: Sequence[Any], vector: Vector) -> Any:
        """Return what the chain makes of an element of `x`."""
        given = OperandsAt(self.operands, n, block, at, vector.lane)
        return self.chain.apply(x.load(n, block, at, vector.lane), given, vector.hold)


def accumulate_with_prologue(
    op: TiledSum,
    images: Any,
    prologue: Prologue,
    operands: TileOperands,
    tile: RegisterTile,
    cache: int,
) -> None:
    """Emit the sums of `op`, positions on at most two axes, run by run in parallel.

    `cache`: bytes that the input of a run may have, unless one tile needs more.
    """
    from tvm.tirx.script.builder import ir as T

    x = operands.x.operand
    blocks, lanes = len(x.spec.blocks), x.spec.lanes
    _, height, width = op.positions
    dtype = x.spec.dtype
    held = memory_type(dtype)
    each = np.dtype(held).itemsize
    rows, columns = run_sizes((height, width), tile, blocks * lanes * each, cache)
    tiles = [
        math.ceil(whole / part)
        for whole, part in ((op.y_blocks, tile.blocks), (rows, tile.rows), (columns, tile.columns))
    ]
    runs = [images, math.ceil(height / rows), math.ceil(width / columns)]
    with parallel(runs) as (n, row_run, column_run):
        y0 = start_of_tile(row_run, rows, height)
        x0 = start_of_tile(column_run, columns, width)
        scratch = T.alloc_buffer((blocks, 1, rows, columns, lanes), held)
        with (
            loops(blocks, rows, columns) as (block, row, column),
            vector(lanes, prologue.chain.held + spare_registers(dtype)) as row_of,
        ):
            found = prologue.load(x, n, block, (0, y0 + row, x0 + column), row_of)
            store_lane(scratch, found, dtype, [block, 0, row, column], row_of)
        # A tile's results go to the image; what it reads is counted from where the run starts.
        run = replace(operands, x=PaddedInput(x, (0, y0, x0), scratch))
        with loops(*tiles) as (b, r, c):
            start = (0, y0 + start_of_tile(r, tile.rows, rows),
                     x0 + start_of_tile(c, tile.columns, columns))  # fmt: skip
            y_block = start_of_tile(b, tile.blocks, op.y_blocks)
            add_tile(op, tile, run, TileOrigin(n, start, 0, y_block))


def run_sizes(
    positions: tuple[int, int], tile: RegisterTile, position_bytes: int, cache: int
) -> tuple[int, int]:
    """Return how many rows and columns make a run: rows are whole if there are any."""
    height, width = positions
    if height == 1:
        return 1, _run(width, tile.columns, position_bytes, cache)
    return _run(height, tile.rows, width * position_bytes, cache), width


def _run(size: int, tile: int, each_bytes: int, cache: int) -> int:
    """Return how many of `size` are taken at once: whole tiles, in runs as even as can be."""
    most = max(tile, cache // each_bytes // tile * tile)
    runs = math.ceil(size / most)
    return min(size, math.ceil(size / runs / tile) * tile)
