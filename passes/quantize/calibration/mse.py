"""The range whose grid moves the values least.

    minimize over [low, high] within the values' range:  E (x - s (clip(round(x / s) + z) - z))^2

Clipping costs where the range is too narrow, rounding where it is too wide. The expectation is
taken over a histogram whose bins hold their values evenly spread: the values that round to one
integer v contribute  M2 - 2 v M1 + v^2 M0,  where M0, M1 and M2 are the count, sum and sum of
squares of that stretch, read off cumulative sums at its two borders. One range costs as many
look-ups as the grid has integers, whatever the number of values was.
"""

from __future__ import annotations

import numpy as np

from ..formats import Format
from ..grid import grid_of_range
from .histogram import Distribution
from .observers import Array, Range
from .search import cheapest_range

# Below this part of the full range, too few bins are left to tell ranges apart.
_LEAST = 2.0**-8


def mse_range(found: Distribution, form: Format, symmetric: bool) -> Range:
    """Return the range of the least mean squared error, symmetric about 0 or not."""
    low, high = found.span(symmetric)
    if form.qmax - form.qmin >= len(found.counts):
        return found.range(low, high)  # the histogram cannot tell what so fine a grid does
    moments = _Moments(found)

    def cost(lows: Array, highs: Array) -> Array:
        return moments.squared_error(lows, highs, form, symmetric)

    return found.range(*cheapest_range(cost, low, high, _LEAST, symmetric=symmetric))


class _Moments:
    """Count, sum and sum of squares of all values below a point, in units of the bins."""

    def __init__(self, found: Distribution) -> None:
        edges, counts = found.edges, found.counts
        left, right = edges[:-1], edges[1:]
        self._first = found.first
        self._left, self._length, self._counts = left, right - left, counts
        self._below = np.stack([_running(part) for part in _parts(counts, left, right)])

    def squared_error(self, lows: Array, highs: Array, form: Format, symmetric: bool) -> Array:
        """Return the sum of squared errors on the grid of each range; lows, highs: [n]."""
        grid = grid_of_range(lows, highs, form, symmetric=symmetric)
        integers = np.arange(form.qmin, form.qmax + 1) - grid.zero_point[:, None]
        scale = grid.scale.astype(np.float64)[:, None]
        values = integers * scale
        below = self._at((integers[:, :-1] + 0.5) * scale)
        ends = np.broadcast_to(self._below[:, None, -1:], (3, len(values), 1))
        count, total, squares = np.diff(
            np.concatenate([np.zeros_like(ends), below, ends], axis=2), axis=2
        )
        error: Array = (squares - 2 * values * total + values**2 * count).sum(axis=1)
        return error

    def _at(self, points: Array) -> Array:
        """Return the three moments of what lies below each of `points`, on a new first axis."""
        bins = np.clip(np.floor(points) - self._first, 0, len(self._counts) - 1).astype(np.intp)
        left, length = self._left[bins], self._length[bins]
        # A bin whose values all lie on one point is below or not.
        share = np.where(
            length > 0, (points - left) / np.where(length > 0, length, 1), points > left
        )
        share = np.clip(share, 0, 1)
        within = _parts(self._counts[bins] * share, left, left + share * length)
        found: Array = self._below[:, bins] + np.stack(within)
        return found


def _parts(counts: Array, left: Array, right: Array) -> tuple[Array, Array, Array]:
    """Return count, sum and sum of squares of values spread evenly from `left` to `right`."""
    mean_square = (left * left + left * right + right * right) / 3
    return counts, counts * (left + right) / 2, counts * mean_square


def _running(parts: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(parts)])
