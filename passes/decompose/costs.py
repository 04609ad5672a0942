"""What a chain costs beside the layer whose place it takes: multiply-accumulates and time.

Both are taken on graphs of that one layer, at the shape that its input has on the feeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.errors import FeedError, PlanishError
from ...ir.core.variables import node_key
from ...ir.graph.clone import Copier, clone
from ...ir.graph.edit import Edit
from ...ir.graph.types import TensorType, Types
from ...ir.ops.linear.layer import Layer
from ...ir.ops.shapes.infer import infer_types
from ...ir.run.feeds import is_size, random_feeds
from ..analysis.cost import GraphCost, cost
from ..engine.context import Context
from ..engine.stopwatch import find_stopwatch
from .chain import FactorChain, write_chain

# Less is noise, and not worth an error.
_LEAST_GAIN = 1.05
# Of one input that is drawn; 2 GiB of float32.
_MOST_ELEMENTS = 1 << 29
_SECONDS = 0.3
_SECONDS_OF_ALL = 2.0

Feed = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class ChainGain:
    """Multiply-accumulates and parameters of a layer and of its chain; `speed` where measured."""

    macs: tuple[int, int]
    parameters: tuple[int, int]
    speed: float | None

    def __str__(self) -> str:
        """Say it in one line."""
        before, after = self.macs
        text = (
            f"MACs {in_units(before)} -> {in_units(after)} ({after / before:.2f}), parameters "
            f"{in_units(self.parameters[0])} -> {in_units(self.parameters[1])}"
        )
        return text if self.speed is None else f"{text}, {self.speed:.2f} times as fast"


class ChainCosts:
    """Costs and times of layers of `graph`, each pair of shapes measured once.

    Without `measure`, or a backend that times the target, time is not looked at.
    """

    def __init__(self, graph: gs.Graph, context: Context, *, measure: bool) -> None:
        self._graph = graph
        self._context = context
        self._feed = _sample(graph, context)
        self._sized = _with_sizes(graph, self._feed)
        self._types = _by_name(self._sized)
        self._stopwatch = find_stopwatch(context.target) if measure else None
        self._known: dict[Any, ChainGain] = {}
        self._units: dict[Any, int] = {}
        self.slow: list[str] = []  # layers left alone for their time only
        if measure and self._stopwatch is None:
            context.remark(
                f"latency was not measured: no backend times target '{context.target}', so a lower "
                "number of multiply-accumulates is what counts"
            )

    def inputs(self) -> str:
        """Return the inputs that costs are counted for, behind a comma; empty where unknown."""
        shapes = [f"'{name}' {list(array.shape)}" for name, array in (self._feed or {}).items()]
        return f", for {', '.join(shapes)}" if shapes else ""

    def total(self, graph: gs.Graph) -> GraphCost:
        """Return the cost of `graph`, which has the inputs of the one given."""
        return cost(_with_sizes(graph, self._feed))

    def macs(self, layer: Layer, chain: FactorChain | None = None) -> int:
        """Return the multiply-accumulates of `layer`, or of `chain` in its place."""
        key = (_key(layer, chain), self._source(layer).shape)
        if key not in self._units:
            made = self._alone(layer, chain)
            self._units[key] = cost(made).macs
        return self._units[key]

    def need_gain(self, layer: Layer, chain: FactorChain) -> ChainGain:
        """Return what `chain` saves; decline where that is no MACs, or no time where measured."""
        before, after = self.macs(layer), self.macs(layer, chain)
        need(
            after < before,
            f"it would take {in_units(after)} multiply-accumulates, and takes {in_units(before)}",
        )
        key = (_key(layer, chain), self._source(layer))
        if key not in self._known:
            speed = self._speed_of(layer, chain)
            sizes = (int(layer.weight.size), chain.parameters)
            self._known[key] = ChainGain((before, after), sizes, speed)
        gain = self._known[key]
        is_faster = gain.speed is None or gain.speed >= _LEAST_GAIN
        if not is_faster:
            self.slow.append(node_key(layer.node))
        need(
            is_faster,
            f"with {after / before:.2f} of the multiply-accumulates it is {gain.speed or 0:.2f} "
            f"times as fast on {self._context.target}, which is not worth an error (measure=false "
            "does not ask)",
        )
        return gain

    def speed(self, before: gs.Graph, after: gs.Graph) -> float | None:
        """Return how many times as fast as `before` the whole of `after` is, where measured."""
        feed = self._feed
        return None if feed is None else self._ratio(before, after, feed, _SECONDS_OF_ALL)

    def _speed_of(self, layer: Layer, chain: FactorChain) -> float | None:
        source = self._source(layer)
        generator = np.random.default_rng(self._context.seed)
        sizes = [size for size in source.shape or () if isinstance(size, int)]
        if math.prod(sizes) > _MOST_ELEMENTS:
            return None
        feed = {layer.source.name: generator.standard_normal(sizes).astype(source.dtype)}
        alone = self._alone(layer, None), self._alone(layer, chain)
        speed = self._ratio(*alone, feed, _SECONDS)
        if speed is None or speed < _LEAST_GAIN:
            return speed
        # A gain has to show again: of many layers, some are lucky.
        again = self._ratio(*alone, feed, _SECONDS)
        return None if again is None else min(speed, again)

    def _ratio(self, before: gs.Graph, after: gs.Graph, feed: Feed, seconds: float) -> float | None:
        if self._stopwatch is None:
            return None
        target, seed = self._context.target, self._context.seed
        try:
            times = self._stopwatch([before, after], feed, target, seconds=seconds, seed=seed)
        except PlanishError:  # the target has no kernel for one of them
            return None
        return times[0] / times[1]

    def _source(self, layer: Layer) -> TensorType:
        found = self._types.get(layer.source.name)
        found = need(found, "the size of its input does not follow from the graph's inputs")
        need(
            found.shape is not None and all(is_size(size) for size in found.shape),
            "the size of its input does not follow from the graph's inputs",
        )
        return found

    def _alone(self, layer: Layer, chain: FactorChain | None) -> gs.Graph:
        """Return a graph of `layer` only, or of `chain` in its place."""
        source = self._source(layer)
        copier = Copier()
        nodes = copier.nodes(layer.nodes[::-1])
        x, y = copier.tensor(layer.source), copier.tensor(layer.result)
        x.dtype, x.shape = source.dtype, list(source.shape or ())
        y.dtype, y.shape = source.dtype, None
        made = gs.Graph(
            nodes,
            [x],
            [y],
            opset=self._graph.opset,
            import_domains=self._graph.import_domains,
            ir_version=self._graph.ir_version,
        )
        if chain is not None:
            added = nodes[1] if layer.added is not None else None
            with Edit(made) as edit:
                write_chain(edit, Layer(**{**vars(layer), "node": nodes[0], "added": added}), chain)
        return made


def in_units(count: float) -> str:
    """Return `count` with three digits: 950, 36.9 k, 1.82 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"


def _key(layer: Layer, chain: FactorChain | None) -> Any:
    nodes = [(node.op, repr(sorted(node.attrs.items()))) for node in layer.nodes]
    shapes = () if chain is None else tuple(factor.weight.shape for factor in chain.factors)
    return (*nodes, layer.weight.shape, layer.weight.dtype, shapes)


def _sample(graph: gs.Graph, context: Context) -> Feed | None:
    """Return the first sample of the feeds, or a drawn one; None where none can be drawn."""
    feeds = context.feeds
    try:
        return next(iter(feeds if feeds is not None else random_feeds(graph, seed=context.seed)))
    except (FeedError, StopIteration):
        return None


def _with_sizes(graph: gs.Graph, feed: Feed | None) -> gs.Graph:
    """Return a copy whose inputs have the sizes that they have in `feed`."""
    copy = clone(graph)
    for tensor in copy.inputs:
        if isinstance(tensor, gs.Variable) and feed and tensor.name in feed:
            tensor.shape = list(feed[tensor.name].shape)
    return copy


def _by_name(graph: gs.Graph) -> dict[str, TensorType]:
    types: Types = infer_types(graph)
    tensors = [*graph.inputs, *(t for node in graph.nodes for t in node.outputs)]
    found = {tensor.name: types.of(tensor) for tensor in tensors}
    return {name: kind for name, kind in found.items() if kind is not None}
