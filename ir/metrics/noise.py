"""Noise beside signal, where outputs mean nothing more special: SQNR, and PSNR of images.

SQNR = 10 log10(sum a^2 / sum (a - b)^2)        PSNR = 10 log10(peak^2 / mean (a - b)^2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .confidence import mean_at_most
from .result import Array, MetricResult, Outputs
from .samples import by_sample


@dataclass
class SignalToNoise:
    """Ratio of signal to noise of the output `output`, in dB, over all samples.

    `batch`: the axis of the samples. Values that are not finite at the same place count as equal,
    elsewhere as endless noise; another shape likewise.
    """

    output: str
    batch: int | None = 0
    _noise: list[float] = field(default_factory=list)
    _signal: list[float] = field(default_factory=list)

    def add(self, a: Outputs, b: Outputs, labels: Array | None = None) -> None:
        """Take in a batch; labels say nothing here."""
        x, y = a[self.output], b[self.output]
        rows = by_sample(x, self.batch)
        if x.shape != y.shape:
            self._noise.extend([math.inf] * len(rows))
            self._signal.extend([0.0] * len(rows))
            return
        for mine, theirs in zip(rows, by_sample(y, self.batch), strict=True):
            signal, noise = self._powers(mine.astype(np.float64), theirs.astype(np.float64))
            self._signal.append(signal)
            self._noise.append(noise)

    def _powers(self, a: Array, b: Array) -> tuple[float, float]:
        finite = np.isfinite(a)
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            return 0.0, math.inf
        x, noise = a[finite], a[finite] - b[finite]
        return float(x @ x), float(noise @ noise) if np.all(np.isfinite(noise)) else math.inf

    def result(self) -> MetricResult:
        """Return the ratio."""
        signal = float(np.sum(self._signal))
        worst = mean_at_most(self._noise) if np.all(np.isfinite(self._noise)) else None
        return MetricResult(
            name="SQNR",
            subject=f"of output '{self.output}'",
            value=decibels(signal, float(np.sum(self._noise))),
            low=None if worst is None else decibels(signal, len(self._noise) * worst),
            unit="dB",
            reference=math.inf,
            samples=len(self._noise),
        )


@dataclass
class PeakSignalToNoise:
    """PSNR of images or maps: the peak is the range of the float graph's values."""

    output: str
    batch: int | None = 0
    _errors: list[float] = field(default_factory=list)
    _low: float = math.inf
    _high: float = -math.inf

    def add(self, a: Outputs, b: Outputs, labels: Array | None = None) -> None:
        """Take in a batch; labels say nothing here."""
        x, y = by_sample(a[self.output], self.batch), by_sample(b[self.output], self.batch)
        self._low = min(self._low, float(x.min(initial=math.inf)))
        self._high = max(self._high, float(x.max(initial=-math.inf)))
        if x.shape != y.shape:
            self._errors.extend([math.inf] * len(x))
            return
        difference = x.astype(np.float64) - y.astype(np.float64)
        squares = np.where(x == y, 0.0, np.nan_to_num(difference**2, nan=math.inf))
        self._errors.extend(float(each.mean()) if each.size else 0.0 for each in squares)

    def result(self) -> MetricResult:
        """Return the ratio of the mean error."""
        peak = (self._high - self._low) ** 2 if self._high > self._low else 0.0
        worst = mean_at_most(self._errors) if np.all(np.isfinite(self._errors)) else None
        return MetricResult(
            name="PSNR",
            subject=f"of output '{self.output}'",
            value=decibels(peak, float(np.mean(self._errors))),
            low=None if worst is None else decibels(peak, worst),
            unit="dB",
            reference=math.inf,
            samples=len(self._errors),
        )


def decibels(signal: float, noise: float) -> float:
    """Return the ratio of two powers in dB, infinite without noise."""
    if noise <= 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 and math.isfinite(noise) else -math.inf
