"""Whether masks are the same: mean intersection over union of the classes that come first.

    value = mean over classes of  sum over samples |A & B| / sum over samples |A | B|

A and B are the pixels of a class in the float graph's mask and in the candidate's; classes that
neither shows do not count. What samples show of it is bootstrapped over samples (Efron, 1979).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .confidence import shown_at_least
from .labels import whole_numbers
from .result import Array, MetricResult, Outputs
from .samples import by_sample

_RESAMPLES = 200
_LOWER = 0.05
_HALF = 0.5


@dataclass
class MaskOverlap:
    """Mean IoU of the masks of the output `output`.

    `axis`: that of the classes, None where the output holds their indices, or probabilities of one
    class (floats) beside the background. `batch`: that of the samples. Labels are maps of classes,
    pixels with negative numbers or 255 are left out.
    """

    output: str
    axis: int | None
    batch: int | None = 0
    _overlaps: list[dict[int, tuple[int, int]]] = field(default_factory=list)
    _own: list[dict[int, tuple[int, int]]] = field(default_factory=list)

    def add(self, a: Outputs, b: Outputs, labels: Array | None = None) -> None:
        """Take in a batch; masks of another shape overlap nowhere."""
        first, second = self._masks(a[self.output]), self._masks(b[self.output])
        if first.shape != second.shape:
            second = np.full_like(first, -1)
        if labels is None:
            self._overlaps.extend(map(overlaps, first, second))
            return
        found = whole_numbers(np.asarray(labels), self._count(a[self.output]), void=True)
        wanted = found.reshape(first.shape)
        for mask, found, label in zip(first, second, wanted, strict=True):
            counted = (label >= 0) & (label != 255)
            self._overlaps.append(overlaps(label[counted], found[counted]))
            self._own.append(overlaps(label[counted], mask[counted]))

    def _count(self, array: Array) -> int | None:
        if self.axis is not None:
            return int(array.shape[self.axis])
        return 2 if array.dtype.kind == "f" else None

    def _masks(self, array: Array) -> Array:
        """Return the class of each pixel, [samples, pixels]."""
        if self.axis is not None:
            array = np.expand_dims(np.argmax(array, self.axis), self.axis)
        elif array.dtype.kind == "f":
            array = array > _HALF
        rows = by_sample(array, self.batch)
        return rows.reshape(len(rows), -1).astype(np.int64)

    def result(self) -> MetricResult:
        """Return the mean IoU."""
        along = "of" if self.axis is None else f"along axis {self.axis} of"
        return MetricResult(
            name="mean IoU of masks",
            subject=f"{along} output '{self.output}'",
            value=mean_iou(self._overlaps),
            reference=mean_iou(self._own) if self._own else 1.0,
            low=self._low(),
            samples=len(self._overlaps),
        )

    def _low(self) -> float | None:
        count = len(self._overlaps)
        if count < 2:
            return None
        if mean_iou(self._overlaps) == 1:
            return shown_at_least(1.0, count)
        generator = np.random.default_rng(0)
        draws = generator.integers(0, count, (_RESAMPLES, count))
        found = [mean_iou([self._overlaps[i] for i in draw]) for draw in draws]
        return float(np.quantile(found, _LOWER))


def overlaps(a: Array, b: Array) -> dict[int, tuple[int, int]]:
    """Return intersection and union of each class of two masks, in pixels."""
    found = {}
    for each in np.union1d(a, b):
        if each >= 0:
            x, y = a == each, b == each
            found[int(each)] = int((x & y).sum()), int((x | y).sum())
    return found


def mean_iou(samples: list[dict[int, tuple[int, int]]]) -> float:
    """Return the mean over classes of intersection over union, both summed over samples."""
    totals: dict[int, tuple[int, int]] = {}
    for sample in samples:
        for each, (both, either) in sample.items():
            old = totals.get(each, (0, 0))
            totals[each] = old[0] + both, old[1] + either
    return float(np.mean([both / either for both, either in totals.values()])) if totals else 1.0
