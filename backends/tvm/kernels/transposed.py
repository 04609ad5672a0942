"""Transposed convolution: for each remainder of a position by the stride, a direct convolution.

    y[o, j * stride + r] = epilogue(sum over c, k in K_r of x[c, j + offset_k] * w[c, o, k])
    offset_k = (r + pad - k * dilation) / stride

K_r are the taps whose offset is whole. No result is added to twice, no zero is multiplied.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..spec.chain import ElementwiseChain
from ..spec.machine import CpuMachine
from .elements import FLOAT
from .epilogue import Epilogue
from .frame import function, operand, weights
from .grouped import GroupedSums
from .padding import padded
from .tile_sizes import TileProblem, choose
from .tiles import Sizes, TiledSum, TileOperands, accumulate


@dataclass(frozen=True)
class Axis:
    """Along one axis, the results of one remainder: `taps` in the order of what they read.

    The first tap of result j reads position j + `offset`, each further one `dilation` on.
    """

    remainder: int
    taps: tuple[int, ...]
    offset: int
    dilation: int
    positions: int


Phase = tuple[Axis, Axis, Axis]


@dataclass(frozen=True, kw_only=True)
class TransposedPhases:
    """How a transposed convolution of sizes `x` gives sizes `y`; `befores` are the pads before."""

    x: Sizes
    y: Sizes
    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    befores: Sizes

    def axes(self, axis: int) -> list[Axis]:
        """Return the remainders along one axis that any result has."""
        stride, dilation = self.strides[axis], self.dilations[axis]
        found = []
        for remainder in range(min(stride, self.y[axis])):
            reach = remainder + self.befores[axis]
            taps = [
                k for k in range(self.kernel[axis]) if (reach - k * dilation) % stride == 0
            ][::-1]  # fmt: skip
            offset = (reach - taps[0] * dilation) // stride if taps else 0
            positions = -(-(self.y[axis] - remainder) // stride)
            step = dilation // math.gcd(dilation, stride)
            found.append(Axis(remainder, tuple(taps), offset, step, positions))
        return found

    def __iter__(self) -> Iterator[Phase]:
        """Yield the remainders of all three axes."""
        yield from itertools.product(self.axes(0), self.axes(1), self.axes(2))

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """How far results read beyond the input, before and behind, along each axis."""
        return tuple(self._reach(axis) for axis in range(3))

    def _reach(self, axis: int) -> tuple[int, int]:
        along = [found for found in self.axes(axis) if found.taps]
        last = self.x[axis] - 1
        ends = [a.positions - 1 + a.offset + (len(a.taps) - 1) * a.dilation for a in along]
        return max([0, *(-a.offset for a in along)]), max([0, *(end - last for end in ends)])


@dataclass(frozen=True, kw_only=True)
class Transposed(GroupedSums):
    """A transposed convolution over three spatial axes; `befores` are the pads before each."""

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    befores: Sizes
    epilogue: ElementwiseChain
    batch: int | None

    @property
    def phases(self) -> TransposedPhases:
        """What each remainder of a position by the stride reads."""
        return TransposedPhases(
            x=_three(self.x.spatial),
            y=_three(self.y.spatial),
            kernel=self.kernel,
            strides=self.strides,
            dilations=self.dilations,
            befores=self.befores,
        )

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image, of results inside it only."""
        return self.channel_products * sum(
            math.prod(axis.positions * len(axis.taps) for axis in phase) for phase in self.phases
        )

    def weight_shape(self, phase: Phase) -> tuple[int, ...]:
        """Shape of one phase's weights: [M blocks, C blocks, k, k, k, C lanes, M lanes]."""
        return self.shape_of(_weighted(phase))


def transposed(op: Transposed, machine: CpuMachine) -> Any:
    """Return the function (x, weights of each phase..., starts of sums of each, epilogue..., y)."""
    phases = list(op.phases)
    with function("transposed", op.batch) as frame:
        x = operand(frame, "X", op.x)
        ws = [
            weights(f"W{i}", op.stored_shape(_weighted(phase)), op.dot.weights)
            for i, phase in enumerate(phases)
        ]
        starts: list[Any] = [None] * len(phases)
        if op.dot.total != FLOAT:
            shape = (len(op.y.blocks), op.y.lanes)
            starts = [weights(f"S{i}", shape, op.dot.total) for i in range(len(phases))]
        epilogue = Epilogue.declare(frame, op.epilogue, op.y)
        epilogue.begin(frame)
        with padded(frame, op.phases.pads, x) as (images, source):
            for phase, w, start in zip(phases, ws, starts, strict=True):
                tile = choose(machine, _problem(op, phase, machine))
                for total in _sums(op, phase):
                    accumulate(total, images, TileOperands(source, w, epilogue, start), tile)
    return frame.func


def _sums(op: Transposed, phase: Phase) -> Iterator[TiledSum]:
    """Yield the sums of one phase: of groups of as many channels, one after the other."""
    taps, befores = _taps(phase), [low for low, _ in op.phases.pads]
    for first, count, channels in op.alike():
        yield TiledSum(
            first=first,
            group=count,
            x_blocks=channels if all(taps) else (),
            y_blocks=op.y_blocks,
            lanes=op.y.lanes,
            positions=_three(axis.positions for axis in phase),
            kernel=taps,
            strides=(1, 1, 1),
            dilations=_three(axis.dilation for axis in phase),
            origin=_three(axis.offset + low for axis, low in zip(phase, befores, strict=True)),
            out_stride=op.strides,
            out_offset=_three(axis.remainder for axis in phase),
            dot=op.dot,
        )


def _problem(op: Transposed, phase: Phase, machine: CpuMachine) -> TileProblem:
    _, rows, columns = (axis.positions for axis in phase)
    return TileProblem(
        rows=rows,
        columns=columns,
        blocks=op.y_blocks,
        steps=op.steps(_taps(phase)),
        input_bytes=math.prod(op.x.spatial) * op.steps((1, 1, 1)) * 4,
        sums=op.dot.most_sums(machine),
    )


def _taps(phase: Phase) -> Sizes:
    """Return how many taps results of `phase` have along each axis."""
    return _three(len(axis.taps) for axis in phase)


def _weighted(phase: Phase) -> Sizes:
    """Return the same for weights, which have a tap of zeros where there are none."""
    return _three(max(1, count) for count in _taps(phase))


def _three(sizes: Iterable[int]) -> Sizes:
    first, second, third = sizes
    return first, second, third
