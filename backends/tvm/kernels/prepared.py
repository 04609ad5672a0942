"""A 1x1 convolution of what a chain makes of its input, without storing that.

    y[n, o, p] = chain(sum over c of lead(x[n, c, p]) * w[o, c])

A run of positions that fits in the first cache is prepared for all channels, once, and all output
blocks read it there: a normalization before its convolution (DenseNet), a gate on its channels
(squeeze and excite).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..spec.chain import ElementwiseChain
from .epilogue import Epilogue
from .frame import Frame, Operand
from .loops import loops, parallel
from .padding import PaddedInput
from .tile_sizes import RegisterTile
from .tiles import TiledSum, add_tile, start_of_tile


@dataclass(frozen=True)
class Prologue:
    """The input, the chain it goes through, and the chain's operands."""

    lead: ElementwiseChain
    x: Operand
    extras: Sequence[Operand]


def accumulate_prepared(
    op: TiledSum,
    frame: Frame,
    given: Prologue,
    w: Any,
    finish: Epilogue,
    tile: RegisterTile,
    cache: int,
) -> None:
    """Emit the sums of `op`, positions on at most two axes, run by run in parallel.

    `cache`: bytes that the prepared input of a run may have, unless one tile needs more.
    """
    from tvm.tirx.script.builder import ir as T

    form = given.x.form
    blocks, lanes = len(form.blocks), form.lanes
    _, height, width = op.positions
    rows, columns = run_sizes((height, width), tile, blocks * lanes * 4, cache)
    tiles = [
        math.ceil(whole / part)
        for whole, part in ((op.y_blocks, tile.blocks), (rows, tile.rows), (columns, tile.columns))
    ]
    runs = [frame.batch, math.ceil(height / rows), math.ceil(width / columns)]
    with parallel(runs) as (n, row_run, column_run):
        y0 = start_of_tile(row_run, rows, height)
        x0 = start_of_tile(column_run, columns, width)
        scratch = T.alloc_buffer((blocks, 1, rows, columns, lanes), form.dtype)
        with loops(blocks, rows, columns) as (block, row, column), T.vectorized(0, lanes) as lane:
            at = (0, y0 + row, x0 + column)
            values = [one.load(n, block, at, lane) for one in (given.x, *given.extras)]
            found = given.lead.apply(values[0], lambda i: values[i + 1])
            T.buffer_store(scratch, found, [block, 0, row, column, lane])
        # A tile's results go to the image; what it reads is counted from where the run starts.
        source = PaddedInput(given.x, (0, y0, x0), scratch)
        with loops(*tiles) as (b, r, c):
            start = (0, y0 + start_of_tile(r, tile.rows, rows),
                     x0 + start_of_tile(c, tile.columns, columns))  # fmt: skip
            block0 = start_of_tile(b, tile.blocks, op.y_blocks)
            add_tile(op, n, start, (0, block0), source, w, finish, tile)


def run_sizes(
    positions: tuple[int, int], tile: RegisterTile, position_bytes: int, cache: int
) -> tuple[int, int]:
    """Return how many rows and columns are prepared at once: rows are whole if there are any."""
    height, width = positions
    if height == 1:
        return 1, _run(width, tile.columns, position_bytes, cache)
    return _run(height, tile.rows, width * position_bytes, cache), width


def _run(size: int, tile: int, each_bytes: int, cache: int) -> int:
    """Return how many of `size` are taken at once: whole tiles, in runs as even as can be."""
    most = max(tile, cache // each_bytes // tile * tile)
    runs = math.ceil(size / most)
    return min(size, math.ceil(size / runs / tile) * tile)
