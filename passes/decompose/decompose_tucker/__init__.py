"""Replace a convolution by a small one between two 1x1 convolutions (Tucker-2).

    W[o, i, :]  ~  sum over r, s of  A[o, r] G[r, s, :] B[s, i]

The core keeps the window, with S input and R output channels. Of weights alone they start from the
SVDs along the channels and are improved in turns; on feeds likewise, in coordinates in which the
channels are about white.

Source: Kim et al., "Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile
Applications" (2016).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ....ir.core.decline import need
from ....ir.ops.linear.layer import Layer
from ..chain import Factor, FactorChain, pointwise, windowed
from ..costs import ChainCosts
from ..decomposition import FittedFactors
from ..quadratic import Array, FactorProblem
from ..ranked import RankedDecomposition, rounded_up, step_of
from ..vbmf import vbmf_rank
from .tucker import TuckerSolver, recombined

_TRIED = 8


@dataclass(frozen=True)
class DecomposeTucker(RankedDecomposition):
    """Replace convolutions by 1x1, a core of few channels with the window, and 1x1.

    - `rank`: channels in and out of the core alike; 0 leaves both to the other options.
    """

    name: ClassVar[str] = "decompose-tucker"
    roles: ClassVar[tuple[str, ...]] = ("inward", "core", "outward")

    def admit(self, layer: Layer) -> bool:
        """Take convolutions of one group with a window."""
        if not layer.is_spatial or math.prod(layer.weight.shape[2:]) == 1:
            return False
        need(layer.op == "Conv", "it is a transposed convolution")
        need(layer.group == 1, "it is a grouped convolution")
        return True

    def cheapest(self, layer: Layer, gains: ChainCosts) -> tuple[Factor, ...]:
        """Return factors of the least ranks."""
        if self.rank or self.ratio is not None:
            return _open(layer, *self._fixed(layer, gains))
        return _open(layer, *next(_alike(layer)))

    def fit(
        self, layer: Layer, problems: Sequence[FactorProblem], gains: ChainCosts
    ) -> FittedFactors:
        """Choose ranks, and solve for them."""
        (problem,) = problems
        solver = TuckerSolver(problem)
        if self.rank or self.ratio is not None:
            inner, outer = self._fixed(layer, gains)
        elif self.max_error is not None:
            inner, outer = self._under(self.max_error, layer, solver, gains)
        else:
            inner, outer = _by_vbmf(problem)
        # What few channels give under the taps of a window has no higher rank.
        outer = min(outer, inner * math.prod(layer.weight.shape[2:]))
        need(
            gains.macs(layer, FactorChain(_open(layer, inner, outer))) < gains.macs(layer),
            f"ranks {inner} and {outer}, of inputs and outputs, save nothing",
        )
        *factors, value = solver.factors(inner, outer)
        form = f"a core of ranks {inner} and {outer} between 1x1"
        return FittedFactors(_factors(layer, *factors), (recombined(*factors),), (value,), form)

    def _fixed(self, layer: Layer, gains: ChainCosts) -> tuple[int, int]:
        """Return the ranks that `rank` or `ratio` say."""
        if self.rank:
            return min(self.rank, layer.inputs), min(self.rank, layer.outputs)
        assert self.ratio is not None
        most = self.ratio * gains.macs(layer)
        fitting = None
        for pair in _alike(layer):
            if gains.macs(layer, FactorChain(_open(layer, *pair))) > most:
                break
            fitting = pair
        return need(
            fitting, f"the lowest ranks take more than {self.ratio} of its multiply-accumulates"
        )

    def _under(
        self, most: float, layer: Layer, solver: TuckerSolver, gains: ChainCosts
    ) -> tuple[int, int]:
        """Return the ranks of fewest multiply-accumulates with an error of `most` at most."""
        best, least = None, gains.macs(layer)
        pairs = list(_alike(layer))
        lowest = math.inf
        for inner in sorted({pair[0] for pair in pairs[:: -(-len(pairs) // _TRIED)]}):
            curve = solver.curve(inner)
            lowest = min(lowest, float(curve.min()))
            enough = np.flatnonzero(curve <= most)
            if not len(enough):
                continue
            step = step_of(layer.outputs)
            outer = min(rounded_up(max(int(enough[0]), 1), step), layer.outputs)
            macs = gains.macs(layer, FactorChain(_open(layer, inner, outer)))
            if macs < least:
                best, least = (inner, outer), macs
        return need(best, f"no ranks that save anything keep its error under max-error {most}")


def _alike(layer: Layer) -> Iterator[tuple[int, int]]:
    """Yield ranks of inputs and outputs that are about the same part of each, from low to high."""
    step = step_of(min(layer.inputs, layer.outputs))
    wide = max(layer.inputs, layer.outputs)
    for rank in range(step, wide + step, step):
        parts = (layer.inputs * rank / wide, layer.outputs * rank / wide)
        inner, outer = (max(1, rounded_up(math.ceil(part), step)) for part in parts)
        yield min(inner, layer.inputs), min(outer, layer.outputs)


def _by_vbmf(problem: FactorProblem) -> tuple[int, int]:
    """Return the ranks of both unfoldings of the weight that are not noise."""
    outputs, channels = problem.weight.shape[:2]
    inward = problem.weight.swapaxes(0, 1).reshape(channels, -1)
    found = []
    for matrix, full in ((inward, channels), (problem.rows, outputs)):
        rank = max(vbmf_rank(matrix), 1)
        found.append(min(rounded_up(rank, step_of(full)), full))
    return found[0], found[1]


def _open(layer: Layer, inner: int, outer: int) -> tuple[Factor, ...]:
    taps = layer.weight.shape[2:]
    spread, core = np.zeros((inner, layer.inputs)), np.zeros((outer, inner, *taps))
    return _factors(layer, spread, core, np.zeros((layer.outputs, outer)))


def _factors(layer: Layer, spread: Array, core: Array, out: Array) -> tuple[Factor, ...]:
    return (
        pointwise("inward", spread, layer),
        windowed("core", core, layer),
        pointwise("outward", out, layer),
    )
