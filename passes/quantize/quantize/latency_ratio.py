"""How long one choice takes beside another: measured repeatedly, until it is known well enough.

    ratio = exp(mean over n measurements of log(t / t_base)),   within exp(+- q s / sqrt(n))

Each measurement runs all choices in turns, so what else the machine does falls on all of them. What
differs between measurements (where memory lies, which cores) is the noise; the lowest and highest
fifth of them is cut off (Yuen, 1974), since a busy moment is no news about the choices. More are
taken until the interval lies on one side of a border, or there have been enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.metrics.confidence import student
from ...engine.stopwatch import RepeatedStopwatch

# Measurements are taken four at a time.
_AT_ONCE = 4
MOST = 16
_TRIMMED = 0.2
# Standard deviations of 95 and 99 %, one-sided; the latter to stop early, which is asked often.
_LIKELY, _NEARLY_SURE = 1.645, 2.326

Measure = Callable[[int], Sequence[Sequence[float]]]


@dataclass(frozen=True)
class LatencyRatio:
    """Time over that of the base, with a one-sided 95 % bound on either side of it."""

    ratio: float
    low: float
    high: float
    measurements: int

    def __str__(self) -> str:
        """Write it for people: `0.52 (0.51 to 0.53, 8 measurements)`."""
        return (
            f"{self.ratio:.2f} ({self.low:.2f} to {self.high:.2f}, "
            f"{self.measurements} measurements)"
        )


def measure_ratios(
    measure: Measure, border: float | None = None, most: int = MOST
) -> list[LatencyRatio]:
    """Return the ratio of each choice but the first to the first.

    `measure(n)` gives n measurements, each the seconds of all choices. They are repeated until each
    ratio is known to lie on one side of `border` (None: at once), or there are `most`.
    """
    found: list[Sequence[float]] = []
    while len(found) < most:
        found.extend(measure(_AT_ONCE))
        sure = _ratios(found, _NEARLY_SURE)
        if border is None or all(r.high < border or r.low > border for r in sure):
            break
    return _ratios(found, _LIKELY)


def measure_graphs(
    stopwatch: RepeatedStopwatch,
    graphs: Sequence[gs.Graph],
    feed: Mapping[str, np.ndarray[Any, Any]],
    target: str,
    *,
    seconds: float,
    seed: int,
    border: float | None = None,
    most: int = MOST,
) -> list[LatencyRatio]:
    """Return `measure_ratios` of `graphs`; each measurement of `seconds` has a seed of its own."""
    taken = 0

    def measure(repeats: int) -> Sequence[Sequence[float]]:
        nonlocal taken
        first, taken = seed + taken, taken + repeats
        return stopwatch(graphs, feed, target, seconds=seconds, seed=first, repeats=repeats)

    return measure_ratios(measure, border, most)


def _ratios(found: Sequence[Sequence[float]], z: float) -> list[LatencyRatio]:
    columns = list(zip(*found, strict=True))
    return [
        _interval([math.log(t / b) for t, b in zip(column, columns[0], strict=True)], z)
        for column in columns[1:]
    ]


def _interval(logs: Sequence[float], z: float) -> LatencyRatio:
    """Return the trimmed mean and its interval, from the variance of what is winsorized."""
    count = len(logs)
    cut = int(_TRIMMED * count)
    ordered = sorted(logs)
    kept = ordered[cut : count - cut]
    mean = sum(kept) / len(kept)
    winsorized = [kept[0]] * cut + kept + [kept[-1]] * cut
    centre = sum(winsorized) / count
    squares = sum((value - centre) ** 2 for value in winsorized)
    error = math.sqrt(squares / (len(kept) * (len(kept) - 1)))
    half = student(len(kept) - 1, z) * error
    return LatencyRatio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), count)
