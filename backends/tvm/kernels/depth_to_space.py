"""DepthToSpace of blocks: each remainder of a position by the size is one copy of vectors.

    y[n, b, h * s + i - top, w * s + j - left, lane] = x[n, block, h, w, l]

`block` and `l` are where the channel of b and lane is for the remainders i and j. Vectors are moved
whole where the channels of one lie together in the input, else their lanes are shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..spec.depth_to_space import BlocksOfChannels
from ..spec.layout import BufferSpec, Halo, Layout
from .frame import Operand, function, operand
from .halo import zero_halo
from .lane_shuffle import LaneShuffle, Place, can_shuffle, joined
from .loops import affine, loops, parallel


@dataclass(frozen=True, kw_only=True)
class DepthToSpace:
    """From `x` to `y`, blocked alike, by `size`; `starts` are the rows and columns cut off first.

    `places`: block and lane of `x`, after the number of the input, 0, for every lane of y, those of
    one remainder after those of another.
    """

    x: BufferSpec
    y: BufferSpec
    size: int
    starts: tuple[int, int]
    places: tuple[Place, ...]
    batch: int | None

    @property
    def phases(self) -> list[tuple[int, int, tuple[Place, ...]]]:
        """The remainders of rows and columns, and the places of each."""
        each = len(self.places) // self.size**2
        return [
            (at // self.size, at % self.size, self.places[at * each :][:each])
            for at in range(self.size**2)
        ]


def depth_to_space_of(
    x: BufferSpec, layout: Layout, blocks: BlocksOfChannels, halo: Halo, batch: int | None
) -> tuple[DepthToSpace, Layout]:
    """Return the move of `x`, laid out as `layout`, and the layout of what it gives."""
    channels = blocks.channels(layout.channels)
    found = Layout.plain(channels.shape[-1], layout.lanes, halo)
    rows, columns = blocks.kept(*x.spatial[1:])
    spec = found.spec((len(rows), len(columns)), dtype=x.dtype)
    at = layout.positions()
    places = tuple(
        (0, int(block), int(lane))
        for phase in channels.reshape(-1, channels.shape[-1])
        for held in found.blocks
        for block, lane in at[phase[[*held, *[held[0]] * (found.lanes - len(held))]]]
    )
    starts = (rows.start, columns.start)
    op = DepthToSpace(
        x=x,
        y=replace(spec, zero=x.zero),
        size=blocks.size,
        starts=starts,
        places=places,
        batch=batch,
    )
    return op, found


def can_move(op: DepthToSpace) -> bool:
    """Say whether few vectors make one of the result, on average."""
    return can_shuffle(LaneShuffle((op.x,), op.y, op.places, op.batch))


def depth_to_space(op: DepthToSpace) -> Any:
    """Return the function (x, y)."""
    with function("depth_to_space", op.batch) as frame:
        x, y = operand(frame, "X", op.x), operand(frame, "Y", op.y)
        frame.begin()
        zero_halo(frame, y)
        for row, column, places in op.phases:
            _copy(op, frame.batch, (x, y), (row, column), places)
    return frame.func


def _copy(
    op: DepthToSpace,
    batch: Any,
    ends: tuple[Operand, Operand],
    remainder: tuple[int, int],
    places: tuple[Place, ...],
) -> None:
    """Emit the moves to positions of one `remainder`."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    (x, y), lanes = ends, op.y.lanes
    # From which position on, and how many of them.
    firsts = [-((r - start) // op.size) for r, start in zip(remainder, op.starts, strict=True)]
    offsets = [
        first * op.size + r - start
        for first, r, start in zip(firsts, remainder, op.starts, strict=True)
    ]
    counts = [
        -((offset - extent) // op.size)
        for offset, extent in zip(offsets, op.y.spatial[1:], strict=True)
    ]
    if min(counts) <= 0:
        return
    rows = [places[at : at + lanes] for at in range(0, len(places), lanes)]
    whole = _first_of_whole(rows, lanes)
    every = tirx.Ramp(0, 1, lanes)
    with parallel([batch, counts[0]]) as (n, row), loops(counts[1]) as (column,):
        reads = (0, *affine((row, column), (1, 1), firsts))
        goes = (0, *affine((row, column), (op.size, op.size), offsets))
        if whole is not None:
            with loops(len(rows)) as (block,):
                found = x.stored(n, whole + block, reads, every)
                T.buffer_store(y.buffer, found, y.spec.index(n, block, goes, every))
            return
        for block, chosen in enumerate(rows):
            found = joined([x], n, reads, chosen)
            T.buffer_store(y.buffer, found, y.spec.index(n, block, goes, every))


def _first_of_whole(rows: list[tuple[Place, ...]], lanes: int) -> int | None:
    """Return the first of the blocks that `rows` are, all lanes of one after the other, or None."""
    first = rows[0][0][1]
    whole = [(0, first + b, lane) for b in range(len(rows)) for lane in range(lanes)]
    return first if [place for row in rows for place in row] == whole else None
