"""How far two graphs, or two sets of outputs, are apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.errors import GraphError
from ..core.shown import Shown, Summary
from ..core.variables import exotic_type
from ..files.given import Model, as_graph
from ..metrics.choose import AUTO, AUTOMATIC, MetricOptions, choose_metrics
from ..metrics.labels import label_names
from ..metrics.pool import enough, see_pooled
from ..metrics.reading import read_outputs
from ..metrics.result import MetricResult
from ..metrics.seen import ChosenMetric
from ..metrics.tally import MetricTally
from ..metrics.user import metric_text
from .feeds import in_types_of, random_feeds
from .given_feeds import require_feeds
from .reference import Reference
from .replay import replayable

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class OutputComparison:
    """Distance of one output `b` from `a`, over all feeds.

    `max_abs`: largest |a - b|. `max_rel`: that over the output's range, max |a|. `sqnr_db`:
    10 log10(sum a^2 / sum (a - b)^2), infinite where equal. `cosine`: cosine similarity.
    `top1_agreement`: share of positions whose argmax along `class_axis` agrees, None where there
    are no classes and for non-floats. `is_float`: whether the ratio means noise, as it does not of
    indices, flags and text. NaN or infinity at the same place counts as equal; anywhere
    else as infinitely far. `remark`: why being equal shows nothing, as where `a` is NaN throughout;
    empty where it does.
    """

    name: str
    max_abs: float
    max_rel: float
    sqnr_db: float
    cosine: float
    top1_agreement: float | None
    class_axis: int | None = None
    is_float: bool = True
    remark: str = ""

    @property
    def is_untold(self) -> bool:
        """Say whether the outputs are equal, which shows nothing: their ratios mean nothing."""
        return bool(self.remark) and self.max_abs == 0


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


def compare(
    graph_a: Model,
    graph_b: Model,
    feeds: Iterable[Mapping[str, Array]] | None = None,
    *,
    metric: str | Callable[..., Any] = AUTO,
    class_axis: int | None = None,
    labels: str | Sequence[str] = (),
) -> Comparison:
    """Run both graphs on the reference runtime over `feeds` and compare their outputs.

    Graphs may be given as paths of files. Without feeds, one is drawn at random.
    Outputs are matched by name, or by position where the names differ but their number does not.
    Floats go into `graph_b` and come out of it in the types of its inputs and outputs, which may be
    narrower. What they mean is read from `graph_a` and its values; `metric` names it otherwise
    (`classification`, `sequence`, `segmentation`, `detection`, `image`, `heatmap`, `embedding`,
    `sqnr`, or a function of your own, itself or as `file.py:function`), and `class_axis` where
    their classes are. `labels`: entries of the feeds that are no inputs; the first says what is
    right.

    Raises FeedError, ExecutionError, GraphError where the outputs cannot be matched, or
    RefusedError where the metric asked for fits none.
    """
    graph_a, graph_b = as_graph(graph_a), as_graph(graph_b)
    require_feeds(feeds, graph_a)
    options = MetricOptions(metric_text(metric), class_axis, label_names(labels))
    run_a, run_b = Reference(graph_a), Reference(graph_b)
    pairs = _pairs(_tensor_outputs(graph_a), _tensor_outputs(graph_b))
    total = OutputsComparer(graph_a, options)
    user = options.users()
    with replayable(random_feeds(graph_a) if feeds is None else feeds) as given:
        assert given is not None
        for feed in given:
            inputs = {name: array for name, array in feed.items() if name not in options.labels}
            a, b = run_a(inputs), run_b(in_types_of(inputs, graph_b))
            total.add(
                feed, {x: a[x] for x, _ in pairs}, {x: _widened(b[y], a[x]) for x, y in pairs}
            )
        found = total.result()
        if user is None:
            return found
        names = frozenset(tensor.name for tensor in graph_a.inputs)
        own, other = (user.values(run, names, given) for run in (run_a, run_b))
        return replace(found, metrics=(user.result(other, own),), chosen=())


def _widened(found: Array, like: Array) -> Array:
    """Return floats in the type of `like`, where that is of floats too."""
    both = dtypes.is_float(found.dtype) and dtypes.is_float(like.dtype)
    return found.astype(like.dtype, copy=False) if both else found


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


class Accumulator:
    """Distance of one output, gathered feed by feed in constant memory.

    `axis`: that of the classes, None for none.
    """

    def __init__(self, name: str, axis: int | None = 1) -> None:
        self._name, self._axis = name, axis
        self._max_abs = self._range = 0.0
        self._signal = self._noise = self._dot = self._other = 0.0
        self._agree = self._positions = 0
        self._ranked = self._telling = False
        self._floats = True
        self._elements = 0
        self._least, self._most = math.inf, -math.inf

    def add(self, a: Array, b: Array) -> None:
        """Take in one pair of arrays; a different shape or type counts as infinitely far."""
        self._floats = dtypes.is_float(a.dtype) or a.dtype.kind == "c"
        if a.shape != b.shape or a.dtype != b.dtype:
            self._max_abs, self._telling = math.inf, True
            if (axis := self._class_axis(a)) is not None:
                self._count(0, a.size // a.shape[axis])
            return
        self._elements += a.size
        if a.dtype.kind in "OUS":
            self._telling |= bool(a.size)
            self._max_abs = max(self._max_abs, 0.0 if np.array_equal(a, b) else math.inf)
            return
        if (axis := self._class_axis(a)) is not None:
            same = np.argmax(a, axis) == np.argmax(b, axis)
            self._count(int(same.sum()), same.size)
        # Integers beyond 2^53 may differ by less than float64 can hold; 1 is their least distance.
        differ = (a != b) if a.dtype.kind in "iu" else None
        if a.dtype.kind == "c":
            a, b = (np.stack([v.real, v.imag]) for v in (a, b))
        a, b = a.astype(np.float64), b.astype(np.float64)
        finite = np.isfinite(a)
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.all(
            np.isfinite(b) | ~finite
        ):
            self._max_abs = math.inf
            return
        x, y = a[finite], b[finite]
        if x.size:
            difference = np.abs(x - y)
            if differ is not None:
                difference = np.maximum(difference, differ.reshape(-1))
            self._max_abs = max(self._max_abs, float(difference.max()))
            self._least = min(self._least, float(x.min()))
            self._most = max(self._most, float(x.max()))
            self._range = max(abs(self._least), abs(self._most))
            self._signal += float(x @ x)
            self._noise += float(difference @ difference)
            self._other += float(y @ y)
            self._dot += float(x @ y)

    def _count(self, agreeing: int, positions: int) -> None:
        self._ranked = True
        self._agree += agreeing
        self._positions += positions

    def result(self) -> OutputComparison:
        """Return the distance over everything added so far."""
        if self._max_abs == 0:
            relative = 0.0
        else:
            relative = self._max_abs / self._range if self._range else math.inf
        if self._max_abs == math.inf:
            sqnr, cosine = -math.inf, 0.0
        elif self._noise == 0:
            sqnr, cosine = math.inf, 1.0
        else:
            sqnr = 10 * math.log10(self._signal / self._noise) if self._signal else -math.inf
            norm = math.sqrt(self._signal * self._other)
            cosine = self._dot / norm if norm else 0.0
        return OutputComparison(
            name=self._name,
            max_abs=self._max_abs,
            max_rel=relative,
            sqnr_db=sqnr,
            cosine=cosine,
            top1_agreement=self._agree / self._positions if self._ranked else None,
            class_axis=self._axis if self._ranked else None,
            remark="" if self._telling else self._remark(),
            is_float=self._floats,
        )

    def _remark(self) -> str:
        """Say what the output is where any other network may give the same."""
        if not self._elements:
            return "is empty; feeds on which it has elements would tell"
        if self._max_abs == 0 and self._least > self._most:
            return "is NaN or infinite throughout; feeds on which it is finite would tell"
        if self._least == self._most and self._elements > 1:
            return f"is {self._least:g} throughout; feeds on which it varies would tell"
        return ""

    def _class_axis(self, array: Array) -> int | None:
        """Return the axis of the classes where argmax means something: floats, several classes."""
        axis, floats = self._axis, array.dtype.kind not in "iubcOUS"
        if axis is None or not floats or array.ndim < 2 or not axis < array.ndim:
            return None
        return axis if array.size and array.shape[axis] > 1 else None


def _tensor_outputs(graph: gs.Graph) -> list[str]:
    """Return the outputs that have a distance: sequences, optionals and maps have none."""
    names = [t.name for t in graph.outputs if exotic_type(t) is None]
    if not names:
        raise GraphError(
            f"graph '{graph.name}' has no output that is a tensor, so there is nothing to compare; "
            "add one"
        )
    return names


def _pairs(a: list[str], b: list[str]) -> list[tuple[str, str]]:
    if set(a) == set(b):
        return [(name, name) for name in a]
    if len(a) == len(b):
        return list(zip(a, b, strict=True))
    raise GraphError(
        f"the graphs have {len(a)} and {len(b)} outputs ({', '.join(a)} and {', '.join(b)}); "
        "only graphs with the same outputs can be compared"
    )
