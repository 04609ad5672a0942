"""What every metric is, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
Outputs = Mapping[str, Array]

# 90 % of the decisions, or an error 20 dB below the signal.
TOLERABLE: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class MetricResult:
    """How well a candidate does what the float graph does: higher is better.

    `name` and `subject` say what was compared: "top-1 agreement", "along axis 2 of output 'y'".
    `value`: 0 to 1, dB, or a user's own number. `reference`: what the float graph itself has, 1
    unless there are labels. `samples`: how many it is of, 0 where that is not known. `low`: what
    they show of `value` on others like them, with 95 % confidence; None where they show nothing.
    `expected`: `value` as the margins of all samples foretell it; None where there are no margins.
    `details`: what else was counted, for people. `tolerable`: the drop up to which a candidate is
    taken where nobody said how much may be lost.
    """

    name: str
    subject: str
    value: float
    samples: int
    reference: float = 1.0
    low: float | None = None
    unit: Literal["share", "dB", "number"] = "share"
    expected: float | None = None
    details: tuple[str, ...] = ()
    tolerable: float = TOLERABLE

    @property
    def what(self) -> str:
        """What was compared: `top-1 agreement along axis 2 of output 'logits'`."""
        return f"{self.name} {self.subject}"

    @property
    def drop(self) -> float:
        """What is lost, as a part of 1.

        In dB that is the error over the signal: 40 dB are 0.01; of other numbers, which are not
        shares, the part of the float graph's own.
        """
        return self._drop(self.value)

    @property
    def shown_drop(self) -> float | None:
        """The largest `drop` on others like them that the samples leave possible (95 %)."""
        return None if self.low is None else self._drop(self.low)

    def _drop(self, value: float) -> float:
        if self.unit == "dB":
            return float(np.power(10.0, -value / 20))
        lost = max(0.0, self.reference - value)
        return lost / abs(self.reference) if self.unit == "number" else lost

    def shown(self) -> str:
        """Write the value alone: `98.4 %`, `31.2 dB`, `91.0 % (float: 91.5 %)`."""
        text = self.written(self.value)
        if self.unit == "dB" or self.reference == 1:
            return text
        return f"{text} (float: {self.written(self.reference)})"

    def __str__(self) -> str:
        """Write it for people: `top-1 agreement along axis 2 of output 'y' 98.4 %`."""
        more = list(self.details)
        if self.expected is not None:
            more.append(f"expected of others like them {self.written(self.expected)}")
        return f"{self.what} {self.shown()}" + (f" ({', '.join(more)})" if more else "")

    def written(self, value: float) -> str:
        """Write a value of this metric with its unit."""
        if self.unit == "number":
            return f"{value:.4g}"
        return f"{value:.1f} dB" if self.unit == "dB" else f"{100 * value:.1f} %"


class Metric(Protocol):
    """Gathers, batch by batch, how well a candidate keeps the outputs of the float graph."""

    def add(self, a: Outputs, b: Outputs, labels: Array | None = None) -> None:
        """Take in outputs `a` of the float graph and `b` of the candidate, and labels if any."""

    def result(self) -> MetricResult:
        """Return the value over everything added so far."""
