"""The steps of a Winograd convolution over one group of tiles: inputs, weights, products, results.

    inputs[point, c, tile] = B^T x B        weights[point, c, m] = G w G^T
    sums[point, m, tile] = sum over c of weights * inputs   y[m, tile] = epilogue(A^T sums A)

The last tile along an axis stands flush with the end, so that it reads nothing beyond the padding,
and stores only what its neighbour does not.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..convolution import Convolution
from ..elements import FLOAT, converted
from ..epilogue import Epilogue
from ..loops import loops, unravel
from ..padding import PaddedInput
from ..prefetch import itemsize, line_of, prefetch
from ..registers import each, registers
from ..tiles import runs, start_of_tile
from .scratch import Planes
from .transforms import Transform, on_axes

_LARGE = 64 << 10  # bytes of weights that are not in the caches nearby when their turn comes


@dataclass(frozen=True)
class WinogradPlan:
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
    def steps(self) -> int:
        """How often registers are filled for all tiles; what is left over repeats the last one."""
        return -(-self.tiles // self.together)


@dataclass(frozen=True)
class Scratch:
    """What one thread holds of its tiles: transformed inputs and weights, and sums of products."""

    inputs: Planes
    weights: Planes
    sums: Planes


@dataclass(frozen=True)
class Piece:
    """`blocks` input blocks from `start` on, of `filled` channels each, that are summed at once."""

    start: Any
    blocks: Any
    filled: int


@dataclass(frozen=True, kw_only=True)
class WinogradSteps:
    """Emits the steps of `conv`, transformed as `along` each axis, in `images` of `x`."""

    conv: Convolution
    along: tuple[Transform, ...]
    plan: WinogradPlan
    images: Any
    x: PaddedInput
    w: Any
    epilogue: Epilogue

    def emit(self, group: Any, first: Any, begin: Any, share: int) -> None:
        """Emit all steps for the tiles from `first` on and `share` output blocks from `begin` on.

        Both blocks are counted in their `group` of channels.
        """
        conv, plan = self.conv, self.plan
        group, first, begin = _bound(group), _bound(first), _bound(begin)
        ins = len(conv.x.blocks) // conv.group
        parts = [(*run, min(plan.depth, run[1])) for run in runs(conv.x.blocks[:ins])]
        scratch = self._scratch(ins, max(depth for *_, depth in parts))
        self._inputs(scratch.inputs, group * ins, first, ins)
        origin = group * (len(conv.y.blocks) // conv.group) + begin
        with loops(-(-share // plan.blocks)) as (index,):
            y_block = origin + start_of_tile(index, plan.blocks, share)
            scratch.sums.zero()
            for start, count, filled, depth in parts:
                with loops(-(-count // depth)) as (number,):
                    piece = Piece(start + number * depth, _rest(number, depth, count), filled)
                    self._weights(scratch.weights, y_block, piece)
                    self._products(scratch, y_block, piece)
            self._results(scratch.sums, first, y_block)

    def _scratch(self, ins: int, deepest: int) -> Scratch:
        """Allocate for `ins` input blocks, `deepest` of which are summed at a time."""
        plan, points, lanes = self.plan, self._points, self.conv.y.lanes
        inputs, x_lanes = ins * plan.steps, self.conv.x.lanes
        return Scratch(
            Planes.alloc(inputs, points, plan.together, x_lanes),
            Planes.alloc(deepest, points, x_lanes * plan.blocks, lanes),
            Planes.alloc(plan.steps, points, plan.together * plan.blocks, lanes),
        )

    def _inputs(self, inputs: Planes, x_block: Any, first: Any, count: int) -> None:
        from tvm import tirx
        from tvm.tirx.script.builder import ir as T

        plan = self.plan
        steps = [t.inputs for t in self.along]
        sizes = [t.points for t in self.along]
        with loops(count, plan.steps, plan.together) as (block, step, t):
            tile = step * plan.together + t
            spare = plan.steps * plan.together > plan.tiles
            n, _, origin = self._place(first + (tirx.min(tile, plan.tiles - 1) if spare else tile))
            with T.vectorized(0, self.conv.x.lanes) as lane:
                values = [
                    T.bind(self.x.load(n, x_block + block, _moved(origin, at), lane))
                    for at in each(sizes)
                ]
                for point, value in enumerate(on_axes(steps, sizes, values, T.bind)):
                    inputs.store(value, block * plan.steps + step, point, t, lane)

    def _weights(self, weights: Planes, y_block: Any, piece: Piece) -> None:
        from tvm.tirx.script.builder import ir as T

        steps, taps = [t.weights for t in self.along], self.conv.kernel
        with (
            loops(self.plan.blocks, piece.blocks, piece.filled) as (b, block, channel),
            T.vectorized(0, self.conv.y.lanes) as lane,
        ):
            values = [
                T.bind(self._weight((y_block + b, piece.start + block, channel, *tap, lane)))
                for tap in each(taps)
            ]
            for point, value in enumerate(on_axes(steps, taps, values, T.bind)):
                weights.store(value, block, point, channel * self.plan.blocks + b, lane)

    def _weight(self, place: tuple[Any, ...]) -> Any:
        return converted(self.w[place], FLOAT)

    def _products(self, scratch: Scratch, y_block: Any, piece: Piece) -> None:
        from tvm.tirx.script.builder import ir as T

        plan, sums = self.plan, scratch.sums
        places = list(each((plan.together, plan.blocks)))
        with loops(self._points, plan.steps) as (point, step):
            totals = registers(len(places), self.conv.y.lanes)
            for place, total in enumerate(totals):
                total.set(lambda lane: sums.load(step, point, place, lane))
            with loops(piece.blocks) as (block,):
                self._prefetch(y_block, piece, block, point * plan.steps + step)
                with loops(piece.filled) as (channel,):
                    for (t, b), total in zip(places, totals, strict=True):
                        at = (piece.start + block) * plan.steps + step
                        value = scratch.inputs.load(at, point, t, channel)

                        def added(lane: Any) -> Any:
                            place = channel * plan.blocks + b
                            weight = scratch.weights.load(block, point, place, lane)
                            return total[lane] + value * weight

                        total.set(added)
            for place, total in enumerate(totals):
                with T.vectorized(0, total.lanes) as lane:
                    sums.store(total[lane], step, point, place, lane)

    def _prefetch(self, y_block: Any, piece: Piece, block: Any, turn: Any) -> None:
        """Ask for a share of the next piece's weights, while this one's products are computed.

        `turn`: how often the registers were filled for this piece. Behind the last piece, the next
        one is the first of the output blocks that follow.
        """
        from tvm import tirx

        plan, shape = self.plan, [int(size) for size in self.w.shape]
        if math.prod(shape) * itemsize(self.w) < _LARGE:
            return
        size = math.prod(shape[2:])
        lines = -(-size // line_of(self.w))
        each_turn = -(-lines // (self._points * plan.steps))
        end = piece.start + piece.blocks
        skipped = tirx.Select(end < shape[1], 0, (plan.blocks - 1) * shape[1])
        begin = (end + block + (skipped if plan.blocks > 1 else 0)) * size
        for b, i in each((plan.blocks, each_turn)):
            at = begin + (turn * each_turn + i) * line_of(self.w)
            prefetch(self.w, y_block + b, at)

    def _results(self, sums: Planes, first: Any, y_block: Any) -> None:
        from tvm import tirx
        from tvm.tirx.script.builder import ir as T

        plan, lanes = self.plan, self.conv.y.lanes
        steps = [t.sums for t in self.along]
        sizes, results = [t.points for t in self.along], [t.results for t in self.along]
        with loops(plan.tiles, plan.blocks) as (tile, b):
            n, skipped, origin = self._place(first + tile)
            step, t = tirx.floordiv(tile, plan.together), tirx.floormod(tile, plan.together)
            found = registers(math.prod(results), lanes)
            with T.vectorized(0, lanes) as lane:
                values = [
                    T.bind(sums.load(step, point, t * plan.blocks + b, lane))
                    for point in range(self._points)
                ]
                for i, value in enumerate(on_axes(steps, sizes, values, T.bind)):
                    T.buffer_store(found[i].buffer, value, [lane])
            for i, at in enumerate(each(results)):
                with _where(at, skipped), self.epilogue.vector() as vector:
                    value = found[i][vector.lane]
                    self.epilogue.store(value, n, y_block + b, _moved(origin, at), vector)

    @property
    def _points(self) -> int:
        return math.prod(t.points for t in self.along)

    def _place(self, number: Any) -> tuple[Any, list[Any], list[Any]]:
        """Return the image of a tile, how much of it is its neighbour's, and where it begins.

        `number` counts the tiles of all images; what is its neighbour's is 0 or an expression.
        """
        tiles = tiles_of(self.conv, self.along)
        n, *at = unravel(number, [self.images, *tiles])
        skipped, starts = [], []
        for p, transform, size in zip(at, self.along, self.conv.y.spatial, strict=True):
            start = _bound(start_of_tile(p, transform.results, size))
            whole = size % transform.results == 0
            skipped.append(0 if whole else _bound(p * transform.results - start))
            starts.append(start)
        return _bound(self.x.image(n)), skipped, starts


def tiles_of(conv: Convolution, along: Sequence[Transform]) -> list[int]:
    """Return the number of tiles along each axis of an image."""
    return [-(-y // t.results) for y, t in zip(conv.y.spatial, along, strict=True)]


def _bound(value: Any) -> Any:
    """Compute `value` here, once."""
    from tvm.tirx.script.builder import ir as T

    return value if isinstance(value, int) else T.bind(value)


def _rest(piece: Any, depth: int, count: int) -> Any:
    """Return how many of `count` blocks piece number `piece` has: `depth`, the last one less."""
    from tvm import tirx

    return depth if count % depth == 0 else tirx.min(depth, count - piece * depth)


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
