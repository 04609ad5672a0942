"""Whether the first class stays the first: top-1 agreement with the float graph, or with labels.

    value = mean over samples of (share of positions with argmax b = argmax a)

Scores have their classes along one axis; whatever other axes there are, are positions: pixels,
steps. Indices of classes, as ArgMax gives them, are compared as they are.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from .labels import UnfitLabelsError, whole_numbers
from .margins import Margins
from .result import Array, MetricResult, Outputs
from .samples import SampleShares, batch_beside, by_sample


@dataclass
class Top1Agreement:
    """Top-1 agreement of the output `output`, with classes along `axis`, None for indices.

    `best_first`: the axis along which several indices are in order; the first counts. `batch`: the
    axis of the samples; None where the whole output is of one. Labels, where they are given, are
    one index a sample, or one a position. `probabilities`: a Softmax gives the scores.
    `foretells`: margins are kept.
    """

    output: str
    axis: int | None = 1
    batch: int | None = 0
    best_first: int | None = None
    _: KW_ONLY
    probabilities: bool = False
    foretells: bool = True
    _shares: SampleShares = field(default_factory=SampleShares)
    _margins: Margins = field(default_factory=Margins)

    def add(self, a: Outputs, b: Outputs, labels: Array | None = None) -> None:
        """Take in a batch; an output of another shape agrees nowhere."""
        x, y = a[self.output], b[self.output]
        first = self._first(x)
        if x.shape != y.shape:
            self._shares.add(np.zeros(len(first)))
            return
        second = self._first(y)
        if labels is not None:
            wanted = _wanted(labels, first, self._count(x))
            counted = np.broadcast_to(wanted >= 0, first.shape)
            self._shares.add(_mean(second == wanted, counted), _mean(first == wanted, counted))
        else:
            self._shares.add(_mean(first == second))
        if self.foretells and self.axis is not None and x.size and x.shape[self.axis] > 1:
            self._margins.add(x, y, self.axis, probabilities=self.probabilities)

    def _count(self, scores: Array) -> int | None:
        return None if self.axis is None else int(scores.shape[self.axis])

    def _first(self, array: Array) -> Array:
        """Return the classes that come first, [samples, positions]."""
        if self.axis is None:
            if self.best_first is not None:
                ranks = [slice(None)] * array.ndim
                ranks[self.best_first] = slice(1)  # of none, none
                array = array[tuple(ranks)]
            found = by_sample(array, self.batch)
        else:
            beside = batch_beside(self.axis, self.batch, array.ndim)
            moved = by_sample(np.moveaxis(array, self.axis, -1), beside)
            found = np.argmax(moved, -1)
        return found.reshape(len(found), math.prod(found.shape[1:]))

    def result(self) -> MetricResult:
        """Return the agreement."""
        judged = any(r != 1 for r in self._shares.reference)
        along = "as indices in" if self.axis is None else f"along axis {self.axis} of"
        expected = self._margins.agreement() if self._margins.known and not judged else None
        return self._shares.result(
            "top-1 accuracy" if judged else "top-1 agreement",
            f"{along} output '{self.output}'",
            expected,
        )


def _wanted(labels: Array, first: Array, count: int | None) -> Array:
    """Return the right classes, [samples, positions] or [samples, 1].

    Of positions, those below 0 do not count, nor 255 where there is no such class. Raises
    UnfitLabelsError where `labels` are not of the shape or the classes of `first`.
    """
    samples, positions = first.shape
    found = whole_numbers(np.asarray(labels), count, void=positions > 1)
    if found.size not in (samples, samples * positions):
        many = f"one a sample, [{samples}]"
        many += f", or one a position, [{samples}, {positions}]" if positions > 1 else ""
        raise UnfitLabelsError(f"indices of classes: {many}")
    if found.size == samples and found.min(initial=0) < 0:
        raise UnfitLabelsError("indices of classes from 0, and feeds without samples of no class")
    wanted: Array = found.reshape(samples, -1)
    return wanted


def _mean(hits: Array, counted: Array | None = None) -> Array:
    """Return the share of hits of each sample that has positions which count; 1 without any."""
    if counted is not None and hits.shape[1]:
        some = counted.any(axis=1)
        shares: Array = (hits & counted)[some].sum(axis=1) / counted[some].sum(axis=1)
        return shares
    found: Array = hits.mean(axis=1) if hits.shape[1] else np.ones(len(hits))
    return found
