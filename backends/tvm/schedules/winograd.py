"""Winograd convolution: a tile of results costs one product for each of its points.

    y[m, tile] = A^T (sum over c of (G w[m, c] G^T) * (B^T x[c, tile] B)) A      (two axes of three)

Transforming a whole image at once would move many times its size through memory. Here a thread
takes a group of tiles through all three steps while they stay in its cache: the transformed inputs
of all channels; then for a few output blocks at a time the products, one small matrix product for
each point; and their results with the chain that follows, straight to where they belong.

The last tile along an axis stands flush with the end and stores what its neighbour has not.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..chain import Chain
from ..layout import Form
from .convolution import Convolution
from .nest import FLOAT, Finish, constant, function, loops, operand, parallel, unravel, weights
from .nest import zero_halo
from .padding import Source, padded
from .tile_sizes import Tile
from .tiles import Sizes, runs, start_of_tile
from .winograd_transforms import Transform


@dataclass(frozen=True)
class Plan:
    """How the work is cut: `tiles` at once, output blocks in `splits`, and a register tile.

    `together`: tiles whose products are held in registers; `blocks`: output blocks of them.
    """

    tiles: int
    splits: int
    together: int
    blocks: int


@dataclass(frozen=True)
class Winograd:
    """A convolution of stride 1 without dilation, in tiles of `results` along each axis."""

    conv: Convolution
    results: Sizes

    @property
    def x(self) -> Form:
        """The input."""
        return self.conv.x

    @property
    def y(self) -> Form:
        """The result."""
        return self.conv.y

    @property
    def chain(self) -> Chain:
        """What follows the sum."""
        return self.conv.chain

    @property
    def transforms(self) -> tuple[Transform, Transform, Transform]:
        """The transform along each axis."""
        a, b, c = (Transform(m, r) for m, r in zip(self.results, self.conv.kernel, strict=True))
        return a, b, c

    @property
    def points(self) -> Sizes:
        """Number of points along each axis."""
        a, b, c = (t.points for t in self.transforms)
        return a, b, c

    @property
    def tiles(self) -> Sizes:
        """Number of tiles along each axis of an image."""
        a, b, c = (-(-y // m) for y, m in zip(self.y.spatial, self.results, strict=True))
        return a, b, c

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the packed weights: [M blocks, points, C blocks, C lanes, M lanes]."""
        outer, inner, *_, ins, outs = self.conv.weight_shape
        return (outer, math.prod(self.points), inner, ins, outs)


def winograd(op: Winograd, plan: Plan) -> Any:
    """Return the function (x, w, operands of the chain..., y)."""
    conv = op.conv
    with function("winograd", conv.batch) as frame:
        x = operand(frame, "X", op.x)
        w = weights("W", op.weight_shape)
        finish = Finish.declare(frame, op.chain, op.y)
        frame.ready()
        zero_halo(frame, finish.y)
        with padded(frame, conv.pads, x) as (images, source):
            each = math.prod(op.tiles)
            blocks = len(op.y.blocks) // conv.group
            count = images * each
            groups = count // plan.tiles if each % plan.tiles == 0 else -(-count // plan.tiles)
            with parallel([conv.group, plan.splits, groups]) as (part, split, number):
                first = start_of_tile(number, plan.tiles, count)
                nest = Nest(op, plan, source, w, finish)
                held = nest.transform(first, part)
                nest.multiply(held, first, part, split)
    return frame.func


@dataclass(frozen=True)
class Nest:
    """The three steps over one group of tiles."""

    op: Winograd
    plan: Plan
    source: Source
    w: Any
    finish: Finish

    def transform(self, first: Any, part: Any) -> Any:
        """Emit the transform of all input blocks into a buffer [points, C blocks, tiles, lanes]."""
        from tvm.tirx.script.builder import ir as T

        op, lanes = self.op, self.op.x.lanes
        count = len(op.x.blocks) // op.conv.group
        held = T.alloc_buffer((math.prod(op.points), count, self.plan.tiles, lanes), FLOAT)
        with loops(count, self.plan.tiles) as (block, tile):
            n, origin = self._place(first + tile)
            with T.vectorized(0, lanes) as lane:
                values = [
                    T.bind(self.source.load(n, part * count + block, _shift(origin, at), lane))
                    for at in _grid(op.points)
                ]
                for point, value in enumerate(self._apply(values, op.points, "inputs")):
                    T.buffer_store(held, value, [point, block, tile, lane])
        return held

    def multiply(self, held: Any, first: Any, part: Any, split: Any) -> None:
        """Emit the products of one share of the output blocks and the transform of their sums."""
        from tvm.tirx.script.builder import ir as T

        op, plan, lanes = self.op, self.plan, self.op.y.lanes
        blocks = len(op.y.blocks) // op.conv.group
        share = -(-blocks // plan.splits)
        begin = start_of_tile(split, share, blocks)
        points = math.prod(op.points)
        sums = T.alloc_buffer((points, plan.blocks, plan.tiles, lanes), FLOAT)
        with loops(-(-share // plan.blocks)) as (index,):
            block0 = part * blocks + begin + start_of_tile(index, plan.blocks, share)
            with loops(points, -(-plan.tiles // plan.together)) as (point, step):
                tile0 = start_of_tile(step, plan.together, plan.tiles)
                self._products(held, sums, point, tile0, block0)
            with loops(plan.blocks, plan.tiles) as (b, tile):
                n, origin = self._place(first + tile)
                self._finish(sums, b, tile, n, block0 + b, first + tile)

    def _products(self, held: Any, sums: Any, point: Any, tile0: Any, block0: Any) -> None:
        from tvm.tirx.script.builder import ir as T

        plan, lanes = self.plan, self.op.y.lanes
        size = (plan.together, plan.blocks)
        total = T.alloc_buffer((math.prod(size) * lanes,), FLOAT, scope="local")
        with loops(*size, kind="unroll") as (t, b), T.vectorized(0, lanes) as lane:
            T.buffer_store(total, constant(0.0), [(t * plan.blocks + b) * lanes + lane])
        inner = self.op.x.blocks[: len(self.op.x.blocks) // self.op.conv.group]
        for start, count, filled in runs(inner):
            with (
                loops(count, filled) as (block, channel),
                loops(*size, kind="unroll") as (t, b),
            ):
                value = held[(point, start + block, tile0 + t, channel)]
                with T.vectorized(0, lanes) as lane:
                    weight = self.w[(block0 + b, point, start + block, channel, lane)]
                    here = (t * plan.blocks + b) * lanes + lane
                    T.buffer_store(total, total[here] + value * weight, [here])
        with loops(*size, kind="unroll") as (t, b), T.vectorized(0, lanes) as lane:
            value = total[(t * plan.blocks + b) * lanes + lane]
            T.buffer_store(sums, value, [point, b, tile0 + t, lane])

    def _finish(self, sums: Any, b: Any, tile: Any, n: Any, block: Any, number: Any) -> None:
        """Emit the transform of one tile's sums, the chain and the stores."""
        from tvm.tirx.script.builder import ir as T

        op, lanes = self.op, self.op.y.lanes
        n, origin = self._place(number)
        whole = all(y % m == 0 for y, m in zip(op.y.spatial, op.results, strict=True))
        result = T.alloc_buffer((math.prod(op.results), lanes), FLOAT, scope="local")
        with T.vectorized(0, lanes) as lane:
            values = [
                T.bind(sums[(point, b, tile, lane)]) for point in range(math.prod(op.points))
            ]
            for i, value in enumerate(self._apply(values, op.points, "sums")):
                T.buffer_store(result, value, [i, lane])
        skips = self._skips(number)
        for i, at in enumerate(_grid(op.results)):
            def emit() -> None:
                with T.vectorized(0, lanes) as lane:
                    self.finish.store(result[i, lane], n, block, _shift(origin, at), lane)
            tests = [a >= s for a, s in zip(at, skips) if s is not None]
            if not tests or whole:
                emit()
            else:
                from tvm import tirx
                with T.If(tirx.all(*tests)):
                    with T.Then():
                        emit()

    def _skips(self, number: Any) -> list[Any]:
        _, *at = unravel(number, [1 << 30, *self.op.tiles])
        found = []
        for p, tiles, m, size in zip(at, self.op.tiles, self.op.results, self.op.y.spatial, strict=True):
            found.append(None if size % m == 0 else p * m - start_of_tile(p, m, size))
        return found

    def _place(self, number: Any) -> tuple[Any, list[Any]]:
        """Return the image of tile `number`, counted through all images, and where it begins."""
        op = self.op
        n, *at = unravel(number, [1 << 30, *op.tiles])
        starts = [
            start_of_tile(p, m, size)
            for p, m, size in zip(at, op.results, op.y.spatial, strict=True)
        ]
        return self.source.image(n), starts

    def _apply(self, values: list[Any], shape: Sizes, kind: str) -> list[Any]:
        """Return the values of a grid transformed along each axis in turn."""
        from tvm.tirx.script.builder import ir as T

        sizes = list(shape)
        for axis, transform in enumerate(self.op.transforms):
            values, sizes[axis] = _along(
                values, sizes, axis, lambda row, t=transform: getattr(t, kind)(row, T.bind), T.bind
            )
        return values


def _along(values: list[Any], sizes: list[int], axis: int, apply: Any, keep: Any) -> tuple[list[Any], int]:
    import numpy as np
    index = np.arange(len(values)).reshape(sizes)
    rows = np.moveaxis(index, axis, -1)
    out: dict[Any, Any] = {}
    n = 0
    for place in np.ndindex(rows.shape[:-1]):
        found = apply([values[i] for i in rows[place]])
        n = len(found)
        for k, value in enumerate(found):
            where = list(place)
            where.insert(axis, k)
            out[tuple(where)] = keep(value)
    return [out[key] for key in sorted(out)], n


def _grid(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    import itertools

    return list(itertools.product(*map(range, sizes)))


def _shift(origin: Sequence[Any], at: Sequence[int]) -> list[Any]:
    return [o + a for o, a in zip(origin, at, strict=True)]
