"""Whether features point where they did: the cosine between those of both graphs.

value = mean over samples of  <a, b> / (|a| |b|)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .result import Array, MetricResult, Outputs
from .samples import SampleShares, by_sample


@dataclass
class FeatureCosine:
    """Cosine of the features of the output `output`, along `axis`; `batch`: that of the samples."""

    output: str
    axis: int = 1
    batch: int | None = 0
    _shares: SampleShares = field(default_factory=SampleShares)

    def add(self, a: Outputs, b: Outputs, labels: Array | None = None) -> None:
        """Take in a batch; labels say nothing here."""
        x, y = a[self.output], b[self.output]
        batch = self.batch
        if batch is not None:
            batch -= batch > self.axis % x.ndim
        if x.shape != y.shape:
            self._shares.add(np.zeros(1 if self.batch is None else x.shape[self.batch]))
            return
        rows = by_sample(self._cosines(x.astype(np.float64), y.astype(np.float64)), batch)
        self._shares.add(rows.reshape(len(rows), -1).mean(axis=1))

    def _cosines(self, a: Array, b: Array) -> Array:
        """Return the cosines, 0 for opposite directions or values that are not finite."""
        norms = np.sqrt((a * a).sum(self.axis) * (b * b).sum(self.axis))
        same = (a == b).all(self.axis)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = (a * b).sum(self.axis) / norms
        return np.where(same, 1.0, np.clip(np.nan_to_num(found, nan=0.0), 0.0, 1.0))

    def result(self) -> MetricResult:
        """Return the mean cosine."""
        return self._shares.result("cosine", f"along axis {self.axis} of output '{self.output}'")
