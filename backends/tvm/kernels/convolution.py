"""Direct convolution: the sum over taps and input channels stays in registers.

    y[n, o, p] = epilogue(sum over c, k of x[n, c, p * stride + k * dilation - pad] * w[o, c, k])

One loop nest serves 1-D to 3-D, strided, dilated and grouped convolutions, the first layer, whose
input is not blocked, 1x1 (positions on one axis) and Gemm (no positions at all). `tiles` has the
loops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from ..spec.machine import CpuMachine
from .elements import FLOAT
from .epilogue import Epilogue
from .frame import can_flatten, flat, function, operand, operands, weights
from .grouped import GroupedSums
from .padding import PaddedInput, padded
from .prologue import Prologue, PrologueRuns, accumulate_with_prologue
from .sliding import Sliding
from .tile_sizes import RegisterTile, TileProblem, choose
from .tiles import TiledSum, TileOperands, accumulate

NO_PROLOGUE = ElementwiseChain()


@dataclass(frozen=True, kw_only=True)
class Convolution(Sliding, GroupedSums):
    """A convolution over three spatial axes. `prologue` is what happens to x first."""

    prologue: ElementwiseChain = NO_PROLOGUE

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights: [M blocks, C blocks, k, k, k, C lanes, M lanes]."""
        return self.shape_of(self.kernel)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image, without what partly filled blocks waste."""
        return math.prod(self.y.spatial) * self.channel_products * math.prod(self.kernel)

    @property
    def is_flat(self) -> bool:
        """Say whether positions can be counted along one axis."""
        specs = [self.x, self.y, *self.epilogue.operands]
        whole = all(e.spatial in (self.y.spatial, (1, 1, 1)) for e in self.epilogue.operands)
        return (
            self.kernel == self.strides == (1, 1, 1)
            and not any(map(any, self.pads))
            and can_flatten(specs)
            and whole
        )


@dataclass(frozen=True)
class ConvolutionForm:
    """The convolution `conv`, computed in another way than directly."""

    conv: Convolution

    @property
    def x(self) -> BufferSpec:
        """The input."""
        return self.conv.x

    @property
    def y(self) -> BufferSpec:
        """The result."""
        return self.conv.y

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the direct convolution of one image."""
        return self.conv.multiply_adds

    @property
    def epilogue(self) -> ElementwiseChain:
        """What follows the sum."""
        return self.conv.epilogue


def convolution(
    conv: Convolution, machine: CpuMachine, tile: RegisterTile | None = None, threads: int = 1
) -> Any:
    """Return the function (x, of the prologue, w, [starts of sums,] of the epilogue, y).

    Its work is cut for so many `threads`.
    """
    flattened = conv.is_flat
    with function("convolution", conv.batch) as frame:
        x = operand(frame, "X", conv.x, flattened)
        before = operands(frame, "L", conv.prologue.operands, flattened)
        dot = conv.dot
        w = weights("W", conv.stored_shape(conv.kernel), dot.weights)
        start = None
        if dot.total != FLOAT:
            start = weights("S", (len(conv.y.blocks), conv.y.lanes), dot.total)
        epilogue = Epilogue.declare(frame, conv.epilogue, conv.y, flattened)
        epilogue.begin(frame)
        conv = replace(conv, x=x.spec, y=epilogue.y.spec)
        totals = sums_of(conv)
        tile = tile or choose_tile(conv, machine, threads)
        if conv.prologue.steps:
            given = TileOperands(PaddedInput(x, (0, 0, 0)), w, epilogue)
            prologue = Prologue(conv.prologue, before)
            (total,) = totals
            runs = runs_of(conv, machine, tile, threads)
            accumulate_with_prologue(total, frame.batch, prologue, given, tile, runs)
        else:
            with padded(frame, conv.pads, x) as (images, source):
                for total in totals:
                    accumulate(total, images, TileOperands(source, w, epilogue, start), tile)
    return frame.func


def sums_of(conv: Convolution) -> list[TiledSum]:
    """Return the sums of `conv`: of groups of as many channels, one after the other."""
    depth, height, width = conv.y.spatial
    return [
        TiledSum(
            first=first,
            group=count,
            x_blocks=channels,
            y_blocks=conv.y_blocks,
            lanes=conv.y.lanes,
            positions=(depth, height, width),
            kernel=conv.kernel,
            strides=conv.strides,
            dilations=conv.dilations,
            dot=conv.dot,
        )
        for first, count, channels in conv.alike()
    ]


def choose_tile(conv: Convolution, machine: CpuMachine, threads: int = 1) -> RegisterTile:
    """Return the register tile for `conv`, whose work is shared by `threads`."""

    def parts(tile: RegisterTile) -> int:
        return runs_of(conv, machine, tile, threads).parts * problem.times

    problem = problem_of(conv, machine)
    return choose(machine, problem, threads, parts if conv.prologue.steps else None)


def runs_of(
    conv: Convolution, machine: CpuMachine, tile: RegisterTile, threads: int
) -> PrologueRuns:
    """Return the runs in which the input of `conv` goes through its prologue."""
    return PrologueRuns.of(problem_of(conv, machine), tile, conv.x, machine.l1, threads)


def problem_of(conv: Convolution, machine: CpuMachine) -> TileProblem:
    """Return what the cost of a tile of `conv` depends on."""
    _, rows, columns = flat(conv.y).spatial if conv.is_flat else conv.y.spatial
    return TileProblem(
        rows=rows,
        columns=columns,
        blocks=conv.y_blocks,
        steps=conv.steps(conv.kernel),
        input_bytes=math.prod(conv.x.spatial) * conv.steps((1, 1, 1)) * 4,
        sums=conv.dot.most_sums(machine),
        times=(conv.batch or 1) * conv.group * (1 if conv.is_flat else conv.y.spatial[0]),
    )
