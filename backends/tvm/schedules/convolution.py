"""Direct convolution: the sum over taps and input channels stays in registers.

    y[n, o, p] = chain(sum over c, k of x[n, c, p * stride + k * dilation - pad] * w[o, c, k])

One loop nest serves 1-D to 3-D, strided, dilated and grouped convolutions, the first layer, whose
input is not blocked, 1x1 (positions on one axis) and Gemm (no positions at all). Innermost, one
number of the input times a vector of output channels is added for every position of the tile. The
last tile of a row overlaps the one before it instead of being cut short: positions computed twice
cost less than code for every remainder.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..chain import Chain
from ..layout import Form
from ..machine import Machine
from .nest import (
    FLOAT,
    Finish,
    Frame,
    Operand,
    can_flatten,
    constant,
    flat,
    function,
    loops,
    operand,
    parallel,
    weights,
    zero_halo,
)
from .tile_sizes import Tile, choose

Sizes = tuple[int, int, int]


@dataclass(frozen=True)
class Convolution:
    """A convolution over three spatial axes. `pads`: before and after, for each axis.

    `batch` None: the number of images is known at run time. The input blocks of group g are the
    g-th share of all blocks.
    """

    x: Form
    y: Form
    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    pads: tuple[tuple[int, int], ...]
    group: int
    chain: Chain
    batch: int | None

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the packed weights: [M blocks, C blocks of a group, k, k, k, C lanes, M lanes]."""
        lanes = self.x.lanes or self.x.channels
        return (
            len(self.y.blocks),
            len(self.x.blocks) // self.group,
            *self.kernel,
            lanes,
            self.y.lanes,
        )

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image, without what partly filled blocks waste."""
        each = self.x.channels // self.group
        return math.prod(self.y.spatial) * self.y.channels * each * math.prod(self.kernel)

    @property
    def is_flat(self) -> bool:
        """Say whether positions can be counted along one axis."""
        forms = [self.x, self.y, *self.chain.extras]
        whole = all(e.spatial in (self.y.spatial, (1, 1, 1)) for e in self.chain.extras)
        return (
            self.kernel == self.strides == (1, 1, 1)
            and not any(map(any, self.pads))
            and can_flatten(forms)
            and whole
        )


def convolution(conv: Convolution, machine: Machine, tile: Tile | None = None) -> Any:
    """Return the function (x, w, operands of the chain..., y)."""
    flattened = conv.is_flat
    with function("convolution", conv.batch) as frame:
        x = operand(frame, "X", conv.x, flat(conv.x) if flattened else None)
        w = weights("W", conv.weight_shape)
        finish = Finish.declare(frame, conv.chain, conv.y, flattened)
        frame.ready()
        conv = replace(conv, x=x.form, y=finish.y.form)
        zero_halo(frame, finish.y)
        _nest(frame, conv, x, w, finish, tile or choose_tile(conv, machine))
    return frame.func


def choose_tile(conv: Convolution, machine: Machine) -> Tile:
    """Return the register tile for `conv`."""
    _, rows, columns = conv.y.spatial
    blocks = len(conv.y.blocks) // conv.group
    steps = conv.x.channels // conv.group * math.prod(conv.kernel)
    size = math.prod(conv.x.spatial) * conv.x.channels // conv.group * 4
    return choose(machine, rows, columns, blocks, steps, size)


def _nest(
    frame: Frame, conv: Convolution, x: Operand, w: Any, finish: Finish, tile: Tile
) -> None:
    from tvm.tirx.script.builder import ir as T

    depth, height, width = conv.y.spatial
    lanes = conv.y.lanes
    each = len(conv.y.blocks) // conv.group
    tiles = {
        "group": conv.group,
        "blocks": math.ceil(each / tile.blocks),
        "depth": depth,
        "rows": math.ceil(height / tile.rows),
        "columns": math.ceil(width / tile.columns),
    }
    order = ["group", "depth", "rows", "columns", "blocks"]
    if not tile.positions_first:
        order = ["group", "blocks", "depth", "rows", "columns"]
    with padded(frame, conv, x) as (images, source):
        with parallel([images, *(tiles[name] for name in order)]) as (image, *places):
            at = dict(zip(order, places, strict=True))
            n = source.image(image)
            block0 = at["group"] * each + start_of_tile(at["blocks"], tile.blocks, each)
            z = at["depth"]
            y0 = start_of_tile(at["rows"], tile.rows, height)
            x0 = start_of_tile(at["columns"], tile.columns, width)
            tile_sizes = (tile.rows, tile.columns, tile.blocks)
            total = T.alloc_buffer((math.prod(tile_sizes) * lanes,), FLOAT, scope="local")
            with loops(*tile_sizes, kind="unroll") as held, T.vectorized(0, lanes) as lane:
                T.buffer_store(total, constant(0.0), [_place(held, tile) * lanes + lane])
            group_block = at["group"] * (len(conv.x.blocks) // conv.group)
            for first, count, filled in runs(conv):
                with (
                    loops(count, *conv.kernel, filled) as (block, *taps, channel),
                    loops(*tile_sizes, kind="unroll") as (r, c, b),
                ):
                    place = [
                        position * stride + k * dilation
                        for position, stride, k, dilation in zip(
                            (z, y0 + r, x0 + c), conv.strides, taps, conv.dilations, strict=True
                        )
                    ]
                    value = source.load(n, group_block + first + block, place, channel)
                    with T.vectorized(0, lanes) as lane:
                        weight = w[(block0 + b, first + block, *taps, channel, lane)]
                        here = _place((r, c, b), tile) * lanes + lane
                        T.buffer_store(total, total[here] + value * weight, [here])
            with loops(*tile_sizes, kind="unroll") as held, T.vectorized(0, lanes) as lane:
                r, c, b = held
                value = total[_place(held, tile) * lanes + lane]
                finish.store(value, n, block0 + b, (z, y0 + r, x0 + c), lane)


def _place(held: Sequence[Any], tile: Tile) -> Any:
    """Return which register holds a position and block of the tile."""
    row, column, block = held
    return (row * tile.columns + column) * tile.blocks + block


def runs(conv: Convolution) -> Iterator[tuple[int, int, int]]:
    """Yield (first block, blocks, channels in each) over the input blocks of one group.

    Lanes that hold no channel are not visited: what is in them is undefined.
    """
    blocks = conv.x.blocks[: len(conv.x.blocks) // conv.group]
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


@dataclass(frozen=True)
class Source:
    """The input, read at positions counted from the first padded one."""

    operand: Operand
    shift: tuple[int, int, int]
    scratch: Any = None
    n: Any = None

    def image(self, n: Any) -> Any:
        """Return the image that a kernel's loop over images stands at."""
        return n if self.n is None else self.n

    def load(self, n: Any, block: Any, at: list[Any], lane: Any) -> Any:
        """Return one number of the input."""
        if self.scratch is not None:
            if self.operand.form.lanes:
                return self.scratch[(block, *at, lane)]
            return self.scratch[(lane, *at)]
        place = [position - shift for position, shift in zip(at, self.shift, strict=True)]
        return self.operand.load(n, block, place, lane)


@contextlib.contextmanager
def padded(frame: Frame, conv: Any, x: Operand) -> Iterator[tuple[Any, Source]]:
    """Give the number of images to loop over, and the input with its padding around it.

    Where the halo covers the padding it is read in place, all images in one loop. Else each image
    in turn is copied into a scratch buffer with zeros around it.
    """
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    form = x.form
    befores = tuple(low for low, _ in conv.pads)
    covered = all(
        low <= here and high <= there
        for (low, high), (here, there) in zip(conv.pads, form.halo, strict=True)
    )
    if covered:
        yield frame.batch, Source(x, befores)
        return
    sizes = [s + a + b for s, (a, b) in zip(form.spatial, conv.pads, strict=True)]
    outer = len(form.blocks) if form.lanes else form.channels
    inner = form.lanes or 1
    shape = (outer, *sizes, form.lanes) if form.lanes else (outer, *sizes)
    with loops(frame.batch) as (n,):
        scratch = T.alloc_buffer(shape, FLOAT)
        with parallel([outer, *sizes[:2]]) as (c, z, y), loops(sizes[2]) as (column,):
            place = [p - low for p, low in zip((z, y, column), befores, strict=True)]
            inside = [
                test
                for p, size, pads in zip(place, form.spatial, conv.pads, strict=True)
                if any(pads)
                for test in (p >= 0, p < size)
            ]
            with loops(inner, kind="vectorized") as (lane,):
                block, channel = (c, lane) if form.lanes else (0, c)
                value = x.load(n, block, place, channel)
                kept = tirx.if_then_else(tirx.all(*inside), value, constant(0.0))
                index = [c, z, y, column, lane] if form.lanes else [c, z, y, column]
                T.buffer_store(scratch, kept, index)
        yield 1, Source(x, (0, 0, 0), scratch, n)
