"""Ratios of what was measured in turns, and how they are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Ratio:
    """How many times as long one thing takes as another: the median over turns, and quartiles."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, times: Sequence[float], base: Sequence[float]) -> Self:
        """Compare the seconds of each turn with those of `base` in the same turn."""
        low, middle, high = np.percentile(np.divide(times, base), (25, 50, 75))
        return cls(float(middle), float(low), float(high))

    def __str__(self) -> str:
        """Write it for people: `1.25x (1.21 to 1.30)`."""
        return f"{self.middle:.2f}x ({self.low:.2f} to {self.high:.2f})"


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean of `values`, of which there is one at least."""
    return float(np.exp(np.mean(np.log(list(values)))))
