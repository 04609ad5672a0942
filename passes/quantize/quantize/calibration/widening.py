"""How far a range reaches beyond the samples that showed it: as far as that helps other samples.

    min over m >= 1 of  l_t(m) + mean over tensors u of l_u(m)           for tensor t
    l_t(m) = mean over parts f of  log(p m^2 r_f^2 / 12 L^2 + c_f(m))

A fresh sample exceeds the largest value of n samples once in n + 1 times, and what it loses then is
more than a wider step costs. How much is seen on parts of the samples held back: r_f is the length
of the range that the other parts have, c_f(m) the mean square of what m times that range cuts off
the part, p the share of values that are not zero, which every grid holds, and L the grid's steps.
The logarithm weighs parts by their decibels: a sample far outside of all others counts once, and
does not cost all others their step. One tensor has few parts, so that it is judged as much by what
the network's other tensors need. An end that two parts reach alike is a bound, such as that of a
Clip or of a pixel, and stays.

Source: Stone, "Cross-validatory choice and assessment of statistical predictions" (1974).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...extremes import MARGINS, Extremes, HeldBack
from ...grids.formats import IntegerFormat
from .observers import Range

Array = np.ndarray[Any, Any]

_PARTS = 16
_KEPT = 64
# Ends of two parts that differ by less are one bound.
_ALIKE = 1e-6


class Outermost:
    """The outermost values of one tensor, by part of the samples."""

    def __init__(self) -> None:
        self._extremes = Extremes(1, parts=_PARTS, kept=_KEPT)
        self._zeros = self._count = 0

    def update(self, array: Array, samples: int) -> None:
        """Take the values of one feed: those of `samples` samples along axis 0, or of one."""
        if not array.size:
            return
        apart = array.ndim > 0 and array.shape[0] == samples
        for sample in array if apart else [array]:
            self._extremes.add(sample.reshape(1, -1))
        self._zeros += array.size - int(np.count_nonzero(array))
        self._count += array.size

    def judged(self, found: Range, form: IntegerFormat) -> JudgedRange | None:
        """Return what the parts say of `found`; None with one sample, or all 0."""
        held_back = self._extremes.held_back()
        if held_back is None or found.minimum == found.maximum:
            return None
        rounded = 1 - self._zeros / self._count
        judged = _judged(found, held_back, form.qmax - form.qmin, rounded)
        return judged if np.isfinite(judged.losses).all() else None


@dataclass(frozen=True)
class JudgedRange:
    """A range, and the loss l at each of `MARGINS`; ends that are bounds are not `open`."""

    found: Range
    losses: Array  # [len(MARGINS)]
    open_low: bool
    open_high: bool

    @property
    def is_open(self) -> bool:
        """Say whether one of its ends may reach further."""
        return self.open_low or self.open_high

    def at(self, margin: float) -> Range:
        """Return the range reaching `margin` times as far where it is open."""
        return Range(
            self.found.minimum * (margin if self.open_low else 1.0),
            self.found.maximum * (margin if self.open_high else 1.0),
        )


def widened(
    ranges: Mapping[str, Range], seen: Mapping[str, Outermost], form: IntegerFormat
) -> dict[str, Range]:
    """Return `ranges`, by tensor name, each as wide as is best for samples like those `seen`."""
    judged = {name: seen[name].judged(found, form) for name, found in ranges.items()}
    open_ones = {name: one for name, one in judged.items() if one is not None and one.is_open}
    if not open_ones:
        return dict(ranges)
    pooled = np.mean([one.losses for one in open_ones.values()], axis=0)
    best = {n: float(MARGINS[np.argmin(o.losses + pooled)]) for n, o in open_ones.items()}
    return {**ranges, **{name: one.at(best[name]) for name, one in open_ones.items()}}


def _judged(found: Range, held_back: HeldBack, levels: int, rounded: float) -> JudgedRange:
    used = held_back.counts > 0
    low, high = (ends[used, 0] for ends in (held_back.low, held_back.high))
    smallest, largest = (v[used, 0] for v in (held_back.smallest, held_back.largest))
    # The ends of the other parts, cut as those of all parts were.
    low = _cut(found.minimum, low, smallest.min())
    high = _cut(found.maximum, high, largest.max())
    open_low = _is_open(-smallest.min(axis=1))
    open_high = _is_open(largest.max(axis=1))
    lows, highs = (
        ends[:, None] * (MARGINS if is_open else np.ones(len(MARGINS)))
        for ends, is_open in ((low, open_low), (high, open_high))
    )
    over = np.maximum(largest[:, None] - highs[..., None], 0)
    under = np.maximum(lows[..., None] - smallest[:, None], 0)
    clipped = (np.square(over) + np.square(under)).sum(axis=2) / held_back.counts[used, None]
    steps = rounded * np.square((highs - lows) / levels) / 12
    tiny = np.finfo(np.float64).tiny
    losses = np.log(np.maximum(steps + clipped, tiny)).mean(axis=0)
    return JudgedRange(found, losses, open_low, open_high)


def _cut(end: float, others: Array, reached: float) -> Array:
    """Return the part of `others` [F] that `end` is of what all parts `reached`."""
    return np.asarray(others * (end / reached) if reached else np.full(len(others), end))


def _is_open(reach: Array) -> bool:
    """Say whether the parts' ends, at `reach` [F] from 0, do not stop at a bound."""
    second, first = np.sort(reach)[-2:]
    return bool(first > second * (1 + _ALIKE))
