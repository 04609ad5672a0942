"""`explain_int8`: what was executed, where it loses, and what to do about it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort

from ....ir.core.counted import counted
from ....ir.core.errors import GraphError
from ....ir.core.target import Target
from ....ir.core.variables import node_key, subgraphs_of
from ....ir.files.given import Model, as_graph
from ....ir.graph.clone import clone
from ....ir.graph.uses import scopes
from ....ir.metrics.choose import AUTO, MetricOptions
from ....ir.metrics.labels import label_names
from ....ir.metrics.result import MetricResult
from ....ir.metrics.user import metric_text
from ....ir.ops.quantization.nodes import converts
from ....ir.run.comparison import Comparison, OutputsComparer
from ....ir.run.extra_feeds import FeedsWithout
from ....ir.run.feeds import random_feeds
from ....ir.run.given_feeds import require_feeds
from ....passes.engine.context import Context, Feeds
from ....passes.opset.convert_opset import ensure_opset
from ....passes.quantize.dequantize_nodes import restore_to_float
from ....passes.quantize.qdq.match_float import FloatMatch, match_float
from ....passes.quantize.qdq.raise_dynamic import raise_dynamic
from ....passes.quantize.qdq.raise_operators import raise_operators
from ...timing.bench import Subject, bench
from ..backend import OnnxRuntime
from .advice import candidates, choose
from .error_probe import measure_errors
from .executed import execute
from .layers import is_layer, is_whole, layers_of, remarks_of
from .pairing import closest_float, inlined
from .ranges import range_remarks
from .report import Int8Report, Quality
from .twin import need_twin

_DRAWN = 4
_SECONDS = 1.0

# Bodies may take one branch on one sample and another on the next.
_MOST_PROFILED = 8
_SHOWN = 5  # names in a remark

Progress = Callable[[float, str], None]
Run = Callable[[Mapping[str, np.ndarray[Any, Any]]], dict[str, Any]]


def explain_int8(
    graph: Model,
    float_graph: Model | None = None,
    feeds: Feeds | None = None,
    target: str = "cpu",
    threads: int | None = None,
    *,
    seed: int = 0,
    most: int = 6,
    metric: str | Callable[..., Any] = AUTO,
    class_axis: int | None = None,
    labels: str | Sequence[str] = (),
    progress: Progress = lambda fraction, what: None,
) -> Int8Report:
    """Say which layers of a quantized `graph` run slowly or badly, and what to do about it.

    `float_graph`: the model before quantization; without it one is made from `graph`, and errors of
    weights stay unknown. `feeds`: samples to judge on, drawn where None. `most`: how many
    exclusions to try. `metric`, `class_axis`, `labels`: what outputs are judged by beside SQNR, as
    for `planish.compare`. Raises GraphError where the graph has no quantized layers, FeedError or
    ExecutionError where it cannot run.
    """
    options = MetricOptions(metric_text(metric), class_axis, label_names(labels))
    floats = None if float_graph is None else as_graph(float_graph)
    integers = as_graph(graph)
    require_feeds(feeds, integers)
    session = _Session(integers, floats, feeds, target, threads, seed, options)
    return session.report(most, progress)


def apply_exclusions(
    graph: gs.Graph,
    names: Sequence[str],
    float_graph: gs.Graph | None = None,
    feeds: Feeds | None = None,
) -> gs.Graph:
    """Return a copy of `graph` with the nodes called `names` back in float.

    With weights of `float_graph`, scaled as `feeds` show; without, with those that integers hold.
    """
    copy = inlined(graph)
    raised = clone(copy)
    raise_all(raised)
    match = FloatMatch()
    if float_graph is not None:
        _, match = closest_float(raised, inlined(float_graph), feeds)
    _restore(copy, names, match)
    return copy


def raise_all(graph: gs.Graph, only: Collection[str] | None = None) -> dict[str, str]:
    """Write integer operators of `graph`, those called `only` or all, as operators between pairs.

    Returns what these are called, by the results of the nodes that went.
    """
    found = raise_operators(graph, Context(graph), only)
    return found | raise_dynamic(graph, Context(graph), only)


def _restore(graph: gs.Graph, names: Collection[str], match: FloatMatch) -> None:
    """Take the nodes called `names` back to float; integer operators beside them stay as they are.

    So what runs fast goes on doing so.
    """
    raise_all(graph, names)
    restore_to_float(graph, Context(graph), names, match)


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
        self._given = inlined(graph)
        _need_quantized(self._given)
        self.graph = clone(self._given)
        self._raised = raise_all(self.graph)
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
        self._joins = True
        self._nests = any(map(subgraphs_of, self.graph.nodes))
        if float_graph is None:
            self._match = FloatMatch()
            self._float = clone(self.graph)
            restore_to_float(self._float, Context(self._float), _names(self.graph), FloatMatch())
            self._match = match_float(self.graph, self._float)
            self._match.weights.clear()
            self._twin = self._float
        else:
            self._float = inlined(float_graph)
            need_twin(self.graph, self._float)
            self._joins = _to_one_opset(self.graph, self._float)
            self._twin, self._match = closest_float(self.graph, self._float, self._feeds)

    def report(self, most: int, progress: Progress) -> Int8Report:
        progress(0.0, "profiling")
        few = list(itertools.islice(self._feeds, _MOST_PROFILED if self._nests else 1))
        execution = execute(self._given, few, self._threads, self._places())
        progress(0.1, "measuring errors")
        errors = measure_errors(
            self.graph,
            self._twin if self._joins else None,
            self._match,
            self._feeds,
            self._threads,
            progress=lambda done: progress(0.1 + 0.3 * done, "measuring errors"),
        )
        layers = layers_of(self.graph, execution, errors)
        progress(0.4, "running both models")
        # What was measured first warms up, so both are measured in one go.
        original, before = self._measure_with([self._float, self._given])
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
            remarks=(
                *range_remarks(self.graph, self._match, self._feeds, self._threads),
                *remarks_of(layers, execution, before, original),
                *_left(self.graph),
                *(() if self._joins else (self._apart(),)),
            ),
            runtime=f"ONNX Runtime {ort.__version__}",
        )

    def _apart(self) -> str:
        opsets = f"{self._float.opset} and {self.graph.opset}"
        return (
            f"results are not compared with those of the float model, layer by layer: opsets "
            f"{opsets} cannot be brought to one; `planish optimize -p convert-opset` says why"
        )

    def _places(self) -> dict[str, int]:
        """Return the place of the layer that each node as given belongs to, by its first result."""
        nodes = nodes_of(self.graph)
        named = {node_key(node): place for place, node in enumerate(nodes)}
        found = {_first_result(node): place for place, node in enumerate(nodes)}
        return found | {result: named[name] for result, name in self._raised.items()}

    def _is_unmatched(self, name: str) -> bool:
        node = next((n for n in nodes_of(self.graph) if node_key(n) == name), None)
        if node is None or not is_layer(node, self.graph.opset):
            return False
        return not any(t.name in self._match.tensors for t in node.outputs)

    def _measure(self, choices: Sequence[Sequence[str]]) -> list[Quality]:
        variants = []
        for names in choices:
            copy = self._given
            if names:
                copy = clone(self._given)
                _restore(copy, names, self._match)
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


def _to_one_opset(graph: gs.Graph, other: gs.Graph) -> bool:
    """Raise the older of two graphs to the opset of the newer; say whether they have one now."""
    version = max(graph.opset, other.opset)
    return all(ensure_opset(each, Context(each), version) for each in (graph, other))


def _first_result(node: gs.Node) -> str:
    return next((tensor.name for tensor in node.outputs if tensor.name), "")


def nodes_of(graph: gs.Graph) -> list[gs.Node]:
    """Return the nodes of `graph`, and behind them those of its bodies."""
    return [node for scope in scopes(graph) for node in scope.nodes]


def _names(graph: gs.Graph) -> list[str]:
    return [node_key(n) for n in nodes_of(graph) if not converts(n)]


def _left(graph: gs.Graph) -> list[str]:
    """Say which integer operators of `graph` have no form as pairs."""
    names = [f"{node.op} '{node_key(node)}'" for node in nodes_of(graph) if is_whole(node)]
    if not names:
        return []
    count = counted(len(names), "integer operator has", "integer operators have")
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return [
        f"{count} no form with QuantizeLinear/DequantizeLinear pairs, so the error of each alone "
        f"is not known, and a float model made of this one computes them as they are: {shown}"
    ]


def _is_stored(node: gs.Node) -> bool:
    """Say whether `node` makes floats of constant integers, as weights that are stored so."""
    return (
        node.op == "Cast"
        and isinstance(node.inputs[0], gs.Constant)
        and (np.dtype(node.inputs[0].dtype).itemsize == 1)
    )


def has_quantized_layers(graph: gs.Graph) -> bool:
    """Say whether anything in `graph` is quantized, so that there is something to explain."""
    return any(converts(node) or is_whole(node) for node in nodes_of(graph))


def _need_quantized(graph: gs.Graph) -> None:
    if has_quantized_layers(graph):
        return
    name = graph.name or "the model"
    if any(map(_is_stored, nodes_of(graph))):
        raise GraphError(
            f"'{name}' stores weights as integers and computes in float, so there is nothing to "
            "explain; `planish compare` says how close it is, and `planish optimize -p quantize` "
            "makes a float model compute on integers"
        )
    raise GraphError(
        f"'{name}' has no quantized layers, so there is nothing to explain; quantize it first, "
        "with `planish optimize -p quantize`"
    )
