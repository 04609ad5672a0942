"""The range whose grid moves the values least.

    minimize over [low, high] within the values' range:  E (x - s (clip(round(x / s) + z) - z))^2

Clipping costs where the range is too narrow, rounding where it is too wide. The sum over n values
needs no look at each of them, nor at each integer's stretch: with v the largest value of the grid
and t the midpoints between neighbours, summation by parts turns the whole into

    sum_x (x - v)^2  -  2 s sum_t H(t),      H(t) = sum_x max(t - x, 0)

and H, the integral of the cumulative counts, is one table over a histogram whose bins hold their
values evenly spread. A range costs as many look-ups as the grid has integers.
"""

from __future__ import annotations

import numpy as np

from ...grids.formats import IntegerFormat
from ...grids.grid import grid_of_range
from .histogram import Distribution
from .observers import Array, Range
from .range_search import cheapest_range

# Below this part of the full range, too few bins are left to tell ranges apart.
_LEAST = 2.0**-8


def mse_range(found: Distribution, form: IntegerFormat, symmetric: bool) -> Range:
    """Return the range of the least mean squared error, symmetric about 0 or not."""
    low, high = found.span(symmetric)
    if form.qmax - form.qmin >= len(found.counts):
        return found.range(low, high)  # the histogram cannot tell what so fine a grid does
    error = _SquaredError(found)

    def cost(lows: Array, highs: Array) -> Array:
        return error(lows, highs, form, symmetric)

    return found.range(*cheapest_range(cost, low, high, _LEAST, symmetric=symmetric))


class _SquaredError:
    """The sum of squared errors on the grids of ranges, in bins; exact zeros have none."""

    def __init__(self, found: Distribution) -> None:
        # A last entry, without values of its own, stands for all that lies above the maximum.
        edges, counts = found.edges, np.append(found.counts, 0.0)
        lengths, middles = np.append(np.diff(edges), 0.0), (edges + np.append(edges[1:], 0.0)) / 2
        self._found, self._left = found, edges
        self._density = counts / np.where(lengths > 0, lengths, np.inf)
        self._below = np.cumsum(counts) - counts
        added = self._below * lengths + counts * lengths / 2
        self._excess = np.cumsum(added) - added
        self._count, self._sum = counts.sum(), (counts * middles).sum()
        self._squares = (counts * (middles**2 + lengths**2 / 12)).sum()

    def __call__(self, lows: Array, highs: Array, form: IntegerFormat, symmetric: bool) -> Array:
        """Return the sums for each range; lows, highs: [n]."""
        grid = grid_of_range(lows, highs, form, symmetric=symmetric)
        scale, zero = grid.scale.astype(np.float64), grid.zero_point
        most = (form.qmax - zero) * scale
        midpoints = (np.arange(form.qmin, form.qmax) + 0.5 - zero[:, None]) * scale[:, None]
        whole = self._squares - 2 * most * self._sum + most**2 * self._count
        found: Array = whole - 2 * scale * self._excess_at(midpoints).sum(axis=1)
        return found

    def _excess_at(self, points: Array) -> Array:
        """Return H at each of `points`."""
        points = np.maximum(points, self._found.minimum)
        above = points >= self._found.maximum
        bins = np.where(above, len(self._left) - 1, np.floor(points) - self._found.first)
        bins = bins.astype(np.intp)
        part = points - self._left[bins]
        found: Array = self._excess[bins] + part * (
            self._below[bins] + part * self._density[bins] / 2
        )
        return found
