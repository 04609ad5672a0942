"""Sums of squares and products that stay in the range of float32."""

from __future__ import annotations

import math

# Magnitudes whose products float32 holds, and many of them together.
LEAST, MOST = 2.0**-40, 2.0**50


def fits(magnitude: float) -> bool:
    """Say whether float32 holds sums of products of values up to `magnitude`."""
    return not magnitude or LEAST < magnitude < MOST


def unit_of(magnitude: float) -> float:
    """Return 1 where squares of `magnitude` are in range, else a power of two near it.

    Values are divided by it before they are squared; a power of two moves no digit.
    """
    if fits(magnitude) or not math.isfinite(magnitude):
        return 1.0
    return math.ldexp(1.0, math.frexp(magnitude)[1])
