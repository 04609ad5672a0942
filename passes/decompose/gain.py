"""What a chain costs beside the layer whose place it takes: multiply-accumulates and time.

Both are taken on graphs of that one layer, at the shape that its input has on the feeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.clone import Copier, clone
from ...ir.cost import GraphCost, cost
from ...ir.edit import Edit
from ...ir.errors import FeedError, PlanishError
from ...ir.feeds import is_size, random_feeds
from ...ir.infer import TensorType, Types, infer_types
from ..context import Context
from ..contract import need
from ..linear.layer import Layer
from ..stopwatch import find_stopwatch
from .chain import Chain, write_chain

# Less is noise, and not worth an error.
_LEAST_GAIN = 1.05
_SECONDS = 0.3


@dataclass(frozen=True)
class Gain:
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


class Gains:
    """Costs and times of layers of `graph`, each pair of shapes measured once.

    Without `measure`, or a backend that times the target, time is not looked at.
    """

    def __init__(self, graph: gs.Graph, context: Context, *, measure: bool) -> None:
        self._graph = graph
        self._context = context
        self._sized = _with_sizes(graph, context)
        self._types = _by_name(self._sized)
        self._stopwatch = find_stopwatch(context.target) if measure else None
        self._known: dict[Any, Gain] = {}
        self._units: dict[Any, int] = {}
        if measure and self._stopwatch is None:
            context.remark(
                f"latency was not measured: no backend times target '{context.target}', so a lower "
                "number of multiply-accumulates is what counts"
            )

    def total(self, graph: gs.Graph) -> GraphCost:
        """Return the cost of `graph`, which has the inputs of the one given."""
        copy = clone(graph)
        for tensor, sized in zip(copy.inputs, self._sized.inputs, strict=True):
            if isinstance(tensor, gs.Variable):
                tensor.shape = sized.shape
        return cost(copy)

    def macs(self, layer: Layer, chain: Chain | None = None) -> int:
        """Return the multiply-accumulates of `layer`, or of `chain` in its place."""
        key = (_key(layer, chain), self._source(layer).shape)
        if key not in self._units:
            made = self._alone(layer, chain)
            self._units[key] = cost(made).macs
        return self._units[key]

    def need_gain(self, layer: Layer, chain: Chain) -> Gain:
        """Return what `chain` saves; decline where that is no MACs, or no time where measured."""
        before, after = self.macs(layer), self.macs(layer, chain)
        need(
            after < before,
            f"it would take {in_units(after)} multiply-accumulates, and takes {in_units(before)}",
        )
        key = (_key(layer, chain), self._source(layer))
        if key not in self._known:
            speed = self._speed(layer, chain)
            sizes = (int(layer.weight.size), chain.parameters)
            self._known[key] = Gain((before, after), sizes, speed)
        gain = self._known[key]
        need(
            gain.speed is None or gain.speed >= _LEAST_GAIN,
            f"with {after / before:.2f} of the multiply-accumulates it is {gain.speed or 0:.2f} "
            f"times as fast on {self._context.target}, which is not worth an error (measure=false "
            "does not ask)",
        )
        return gain

    def _speed(self, layer: Layer, chain: Chain) -> float | None:
        if self._stopwatch is None:
            return None
        source = self._source(layer)
        generator = np.random.default_rng(self._context.seed)
        sizes = [size for size in source.shape or () if isinstance(size, int)]
        feed = {layer.source.name: generator.standard_normal(sizes).astype(source.dtype)}
        graphs = [self._alone(layer, None), self._alone(layer, chain)]
        try:
            before, after = self._stopwatch(
                graphs, feed, self._context.target, seconds=_SECONDS, seed=self._context.seed
            )
        except PlanishError:  # the target has no kernel for it alone
            return None
        return before / after

    def _source(self, layer: Layer) -> TensorType:
        found = self._types.get(layer.source.name)
        found = need(found, "the size of its input does not follow from the graph's inputs")
        need(
            found.shape is not None and all(is_size(size) for size in found.shape),
            "the size of its input does not follow from the graph's inputs",
        )
        return found

    def _alone(self, layer: Layer, chain: Chain | None) -> gs.Graph:
        """Return a graph of `layer` only, or of `chain` in its place."""
        source = self._source(layer)
        copier = Copier()
        scope = gs.Graph(nodes=list(layer.nodes[::-1]), opset=self._graph.opset)
        nodes = copier.nodes(scope)
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
            edit = Edit(made)
            write_chain(edit, Layer(**{**vars(layer), "node": nodes[0], "added": added}), chain)
            edit.commit()
        return made


def in_units(count: float) -> str:
    """Return `count` with three digits: 950, 36.9 k, 1.82 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"


def _key(layer: Layer, chain: Chain | None) -> Any:
    nodes = [(node.op, repr(sorted(node.attrs.items()))) for node in layer.nodes]
    shapes = () if chain is None else tuple(factor.weight.shape for factor in chain.factors)
    return (*nodes, layer.weight.shape, layer.weight.dtype, shapes)


def _with_sizes(graph: gs.Graph, context: Context) -> gs.Graph:
    """Return a copy whose inputs have the sizes of the first sample, or drawn ones."""
    copy = clone(graph)
    feeds = context.feeds
    try:
        feed = next(iter(feeds if feeds is not None else random_feeds(graph, seed=context.seed)))
    except (FeedError, StopIteration):
        return copy
    for tensor in copy.inputs:
        if isinstance(tensor, gs.Variable) and tensor.name in feed:
            tensor.shape = list(feed[tensor.name].shape)
    return copy


def _by_name(graph: gs.Graph) -> dict[str, TensorType]:
    types: Types = infer_types(graph)
    tensors = [*graph.inputs, *(t for node in graph.nodes for t in node.outputs)]
    found = {tensor.name: types.of(tensor) for tensor in tensors}
    return {name: kind for name, kind in found.items() if kind is not None}
