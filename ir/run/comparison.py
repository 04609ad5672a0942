"""Outputs compared feed by feed: how far they are apart, and what of their meaning is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.errors import GraphError
from ..core.shown import Shown, Summary
from ..metrics.choose import AUTOMATIC, MetricOptions, choose_metrics
from ..metrics.pool import enough, see_pooled
from ..metrics.reading import read_outputs
from ..metrics.result import MetricResult
from ..metrics.seen import ChosenMetric
from ..metrics.tally import MetricTally
from .distance import Accumulator, OutputComparison

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Distances of all outputs; the properties give the worst over them.

    `metrics`: what the outputs mean, and how well that is kept; `chosen`: which metrics these are,
    and why, in the same order; empty where the metric is a user's own. `feeds`: how many were
    compared, the first ones of `of_feeds`; None where nobody knows how many there are.
    """

    outputs: tuple[OutputComparison, ...]
    metrics: tuple[MetricResult, ...] = ()
    chosen: tuple[ChosenMetric, ...] = ()
    feeds: int = 0
    of_feeds: int | None = 0

    def is_told(self, place: int) -> bool:
        """Say whether metric number `place` has an output on which being equal shows something."""
        untold = {output.name for output in self.outputs if output.is_untold}
        return not self.chosen or not untold.issuperset(self.chosen[place].outputs)

    @property
    def worst(self) -> OutputComparison:
        """The output farthest apart, relative to its range."""
        return max(self.outputs, key=lambda output: output.max_rel)

    @property
    def max_abs(self) -> float:
        """Largest absolute difference of any output."""
        return max(output.max_abs for output in self.outputs)

    @property
    def max_rel(self) -> float:
        """Largest difference relative to its output's range."""
        return self.worst.max_rel

    @property
    def sqnr_db(self) -> float:
        """Lowest signal-to-noise ratio of any output, in dB."""
        return min(output.sqnr_db for output in self.outputs)

    @property
    def cosine(self) -> float:
        """Lowest cosine similarity of any output."""
        return min(output.cosine for output in self.outputs)

    @property
    def top1_agreement(self) -> float | None:
        """Lowest argmax agreement of the outputs that have one."""
        found = [o.top1_agreement for o in self.outputs if o.top1_agreement is not None]
        return min(found) if found else None

    def _summary(self) -> Summary:
        told = [f"'{o.name}' {o.sqnr_db:.1f} dB, max rel {o.max_rel:.1e}" for o in self.outputs]
        metrics = [f"{metric.what} {metric.shown()}" for metric in self.metrics]
        rows = [
            (o.name, f"{o.max_abs:.3g}", f"{o.max_rel:.3g}", f"{o.sqnr_db:.1f}", f"{o.cosine:.6f}")
            for o in self.outputs
        ]
        headers = ("output", "max abs", "max rel", "SQNR in dB", "cosine")
        return Summary("; ".join([*told, *metrics]), rows, headers)


def compare_outputs(
    a: Iterable[Mapping[str, Array]], b: Iterable[Mapping[str, Array]]
) -> Comparison:
    """Compare outputs that were computed already: one mapping a feed, the same names in both.

    Without a graph that says otherwise, classes are taken to lie along axis 1.
    """
    totals: dict[str, Accumulator] = {}
    for outputs_a, outputs_b in zip(a, b, strict=True):
        for name, array in outputs_a.items():
            totals.setdefault(name, Accumulator(name)).add(array, outputs_b[name])
    return Comparison(tuple(total.result() for total in totals.values()))


class OutputsComparer:
    """Compares outputs of a candidate with those of `graph`, feed by feed, in constant memory."""

    def __init__(self, graph: gs.Graph, options: MetricOptions = AUTOMATIC) -> None:
        self._graph = graph
        self._options = options
        self._totals: dict[str, Accumulator] = {}
        self._waiting: list[tuple[Mapping[str, Array], ...]] = []
        self._chosen: tuple[ChosenMetric, ...] = ()
        self._tally = MetricTally(())
        self._feeds = 0

    @np.errstate(invalid="ignore")  # of NaN and infinite outputs remarks tell
    def add(
        self, feed: Mapping[str, Array], a: Mapping[str, Array], b: Mapping[str, Array]
    ) -> None:
        """Take in outputs `a` of the graph and `b` of the candidate, both under the former's names.

        The first ones say together what the outputs mean. Raises RefusedError where the metric
        asked for fits none, once they have.
        """
        self._feeds += 1
        if self._totals:
            self._take(feed, a, b)
            return
        self._waiting.append((feed, a, b))
        if enough(*zip(*self._waiting, strict=True)):
            self._start()

    def _start(self) -> None:
        feeds, outputs, _ = zip(*self._waiting, strict=True)
        ranks = {name: array.ndim for name, array in outputs[0].items()}
        seen = see_pooled(read_outputs(self._graph, ranks), self._options, outputs, feeds)
        axes = {each.name: each.class_axis for each in seen}
        self._totals = {name: Accumulator(name, axes.get(name)) for name in outputs[0]}
        self._chosen = choose_metrics(seen, self._options)
        self._tally = MetricTally(self._chosen, self._options.label)
        for each in self._waiting:
            self._take(*each)
        self._waiting.clear()

    def _take(
        self, feed: Mapping[str, Array], a: Mapping[str, Array], b: Mapping[str, Array]
    ) -> None:
        for name, total in self._totals.items():
            total.add(a[name], b[name])
        self._tally.add(feed, a, b)

    def result(self) -> Comparison:
        """Return what was found; raises GraphError where there were no feeds."""
        if self._waiting:
            self._start()
        if not self._totals:
            raise GraphError("there are no feeds to compare on; give at least one sample")
        return Comparison(
            tuple(total.result() for total in self._totals.values()),
            self._tally.results(),
            self._chosen,
            self._feeds,
            self._feeds,
        )
