"""Numbers of other sizes than those that random points have.

A polynomial identity holds at all of them. One that only seems to hold, because a coefficient is
small, does not: x / (s + c) is x / s up to rounding where s is near 1, and not where s is near c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scale:
    """The sizes that numbers have: each element one of `sizes`, the same at all points."""

    sizes: tuple[float, ...]

    def of_results(self) -> Scale:
        """Return the scale of what functions give, of which nothing is known: not 0 alone."""
        return self if any(self.sizes) else Scale((1.0,))

    def drawn(self, random: np.random.Generator, shape: Sequence[int], points: int) -> Array:
        """Return numbers [points, *shape], of which each element has one sign at all points."""
        numbers = np.abs(random.standard_normal((points, *shape)))
        signs = np.where(random.random(shape) < 0.5, -1.0, 1.0)
        return np.asarray(numbers * (random.choice(self.sizes, shape) * signs))


_SIZES = (1e-30, 1e-12, 1e-5, 1e4, 1e12)
_NOTHING, _MIXED = Scale((0.0,)), Scale((*_SIZES, 1.0))
SCALES = (_NOTHING, *(Scale((size,)) for size in _SIZES), _MIXED)
# What is affine is a constant and coefficients: at 0, and each where others are small.
SCALES_OF_AFFINE = (_NOTHING, _MIXED)
