"""A prologue: a 1x1 convolution applies a chain to its input as it reads it, and stores none of it.

    y[n, o, p] = epilogue(sum over c of prologue(x[n, c, p]) * w[o, c])

A run of positions that fits in the first cache goes through the chain for all channels, once, and
all output blocks read it there: a normalization before its convolution (DenseNet), a gate on its
channels (squeeze and excite). Where there are fewer runs than threads, several go through the same
run, each for some of the output blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from .bfloat16 import memory_type
from .frame import Operand, OperandsAt
from .lane_store import spare_registers, store_lane
from .loops import loops, parallel
from .padding import PaddedInput
from .registers import Vector, vector
from .tile_sizes import FEW, RegisterTile, TileProblem
from .tiles import TiledSum, TileOperands, TileOrigin, add_tile, start_of_tile

_CHAIN = 4  # cycles for a vector that goes through a chain
_WORTH = 0.95  # of the cycles of fewer parts: less is within what the model knows


@dataclass(frozen=True)
class Prologue:
    """What an input goes through before it is summed: a chain and the chain's operands."""

    chain: ElementwiseChain
    operands: Sequence[Operand]

    def load(self, x: Operand, n: Any, block: Any, at: Sequence[Any], vector: Vector) -> Any:
        """Return what the chain makes of an element of `x`."""
        given = OperandsAt(self.operands, n, block, at, vector.lane)
        return self.chain.apply(x.load(n, block, at, vector.lane), given, vector.hold)


@dataclass(frozen=True)
class PrologueRuns:
    """Runs of `rows` x `columns` positions, so many in all, each in `cuts` by output blocks."""

    rows: int
    columns: int
    count: int
    cuts: int

    @property
    def parts(self) -> int:
        """What threads share of an image."""
        return self.count * self.cuts

    @classmethod
    def of(
        cls, work: TileProblem, tile: RegisterTile, x: BufferSpec, cache: int, threads: int
    ) -> PrologueRuns:
        """Return the runs of `work`, whose input `x` has no more bytes in a run than `cache`.

        One tile may need more. Parts are worth what goes through the chain again where `threads`
        are idle else.
        """
        each = np.dtype(memory_type(x.dtype)).itemsize
        sizes = work.rows, work.columns
        rows, columns = run_sizes(sizes, tile, len(x.blocks) * x.lanes * each, cache)
        count = math.ceil(work.rows / rows) * math.ceil(work.columns / columns)
        tiles = math.ceil(work.blocks / tile.blocks)
        chain = len(x.blocks) * rows * columns * _CHAIN
        sums = rows * columns * tile.blocks * work.steps / 2
        most = tiles if threads > FEW else 1
        cuts = cuts_for(work.times * count, tiles, threads, most=most, before=chain, each=sums)
        return cls(rows, columns, count, cuts)


def cuts_for(runs: int, tiles: int, threads: int, *, most: int, before: float, each: float) -> int:
    """Return by how many, `most` at most, the `tiles` of each of `runs` are shared.

    Cycles for one tile are `each`, and `before` those of what all who share do first.
    """
    best, least = 1, math.inf
    for cuts in range(1, most + 1):
        rounds = math.ceil(runs * cuts / threads)
        cycles = rounds * (before + math.ceil(tiles / cuts) * each)
        if cycles < least * _WORTH:
            best, least = cuts, cycles
    return best


def accumulate_with_prologue(
    op: TiledSum,
    images: Any,
    prologue: Prologue,
    operands: TileOperands,
    tile: RegisterTile,
    run: PrologueRuns,
) -> None:
    """Emit the sums of `op`, positions on at most two axes, run by run in parallel."""
    from tvm.tirx.script.builder import ir as T

    x = operands.x.operand
    blocks, lanes = len(x.spec.blocks), x.spec.lanes
    _, height, width = op.positions
    dtype = x.spec.dtype
    held = memory_type(dtype)
    rows, columns = run.rows, run.columns
    tiles = math.ceil(rows / tile.rows), math.ceil(columns / tile.columns)
    share = math.ceil(math.ceil(op.y_blocks / tile.blocks) / run.cuts)  # tiles of output blocks
    cuts = math.ceil(math.ceil(op.y_blocks / tile.blocks) / share)
    runs = [images, math.ceil(height / rows), math.ceil(width / columns), cuts]
    with parallel(runs) as (n, row_run, column_run, cut):
        y0 = start_of_tile(row_run, rows, height)
        x0 = start_of_tile(column_run, columns, width)
        first = start_of_tile(cut, share * tile.blocks, op.y_blocks) if cuts > 1 else 0
        scratch = T.alloc_buffer((blocks, 1, rows, columns, lanes), held)
        with (
            loops(blocks, rows, columns) as (block, row, column),
            vector(lanes, prologue.chain.held + spare_registers(dtype)) as row_of,
        ):
            found = prologue.load(x, n, block, (0, y0 + row, x0 + column), row_of)
            store_lane(scratch, found, dtype, [block, 0, row, column], row_of)
        # A tile's results go to the image; what it reads is counted from where the run starts.
        given = replace(operands, x=PaddedInput(x, (0, y0, x0), scratch))
        most = min(share * tile.blocks, op.y_blocks)
        with loops(share, *tiles) as (b, r, c):
            start = (0, y0 + start_of_tile(r, tile.rows, rows),
                     x0 + start_of_tile(c, tile.columns, columns))  # fmt: skip
            y_block = start_of_tile(b, tile.blocks, most)
            add_tile(op, tile, given, TileOrigin(n, start, 0, first + y_block))


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
