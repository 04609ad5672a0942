"""Whether a detector finds the same boxes, and as surely.

    value = (sum over A of r + sum over B of r) / (|A| + |B|)      r = smaller score / larger score

A and B are the boxes of both graphs above a score, overlapping ones suppressed. The partner of a
box is the other graph's surest one of the same class with an IoU of 0.5, down to half that score;
r is 0 where there is none. So a box that is missed, invented or less sure lowers the value by as
much, and one that crosses the threshold by its rounding hardly. Single scores are off by more than
the mean says: what one of twenty is off by is told beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from .boxes import Boxes, iou
from .result import Array, MetricResult, Outputs
from .samples import SampleShares

_MATCHING = 0.5
_SUPPRESSED = 0.45
# All boxes, with scores within 5 %: a tenth would be one box of ten, or all a tenth less sure.
_TOLERABLE = 0.05
_MOST_BOXES = 0.95

Decoder = Callable[[Outputs], list[Boxes]]


@dataclass
class DetectionAgreement:
    """Agreement of boxes and scores of the outputs called `outputs`.

    `decode` gives the boxes of each image; `threshold` is the score from which they count;
    `suppress`: whether overlapping ones are still there.
    """

    outputs: Sequence[str]
    decode: Decoder
    threshold: float
    suppress: bool = True
    _: KW_ONLY
    _shares: SampleShares = field(default_factory=SampleShares)
    _found: int = 0
    _boxes: int = 0
    _errors: list[float] = field(default_factory=list)

    def add(self, a: Outputs, b: Outputs, labels: Array | None = None) -> None:
        """Take in a batch; labels say nothing here."""
        first, second = self.decode(a), self.decode(b)
        if len(first) != len(second):
            self._shares.add(np.zeros(len(first)))
            return
        values = [self._image(x, y) for x, y in zip(first, second, strict=True)]
        self._shares.add(np.array(values))

    def _image(self, a: Boxes, b: Boxes) -> float:
        ratios = np.concatenate([self._ratios(a, b, tell=True), self._ratios(b, a)])
        return float(ratios.mean()) if len(ratios) else 1.0

    def _ratios(self, mine: Boxes, theirs: Boxes, *, tell: bool = False) -> Array:
        """Return r of each box of `mine`; `tell` counts what the details tell."""
        own = mine.above(self.threshold)
        if self.suppress:
            own = own.without_overlaps(_SUPPRESSED)
        others = theirs.above(self.threshold / 2)
        scores = _partners(own, others)
        larger = np.maximum(own.scores, scores)
        ratios = np.divide(
            np.minimum(own.scores, scores), larger, out=np.zeros(len(larger)), where=larger > 0
        )
        if tell:
            found = scores > 0
            self._boxes += len(scores)
            self._found += int(found.sum())
            found &= own.scores > 0
            self._errors.extend(np.abs(scores - own.scores)[found] / own.scores[found])
        return ratios

    def result(self) -> MetricResult:
        """Return the agreement; matched boxes and the error of their scores are told beside it."""
        names = ", ".join(f"'{name}'" for name in self.outputs)
        details = [f"no box scores {self.threshold:.2g}"]
        if self._boxes:
            details = [f"{100 * self._found / self._boxes:.1f} % of {self._boxes} boxes matched"]
        if self._errors:
            off = (float(np.mean(self._errors)), float(np.quantile(self._errors, _MOST_BOXES)))
            details.append(
                f"scores off by {100 * off[0]:.1f} %, one of twenty by {100 * off[1]:.1f} %"
            )
        return self._shares.result(
            "agreement of boxes and scores",
            f"(IoU 0.5, scores from {self.threshold:.2g}) of output"
            f"{'s' * (len(self.outputs) > 1)} {names}",
            details=tuple(details),
            tolerable=_TOLERABLE,
        )


def _partners(own: Boxes, others: Boxes) -> Array:
    """Return the score of the surest partner of each box of `own`, 0 where there is none."""
    found: Array = np.zeros(len(own.scores), others.scores.dtype)
    for label in np.unique(own.classes):
        mine, theirs = own.of_class(label), others.of_class(label)
        if len(theirs):
            fits = iou(own.corners[mine], others.corners[theirs]) >= _MATCHING
            found[mine] = np.where(fits, others.scores[None, theirs], 0.0).max(axis=1)
    return found
