"""What a number of samples shows about others like them: one-sided bounds of 95 %.

Sources: Wilson (1927), the score interval, for shares; Student (1908) for means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_CONFIDENCE = 1.645  # of 95 %, one-sided, in standard deviations


def shown_at_least(share: float, samples: int) -> float:
    """Return the share on like data that `samples` samples show: the low end of the interval."""
    z = _CONFIDENCE
    centre = share + z**2 / (2 * samples)
    spread = z * math.sqrt(share * (1 - share) / samples + (z / (2 * samples)) ** 2)
    return max(0.0, (centre - spread) / (1 + z**2 / samples))


def samples_to_show(share: float) -> int:
    """Return how many samples, all agreeing, would show `share`."""
    return math.ceil(_CONFIDENCE**2 * share / (1 - share) - 1e-9)


def mean_at_least(values: Sequence[float] | Array) -> float:
    """Return the mean on like data that samples in 0..1 show.

    Where all are the same, their spread is unknown, and they count as agreeing or not.
    """
    found = np.asarray(values, np.float64)
    mean = float(found.mean())
    if np.all((found == 0) | (found == 1)) or np.all(found == found[0]):
        return shown_at_least(mean, len(found))
    error = float(found.std(ddof=1)) / math.sqrt(len(found))
    return max(0.0, mean - student(len(found) - 1) * error)


def mean_at_most(values: Sequence[float] | Array) -> float | None:
    """Return the mean of like data that samples leave possible; None for less than two of them."""
    found = np.asarray(values, np.float64)
    if len(found) < 2:
        return None
    error = float(found.std(ddof=1)) / math.sqrt(len(found))
    return float(found.mean()) + student(len(found) - 1) * error


def student(freedom: int, z: float = _CONFIDENCE) -> float:
    """Return the quantile of Student's distribution that is `z` of the normal one's, 95 % here.

    From three degrees of `freedom` on (Cornish and Fisher, 1937); that of 95 % below.
    """
    if freedom < 3:
        return {1: 6.314, 2: 2.920}[freedom]
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
