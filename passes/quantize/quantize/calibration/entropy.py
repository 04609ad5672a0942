"""The range whose integers tell the most about the values, by relative entropy.

    minimize over [low, high]:  KL(P || Q) = sum_b P_b log(P_b / Q_b)

    P   the histogram within the range, what lies beyond added to its outermost bins
    Q   the histogram within the range, spread evenly within each integer's stretch over the bins
        that are not empty there

both as parts of all values. Clipping sets P and Q apart at the ends, coarse integers everywhere
between. Four things differ from the procedure that is usually copied. Q is not scaled up to 1, or a
range that clips all but one bin would seem perfect. The range need not be symmetric: both ends are
searched, and what Relu leaves is searched at its upper end with all integers on that side. Exact
zeros are left out of P and Q: they are exact on every grid, while as part of a bin their mass would
pay for being spread and ask for ever narrower ranges. And ranges need not end at a whole number of
bins an integer: each bin goes to the integer its middle rounds to.

Source: Migacz, "8-bit Inference with TensorRT" (GTC 2017).
"""

from __future__ import annotations

import numpy as np

from ...grids.formats import IntegerFormat
from ...grids.grid import grid_of_range
from .histogram import Distribution
from .observers import Array, Range
from .range_search import cheapest_range


def entropy_range(found: Distribution, form: IntegerFormat, symmetric: bool) -> Range:
    """Return the range of the least relative entropy, symmetric about 0 or not."""
    low, high = found.span(symmetric)
    levels = form.qmax - form.qmin
    if levels >= high - low:
        return found.range(low, high)  # an integer would be less than a bin
    cost, least = _RelativeEntropy(found, form, symmetric), levels / (high - low)
    return found.range(*cheapest_range(cost, low, high, least, symmetric=symmetric))


class _RelativeEntropy:
    """KL(P || Q) of ranges; lows [n], highs [n] -> costs [n]."""

    def __init__(self, found: Distribution, form: IntegerFormat, symmetric: bool) -> None:
        edges = found.edges
        filled = np.flatnonzero(found.counts)
        self._middles = (edges[filled] + edges[filled + 1]) / 2
        self._counts = found.counts[filled]
        self._count = np.concatenate([[0.0], np.cumsum(self._counts)])
        self._entropy = np.concatenate([[0.0], np.cumsum(_x_log_x(self._counts))])
        self._form, self._symmetric = form, symmetric

    def __call__(self, lows: Array, highs: Array) -> Array:
        grid = grid_of_range(lows, highs, self._form, symmetric=self._symmetric)
        borders = np.arange(self._form.qmin, self._form.qmax + 2) - 0.5
        points = (borders - grid.zero_point[:, None]) * grid.scale.astype(np.float64)[:, None]
        # Bins first[i, k] to first[i, k + 1] - 1 go to the integer qmin + k.
        first = np.searchsorted(self._middles, points)
        mass, filled = np.diff(self._count[first], axis=1), np.diff(first, axis=1)
        level = np.log(np.where(filled > 0, mass / np.maximum(filled, 1), 1.0))
        total = self._count[-1]
        # What lies beyond goes where the outermost bins within the range are.
        rows = np.arange(len(lows))
        lower, upper = self._count[first[:, 0]], total - self._count[first[:, -1]]
        spread = (mass * level).sum(axis=1)
        spread += lower * level[rows, np.argmax(filled > 0, axis=1)]
        spread += upper * level[rows, -1 - np.argmax(filled[:, ::-1] > 0, axis=1)]
        cost = self._reference(first[:, 0], first[:, -1] - 1, lower, upper) - spread
        return np.where(mass.any(axis=1), cost / total, np.inf)

    def _reference(self, first: Array, last: Array, lower: Array, upper: Array) -> Array:
        """Return the sum of P log P over bins `first` to `last`, in counts."""
        within = self._entropy[last + 1] - self._entropy[first]
        one, other = self._counts[np.minimum(first, len(self._counts) - 1)], self._counts[last]
        apart = _grown(one, lower) + _grown(other, upper)
        found: Array = within + np.where(first < last, apart, _grown(one, lower + upper))
        return found


def _grown(count: Array, more: Array) -> Array:
    return _x_log_x(count + more) - _x_log_x(count)


def _x_log_x(x: Array) -> Array:
    return x * np.log(np.maximum(x, 1))
