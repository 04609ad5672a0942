"""Looking for the range of the lowest cost, from coarse to fine.

The cost over a range's ends is a wide valley with ripples (the grid slides over the values as it
shrinks), which rules out a search that trusts slopes. Each end is searched as a whole line while
the other is held: shares 2^(-i/8) of the full range, then twice the neighbourhood of the best,
eight times finer each time; until neither end improves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .observers import Array

# Costs of ranges: lows [n], highs [n] -> costs [n].
Cost = Callable[[Array, Array], Array]

_PER_OCTAVE = 8
_FINER = 8
_MOST_ROUNDS = 4


def cheapest_range(
    cost: Cost, low: float, high: float, least: float, *, symmetric: bool = False
) -> tuple[float, float]:
    """Return the ends within [`low`, `high`], which contains 0, where `cost` is lowest.

    No end is moved below `least` of where it was; `symmetric` keeps them opposite. Of equal costs
    the widest range is taken.
    """
    search = _RangeSearch(cost, np.array([low, high]), min(least, 1.0))
    if symmetric:
        search.along(np.array([True, True]))
    elif low == 0 or high == 0:
        search.along(np.array([low < 0, high > 0]))
    else:
        for _ in range(_MOST_ROUNDS):
            before = search.lowest
            search.along(np.array([False, True]))
            search.along(np.array([True, False]))
            if search.lowest == before:
                break
    return float(search.best[0] * low), float(search.best[1] * high)


class _RangeSearch:
    """The best shares of the two ends so far, and their cost."""

    def __init__(self, cost: Cost, ends: Array, least: float) -> None:
        self._cost, self._ends, self._least = cost, ends, least
        octaves = np.log2(1 / least)
        self._shares = 2.0 ** -(np.arange(0.0, octaves * _PER_OCTAVE + 1e-9) / _PER_OCTAVE)
        self.best = np.ones(2)
        self.lowest = float(cost(ends[:1], ends[1:])[0])

    def along(self, free: Array) -> None:
        """Try the ends that are `free` at one share for all of them, from coarse to fine."""
        self._try(np.where(free, self._shares[:, None], self.best))
        step = 2.0 ** (1 / _PER_OCTAVE) - 1
        for _ in range(2):
            near = 1 + step * np.linspace(1, -1, 2 * _FINER + 1)
            tried = np.clip(self.best * near[:, None], self._least, 1.0)
            self._try(np.where(free, tried, self.best))
            step /= _FINER

    def _try(self, shares: Array) -> None:
        costs = self._cost(*(shares * self._ends).T)
        index = int(np.argmin(costs))
        if costs[index] < self.lowest:
            self.best, self.lowest = shares[index], float(costs[index])
