"""Replace a two-dimensional convolution by a vertical and a horizontal one.

    W[o, i, a, b]  ~  sum over r of  U[o, r, b] V[r, i, a],        r = 0 .. R - 1

The first keeps stride, dilation and padding along the height, the second along the width; between
them stand R channels. Of weights alone the best is a truncated SVD; on feeds, one in coordinates in
which the inputs are about white.

Sources: Jaderberg et al., "Speeding up Convolutional Neural Networks with Low Rank Expansions"
(2014); Tai et al., "Convolutional neural networks with low-rank regularization" (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ....ir.core.decline import need
from ....ir.ops.linear.layer import Layer
from ..chain import Factor
from ..costs import ChainCosts
from ..decomposition import FittedFactors
from ..quadratic import Array, FactorProblem
from ..ranked import SingleRankDecomposition
from .separable import recombined, separable


@dataclass(frozen=True)
class DecomposeSpatial(SingleRankDecomposition):
    """Replace K x K convolutions by K x 1 and 1 x K with few channels in between."""

    name: ClassVar[str] = "decompose-spatial"
    roles: ClassVar[tuple[str, ...]] = ("vertical", "horizontal")

    def admit(self, layer: Layer) -> bool:
        """Take convolutions of one group whose window is wider than one in both directions."""
        if not layer.is_spatial or all(size == 1 for size in layer.weight.shape[2:]):
            return False
        need(layer.op == "Conv", "it is a transposed convolution")
        need(layer.group == 1, "it is a grouped convolution")
        need(layer.weight.ndim == 4, "it has not two spatial dimensions")
        need(min(layer.weight.shape[2:]) > 1, "its window is one wide")
        return True

    def full_rank(self, layer: Layer) -> int:
        """Return the rank at which nothing is lost."""
        outputs, channels, height, width = layer.weight.shape
        return int(min(channels * height, outputs * width))

    def blank(self, layer: Layer, rank: int) -> tuple[Factor, ...]:
        """Return factors of zeros."""
        outputs, channels, height, width = layer.weight.shape
        vertical, horizontal = np.zeros((rank, channels, height)), np.zeros((outputs, rank, width))
        return _factors(layer, vertical, horizontal)

    def fit(
        self, layer: Layer, problems: Sequence[FactorProblem], gains: ChainCosts
    ) -> FittedFactors:
        """Solve for all ranks that save anything, and choose one."""
        (problem,) = problems
        costs = self.costs_of(layer, gains)
        chosen = self.rank or self.ratio is not None
        solved = separable(problem, self.least_rank(costs) if chosen else costs.most)
        outputs, channels, height, width = layer.weight.shape
        matrix = problem.weight.transpose(0, 3, 1, 2).reshape(outputs * width, channels * height)
        rank = self.choose_rank(costs, solved.curve, matrix)
        vertical, horizontal = solved.factors(rank)
        rows = recombined(vertical, horizontal)
        value = float(solved.curve[rank]) * problem.form.energy
        form = f"{height}x1 and 1x{width} of rank {rank}"
        return FittedFactors(_factors(layer, vertical, horizontal), (rows,), (value,), form)


def _factors(layer: Layer, vertical: Array, horizontal: Array) -> tuple[Factor, ...]:
    return (
        Factor("vertical", vertical[..., None], _along(layer, 0)),
        Factor("horizontal", horizontal[:, :, None], _along(layer, 1)),
    )


def _along(layer: Layer, axis: int) -> dict[str, Any]:
    """Return the window of `layer` along one axis, of one tap along the other."""
    attrs = layer.node.attrs
    found: dict[str, Any] = {"kernel_shape": _kept(layer.weight.shape[2:], axis, 1)}
    if "auto_pad" in attrs:
        found["auto_pad"] = attrs["auto_pad"]
    for name in ("strides", "dilations"):
        if name in attrs:
            found[name] = _kept(attrs[name], axis, 1)
    if "pads" in attrs:
        found["pads"] = _kept(attrs["pads"], axis, 0)
    return found


def _kept(values: Sequence[int], axis: int, other: int) -> list[int]:
    return [int(value) if place % 2 == axis else other for place, value in enumerate(values)]
