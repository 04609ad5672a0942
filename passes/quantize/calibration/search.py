"""Looking for the range of the lowest cost, from coarse to fine.

The cost over a range's ends is one wide valley with ripples (the grid slides over the values as it
shrinks), which rules out a search that trusts slopes. Each line is therefore searched as a whole:
factors 2^(-i/8) of the full range first, then twice the neighbourhood of the best, eight times
finer each time. With two ends free, the first line shrinks both alike, and then each end is
searched with the other held, until neither improves.
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


def cheapest_range(cost: Cost, low: float, high: float, least: float) -> tuple[float, float]:
    """Return the ends within [`low`, `high`], which contains 0, where `cost` is lowest.

    No end is moved below `least` of where it was. Of equal costs the widest range is taken.
    """
    ends = np.array([low, high])
    lines = [np.array([1.0, 1.0])]
    if low < 0 < high:
        lines += [np.array([0.0, 1.0]), np.array([1.0, 0.0])]
    factors, lowest = np.ones(2), np.inf
    for _ in range(_MOST_ROUNDS if len(lines) > 1 else 1):
        before = lowest
        for line in lines:
            factors, lowest = _along(cost, ends, factors, line, least)
        # Both ends together have no better place once each has been moved alone.
        lines = lines[-2:]
        if lowest == before:
            break
    return float(factors[0] * low), float(factors[1] * high)


def _along(
    cost: Cost, ends: Array, factors: Array, line: Array, least: float
) -> tuple[Array, float]:
    """Return the best factors with those on `line` free and alike, and their cost."""

    def place(shares: Array) -> Array:
        return np.where(line > 0, shares[:, None], factors)

    octaves = max(np.log2(1 / least), 0.0)
    shares = 2.0 ** -(np.arange(0.0, octaves * _PER_OCTAVE + 1) / _PER_OCTAVE)
    shares = np.append(shares, factors[line > 0].max())
    step = 2.0 ** (1 / _PER_OCTAVE) - 1
    best, lowest = 1.0, np.inf
    for _ in range(3):
        shares = np.unique(np.clip(shares, least, 1.0))[::-1]
        costs = cost(*(place(shares) * ends).T)
        index = int(np.argmin(costs))
        if costs[index] < lowest or lowest == np.inf:
            best, lowest = float(shares[index]), float(costs[index])
        shares = best * (1 + step * np.linspace(-1, 1, 2 * _FINER + 1))
        step /= _FINER
    return place(np.array([best]))[0], lowest
