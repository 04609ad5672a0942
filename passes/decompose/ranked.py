"""How many channels stand between the factors of a layer: a rank, chosen the same way everywhere.

Given, or as many as a part of the multiply-accumulates allows, or the fewest that keep the error
small, or what variational Bayes takes for signal (`vbmf`).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from ...ir.core.decline import need
from ...ir.core.errors import RefusedError
from ...ir.ops.linear.layer import Layer
from .chain import Factor, FactorChain
from .costs import ChainCosts
from .decomposition import Decomposition
from .quadratic import Array
from .vbmf import vbmf_rank


@dataclass(frozen=True)
class RankedDecomposition(Decomposition):
    """A decomposition with a rank.

    Where none of `rank`, `ratio` and `max-error` is given, the rank is what variational Bayes takes
    for signal.

    - `rank`: the channels between the factors; 0 leaves them to the other options.
    - `ratio`: the largest rank that leaves this part of the layer's multiply-accumulates.
    - `max-error`: the smallest rank that keeps the error under this part of the output's variance;
      beside `rank` or `ratio`, the error above which a layer is left alone.
    """

    rank: int = 0
    ratio: float | None = None

    def __post_init__(self) -> None:
        """Check the options, rank and ratio among them."""
        super().__post_init__()
        if self.rank < 0:
            raise RefusedError(f"rank is {self.rank}; give 1 or more, or 0 to have it chosen")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise RefusedError(f"ratio is {self.ratio}; give a part of 1, such as 0.5")
        if self.rank and self.ratio is not None:
            raise RefusedError("rank and ratio exclude each other; give one of them")


@dataclass(frozen=True)
class RankCosts:
    """What choosing a rank goes by.

    `each`: multiply-accumulates of one rank; `before`: those of the layer; `full`: the rank at
    which nothing is lost.
    """

    each: int
    before: int
    full: int

    @property
    def most(self) -> int:
        """The largest rank that saves anything, 0 where none does."""
        return min((self.before - 1) // self.each, self.full)


@dataclass(frozen=True)
class SingleRankDecomposition(RankedDecomposition):
    """A decomposition into two factors with one rank between them."""

    @abstractmethod
    def blank(self, layer: Layer, rank: int) -> tuple[Factor, ...]:
        """Return factors of zeros: what they cost is known before they are fitted."""

    @abstractmethod
    def full_rank(self, layer: Layer) -> int:
        """Return the rank at which nothing is lost."""

    def cheapest(self, layer: Layer, gains: ChainCosts) -> tuple[Factor, ...]:
        """Return factors of the least rank."""
        return self.blank(layer, self.least_rank(self.costs_of(layer, gains)))

    def costs_of(self, layer: Layer, gains: ChainCosts) -> RankCosts:
        """Return what the rank of `layer` is chosen by."""
        each = gains.macs(layer, FactorChain(self.blank(layer, 1)))
        return RankCosts(each, gains.macs(layer), self.full_rank(layer))

    def least_rank(self, costs: RankCosts) -> int:
        """Return a rank than which none chosen is lower, as far as is known without fitting."""
        full = costs.full
        if self.rank:
            return min(self.rank, full)
        if self.ratio is not None:
            return self._rank_of_ratio(self.ratio, costs)
        return min(step_of(full), full)

    def choose_rank(self, costs: RankCosts, curve: Array, matrix: Array) -> int:
        """Return the rank; `curve` [n + 1] is the relative error of each, `matrix` has the rank.

        `curve` may end where nothing is saved any more.
        """
        limit, full = costs.most, costs.full
        need(limit >= 1, "no rank lowers its multiply-accumulates")
        if self.rank or self.ratio is not None:
            return self.least_rank(costs)
        limit = rounded_down(limit, step_of(full))
        if self.max_error is not None:
            return smallest_rank(curve[: limit + 1], step_of(full), self.max_error)
        found = min(rounded_up(max(vbmf_rank(matrix), 1), step_of(full)), full)
        need(
            found <= limit,
            f"its weights have about rank {found}, and ranks above {limit} save nothing; ratio, "
            "rank or max-error say otherwise",
        )
        return found

    def _rank_of_ratio(self, ratio: float, costs: RankCosts) -> int:
        most = int(ratio * costs.before / costs.each)
        need(most >= 1, f"rank 1 takes more than {ratio} of its multiply-accumulates")
        return rounded_down(min(most, costs.full), step_of(costs.full))


def smallest_rank(curve: Array, step: int, most: float) -> int:
    """Return the smallest multiple of `step` with an error of `most`; `curve` [n + 1] has them.

    `n`, the largest rank that saves anything, is such a multiple; where its error is above `most`,
    this declines.
    """
    enough = np.flatnonzero(curve <= most)
    last = len(curve) - 1
    need(
        len(enough) > 0,
        f"its error is {curve[last]:.2g} at rank {last}, above which nothing is saved, and "
        f"max-error is {most}",
    )
    return min(rounded_up(max(int(enough[0]), 1), step), last)


def step_of(full: int) -> int:
    """Return what ranks are multiples of: vectors are 8 or 16 wide, unless there are few."""
    return 16 if full >= 64 else 8 if full >= 32 else 1


def rounded_up(rank: int, step: int) -> int:
    """Return the next multiple of `step`."""
    return -(-rank // step) * step


def rounded_down(rank: int, step: int) -> int:
    """Return the multiple of `step` below, or `rank` where that is 0."""
    return rank // step * step or rank
