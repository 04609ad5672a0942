"""The range that leaves out the same small part of the values at either end.

    [x at 100 - p percent, x at p percent] of the sorted values;   symmetric: |x| at p percent

A handful of outliers then costs their own clipping, not everybody's resolution. Values come from a
histogram, so the result is within one bin of the true percentile (linear interpolation).
"""

from __future__ import annotations

import numpy as np

from .histogram import Distribution
from .observers import Array, Range


def percentile_range(found: Distribution, percentile: float, symmetric: bool) -> Range:
    """Return the range between the percentiles; `percentile` lies in [50, 100]."""
    part = percentile / 100
    if symmetric:
        high = _quantile(found.folded(), part)
        return found.range(-high, high)
    return found.range(_quantile(found, 1 - part), _quantile(found, part))


def _quantile(found: Distribution, part: float) -> float:
    """Return the value below which `part` of all lie, in bins: between two order statistics."""
    edges = found.edges
    # The zeros are one more bin, without width, below those that begin at 0.
    zero = -found.first
    left, right = np.insert(edges[:-1], zero, 0.0), np.insert(edges[1:], zero, 0.0)
    counts = np.insert(found.counts, zero, found.zeros)
    before = np.cumsum(counts) - counts
    rank = part * (counts.sum() - 1)
    ranks = np.array([np.floor(rank), np.ceil(rank)])
    bins = _bin_of(before + counts, ranks)
    inside = (ranks - before[bins] + 0.5) / counts[bins]
    values = left[bins] + inside * (right[bins] - left[bins])
    return float(values[0] + (rank - ranks[0]) * (values[1] - values[0]))


def _bin_of(ends: Array, ranks: Array) -> Array:
    return np.searchsorted(ends, ranks, side="right")
