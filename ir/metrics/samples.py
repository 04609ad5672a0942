"""The samples of a batch, and one number of each: what metrics of shares are gathered from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .confidence import mean_at_least, mean_at_most
from .result import TOLERABLE, MetricResult

Array = np.ndarray[Any, Any]


def by_sample(array: Array, axis: int | None) -> Array:
    """Return `array` with its samples along the first axis; one sample where there is no axis."""
    return array[None] if axis is None else np.moveaxis(array, axis, 0)


def batch_beside(axis: int, batch: int | None, rank: int) -> int | None:
    """Return where the axis `batch` of an array of `rank` is once `axis` is the last."""
    return None if batch is None else batch - (batch > axis % rank)


@dataclass
class SampleShares:
    """A share (0 to 1) of each sample: the candidate's, and the float graph's own."""

    candidate: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)

    def add(self, candidate: Array, reference: Array | None = None) -> None:
        """Take in the shares of a batch; `reference` is 1 where there are no labels."""
        self.candidate.extend(float(value) for value in candidate)
        own = np.ones(len(candidate)) if reference is None else reference
        self.reference.extend(float(value) for value in own)

    def result(
        self,
        name: str,
        subject: str,
        expected: float | None = None,
        details: tuple[str, ...] = (),
        *,
        tolerable: float = TOLERABLE,
    ) -> MetricResult:
        """Return the mean with what the samples show of it."""
        if not self.candidate:
            return MetricResult(
                name=name, subject=subject, value=1.0, samples=0, tolerable=tolerable
            )
        reference = float(np.mean(self.reference))
        return MetricResult(
            name=name,
            subject=subject,
            value=float(np.mean(self.candidate)),
            samples=len(self.candidate),
            reference=reference,
            low=self._low(reference),
            expected=expected,
            details=details,
            tolerable=tolerable,
        )

    def _low(self, reference: float) -> float | None:
        """Return the low end; beside labels, samples are compared pair by pair."""
        if all(value == 1 for value in self.reference):
            return mean_at_least(self.candidate)
        lost = mean_at_most(np.subtract(self.reference, self.candidate))
        return None if lost is None else reference - lost
