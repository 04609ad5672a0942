"""Replace a matrix by two of lower rank.

    y = W x + b  ~  A (B x) + b,        A [M, R], B [R, K]

Gemm, MatMul and 1x1 convolutions. On feeds A B minimises E |W x - A B x|^2, not |W - A B|^2: the
singular vectors are those of W times the root of the inputs' second moment (Eckart and Young,
1936).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.core.decline import need
from ...ir.ops.linear.layer import Layer
from .chain import Factor, pointwise, windowed
from .costs import ChainCosts
from .decomposition import FittedFactors
from .low_rank import low_rank
from .quadratic import Array, FactorProblem
from .ranked import SingleRankDecomposition


@dataclass(frozen=True)
class DecomposeSvd(SingleRankDecomposition):
    """Replace Gemm, MatMul and 1x1 convolutions by two of lower rank."""

    name: ClassVar[str] = "decompose-svd"
    roles: ClassVar[tuple[str, ...]] = ("reduce", "expand")
    takes_blocks: ClassVar[bool] = True

    def admit(self, layer: Layer) -> bool:
        """Take matrices and 1x1 convolutions of one group."""
        if math.prod(layer.weight.shape[2:]) > 1:
            return False
        need(layer.op != "ConvTranspose", "it is a transposed convolution")
        need(layer.group == 1, "it is a grouped convolution")
        return True

    def full_rank(self, layer: Layer) -> int:
        """Return the rank at which nothing is lost."""
        return min(layer.inputs, layer.outputs)

    def blank(self, layer: Layer, rank: int) -> tuple[Factor, ...]:
        """Return factors of zeros."""
        return _factors(layer, np.zeros((layer.outputs, rank)), np.zeros((rank, layer.inputs)))

    def fit(
        self, layer: Layer, problems: Sequence[FactorProblem], gains: ChainCosts
    ) -> FittedFactors:
        """Solve for all ranks, and choose one."""
        (problem,) = problems
        solved = low_rank(problem.form)
        rank = self.choose_rank(self.costs_of(layer, gains), solved.curve, problem.rows)
        a, b = solved.factors(rank)
        value = float(solved.curve[rank]) * problem.form.energy
        return FittedFactors(_factors(layer, a, b), (a @ b,), (value,), f"rank {rank}")


def _factors(layer: Layer, a: Array, b: Array) -> tuple[Factor, ...]:
    if not layer.is_spatial:
        first = pointwise("reduce", b, layer)
    else:
        taps = [1] * (layer.weight.ndim - 2)
        first = windowed("reduce", b.reshape(*b.shape, *taps), layer)
    return first, pointwise("expand", a, layer)
