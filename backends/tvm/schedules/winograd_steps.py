"""The steps of a Winograd convolution over one group of tiles: inputs, weights, products, results.

    held[point, c, tile] = B^T x B      ready[point, c, m] = G w G^T
    sums[point, m, tile] = sum over c of ready * held      y[m, tile] = chain(A^T sums A)

The last tile along an axis stands flush with the end, so that it reads nothing beyond the padding,
and stores only what its neighbour does not.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .convolution import Convolution
from .nest import FLOAT, Finish, constant, loops, unravel
from .padding import Source
from .tiles import runs, start_of_tile
from .winograd_transforms import Transform, on_axes


@dataclass(frozen=True)
class Plan:
    """How the work is cut: `tiles` at once, and the output blocks in `splits` shares.

    `together` tiles of `blocks` output blocks are summed in registers, over `depth` input blocks
    at a time.
    """

    tiles: int
    splits: int
    together: int
    blocks: int
    depth: int

    @property
    def room(self) -> int:
        """Tiles that fill registers whole: what is left over repeats the last tile."""
        return -(-self.tiles // self.together) * self.together


@dataclass(frozen=True)
class Planes:
    """A scratch buffer [outer, points, places, lanes].

    One vector is left empty after each point: a transform writes all points at once, and addresses
    a power of two apart would share a few cache lines.
    """

    buffer: Any
    points: int
    places: int
    lanes: int

    @classmethod
    def alloc(cls, outer: int, points: int, places: int, lanes: int) -> Planes:
        """Allocate the buffer here."""
        from tvm.tirx.script.builder import ir as T

        size = outer * points * (places + 1) * lanes
        return cls(T.alloc_buffer((size,), FLOAT), points, places, lanes)

    def load(self, outer: Any, point: Any, place: Any, lane: Any) -> Any:
        """Return an element."""
        return self.buffer[self._index(outer, point, place, lane)]

    def store(self, value: Any, outer: Any, point: Any, place: Any, lane: Any) -> None:
        """Emit a store to an element."""
        from tvm.tirx.script.builder import ir as T

        T.buffer_store(self.buffer, value, [self._index(outer, point, place, lane)])

    def zero(self) -> None:
        """Emit stores of zeros to all of it."""
        from tvm.tirx.script.builder import ir as T

        with loops(int(self.buffer.shape[0]) // self.lanes) as (at,), T.vectorized(0, self.lanes) as lane:
            T.buffer_store(self.buffer, constant(0.0), [at * self.lanes + lane])

    def _index(self, outer: Any, point: Any, place: Any, lane: Any) -> Any:
        return ((outer * self.points + point) * (self.places + 1) + place) * self.lanes + lane


@dataclass(frozen=True)
class Steps:
    """Emits the steps for the tiles from `first` on, in images that `source` reads."""

    conv: Convolution
    along: tuple[Transform, ...]
    plan: Plan
    images: Any
    source: Source
    w: Any
    finish: Finish

    @property
    def tiles(self) -> list[int]:
        """Number of tiles along each axis of an image."""
        return [-(-y // t.results) for y, t in zip(self.conv.y.spatial, self.along, strict=True)]

    def emit(self, group: Any, first: Any, begin: Any, share: int) -> None:
        """Emit all steps for `share` output blocks of `group` from `begin` on."""
        from tvm.tirx.script.builder import ir as T

        conv, plan = self.conv, self.plan
        lanes, points = conv.y.lanes, self._points
        x_blocks = conv.x.blocks[: len(conv.x.blocks) // conv.group]
        y_blocks = len(conv.y.blocks) // conv.group
        parts = [(*run, min(plan.depth, run[1])) for run in runs(x_blocks)]
        deepest = max(depth for *_, depth in parts)
        steps = plan.room // plan.together
        held = Planes.alloc(len(x_blocks) * steps, points, plan.together, conv.x.lanes)
        ready = Planes.alloc(deepest, points, conv.x.lanes * plan.blocks, lanes)
        sums = Planes.alloc(steps, points, plan.together * plan.blocks, lanes)
        self._inputs(held, group, first, len(x_blocks))
        with loops(-(-share // plan.blocks)) as (index,):
            block0 = group * y_blocks + begin + start_of_tile(index, plan.blocks, share)
            sums.zero()
            for start, count, filled, depth in parts:
                with loops(-(-count // depth)) as (piece,):
                    at = start + piece * depth
                    blocks = _rest(piece, depth, count)
                    self._weights(ready, block0, at, blocks, filled)
                    self._products(held, ready, sums, at, blocks, filled)
            self._results(sums, first, block0)

    def _inputs(self, held: Any, group: Any, first: Any, count: int) -> None:
        from tvm import tirx
        from tvm.tirx.script.builder import ir as T

        steps = [t.inputs for t in self.along]
        sizes = [t.points for t in self.along]
        last = self.plan.tiles - 1
        steps_ = self.plan.room // self.plan.together
        with loops(count, self.plan.room) as (block, tile):
            n, _, origin = self._place(first + (tirx.min(tile, last) if last else 0))
            with T.vectorized(0, self.conv.x.lanes) as lane:
                values = [
                    T.bind(self.source.load(n, group * count + block, _moved(origin, at), lane))
                    for at in _grid(sizes)
                ]
                for point, value in enumerate(on_axes(steps, sizes, values, T.bind)):
                    held.store(value, block * steps_ + tile // self.plan.together, point, tile % self.plan.together, lane)

    def _weights(self, ready: Any, block0: Any, start: Any, blocks: Any, filled: int) -> None:
        from tvm.tirx.script.builder import ir as T

        steps = [t.weights for t in self.along]
        taps = self.conv.kernel
        with (
            loops(self.plan.blocks, blocks, filled) as (b, block, channel),
            T.vectorized(0, self.conv.y.lanes) as lane,
        ):
            values = [
                T.bind(self.w[(block0 + b, start + block, channel, *tap, lane)])
                for tap in _grid(taps)
            ]
            for point, value in enumerate(on_axes(steps, taps, values, T.bind)):
                ready.store(value, block, point, channel * self.plan.blocks + b, lane)

    def _products(
        self, held: Any, ready: Any, sums: Any, start: Any, blocks: Any, filled: int
    ) -> None:
        from tvm.tirx.script.builder import ir as T

        plan, lanes = self.plan, self.conv.y.lanes
        sizes = (plan.together, plan.blocks)
        with loops(self._points, plan.room // plan.together) as (point, step):
            total = T.alloc_buffer((math.prod(sizes), lanes), FLOAT, scope="local")
            with loops(*sizes, kind="unroll") as (t, b), T.vectorized(0, lanes) as lane:
                value = sums.load(step, point, t * plan.blocks + b, lane)
                T.buffer_store(total, value, [t * plan.blocks + b, lane])
            with (
                loops(blocks, filled) as (block, channel),
                loops(*sizes, kind="unroll") as (t, b),
            ):
                value = held.load((start + block) * (plan.room // plan.together) + step, point, t, channel)
                with T.vectorized(0, lanes) as lane:
                    weight = ready.load(block, point, channel * plan.blocks + b, lane)
                    here = [t * plan.blocks + b, lane]
                    T.buffer_store(total, total[tuple(here)] + value * weight, here)
            with loops(*sizes, kind="unroll") as (t, b), T.vectorized(0, lanes) as lane:
                value = total[(t * plan.blocks + b, lane)]
                sums.store(value, step, point, t * plan.blocks + b, lane)

    def _results(self, sums: Any, first: Any, block0: Any) -> None:
        from tvm.tirx.script.builder import ir as T

        lanes = self.conv.y.lanes
        steps = [t.sums for t in self.along]
        sizes = [t.points for t in self.along]
        with loops(self.plan.tiles, self.plan.blocks) as (tile, b):
            n, skipped, origin = self._place(first + tile)
            found = T.alloc_buffer((math.prod(t.results for t in self.along), lanes), FLOAT,
                                   scope="local")  # fmt: skip
            with T.vectorized(0, lanes) as lane:
                values = [T.bind(sums.load(tile // self.plan.together, point, tile % self.plan.together * self.plan.blocks + b, lane)) for point in range(self._points)]
                for i, value in enumerate(on_axes(steps, sizes, values, T.bind)):
                    T.buffer_store(found, value, [i, lane])
            for i, at in enumerate(_grid([t.results for t in self.along])):
                with _where(at, skipped), T.vectorized(0, lanes) as lane:
                    self.finish.store(found[(i, lane)], n, block0 + b, _moved(origin, at), lane)

    @property
    def _points(self) -> int:
        return math.prod(t.points for t in self.along)

    def _place(self, number: Any) -> tuple[Any, list[Any], list[Any]]:
        """Return the image of a tile, how much of it is its neighbour's, and where it begins.

        `number` counts the tiles of all images; what is its neighbour's is 0 or an expression.
        """
        n, *at = unravel(number, [self.images, *self.tiles])
        skipped, starts = [], []
        for p, transform, size in zip(at, self.along, self.conv.y.spatial, strict=True):
            start = start_of_tile(p, transform.results, size)
            skipped.append(0 if size % transform.results == 0 else p * transform.results - start)
            starts.append(start)
        return self.source.image(n), skipped, starts


def _zero(buffer: Any) -> None:
    from tvm.tirx.script.builder import ir as T

    *sizes, lanes = buffer.shape
    with loops(*map(int, sizes)) as at, T.vectorized(0, int(lanes)) as lane:
        T.buffer_store(buffer, constant(0.0), [*at, lane])


def _rest(piece: Any, depth: int, count: int) -> Any:
    """Return how many of `count` blocks piece number `piece` has: `depth`, the last one less."""
    from tvm import tirx

    return depth if count % depth == 0 else tirx.min(depth, count - piece * depth)


def _grid(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*map(range, sizes))


def _moved(origin: Sequence[Any], at: Sequence[int]) -> list[Any]:
    return [o + a for o, a in zip(origin, at, strict=True)]


@contextlib.contextmanager
def _where(at: Sequence[int], skipped: Sequence[Any]) -> Iterator[None]:
    """Open a condition: no part of `at` is less than what is skipped along its axis."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    tests = [a >= s for a, s in zip(at, skipped, strict=True) if not isinstance(s, int)]
    if not tests:
        yield
        return
    with T.If(tirx.all(*tests)), T.Then():
        yield
