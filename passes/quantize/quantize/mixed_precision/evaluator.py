"""Runs choices over feeds and says how close to float they come."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from .....ir.core import dtypes
from .....ir.core.errors import FeedError
from .....ir.metrics.choose import (
    AUTOMATIC,
    MetricOptions,
    choose_metrics,
    decisive,
    see_outputs,
    top1_metrics,
)
from .....ir.metrics.reading import read_outputs
from .....ir.metrics.result import Metric
from .....ir.metrics.seen import ChosenMetric
from .....ir.run.compare import Accumulator
from .....ir.run.reference import Arrays, Reference
from ....engine.context import Feeds
from ..variants import QuantizedVariants
from .bounds import Accuracy

# Float outputs are kept up to this many bytes, and computed anew for feeds beyond.
_KEPT = 1 << 26


class ChoiceEvaluator:
    """Compares choices over `variants` with the float graph on `feeds`, in constant memory.

    Choices run as users run them: ONNX Runtime with its optimizations on computes on integers.
    Which metrics judge is chosen once, by `options` and the float graph's outputs.
    """

    def __init__(
        self,
        variants: QuantizedVariants,
        feeds: Feeds,
        options: MetricOptions = AUTOMATIC,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._variants = variants
        self._feeds = feeds
        self._options = options
        self._progress = progress
        self._float = Reference(variants.graph, optimized=True)
        self._kept: list[Arrays] = []
        self._bytes = 0
        self._found: dict[tuple[frozenset[str], int | None], Accuracy] = {}
        self._chosen: tuple[tuple[ChosenMetric, ...], tuple[ChosenMetric, ...]] | None = None

    @property
    def chosen(self) -> tuple[ChosenMetric, ...]:
        """The metrics that judge, chosen when something was first measured."""
        return () if self._chosen is None else self._chosen[0]

    def measure(self, chosen: Collection[str], most: int | None = None) -> Accuracy:
        """Return the accuracy of `chosen` on integers, on the first `most` feeds (None: all)."""
        key = (frozenset(chosen), most)
        if key not in self._found:
            self._found[key] = self._measure(key[0], most)
            self._progress()
        return self._found[key]

    def _measure(self, chosen: frozenset[str], most: int | None) -> Accuracy:
        run = Reference(self._variants.build(chosen), optimized=True)
        totals: dict[str, Accumulator] = {}
        metrics: list[Metric] = []
        top1: list[Metric] = []
        samples = 0
        for feed, expected in self._references(most):
            if not samples:
                metrics, top1 = self._started(expected, feed)
            found = run(feed)
            samples += _batch(feed)
            for name, a in expected.items():
                if dtypes.is_float(a.dtype):
                    totals.setdefault(name, Accumulator(name)).add(a, found[name])
            for metric in (*metrics, *top1):
                metric.add(expected, found)
        if not totals and not metrics:
            raise FeedError("there are no feeds, or no output to judge by")
        results = [total.result() for total in totals.values()]
        return Accuracy(
            min((r.sqnr_db for r in results), default=math.inf),
            tuple(metric.result() for metric in metrics),
            tuple(metric.result() for metric in top1),
            float(sum(np.power(10.0, -r.sqnr_db / 10) for r in results)),
            samples,
        )

    def _started(
        self, outputs: Arrays, feed: Mapping[str, np.ndarray[Any, Any]]
    ) -> tuple[list[Metric], list[Metric]]:
        """Return metrics that have seen nothing: those of the task, and top-1 agreement."""
        if self._chosen is None:
            readings = read_outputs(self._variants.graph)
            seen = see_outputs(readings, self._options, outputs, feed)
            chosen = decisive(choose_metrics(seen, self._options))
            self._chosen = chosen, top1_metrics(seen)
        first, second = ([each.make() for each in kind] for kind in self._chosen)
        return first, second

    def _references(
        self, most: int | None
    ) -> Iterator[tuple[Mapping[str, np.ndarray[Any, Any]], Arrays]]:
        """Yield feeds with what the float graph gives for them."""
        for index, feed in enumerate(itertools.islice(self._feeds, most)):
            if index < len(self._kept):
                yield feed, self._kept[index]
                continue
            found = self._float(feed)
            size = sum(array.nbytes for array in found.values())
            if index == len(self._kept) and self._bytes + size <= _KEPT:
                self._kept.append(found)
                self._bytes += size
            yield feed, found


def _batch(feed: Mapping[str, np.ndarray[Any, Any]]) -> int:
    return max((array.shape[0] for array in feed.values() if array.ndim), default=1)
