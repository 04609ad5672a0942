"""What a convolution of tiles is: how its work is cut, and the order of what is multiplied."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...spec.layout import Array
from ..convolution import Convolution, ConvolutionForm
from .unit import REGISTERS, ROW_BYTES, ROWS, MatrixUnit, TileShape


@dataclass(frozen=True)
class RunAxis:
    """What a run reads along one axis: `size` positions `step` apart, a result's `stride` apart."""

    size: int
    step: int
    stride: int

    @classmethod
    def of(cls, results: int, taps: int, stride: int, dilation: int) -> RunAxis:
        """Return that of so many `results`; where there is one tap, what is between is left out."""
        if taps == 1:
            return cls(results, stride, 1)
        return cls((results - 1) * stride + (taps - 1) * dilation + 1, 1, stride)


@dataclass(frozen=True, kw_only=True)
class MatrixPlan:
    """How the work is cut: tiles of `rows` positions, `across` x `blocks` of them at once.

    A run has `run_rows` x `run_columns` positions; `cuts`: by how many its output blocks are
    shared.
    """

    rows: int
    across: int
    blocks: int
    run_rows: int
    run_columns: int
    cuts: int

    @property
    def columns(self) -> int:
        """Positions that are summed at once."""
        return self.rows * self.across


@dataclass(frozen=True)
class MatrixConvolution(ConvolutionForm):
    """A convolution whose products are those of tiles."""

    plan: MatrixPlan

    @property
    def lanes(self) -> int:
        """How many channels a block has room for in the order of tiles: whole steps."""
        return -(-self.conv.x.lanes // self.conv.dot.width) * self.conv.dot.width

    @property
    def steps(self) -> int:
        """In how many steps of the dot product a position's channels are taken in."""
        return self.conv.x_blocks * self.lanes // self.conv.dot.width

    @property
    def chunks(self) -> int:
        """In how many tiles those are multiplied."""
        return math.ceil(self.steps / ROWS)

    @property
    def chunk(self) -> int:
        """How many steps are in each tile, the last ones perhaps zero."""
        return math.ceil(self.steps / self.chunks)

    @property
    def depth(self) -> int:
        """How many channels a position has in the order of tiles."""
        return self.chunks * self.chunk * self.conv.dot.width

    @staticmethod
    def joins(conv: Convolution) -> bool:
        """Say whether positions are counted through all images."""
        return conv.is_flat and conv.batch is not None

    @property
    def windows(self) -> tuple[RunAxis, RunAxis, RunAxis]:
        """What a run reads along each axis."""
        conv, results = self.conv, (1, self.plan.run_rows, self.plan.run_columns)
        along = zip(results, conv.kernel, conv.strides, conv.dilations, strict=True)
        depth, height, width = (RunAxis.of(*one) for one in along)
        return depth, height, width

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights: [M blocks, k, k, k, chunks, rows of a tile, M lanes]."""
        blocks = len(self.conv.y.blocks)
        return (blocks, *self.conv.kernel, self.chunks, self.chunk, self.conv.y.lanes)

    @property
    def unit(self) -> MatrixUnit:
        """The registers: sums, then those of positions, then those of channels."""
        plan, width = self.plan, self.chunk * 4
        sums = TileShape(plan.rows, self.conv.y.lanes * 4)
        shapes = (
            *[sums] * (plan.across * plan.blocks),
            *[TileShape(plan.rows, width)] * plan.across,
            *[TileShape(self.chunk, self.conv.y.lanes * 4)] * plan.blocks,
        )
        assert len(shapes) <= REGISTERS
        assert width <= ROW_BYTES
        return MatrixUnit(shapes, self.conv.dot.total)

    def packed(self, interleaved: Array) -> Array:
        """Return weights [M blocks, C blocks, k, k, k, steps, M lanes] in the order of tiles."""
        by_tap = np.moveaxis(interleaved, 1, 4)
        *outer, blocks, steps, lanes = by_tap.shape
        whole = by_tap.reshape(*outer, blocks * steps, lanes)
        missing = self.chunks * self.chunk - blocks * steps
        padded = np.pad(whole, [*[(0, 0)] * len(outer), (0, missing), (0, 0)])
        return np.ascontiguousarray(padded.reshape(self.weight_shape))
