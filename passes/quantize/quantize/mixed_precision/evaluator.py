"""Runs choices over feeds and says how close to float they come."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core import dtypes
from .....ir.core.errors import FeedError
from .....ir.metrics.choose import (
    AUTOMATIC,
    MetricOptions,
    choose_metrics,
    decisive,
    guarding,
    top1_metrics,
)
from .....ir.metrics.pool import enough, see_pooled
from .....ir.metrics.reading import read_outputs
from .....ir.metrics.result import MetricResult
from .....ir.metrics.seen import ChosenMetric
from .....ir.metrics.tally import MetricTally
from .....ir.run.distance import Accumulator
from .....ir.run.reference import Arrays, Reference
from ....engine.context import Feeds
from ..variants import Variants
from .bounds import Accuracy
from .cut_tensors import CutTensors
from .kept_outputs import KeptOutputs
from .wording import INTEGERS

# The part of a measure in which biases are corrected; what is short of its end.
_TO_BUILD, _NEARLY = 0.5, 0.99

Inputs = Mapping[str, np.ndarray[Any, Any]]


class ChoiceEvaluator:
    """Compares choices over `variants` with the float graph on `feeds`, in constant memory.

    Choices run as users run them: ONNX Runtime with its optimizations on computes on integers.
    Which metrics judge is chosen once, by `options` and the float graph's outputs. Feeds have the
    labels that the options name. `every`: outputs count too that only their error can judge, beside
    others that mean something. `given`: the graph that metrics compare with, where that is not
    the one which is quantized, whose weights may be on a grid already; `untouched`: whether it is
    the one that the pipeline was given. `read`: the graph that says what outputs mean, `given` by
    default. `before`: what messages call the float graph.
    """

    def __init__(
        self,
        variants: Variants,
        feeds: Feeds,
        options: MetricOptions = AUTOMATIC,
        given: gs.Graph | None = None,
        progress: Callable[[float], None] = lambda fraction: None,
        *,
        every: bool = False,
        read: gs.Graph | None = None,
        untouched: bool = False,
        before: str = INTEGERS.before,
    ) -> None:
        self._variants = variants
        self._feeds = feeds
        self._options = options
        self._progress = progress
        self._every = every
        self._float = KeptOutputs(variants.reference)
        self._cuts = CutTensors(variants.reference)
        self._judge = self._float if given is None else KeptOutputs(given)
        self._graph = read or given or variants.reference
        self._untouched = untouched
        self._before = before
        self._inputs = frozenset(tensor.name for tensor in variants.graph.inputs)
        self._user = options.users()
        self._own: np.ndarray[Any, Any] | None = None
        self._found: dict[tuple[frozenset[str], int | None], Accuracy] = {}
        self._chosen: tuple[tuple[ChosenMetric, ...], tuple[ChosenMetric, ...]] | None = None

    @property
    def chosen(self) -> tuple[ChosenMetric, ...]:
        """The metrics that judge, chosen when something was first measured; none for a user's."""
        return () if self._chosen is None or self._user is not None else self._chosen[0]

    def measure(self, chosen: Collection[str], most: int | None = None) -> Accuracy:
        """Return the accuracy of `chosen` on integers, on the first `most` feeds (None: all).

        On all of them biases are corrected, as the result's will be.
        """
        key = (frozenset(chosen), most)
        if key not in self._found:
            self._found[key] = self._measure(key[0], most)
            self._progress(1.0)
        return self._found[key]

    def noise_alone(self, node: str, most: int) -> float:
        """Return the noise of `measure` of `node` alone, on the first `most` feeds.

        Where outputs of floats tell it, metrics are not asked.
        """
        run = self._cuts.run_of(self._variants.build_alone(node))
        totals: dict[str, Accumulator] = {}
        for index, feed in enumerate(itertools.islice(self._feeds, most)):
            inputs = self._inputs_of(feed)
            _take_in(totals, self._float.of(index, inputs), run(index, inputs))
        if not totals:
            return self.measure({node}, most).noise
        return sum(map(_noise, totals.values()))

    def _measure(self, chosen: frozenset[str], most: int | None) -> Accuracy:
        built = self._variants.build(
            chosen,
            corrected=most is None,
            report=lambda fraction, note="": self._progress(_TO_BUILD * min(fraction, _NEARLY)),
        )
        run = Reference(built, optimized=True)
        count = operator.length_hint(self._feeds) if most is None else most
        totals: dict[str, Accumulator] = {}
        metrics = top1 = MetricTally(())
        samples = 0
        for index, feed in enumerate(itertools.islice(self._feeds, most)):
            inputs = self._inputs_of(feed)
            expected, given = self._float.of(index, inputs), self._judge.of(index, inputs)
            if not samples:
                metrics, top1 = self._started()
            found = run(inputs)
            samples += _batch(inputs)
            _take_in(totals, expected, found)
            metrics.add(feed, given, found)
            top1.add(feed, expected, found)
            part = (index + 1) / max(count, index + 1)
            self._progress(_TO_BUILD + (1 - _TO_BUILD) * min(part, _NEARLY))
        results_of_task = metrics.results()
        if not samples:
            raise FeedError("there are no feeds to judge by; give at least one sample")
        # Where there are no floats, what the metrics lose stands for noise.
        noise = list(map(_noise, totals.values()))
        return Accuracy(
            sqnr_db=min((t.result().sqnr_db for t in totals.values()), default=math.nan),
            metrics=results_of_task if most is not None else self._users(run, results_of_task),
            top1=top1.results(),
            noise=sum(noise or [r.drop for r in results_of_task]),
            samples=samples,
            beside_given=self._untouched,
            before=self._before,
        )

    def _started(self) -> tuple[MetricTally, MetricTally]:
        """Return metrics that have seen nothing: those of the task, and top-1 agreement.

        Which these are, the first feeds say together.
        """
        if self._chosen is None:
            inputs: list[Inputs] = []
            outputs: list[Arrays] = []
            for index, feed in enumerate(self._feeds):
                inputs.append(self._inputs_of(feed))
                outputs.append(self._judge.of(index, inputs[-1]))
                if enough(inputs, outputs):
                    break
            ranks = {name: array.ndim for name, array in outputs[0].items()}
            readings = read_outputs(self._graph, ranks)
            seen = see_pooled(readings, self._options, outputs, inputs)
            chosen = choose_metrics(seen, self._options)
            chosen = guarding(chosen, seen) if self._every else decisive(chosen)
            self._chosen = chosen, top1_metrics(seen)
        task, top1 = self._chosen
        return MetricTally(task, self._options.label), MetricTally(top1)

    def _users(self, run: Reference, results: tuple[MetricResult, ...]) -> tuple[MetricResult, ...]:
        """Return what the user's own function gives, where there is one, instead of `results`."""
        if self._user is None:
            return results
        if self._own is None:
            self._own = self._user.values(self._judge.run, self._inputs, self._feeds)
        found = self._user.values(run, self._inputs, self._feeds)
        return (self._user.result(found, self._own),)

    def _inputs_of(self, feed: Inputs) -> Inputs:
        labels = self._options.labels
        return {n: a for n, a in feed.items() if n not in labels} if labels else feed


def _take_in(totals: dict[str, Accumulator], expected: Arrays, found: Arrays) -> None:
    """Take in what outputs of floats are and should be."""
    for name, a in expected.items():
        if dtypes.is_float(a.dtype):
            totals.setdefault(name, Accumulator(name)).add(a, found[name])


def _noise(total: Accumulator) -> float:
    """Return noise power over signal power."""
    return float(np.power(10.0, -total.result().sqnr_db / 10))


def _batch(feed: Inputs) -> int:
    return max((array.shape[0] for array in feed.values() if array.ndim), default=1)
