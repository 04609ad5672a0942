"""Depthwise convolution of bytes: four taps of a row in one instruction.

    y[n, c, p] = epilogue(sum over rows r, groups g of four: dot4(x[n, c, .. + 4 g], w[c, r, g]))

In a block, four neighbouring columns of sixteen channels are one vector of 64 bytes. Two shuffles
bring the columns of each channel side by side, and a dot product of bytes adds four taps to the
sums of all channels. One such vector serves several results: with the taps moved along by one, it
has what the next column reads too, as long as all taps fit. What is read beyond the taps is
multiplied by zero.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VPDPBUSD.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..spec.layout import Array, BufferSpec
from .dot import ByteDot
from .elements import BYTES
from .epilogue import Epilogue
from .frame import function, operand, weights
from .loops import affine, loops, parallel
from .padding import PaddedInput, padded
from .registers import registers
from .sliding import Sliding
from .tiles import Sizes, start_of_tile

_LANES = 16
_TAPS = 4  # of one instruction
_COLUMNS = 14  # results at once: their sums, what they read and weights are registers
_UNROLLED_ROWS = 3


@dataclass(frozen=True)
class RowTaps:
    """How `kernel` taps of a row are taken in at a stride: `vectors` of four for each result.

    Vectors begin at multiples of `grid` columns; a result that reads from column u has its taps
    moved along by the remainder.
    """

    kernel: int
    stride: int

    @property
    def vectors(self) -> int:
        """The vectors that a result reads."""
        return math.ceil(self.kernel / _TAPS)

    @property
    def grid(self) -> int:
        """The columns from one vector to the next, as many as leave room for the taps."""
        room = self.vectors * _TAPS - self.kernel
        return next(g for g in (4, 2, 1) if g - math.gcd(self.stride, g) <= room)

    @property
    def shifts(self) -> list[int]:
        """The remainders that results have."""
        return sorted({c * self.stride % self.grid for c in range(_TAPS)})

    def begins(self, column: int) -> tuple[int, int]:
        """Return where the first vector of a result begins, and which of `shifts` it has."""
        place, shift = divmod(column * self.stride, self.grid)
        return place * self.grid, self.shifts.index(shift)

    def reach(self, columns: int) -> int:
        """Return how many columns of the input are read for so many of results in a row."""
        tile = tile_of(columns)
        start = columns - tile
        return start * self.stride + self.begins(tile - 1)[0] + self.vectors * _TAPS

    def moved(self, taps: Array) -> Array:
        """Return weights [..., kernel] as [..., shifts, vectors, 4], zeros around the taps."""
        width = self.vectors * _TAPS
        found = np.zeros((*taps.shape[:-1], len(self.shifts), width), taps.dtype)
        for index, shift in enumerate(self.shifts):
            found[..., index, shift : shift + self.kernel] = taps
        return found.reshape(*found.shape[:-1], self.vectors, _TAPS)


@dataclass(frozen=True, kw_only=True)
class ByteDepthwise(Sliding):
    """A depthwise convolution of bytes; columns are not dilated."""

    @property
    def taps(self) -> RowTaps:
        """How the taps of a row are taken in."""
        return RowTaps(self.kernel[2], self.strides[2])

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the packed weights: [blocks, k, k, shifts, vectors, lanes], four bytes each."""
        taps = self.taps
        return (len(self.y.blocks), *self.kernel[:2], len(taps.shifts), taps.vectors, self.y.lanes)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image."""
        return math.prod(self.y.spatial) * self.y.channels * math.prod(self.kernel)

    @property
    def read_pads(self) -> tuple[tuple[int, int], ...]:
        """The padding with the columns that are read and multiplied by zero."""
        first, second, (low, high) = self.pads
        width = self.x.spatial[2] + low + high
        return first, second, (low, high + beyond(self.taps, self.y.spatial[2], width))

    def packed(self, weight: Array) -> Array:
        """Return weights [blocks, k, k, k, lanes] as the kernel reads them."""
        moved = self.taps.moved(np.moveaxis(weight.astype(np.int8), 3, -1))
        return np.ascontiguousarray(np.moveaxis(moved, 3, -2)).view(np.int32)[..., 0]


def can_be_bytes(x: BufferSpec, dilations: Sizes) -> bool:
    """Say whether the kernel reads `x`."""
    return x.dtype in BYTES and x.lanes == _LANES and dilations[2] == 1


def beyond(taps: RowTaps, results: int, width: int) -> int:
    """Return how many columns are read behind a padded row of `width`."""
    return max(0, taps.reach(results) - width)


def tile_of(columns: int) -> int:
    """Return how many of `columns` results are computed at once."""
    tiles = math.ceil(columns / _COLUMNS)
    return math.ceil(columns / tiles)


def byte_depthwise(op: ByteDepthwise) -> Any:
    """Return the function (x, w, starts of sums, operands of the epilogue..., y)."""
    lanes, dot = op.y.lanes, ByteDot(signed=op.x.dtype == "int8")
    depth, height, width = op.y.spatial
    columns = tile_of(width)
    with function("byte_depthwise", op.batch) as frame:
        x = operand(frame, "X", op.x)
        w = weights("W", op.weight_shape, dot.weights)
        start = weights("S", (len(op.y.blocks), lanes), dot.total)
        epilogue = Epilogue.declare(frame, op.epilogue, op.y)
        epilogue.begin(frame)
        with padded(frame, op.read_pads, x) as (images, source):
            tiles = [images, len(op.y.blocks), depth, height, math.ceil(width / columns)]
            with parallel(tiles) as (image, block, z, row, tile):
                n = source.image(image)
                x0 = start_of_tile(tile, columns, width)
                totals = registers(columns, lanes, dot.total)
                for total in totals:
                    total.set(lambda lane: start[block, lane])
                few = math.prod(op.kernel[:2]) <= _UNROLLED_ROWS
                with loops(*op.kernel[:2], kind="unroll" if few else "serial") as (kz, ky):
                    reached = affine((kz, ky, 0), op.dilations, (0, 0, 0))
                    place = affine((z, row, x0), op.strides, reached)
                    held: dict[int, Any] = {}
                    for c, vector in itertools.product(range(columns), range(op.taps.vectors)):
                        begin, shift = op.taps.begins(c)
                        at = begin + vector * _TAPS
                        if at not in held:
                            held[at] = registers(1, lanes, dot.total)[0]
                            first = [*place[:2], place[2] + at]
                            _load(held[at], source, dot, (n, block), first)
                        place_of = (block, kz, ky, shift, vector)
                        dot.add_vector(totals[c], held[at].all, w, place_of)
                for c, total in enumerate(totals):
                    with epilogue.vector() as lane_of:
                        epilogue.store(total[lane_of.lane], n, block, (z, row, x0 + c), lane_of)
    return frame.func


def _load(
    to: Any, source: PaddedInput, dot: ByteDot, plane: tuple[Any, Any], at: list[Any]
) -> None:
    """Emit the load of four columns, those of each channel side by side."""
    from tvm import tirx

    # The columns of a block follow each other, lanes of the next one behind those of the first.
    stored = source.stored(*plane, at, tirx.Ramp(0, 1, _LANES * _TAPS))
    words = dot.numbers(stored, _LANES * _TAPS)
    groups = tirx.Shuffle([words], [_TAPS * k + j for j in range(_TAPS) for k in range(_TAPS)])
    quads = tirx.reinterpret(f"uint8x{_LANES * _TAPS}", groups)
    order = [
        first + _TAPS * k + c
        for first in range(0, _LANES * _TAPS, _LANES)
        for c in range(_TAPS)
        for k in range(_TAPS)
    ]
    found = tirx.reinterpret(f"int32x{_LANES}", tirx.Shuffle([quads], order))
    to.put(found)
