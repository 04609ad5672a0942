"""What an observer is, and the two that need no histogram.

    min-max          [min x, max x] over all values
    moving-average   [sum_t w_t min x_t, sum_t w_t max x_t] / sum_t w_t,   w_t = momentum ^ (T - t)

The second averages the extremes of batches t = 1 to T, so that one extreme batch does not set the
range; the weights are divided by their sum, as in Adam, so that few batches need no warm-up.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (CVPR 2018), section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Range:
    """The values of a tensor that a grid is to span; (0, 0) where it was always 0 or empty."""

    minimum: float
    maximum: float

    @property
    def length(self) -> float:
        """How far its ends are apart, with 0 between them as on every grid."""
        return max(self.maximum, 0.0) - min(self.minimum, 0.0)

    def within(self, low: float, high: float) -> Range:
        """Return it without what lies below `low` or above `high`, which have 0 between them."""
        return Range(max(self.minimum, low), min(self.maximum, high))


class Observer(Protocol):
    """Takes the values of one tensor, piece by piece, in memory that does not grow."""

    def update(self, array: Array) -> None:
        """Take the values of one feed: floats of any shape, finite."""

    def range(self) -> Range:
        """Return the range of all values so far, which may still be added to."""


class MinMax:
    """The smallest and the largest value: nothing is clipped."""

    def __init__(self) -> None:
        self.minimum, self.maximum = np.inf, -np.inf

    def update(self, array: Array) -> None:
        """Widen the range to `array`."""
        if array.size:
            self.minimum = min(self.minimum, float(array.min()))
            self.maximum = max(self.maximum, float(array.max()))

    def range(self) -> Range:
        """Return the extremes."""
        if self.minimum > self.maximum:
            return Range(0.0, 0.0)
        return Range(self.minimum, self.maximum)


class MovingAverage:
    """Exponential average of the extremes of each batch, the only observer that order matters to.

    `momentum`: the part of its weight that a batch keeps when the next one comes, 0 (the last batch
    alone) to 1 (the plain mean).
    """

    def __init__(self, momentum: float) -> None:
        self._momentum = momentum
        self._weight = 0.0
        self._minimum = self._maximum = 0.0

    def update(self, array: Array) -> None:
        """Average the extremes of `array`, one batch, into those before."""
        if not array.size:
            return
        self._weight = self._momentum * self._weight + 1.0
        self._minimum += (float(array.min()) - self._minimum) / self._weight
        self._maximum += (float(array.max()) - self._maximum) / self._weight

    def range(self) -> Range:
        """Return the averages."""
        return Range(self._minimum, self._maximum)
