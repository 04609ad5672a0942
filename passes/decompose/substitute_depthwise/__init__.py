"""Replace dense convolutions by depthwise and pointwise ones.

    W[o, i, :]  ~  sum over t of  P[o, i, t] D[i, t, :],        t = 0 .. terms - 1

A K x K convolution becomes a depthwise one and a 1x1 one that adds the bias, or the sum of `terms`
such pairs. Of weights alone the best is the truncated SVD of each input channel's windows; on feeds
the two are solved for in turns.

Source: Guo et al., "Network Decoupling: From Regular to Depthwise Separable Convolutions" (2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ....ir.core.decline import need
from ....ir.core.errors import RefusedError
from ....ir.ops.linear.layer import Layer
from ..chain import Factor, FactorChain, pointwise, windowed
from ..costs import ChainCosts
from ..decomposition import Decomposition, FittedFactors
from ..quadratic import Array, FactorProblem, relative_error
from .decouple import fit_decoupled, recombined


@dataclass(frozen=True)
class SubstituteDepthwise(Decomposition):
    """Replace dense convolutions by depthwise and pointwise ones that give nearly the same.

    They are fitted to what the layer gives on the feeds, in view of what was replaced before it.

    - `terms`: pairs of them that are added up; 0: the fewest, up to `most-terms`, that keep the
      error under `max-error`.
    - `most-terms`: pairs that are tried where `terms` is 0.
    """

    name: ClassVar[str] = "substitute-depthwise"
    roles: ClassVar[tuple[str, ...]] = ("depthwise", "pointwise")

    max_error: float | None = 0.1
    terms: int = 0
    most_terms: int = 3

    def __post_init__(self) -> None:
        """Check the options, the numbers of terms among them."""
        super().__post_init__()
        if self.terms < 0:
            raise RefusedError(f"terms is {self.terms}; give 1 or more, or 0 to have it chosen")
        if self.most_terms < 1:
            raise RefusedError(f"most-terms is {self.most_terms}; give 1 or more")

    def admit(self, layer: Layer) -> bool:
        """Take convolutions with a window and more than one input channel a group."""
        if not layer.is_spatial or math.prod(layer.weight.shape[2:]) == 1:
            return False
        need(layer.op == "Conv", "it is a transposed convolution")
        need(layer.weight.shape[1] > 1, "it has one input channel a group: depthwise already")
        return True

    def cheapest(self, layer: Layer, gains: ChainCosts) -> tuple[Factor, ...]:
        """Return factors with the fewest terms."""
        return self._open(layer, self.terms or 1)

    def fit(
        self, layer: Layer, problems: Sequence[FactorProblem], gains: ChainCosts
    ) -> FittedFactors:
        """Fit with one term, and with more until the error is small enough."""
        taps = math.prod(layer.weight.shape[2:])
        first = self.terms or 1
        need(first <= taps, f"{first} terms are more than its {taps} taps")
        before, error = gains.macs(layer), math.inf
        last = max(first, 0 if self.terms else min(self.most_terms, taps))
        for terms in range(first, last + 1):
            if gains.macs(layer, FactorChain(self._open(layer, terms))) >= before:
                break
            solved = [fit_decoupled(problem, terms) for problem in problems]
            rows = tuple(recombined(d, p) for d, p, _ in solved)
            values = tuple(value for _, _, value in solved)
            error = relative_error(problems, rows, values)
            if self.max_error is None or error <= self.max_error or self.terms:
                return FittedFactors(self._factors(layer, solved), rows, values, _form(terms))
        limit = self.max_error
        return need(None, f"with {_form(terms)} its error is {error:.2g}, above max-error {limit}")

    def _open(self, layer: Layer, terms: int) -> tuple[Factor, ...]:
        outputs, channels, *taps = layer.weight.shape
        each = outputs // layer.group
        group = (np.zeros((channels, terms, *taps)), np.zeros((each, channels, terms)), 0.0)
        return self._factors(layer, [group] * layer.group)

    def _factors(
        self, layer: Layer, solved: Sequence[tuple[Array, Array, float]]
    ) -> tuple[Factor, ...]:
        kernels = np.concatenate([d for d, _, _ in solved])
        points = np.concatenate([p for _, p, _ in solved])
        factors: list[Factor] = []
        for term in range(kernels.shape[1]):
            spread, point = kernels[:, term, None], points[:, :, term]
            factors.append(windowed("depthwise", spread, layer, len(kernels)))
            factors.append(pointwise("pointwise", point, layer, layer.group))
        return tuple(factors)


def _form(terms: int) -> str:
    return "depthwise and 1x1" if terms == 1 else f"{terms} times depthwise and 1x1, added up"
