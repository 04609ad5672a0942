"""Histograms that widen as values come, so that each value is looked at once.

    bin j of width w = 2^k counts  j w <= x < (j + 1) w,   for consecutive j that take in 0

k is the least for which the range so far, widened to 0, needs at most `bins` bins, so between half
of them and all are in use. Where k grows, pairs of bins are added up: edges of a wider grid are
edges of the finer one too, so that the counts are those that the last grid would have had from the
start, whatever order and pieces the values came in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .observers import Array, MinMax, Range

# Values at a time: what is made of them stays in a core's cache.
_PIECE = 65536
# Widths 2^k for which x / 2^k neither overflows nor vanishes in float32, for normal x.
_SINGLE = range(-100, 20)


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Counts of values by interval, in units of `width`.

    Bin j spans `first` + j to `first` + j + 1. Exact zeros stand apart in `zeros`: they are a large
    part of what Relu leaves and every grid holds them exactly. The bins at both ends reach only to
    `minimum` and `maximum`, so that values that Clip holds at a border lie on it.
    """

    width: float
    first: int
    counts: Array
    zeros: int
    minimum: float
    maximum: float

    def span(self, symmetric: bool) -> tuple[float, float]:
        """Return the ends of the range, widened to contain 0, or to be symmetric about it."""
        low, high = min(self.minimum, 0.0), max(self.maximum, 0.0)
        return (min(low, -high), max(-low, high)) if symmetric else (low, high)

    @property
    def edges(self) -> Array:
        """The borders of the bins: float64, one more than bins."""
        whole = self.first + np.arange(len(self.counts) + 1, dtype=np.float64)
        return np.clip(whole, self.minimum, self.maximum)

    def folded(self) -> Distribution:
        """Return the distribution of the magnitudes."""
        negative, positive = self.counts[: -self.first][::-1], self.counts[-self.first :]
        counts = np.zeros(max(len(negative), len(positive)))
        counts[: len(negative)] += negative
        counts[: len(positive)] += positive
        largest = max(-self.minimum, self.maximum)
        # Where values have both signs, the smallest magnitude is known by its bin alone.
        begin = float(np.flatnonzero(counts)[0]) if counts.any() else 0.0
        least = max(self.minimum, -self.maximum, begin)
        return Distribution(
            width=self.width,
            first=0,
            counts=counts,
            zeros=self.zeros,
            minimum=least,
            maximum=largest,
        )

    def range(self, low: float, high: float) -> Range:
        """Return a range given in units of `width` as values."""
        return Range(low * self.width, high * self.width)


class Histogram:
    """An observer that counts values and leaves the choice of a range to `choose`.

    Memory is `bins` counts of 8 bytes.
    """

    def __init__(self, bins: int, choose: Callable[[Distribution], Range]) -> None:
        self._choose = choose
        self._extremes = MinMax()
        self._counts = np.zeros(bins, np.int64)
        self._first = 0
        self._power: int | None = None
        self._zeros = 0

    def update(self, array: Array) -> None:
        """Count the values of `array`."""
        self._extremes.update(array)
        self._widen()
        values = array.reshape(-1)
        for start in range(0, values.size, _PIECE):
            self._count(values[start : start + _PIECE])

    def range(self) -> Range:
        """Return what `choose` makes of the distribution; (0, 0) where all values were 0."""
        found = self.distribution()
        return Range(0.0, 0.0) if found is None else self._choose(found)

    def distribution(self) -> Distribution | None:
        """Return the counts so far, or None where no value but 0 was seen."""
        if self._power is None:
            return None
        width = math.ldexp(1.0, self._power)
        minimum, maximum = self._extremes.minimum / width, self._extremes.maximum / width
        used = math.floor(max(maximum, 0.0)) - self._first + 1
        counts = self._counts[:used].astype(np.float64)
        counts[-self._first] -= self._zeros
        return Distribution(
            width=width,
            first=self._first,
            counts=counts,
            zeros=self._zeros,
            minimum=minimum,
            maximum=maximum,
        )

    def _widen(self) -> None:
        low, high = min(self._extremes.minimum, 0.0), max(self._extremes.maximum, 0.0)
        if low == high:
            return
        power = self._power
        if power is None:
            power = math.frexp(high - low)[1] - len(self._counts).bit_length() - 1
        while _index(high, power) - _index(low, power) >= len(self._counts):
            power += 1
        for _ in range(power - (power if self._power is None else self._power)):
            self._add_pairs()
        self._power = power
        shift = self._first - _index(low, power)
        if shift:
            self._counts = np.roll(self._counts, shift)
            self._first -= shift

    def _add_pairs(self) -> None:
        odd = self._first % 2
        padded = np.zeros(2 * len(self._counts), np.int64)
        padded[odd : odd + len(self._counts)] = self._counts
        self._counts = padded.reshape(-1, 2).sum(axis=1)
        self._first //= 2

    def _count(self, values: Array) -> None:
        self._zeros += values.size - int(np.count_nonzero(values != 0))
        if self._power is None:  # all zero so far
            self._counts[0] += values.size
            return
        single = self._power in _SINGLE and values.dtype.itemsize <= 4
        # A power of two divides exactly, so rounding moves no value across an edge.
        scale = math.ldexp(1.0, -self._power)
        place = np.multiply(values, scale, dtype=np.float32 if single else np.float64)
        np.floor(place, out=place)
        place -= self._first
        self._counts += np.bincount(place.astype(np.intp), minlength=len(self._counts))


def _index(value: float, power: int) -> int:
    return math.floor(math.ldexp(value, -power))
