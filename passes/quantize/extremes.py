"""The outermost values of channels, kept apart by part of the feeds.

What a range fitted to some samples clips on others is seen on samples held back: of each part the
largest and smallest values are kept, and the range is that of the other parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..analysis.channels.cells import Array

PARTS = 8
# By how much a range may reach beyond the samples that showed it, in eighths of an octave.
MARGINS = 2.0 ** (np.arange(9) / 8)
# Values kept of each channel, part and side. Where more are clipped the sum is too small, but a
# range that clips so many is refused for those that are kept.
_KEPT = 32


@dataclass(frozen=True)
class HeldBack:
    """Parts of the feeds [F], each with the range that the others have; 0 is in every range.

    `low`, `high`: ends of the other parts [F, C]. `smallest`, `largest`: outermost values of the
    part itself [F, C, K]. `counts`: values that a channel had in it [F], 0 for parts without any.
    """

    low: Array
    high: Array
    smallest: Array
    largest: Array
    counts: Array

    @property
    def reach(self) -> Array:
        """The largest absolute value of the other parts [F, C]."""
        return np.maximum(self.high, -self.low)

    def errors(self, scale: Array, levels: int, margin: float = 1.0) -> Array:
        """Return the mean squared error of each part's channels [F, C], channels scaled [F, C].

        The grid has `levels` steps over `margin` times the range that the others have then: values
        are rounded to it or clipped.
        """
        high = margin * (self.high * scale).max(axis=1, initial=0)
        low = margin * (self.low * scale).min(axis=1, initial=0)
        over = np.maximum(self.largest * scale[..., None] - high[:, None, None], 0)
        under = np.maximum(low[:, None, None] - self.smallest * scale[..., None], 0)
        clipped = (np.square(over) + np.square(under)).sum(axis=2)
        rounded = np.square((high - low) / levels) / 12
        found: Array = rounded[:, None] + clipped / np.maximum(self.counts, 1)[:, None]
        return found


class Extremes:
    """The outermost values of `channels` channels over samples; sample i is of part i mod `parts`.

    `kept`: values that are kept of each channel, part and side.
    """

    def __init__(self, channels: int, *, parts: int = PARTS, kept: int = _KEPT) -> None:
        self._largest = np.zeros((parts, channels, kept), np.float32)
        self._smallest = np.zeros((parts, channels, kept), np.float32)
        self._counts = np.zeros(parts, np.int64)
        self._samples = 0

    def add(self, values: Array) -> None:
        """Take in the values of one sample [C, P]."""
        part = self._samples % len(self._counts)
        self._samples += 1
        self._counts[part] += values.shape[1]
        _take_in(self._largest[part], values)
        if values.min(initial=0) < 0:
            negative = -self._smallest[part]  # whose smallest are its largest
            _take_in(negative, -values)
            self._smallest[part] = -negative

    def held_back(self) -> HeldBack | None:
        """Return each part beside the others, or None where there is but one sample."""
        if np.count_nonzero(self._counts) < 2:
            return None
        return HeldBack(
            low=-_of_others(-self._smallest.min(axis=2)),
            high=_of_others(self._largest.max(axis=2)),
            smallest=self._smallest,
            largest=self._largest,
            counts=self._counts,
        )


def _take_in(kept: Array, values: Array) -> None:
    """Let `kept` [C, K] be the largest of itself and `values` [C, P]."""
    least = kept.min(axis=1)
    rows = np.flatnonzero(values.max(axis=1, initial=0) > least)
    if len(rows):
        new = values[rows]
        if len(rows) == 1:  # of one row, only what may be kept needs to be put in order
            new = new[:, new[0] > least[rows]]
        joined = np.concatenate([kept[rows], new], axis=1)
        kept[rows] = np.partition(joined, -kept.shape[1], axis=1)[:, -kept.shape[1] :]


def _of_others(largest: Array) -> Array:
    """Return for each part the largest of the other parts, [F, C] -> [F, C]."""
    second, first = np.sort(largest, axis=0)[-2:]
    return np.asarray(np.where(largest == first, second, first))
