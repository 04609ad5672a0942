"""`explain_int8`: what was executed, where it loses, and what to do about it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort

from ....ir.core.errors import GraphError
from ....ir.core.target import Target
from ....ir.core.variables import label, node_key
from ....ir.graph.clone import clone
from ....ir.metrics.choose import AUTO, MetricOptions
from ....ir.metrics.result import MetricResult
from ....ir.ops.quantization.nodes import quantizes_or_back
from ....ir.run.compare import Comparison, OutputsComparer
from ....ir.run.extra_feeds import FeedsWithout
from ....ir.run.feeds import random_feeds
from ....passes.engine.context import Context, Feeds
from ....passes.fusion.inline_fused_operators import inline_fused_operators
from ....passes.quantize.dequantize_nodes import restore_to_float
from ....passes.quantize.qdq.match_float import FloatMatch, match_float
from ....passes.quantize.qdq.raise_operators import raise_operators
from ...timing.bench import Subject, bench
from ..backend import OnnxRuntime
from .advice import candidates, choose
from .error_probe import measure_errors
from .executed import execute
from .layers import layers_of, remarks_of
from .report import Int8Report, Quality
from .twin import need_twin

_DRAWN = 4
_SECONDS = 1.0

# Operators of the QOperator format, which hold their scales themselves.
_INTEGER_OPERATORS = ("QLinear", "QGemm")

Progress = Callable[[float, str], None]
Run = Callable[[Mapping[str, np.ndarray[Any, Any]]], dict[str, Any]]


def explain_int8(
    graph: gs.Graph,
    float_graph: gs.Graph | None = None,
    feeds: Feeds | None = None,
    target: str = "cpu",
    threads: int | None = None,
    *,
    seed: int = 0,
    most: int = 6,
    metric: str = AUTO,
    class_axis: int | None = None,
    labels: Sequence[str] = (),
    progress: Progress = lambda fraction, what: None,
) -> Int8Report:
    """Say which layers of a quantized `graph` run slowly or badly, and what to do about it.

    `float_graph`: the model before quantization; without it one is made from `graph`, and errors of
    weights stay unknown. `feeds`: samples to judge on, drawn where None. `most`: how many
    exclusions to try. `metric`, `class_axis`, `labels`: what outputs are judged by beside SQNR, as
    for `planish.compare`. Raises GraphError where the graph has no quantized layers, FeedError or
    ExecutionError where it cannot run.
    """
    options = MetricOptions(metric, class_axis, tuple(labels))
    session = _Session(graph, float_graph, feeds, target, threads, seed, options)
    return session.report(most, progress)


def apply_exclusions(
    graph: gs.Graph, names: Sequence[str], float_graph: gs.Graph | None = None
) -> gs.Graph:
    """Return a copy of `graph` with the nodes called `names` back in float."""
    copy = inlined(graph)
    match = FloatMatch() if float_graph is None else match_float(copy, inlined(float_graph))
    restore_to_float(copy, Context(copy), names, match)
    return copy


def inlined(graph: gs.Graph) -> gs.Graph:
    """Return a copy of `graph` without fused operators, its integer operators as pairs."""
    copy = clone(graph)
    inline_fused_operators(copy, Context(copy))
    raise_operators(copy, Context(copy))
    return copy


class _Session:
    """The two models, the feeds, and the means to measure variants of them."""

    def __init__(
        self,
        graph: gs.Graph,
        float_graph: gs.Graph | None,
        feeds: Feeds | None,
        target: str,
        threads: int | None,
        seed: int,
        options: MetricOptions,
    ) -> None:
        self._options = options
        self.graph = inlined(graph)
        _need_quantized(self.graph)
        self._threads = threads
        self._target = Target.parse(target)
        self._seed = seed
        self._drawn = feeds is None
        self._made = float_graph is None
        self._labelled = random_feeds(graph, samples=_DRAWN, seed=seed) if feeds is None else feeds
        self._feeds: Feeds = self._labelled
        if options.labels:
            self._feeds = FeedsWithout(self._labelled, options.labels)
        self._first = next(iter(itertools.islice(self._feeds, 1)))
        if float_graph is None:
            self._match = FloatMatch()
            self._float = clone(self.graph)
            restore_to_float(self._float, Context(self._float), _names(self.graph), FloatMatch())
            self._match = match_float(self.graph, self._float)
            self._match.weights.clear()
        else:
            self._float = inlined(float_graph)
            need_twin(self.graph, self._float)
            self._match = match_float(self.graph, self._float)

    def report(self, most: int, progress: Progress) -> Int8Report:
        progress(0.0, "profiling")
        execution = execute(self.graph, self._first, self._threads)
        progress(0.1, "measuring errors")
        errors = measure_errors(
            self.graph,
            self._float,
            self._match,
            self._feeds,
            self._threads,
            progress=lambda done: progress(0.1 + 0.3 * done, "measuring errors"),
        )
        layers = layers_of(self.graph, execution, errors)
        progress(0.4, "running both models")
        # What was measured first warms up, so both are measured in one go.
        original, before = self._measure_with([self._float, self.graph])
        tried = candidates(self.graph, layers, most)
        found, after = choose(
            tried,
            self._measure,
            before,
            original,
            progress=lambda done: progress(0.4 + 0.6 * done, "trying exclusions"),
        )
        return Int8Report(
            layers=layers,
            suggestions=tuple(found),
            original=original,
            before=before,
            after=after,
            float_made=self._made,
            drawn_feeds=self._drawn,
            unmatched=tuple(layer.node for layer in layers if self._is_unmatched(layer.node)),
            foreign=tuple(sorted(self._match.foreign)),
            remarks=tuple(remarks_of(layers, execution, before, original)),
            runtime=f"ONNX Runtime {ort.__version__}",
        )

    def _is_unmatched(self, name: str) -> bool:
        node = next((n for n in self.graph.nodes if node_key(n) == name), None)
        return node is not None and not any(t.name in self._match.tensors for t in node.outputs)

    def _measure(self, choices: Sequence[Sequence[str]]) -> list[Quality]:
        variants = []
        for names in choices:
            copy = self.graph
            if names:
                copy = clone(self.graph)
                restore_to_float(copy, Context(copy), names, self._match)
            variants.append(copy)
        return self._measure_with(variants)

    def _measure_with(self, graphs: Sequence[gs.Graph]) -> list[Quality]:
        backend = OnnxRuntime()
        ready = [backend.lower(graph, self._target, self._threads) for graph in graphs]
        subjects = [Subject(str(i), run, self._first) for i, run in enumerate(ready)]
        times = bench(
            subjects, rounds=1000, warmup=2, seconds=_SECONDS * len(graphs), seed=self._seed
        )
        reference = backend.lower(self._float, self._target, self._threads)
        found = []
        for run, timing in zip(ready, times, strict=True):
            compared = self._compare(reference, run)
            found.append(
                Quality(
                    timing.median_ms,
                    compared.sqnr_db,
                    compared.top1_agreement,
                    self._metric(compared, reference, run),
                )
            )
        return found

    def _metric(self, compared: Comparison, reference: Run, run: Run) -> MetricResult | None:
        """Return the user's own metric, or that of the output which loses most."""
        user = self._options.users()
        if user is not None:
            names = frozenset(tensor.name for tensor in self._float.inputs)
            own, found = (user.values(each, names, self._labelled) for each in (reference, run))
            return user.result(found, own)
        told = [
            result
            for result, chosen in zip(compared.metrics, compared.chosen, strict=True)
            if chosen.is_sure
        ]
        return max(told, key=lambda result: result.drop, default=None)

    def _compare(self, reference: Run, run: Run) -> Comparison:
        total = OutputsComparer(self._float, self._options)
        for feed, inputs in zip(self._labelled, self._feeds, strict=True):
            total.add(feed, reference(inputs), run(inputs))
        return total.result()


def _names(graph: gs.Graph) -> list[str]:
    return [node_key(n) for n in graph.nodes if not quantizes_or_back(n)]


def _need_quantized(graph: gs.Graph) -> None:
    whole = next((n for n in graph.nodes if n.op.startswith(_INTEGER_OPERATORS)), None)
    if whole is not None:
        raise GraphError(
            f"node {label(whole)} is an integer operator that has no form with "
            "QuantizeLinear/DequantizeLinear pairs, which are what is explained; quantize with "
            "quant_format=QuantFormat.QDQ, or with `planish optimize -p quantize`"
        )
    if any(map(quantizes_or_back, graph.nodes)):
        return
    name = graph.name or "the model"
    raise GraphError(
        f"'{name}' has no quantized layers, so there is nothing to explain; quantize it first, "
        "with `planish optimize -p quantize`"
    )
