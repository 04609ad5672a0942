"""How far a range reaches into and beyond the samples that showed it: as helps other samples.

    cut:  min over v in [0, 1] of  mean over parts f of  p r_f(v)^2 / 12 L^2 + c_f(v)
    min over m >= 1 of  l_t(m) + mean over tensors u of l_u(m)           for tensor t
    l_t(m) = log( M_q over parts f of  p m^2 r_f^2 / 12 L^2 + c_f(m) )    M_q: power mean, q 0 or 1

Cutting off a few values of few samples costs more on others than on these: v says how much of what
calibration cut off (0) is taken back (1: all). A fresh sample exceeds the largest value of n
samples once in n + 1 times, and what it loses then is more than a wider step costs. How much is
seen on parts of the samples held back: r_f is the length of the range that the other parts have,
c_f(m) the mean square of what m times that range cuts off the part, p the share of values that are
not zero, which every grid holds, and L the grid's steps. q = 0, the mean of the logarithms, weighs
parts by their decibels: a sample far outside of all others counts once, and does not cost all
others their step; within what was seen it may, as no range grows beyond that. q = 1 weighs them by
their error, of which that sample has most. One tensor has few parts, so that its margin is judged
as much by what the network's other tensors need. An end that two parts reach alike is a bound, such
as that of a Clip or of a pixel, and stays.

Which q is right depends on how far the error of one sample reaches, and so does how much of it one
tensor may cause: tensors of few positions, as behind the last strides, show fewer values of each
sample, and nothing averages out what they cut off. So there are several ways to widen (`_WAYS`),
and the network is asked which is best (`network_judge`).

Source: Stone, "Cross-validatory choice and assessment of statistical predictions" (1974).
"""

from __future__ import annotations

import math
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
# Parts that are held back together where the whole network judges.
FOLDS = 8
# By how much a range may reach further where q is 1: far outliers are worth a wider one only where
# they count as much as all others.
_REACHES = 2.0 ** (np.arange(2 * len(MARGINS) - 1) / 8)
# Tensors have few positions that have at most this part of the most that any has: two stages of the
# usual five.
_FEW = 2.0**-8
# Of a range that others than a fold show, at least this part is taken: of nothing there is no grid.
_LEAST_SHARE = 2.0**-4
# What is taken back of a cut.
_SHARES = np.linspace(0, 1, 9)
# Ways to widen: q, and how much further ranges reach than it says, and those of few positions.
_WAYS = (
    (0.0, 1.0, 1.0),
    (1.0, 1.0, 1.0),
    (0.0, MARGINS[2], MARGINS[2]),
    (0.0, 1.0, MARGINS[8]),
    (1.0, 1.0, MARGINS[4]),
)
# Ends of two parts that differ by less are one bound.
_ALIKE = 1e-6


class Outermost:
    """The outermost values of one tensor [N, C, ...], by part of the samples, and its positions."""

    def __init__(self) -> None:
        self._extremes = Extremes(1, parts=_PARTS, kept=_KEPT)
        self._zeros = self._count = 0
        self.positions = 1

    def update(self, array: Array, samples: int) -> None:
        """Take the values of one feed: those of `samples` samples along axis 0, or of one."""
        if not array.size:
            return
        apart = array.ndim > 0 and array.shape[0] == samples
        for sample in array if apart else [array]:
            self._extremes.add(sample.reshape(1, -1))
        self.positions = max(self.positions, math.prod(array.shape[2:]))
        self._zeros += array.size - int(np.count_nonzero(array))
        self._count += array.size

    def judged(self, found: Range, form: IntegerFormat) -> JudgedRange | None:
        """Return what the parts say of `found`; None with one sample, or all 0."""
        held_back = self._extremes.held_back()
        if held_back is None or found.minimum == found.maximum:
            return None
        rounded = 1 - self._zeros / self._count
        parts = _Parts.of(held_back, form.qmax - form.qmin, rounded)
        judged = _judged(found, parts)
        return judged if np.isfinite(judged.errors).all() else None

    def shares_of_others(self) -> Array:
        """Return the part of the range that the samples outside of each fold show, [FOLDS, 2]."""
        shares = np.ones((FOLDS, 2))
        held_back = self._extremes.held_back()
        if held_back is None:
            return shares
        folds = np.arange(_PARTS) % FOLDS
        reach = np.stack([-held_back.smallest.min(axis=(1, 2)), held_back.largest.max(axis=(1, 2))])
        whole = reach.max(axis=1)
        for fold in range(FOLDS):
            rest = reach[:, folds != fold].max(axis=1)
            np.divide(rest, whole, out=shares[fold], where=whole > 0)
        return np.maximum(shares, _LEAST_SHARE)


@dataclass(frozen=True)
class JudgedRange:
    """A range, and the error of each part at each margin; ends that are bounds are not `open`."""

    found: Range
    errors: Array  # [F, len(_REACHES)]
    open_low: bool
    open_high: bool

    @property
    def is_open(self) -> bool:
        """Say whether one of its ends may reach further."""
        return self.open_low or self.open_high

    def losses(self, exponent: float) -> Array:
        """Return the loss l of each margin that may be taken under `exponent`, [n]."""
        errors = np.maximum(self.errors, np.finfo(np.float64).tiny)
        if exponent:
            return np.asarray(np.log((errors**exponent).mean(axis=0)) / exponent)
        return np.asarray(np.log(errors[:, : len(MARGINS)]).mean(axis=0))

    def at(self, margin: float) -> Range:
        """Return the range reaching `margin` times as far where it is open."""
        return Range(
            self.found.minimum * (margin if self.open_low else 1.0),
            self.found.maximum * (margin if self.open_high else 1.0),
        )


@dataclass(frozen=True)
class HeldBackRanges:
    """Ranges by tensor name, and the parts of them that samples outside of folds show."""

    ranges: Mapping[str, Range]
    shares: Mapping[str, Array]  # [FOLDS, 2]

    def of_others(self, fold: int) -> dict[str, Range]:
        """Return the ranges as the samples outside of `fold` would give them, about."""
        found = dict(self.ranges)
        for name, shares in self.shares.items():
            low, high = shares[fold]
            found[name] = Range(found[name].minimum * low, found[name].maximum * high)
        return found


def widenings(
    ranges: Mapping[str, Range], seen: Mapping[str, Outermost], form: IntegerFormat
) -> list[dict[str, Range]]:
    """Return `ranges`, by tensor name, each as wide as is best for samples like those `seen`.

    Once for each of `_WAYS`, the most cautious first; all the same where none is widened.
    """
    judged = {name: seen[name].judged(found, form) for name, found in ranges.items()}
    known = {name: one for name, one in judged.items() if one is not None}
    most = max((seen[name].positions for name in ranges), default=1)
    few = {name for name in ranges if seen[name].positions <= _FEW * most}
    best = {exponent: _margins(known, exponent) for exponent in {way[0] for way in _WAYS}}
    return [
        {**ranges, **{n: o.at(best[q][n] * (less if n in few else more)) for n, o in known.items()}}
        for q, more, less in _WAYS
    ]


def _margins(judged: Mapping[str, JudgedRange], exponent: float) -> dict[str, float]:
    """Return the margin m of each range, by tensor name."""
    losses = {name: one.losses(exponent) for name, one in judged.items() if one.is_open}
    pooled = np.mean(list(losses.values()), axis=0) if losses else 0.0
    best = {name: float(_REACHES[np.argmin(own + pooled)]) for name, own in losses.items()}
    return {name: best.get(name, 1.0) for name in judged}


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """Parts of the samples [F] and a grid for them: `levels` steps, `rounded` of the values not 0.

    `low`, `high`: ends of the other parts [F]. `smallest`, `largest`: outermost values [F, K].
    """

    low: Array
    high: Array
    smallest: Array
    largest: Array
    counts: Array
    levels: int
    rounded: float

    @classmethod
    def of(cls, held_back: HeldBack, levels: int, rounded: float) -> _Parts:
        """Return the parts of one tensor that are not empty."""
        used = held_back.counts > 0
        ends = (held_back.low, held_back.high, held_back.smallest, held_back.largest)
        low, high, smallest, largest = (v[used, 0].astype(np.float64) for v in ends)
        return cls(
            low=low,
            high=high,
            smallest=smallest,
            largest=largest,
            counts=held_back.counts[used],
            levels=levels,
            rounded=rounded,
        )

    def ends_of_others(self, found: Range) -> tuple[Array, Array]:
        """Return the ends of the other parts [F], cut as those of all parts were for `found`."""
        return (
            _cut(found.minimum, self.low, self.smallest.min()),
            _cut(found.maximum, self.high, self.largest.max()),
        )

    def errors(self, lows: Array, highs: Array) -> Array:
        """Return the mean squared error of each part on ranges of its own, [F, n] -> [F, n]."""
        over = np.maximum(self.largest[:, None] - highs[..., None], 0)
        under = np.maximum(lows[..., None] - self.smallest[:, None], 0)
        clipped = (np.square(over) + np.square(under)).sum(axis=2) / self.counts[:, None]
        found: Array = self.rounded * np.square((highs - lows) / self.levels) / 12 + clipped
        return found

    @property
    def open_ends(self) -> tuple[bool, bool]:
        """Whether the low and the high end are no bounds."""
        return _is_open(-self.smallest.min(axis=1)), _is_open(self.largest.max(axis=1))

    def uncut(self, found: Range) -> Range:
        """Return `found` with as much of what it cuts off taken back as helps the parts.

        What is cut off at a bound stays so: the parts are alike there.
        """
        open_low, open_high = self.open_ends
        low, high = found.minimum, found.maximum
        low = min(low, float(self.smallest.min())) if open_low else low
        high = max(high, float(self.largest.max())) if open_high else high
        tried = [
            Range(
                found.minimum + float(share) * (low - found.minimum),
                found.maximum + float(share) * (high - found.maximum),
            )
            for share in _SHARES
        ]
        lows, highs = (
            np.stack(e, axis=1) for e in zip(*map(self.ends_of_others, tried), strict=True)
        )
        return tried[int(self.errors(lows, highs).mean(axis=0).argmin())]


def _judged(calibrated: Range, parts: _Parts) -> JudgedRange:
    found = parts.uncut(calibrated)
    low, high = parts.ends_of_others(found)
    open_low, open_high = parts.open_ends
    lows, highs = (
        ends[:, None] * (_REACHES if is_open else np.ones(len(_REACHES)))
        for ends, is_open in ((low, open_low), (high, open_high))
    )
    return JudgedRange(found, parts.errors(lows, highs), open_low, open_high)


def _cut(end: float, others: Array, reached: float) -> Array:
    """Return the part of `others` [F] that `end` is of what all parts `reached`."""
    return np.asarray(others * (end / reached) if reached else np.full(len(others), end))


def _is_open(reach: Array) -> bool:
    """Say whether the parts' ends, at `reach` [F] from 0, do not stop at a bound."""
    second, first = np.sort(reach)[-2:]
    return bool(first > second * (1 + _ALIKE))
