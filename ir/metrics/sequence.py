"""Whether a recogniser of sequences reads the same: strings of greedy CTC decoding.

    string = the classes that come first, step by step; runs count once; blanks go
    value  = mean over samples of [string b = string a]

Where there are no labels, margins foretell the value: see `string_margins`.

Source: Graves et al., "Connectionist Temporal Classification" (2006), best path decoding.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from .classification import Top1Agreement
from .labels import whole_numbers
from .result import Array, MetricResult, Outputs
from .samples import SampleShares, batch_beside, by_sample
from .string_margins import StringMargins

# What reads text is right nearly always, and one step makes a string wrong: a tenth of the strings
# would be several times the errors that it has.
_TOLERABLE = 0.03


@dataclass
class StringAgreement:
    """Share of samples of which the output `output` gives the same string.

    `axis`: that of the classes, None for indices; `batch`: that of the samples; what is left are
    the steps. `blank`: the class that says nothing; None: runs count once and nothing goes. Labels
    are rows of classes, padded with the blank or with negative numbers. `probabilities`: a Softmax
    gives the scores.
    """

    output: str
    axis: int | None
    batch: int | None
    blank: int | None
    _: KW_ONLY
    probabilities: bool = False
    _shares: SampleShares = field(default_factory=SampleShares)

    def __post_init__(self) -> None:
        self._steps = Top1Agreement(
            self.output,
            self.axis,
            self.batch,
            probabilities=self.probabilities,
            foretells=False,  # its margins are those of the strings
        )
        self._margins = StringMargins(self.blank)

    def add(self, a: Outputs, b: Outputs, labels: Array | None = None) -> None:
        """Take in a batch."""
        first, second = (self._strings(each[self.output]) for each in (a, b))
        self._steps.add(a, b)
        if labels is None:
            self._shares.add(_same(second, first))
            self._foretell(a[self.output], b[self.output])
        else:
            count = None if self.axis is None else int(a[self.output].shape[self.axis])
            rows = whole_numbers(np.asarray(labels), count).reshape(len(first), -1)
            wanted = [self._label(row) for row in rows]
            self._shares.add(_same(second, wanted), _same(first, wanted))

    def _foretell(self, a: Array, b: Array) -> None:
        if self.axis is None or a.shape != b.shape:
            return
        a, b = (self._scores(each) for each in (a, b))
        self._margins.add(a, b, probabilities=self.probabilities)

    def _scores(self, array: Array) -> Array:
        """Return scores as [samples, steps, classes]."""
        assert self.axis is not None
        rows = by_sample(
            np.moveaxis(array, self.axis, -1), batch_beside(self.axis, self.batch, array.ndim)
        )
        return rows.reshape(len(rows), -1, rows.shape[-1])

    def _strings(self, array: Array) -> list[tuple[int, ...]]:
        if self.axis is not None:
            array = np.expand_dims(np.argmax(array, self.axis), self.axis)
        rows = by_sample(array, self.batch)
        return [collapse(row.reshape(-1), self.blank) for row in rows]

    def _label(self, row: Array) -> tuple[int, ...]:
        return tuple(int(value) for value in row if value >= 0 and value != self.blank)

    def result(self) -> MetricResult:
        """Return the share of equal strings; the agreement step by step is told beside it."""
        steps = self._steps.result()
        details = [f"step by step {100 * steps.value:.1f} %"]
        expected = None
        if self._margins.known:
            details.append(f"expected {100 * self._margins.of_steps():.1f} %")
            expected = self._margins.agreement()
        along = "of indices in" if self.axis is None else f"along axis {self.axis} of"
        blank = "no blank" if self.blank is None else f"blank {self.blank}"
        return self._shares.result(
            "equal strings",
            f"(greedy CTC, {blank}) {along} output '{self.output}'",
            expected,
            tuple(details),
            tolerable=_TOLERABLE,
        )


def collapse(steps: Array, blank: int | None) -> tuple[int, ...]:
    """Return the classes of `steps`, runs once and without blanks.

    >>> collapse(np.array([0, 3, 3, 0, 3, 7, 7]), 0)
    (3, 3, 7)
    """
    if not len(steps):
        return ()
    kept = np.concatenate([[True], steps[1:] != steps[:-1]])
    return tuple(int(value) for value in steps[kept] if blank is None or value != blank)


def _same(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]]) -> Array:
    """Return 1 where strings are equal; 0 for all where there are not as many of them."""
    if len(found) != len(wanted):
        return np.zeros(len(wanted))
    return np.array([float(x == y) for x, y in zip(found, wanted, strict=True)])
