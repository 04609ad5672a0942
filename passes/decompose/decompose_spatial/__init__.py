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
from ..chain import Factor, FactorChain
from ..costs import ChainCosts
from ..decomposition import FittedFactors
from ..quadratic import Array, FactorProblem
from ..ranked import RankedDecomposition
from .separable import recombined, separable


@dataclass(frozen=True)
class DecomposeSpatial(RankedDecomposition):
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

    def cheapest(self, layer: Layer, gains: ChainCosts) -> tuple[Factor, ...]:
        """Return factors of the least rank."""
        return _open(layer, self.least_rank(*self._costs(layer, gains)))

    def fit(
        self, layer: Layer, problems: Sequence[FactorProblem], gains: ChainCosts
    ) -> FittedFactors:
        """Solve for all ranks that save anything, and choose one."""
        (problem,) = problems
        each, before, full = self._costs(layer, gains)
        most = min((before - 1) // each, full)
        if self.rank or self.ratio is not None:
            most = self.least_rank(each, before, full)
        solved = separable(problem, most)
        outputs, channels, height, width = layer.weight.shape
        matrix = problem.weight.transpose(0, 3, 1, 2).reshape(outputs * width, channels * height)
        rank = self.choose_rank(each, before, full, solved.curve, matrix)
        vertical, horizontal = solved.factors(rank)
        rows = recombined(vertical, horizontal)
        value = float(solved.curve[rank]) * problem.form.energy
        form = f"{height}x1 and 1x{width} of rank {rank}"
        return FittedFactors(_factors(layer, vertical, horizontal), (rows,), (value,), form)

    def _costs(self, layer: Layer, gains: ChainCosts) -> tuple[int, int, int]:
        outputs, channels, height, width = layer.weight.shape
        full = int(min(channels * height, outputs * width))
        return gains.macs(layer, FactorChain(_open(layer, 1))), gains.macs(layer), full


def _open(layer: Layer, rank: int) -> tuple[Factor, ...]:
    outputs, channels, height, width = layer.weight.shape
    return _factors(layer, np.zeros((rank, channels, height)), np.zeros((outputs, rank, width)))


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
