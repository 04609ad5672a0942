"""A tensor from one layout to another: channels in other places, blocked or not.

    y[n, c, p] = x[n, c, p]

Channels are found through a table, so that one function serves every order of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..spec.layout import BufferSpec, Layout
from .frame import function, operand
from .halo import zero_halo
from .loops import loops, parallel

_TILE = 16


@dataclass(frozen=True)
class Repack:
    """From `x` to `y`; one of the two may be without blocks."""

    x: BufferSpec
    y: BufferSpec
    batch: int | None

    @property
    def slots(self) -> int:
        """Number of places for channels in y, with lanes that hold none."""
        return len(self.y.blocks) * self.y.lanes if self.y.lanes else self.y.channels


def table(x: Layout | None, y: Layout | None, channels: int) -> Any:
    """Return where each place of y has its channel from, int32 [places, 2]: block and lane.

    Without blocks, x has its channel numbers as lanes. Lanes of y without a channel read the first.
    """
    source = (
        x.positions() if x is not None else np.stack([np.zeros(channels), np.arange(channels)], 1)
    )
    return source.astype(np.int32) if y is None else table_of(source, y)


def table_of(source: Any, y: Layout) -> Any:
    """Return the table of `y` for channels that stand at the places `source`, [C, 2]."""
    held = np.zeros((len(y.blocks), y.lanes), np.int64)
    for block, members in enumerate(y.blocks):
        held[block, : len(members)] = members
        held[block, len(members) :] = members[0]
    return source[held.reshape(-1)].astype(np.int32)


def repack(op: Repack) -> Any:
    """Return the function (x, table, y)."""
    from tvm.tirx.script.builder import ir as T

    with function("repack", op.batch) as frame:
        x = operand(frame, "X", op.x)
        places = T.arg("T", T.buffer((op.slots, 2), "int32"))
        y = operand(frame, "Y", op.y)
        frame.begin()
        zero_halo(frame, y)
        depth, height, width = op.y.spatial
        lanes = op.y.lanes or math.gcd(_TILE, op.slots)
        blocks = op.slots // lanes
        with (
            parallel([frame.batch, blocks, depth, height]) as (n, block, z, row),
            loops(width) as (column,),
            loops(lanes) as (lane,),
        ):
            slot = block * lanes + lane
            at = (z, row, column)
            source = (places[slot, 0], places[slot, 1])
            value = x.load(n, source[0], at, source[1])
            y.store(value, n, block, at, lane if op.y.lanes else slot)
    return frame.func
