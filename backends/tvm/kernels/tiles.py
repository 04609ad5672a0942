"""The loop nest of all convolutions: a tile of results in registers, one input number at a time.

    total[position, block] += x[position * stride + tap * dilation + origin, c] * w[block, tap, c]

The last tile along an axis overlaps the one before it instead of being cut short: results computed
twice cost less than code for every remainder.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .dot import FLOAT_DOT, Dot, steps
from .elements import constant
from .epilogue import Epilogue
from .loops import affine, loops, parallel, ravel
from .padding import PaddedInput
from .prefetch import Prefetch
from .registers import Register, each, registers
from .tile_sizes import RegisterTile

Sizes = tuple[int, int, int]
_POSITIONS = ("depth", "rows", "columns")


@dataclass(frozen=True, kw_only=True)
class TiledSum:
    """What is summed: `positions` results along each axis, and where each one reads and goes.

    `x_blocks`: channels in each input block of one group, or what every lane reads of a block that
    groups share; none where there is nothing to add. `y_blocks`: output blocks of one group.
    `first`: the first of the groups, counted among all. Result j goes to position j * `out_stride`
    + `out_offset`.
    """

    group: int
    x_blocks: tuple[int, ...]
    y_blocks: int
    lanes: int
    positions: Sizes
    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    origin: Sizes = (0, 0, 0)
    out_stride: Sizes = (1, 1, 1)
    out_offset: Sizes = (0, 0, 0)
    dot: Dot = FLOAT_DOT
    first: int = 0


@dataclass(frozen=True)
class TileOperands:
    """What tiles read, `x` and the weights `w`, and the `epilogue` that stores their results.

    The sums of an output block begin with `start` [M blocks, M lanes], or with zero.
    """

    x: PaddedInput
    w: Any
    epilogue: Epilogue
    start: Any = None


@dataclass(frozen=True)
class TileOrigin:
    """Where a tile begins: its image, its first position, and the first block on either side."""

    image: Any
    position: tuple[Any, Any, Any]
    x_block: Any
    y_block: Any


def accumulate(op: TiledSum, images: Any, operands: TileOperands, tile: RegisterTile) -> None:
    """Emit the sums of `op` over all `images`, tile by tile in parallel, and their stores."""
    depth, height, width = op.positions
    tiles = {
        "group": op.group,
        "blocks": math.ceil(op.y_blocks / tile.blocks),
        "depth": depth,
        "rows": math.ceil(height / tile.rows),
        "columns": math.ceil(width / tile.columns),
    }
    order = ["group", *_POSITIONS, "blocks"]
    if not tile.positions_first:
        order = ["group", "blocks", *_POSITIONS]
    with parallel([images, *(tiles[name] for name in order)]) as (image, *places):
        at = dict(zip(order, places, strict=True))
        n = operands.x.image(image)
        group = at["group"] + op.first
        y_block = group * op.y_blocks + start_of_tile(at["blocks"], tile.blocks, op.y_blocks)
        y0 = start_of_tile(at["rows"], tile.rows, height)
        x0 = start_of_tile(at["columns"], tile.columns, width)
        origin = TileOrigin(n, (at["depth"], y0, x0), group * len(op.x_blocks), y_block)
        prefetch = None
        turns = math.prod(tiles[name] for name in _POSITIONS)
        if not tile.positions_first and tiles["blocks"] > 1 < turns:
            turn = ravel([at[name] for name in _POSITIONS], [tiles[n] for n in _POSITIONS[1:]])
            prefetch = Prefetch(operands.w, y_block + tile.blocks, tile.blocks, turn, turns)
        add_tile(op, tile, operands, origin, prefetch)


def add_tile(
    op: TiledSum,
    tile: RegisterTile,
    operands: TileOperands,
    origin: TileOrigin,
    prefetch: Prefetch | None = None,
) -> None:
    """Emit the sums of the tile at `origin`, their stores, and the prefetch of further weights."""
    z, y0, x0 = origin.position
    dot, start, block0 = op.dot, operands.start, origin.y_block
    zero = constant(0, dot.total)
    places = list(each((tile.rows, tile.columns)))
    totals = [registers(tile.blocks, op.lanes, dot.total) for _ in places]
    for (_, b), total in _numbered(totals):
        total.set(lambda lane: zero if start is None else start[block0 + b, lane])
    if dot.shared is not None and op.x_blocks:
        _add_shared(op, operands, origin, places, totals)
    else:
        _add_products(op, operands, origin, places, totals, prefetch)
    for (i, b), total in _numbered(totals):
        r, c = places[i]
        goes = affine((z, y0 + r, x0 + c), op.out_stride, op.out_offset)
        with operands.epilogue.vector() as vector:
            held = total[vector.lane]
            operands.epilogue.store(held, origin.image, block0 + b, goes, vector)


def _add_products(
    op: TiledSum,
    operands: TileOperands,
    origin: TileOrigin,
    places: Sequence[tuple[int, ...]],
    totals: Sequence[Sequence[Register]],
    prefetch: Prefetch | None,
) -> None:
    """Emit the products of numbers that all lanes share."""
    dot = op.dot
    z, y0, x0 = origin.position
    whole = len(op.x_blocks) * math.prod(op.kernel)
    for first, count, filled in runs(op.x_blocks):
        for tap0, together, whole_taps in steps(op.kernel[2], dot.taps):
            with loops(count, *op.kernel[:2], together) as (index, *outer, last):
                taps, block = [*outer, tap0 + last], first + index
                if prefetch is not None:
                    prefetch.emit(ravel((block, *taps), op.kernel), whole)
                reached = affine([*outer, taps[2] * dot.taps], op.dilations, op.origin)
                read = [affine((z, y0 + r, x0 + c), op.strides, reached) for r, c in places]
                for step0, several, whole_step in steps(filled, dot.width):
                    with loops(several) as (turn,):
                        x_block, step = origin.x_block + block, step0 + turn
                        full = whole_taps and whole_step
                        for at, held in zip(read, totals, strict=True):
                            value = dot.value(operands.x, origin.image, x_block, at, step, full)
                            for b, total in enumerate(held):
                                place = (origin.y_block + b, block, *taps, step)
                                dot.add(total, value, operands.w, place)


def _add_shared(
    op: TiledSum,
    operands: TileOperands,
    origin: TileOrigin,
    places: Sequence[tuple[int, ...]],
    totals: Sequence[Sequence[Register]],
) -> None:
    """Emit the products of numbers that each lane has of its own, of a block that groups share.

    What several taps of a row read is brought to the lanes once.
    """
    dot, (z, y0, x0) = op.dot, origin.position
    (filled,) = op.x_blocks
    with loops(*op.kernel[:2]) as outer:
        known: dict[tuple[int, int, int], Register] = {}
        for tap, step in each((op.kernel[2], filled // dot.width)):
            for (r, c), held in zip(places, totals, strict=True):
                key = (r, c * op.strides[2] + tap * op.dilations[2], step)
                if key not in known:
                    reached = affine((*outer, tap), op.dilations, op.origin)
                    at = affine((z, y0 + r, x0 + c), op.strides, reached)
                    value = dot.value(operands.x, origin.image, origin.x_block, at, step, True)
                    known[key] = registers(1, op.lanes, dot.weights)[0]
                    known[key].put(value)
                for b, total in enumerate(held):
                    place = (origin.y_block + b, 0, *outer, tap, step)
                    dot.add_vector(total, known[key].all, operands.w, place)


def _numbered(totals: Sequence[Sequence[Register]]) -> Iterator[tuple[tuple[int, int], Register]]:
    """Yield (position, block) of each register of a tile, and the register."""
    for i, held in enumerate(totals):
        for b, total in enumerate(held):
            yield (i, b), total


def runs(blocks: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (first block, blocks, channels in each) of rows of equally filled blocks.

    Lanes that hold no channel are not visited: what is in them is undefined. In the last step of
    several bytes, the weights of such lanes are zero.
    """
    for filled, found in itertools.groupby(enumerate(blocks), key=lambda item: item[1]):
        members = [index for index, _ in found]
        yield members[0], len(members), filled


def start_of_tile(index: Any, size: int, extent: int) -> Any:
    """Return where tile `index` begins; the last one ends with the extent."""
    from tvm import tirx

    if isinstance(index, int):
        return min(index * size, extent - size)
    if extent % size == 0:
        return index * size
    return tirx.min(index * size, extent - size)
