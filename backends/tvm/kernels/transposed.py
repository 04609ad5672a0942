"""Transposed convolution: for each remainder of a position by the stride, a direct convolution.

    y[o, j * stride + r] = epilogue(sum over c, k in K_r of x[c, j + offset_k] * w[c, o, k])
    offset_k = (r + pad - k * dilation) / stride

K_r are the taps whose offset is whole. No result is added to twice, no zero is multiplied.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from ..spec.machine import CpuMachine
from .epilogue import Epilogue
from .frame import function, operand, weights
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


@dataclass(frozen=True, kw_only=True)
class Transposed:
    """A transposed convolution over three spatial axes; `befores` are the pads before each."""

    x: BufferSpec
    y: BufferSpec
    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    befores: Sizes
    group: int
    epilogue: ElementwiseChain
    batch: int | None

    def axes(self, axis: int) -> list[Axis]:
        """Return the remainders along one axis that any result has."""
        stride, dilation = self.strides[axis], self.dilations[axis]
        found = []
        for remainder in range(min(stride, self.y.spatial[axis])):
            reach = remainder + self.befores[axis]
            taps = [
                k for k in range(self.kernel[axis]) if (reach - k * dilation) % stride == 0
            ][::-1]  # fmt: skip
            offset = (reach - taps[0] * dilation) // stride if taps else 0
            positions = -(-(self.y.spatial[axis] - remainder) // stride)
            step = dilation // math.gcd(dilation, stride)
            found.append(Axis(remainder, tuple(taps), offset, step, positions))
        return found

    def phases(self) -> Iterator[tuple[Axis, Axis, Axis]]:
        """Yield the remainders of all three axes."""
        yield from itertools.product(self.axes(0), self.axes(1), self.axes(2))

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image, of results inside it only."""
        each = self.x.channels // self.group * self.y.channels
        return each * sum(
            math.prod(axis.positions * len(axis.taps) for axis in phase) for phase in self.phases()
        )

    def weight_shape(self, phase: tuple[Axis, ...]) -> tuple[int, ...]:
        """Shape of one phase's packed weights: [M blocks, C blocks, k, k, k, C lanes, M lanes]."""
        taps = [max(1, len(axis.taps)) for axis in phase]
        blocks = len(self.x.blocks) // self.group
        lanes = self.x.lanes or self.x.channels
        return (len(self.y.blocks), blocks, *taps, lanes, self.y.lanes)


def transposed(op: Transposed, machine: CpuMachine) -> Any:
    """Return the function (x, weights of each phase..., operands of the epilogue..., y)."""
    phases = list(op.phases())
    pads = []
    for axis in range(3):
        along = [p[axis] for p in phases if p[axis].taps]
        low = max([0, *(-a.offset for a in along)])
        reach = [a.positions - 1 + a.offset + (len(a.taps) - 1) * a.dilation for a in along]
        pads.append((low, max([0, *(r - op.x.spatial[axis] + 1 for r in reach)])))
    each = op.x.channels // op.group
    size = math.prod(op.x.spatial) * each * 4
    with function("transposed", op.batch) as frame:
        x = operand(frame, "X", op.x)
        ws = [weights(f"W{i}", op.weight_shape(phase)) for i, phase in enumerate(phases)]
        epilogue = Epilogue.declare(frame, op.epilogue, op.y)
        epilogue.begin(frame)
        with padded(frame, pads, x) as (images, source):
            for phase, w in zip(phases, ws, strict=True):
                taps = tuple(len(axis.taps) for axis in phase)
                total = TiledSum(
                    group=op.group,
                    x_blocks=op.x.blocks[: len(op.x.blocks) // op.group] if all(taps) else (),
                    y_blocks=len(op.y.blocks) // op.group,
                    lanes=op.y.lanes,
                    positions=_three(axis.positions for axis in phase),
                    kernel=_three(taps),
                    strides=(1, 1, 1),
                    dilations=_three(axis.dilation for axis in phase),
                    origin=_three(a.offset + low for a, (low, _) in zip(phase, pads, strict=True)),
                    out_stride=op.strides,
                    out_offset=_three(axis.remainder for axis in phase),
                )
                _, rows, columns = total.positions
                steps = each * math.prod(taps)
                problem = TileProblem(
                    rows=rows,
                    columns=columns,
                    blocks=total.y_blocks,
                    steps=steps,
                    input_bytes=size,
                )
                operands = TileOperands(source, w, epilogue)
                accumulate(total, images, operands, choose(machine, problem))
    return frame.func


def _three(sizes: Any) -> Sizes:
    first, second, third = sizes
    return first, second, third
