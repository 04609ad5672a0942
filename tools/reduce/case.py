"""A model with the inputs on which its fault shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """A model, and a feed by the names of its inputs; empty where whoever judges it draws one.

    It is a protobuf and no graph, because what reads models may be the suspect.
    """

    model: onnx.ModelProto
    feed: Mapping[str, Array] = field(default_factory=dict)

    @property
    def nodes(self) -> int:
        """How many nodes there are, those of bodies and functions included."""
        return sum(len(scope.node) for scope in scopes_of(self.model))

    def with_graph(
        self,
        nodes: Iterable[onnx.NodeProto],
        outputs: Iterable[onnx.ValueInfoProto],
        inputs: Iterable[onnx.ValueInfoProto] = (),
        constants: Iterable[onnx.TensorProto] = (),
        feed: Mapping[str, Array] | None = None,
    ) -> Case:
        """Return a case of these nodes and what they need: of weights, only these are copied.

        `inputs` and `constants` come beside those of the graph, and `feed` beside its feed.
        """
        old, made = self.model, onnx.ModelProto()
        for item in old.DESCRIPTOR.fields:
            if item.name != "graph":
                _copy_field(old, made, item)
        graph = made.graph
        graph.name = old.graph.name or "graph"
        kept = list(outputs)
        needed = {value.name for value in kept}
        alive = []
        for node in reversed(list(nodes)):
            if needed & set(node.output):
                needed.update(reads(node))
                alive.append(node)
        graph.node.extend(reversed(alive))
        graph.output.extend(kept)
        made_here = {name for node in alive for name in node.output}
        given = [*old.graph.input, *inputs]
        graph.input.extend(v for v in given if v.name in needed and v.name not in made_here)
        tensors = [*old.graph.initializer, *constants]
        graph.initializer.extend(t for t in tensors if t.name in needed and t.name not in made_here)
        graph.sparse_initializer.extend(
            t for t in old.graph.sparse_initializer if t.values.name in needed
        )
        graph.value_info.extend(v for v in old.graph.value_info if v.name in made_here)
        names = {value.name for value in graph.input}
        arrays = {**self.feed, **(feed or {})}
        return Case(made, {name: array for name, array in arrays.items() if name in names})

    def copy(self) -> Case:
        """Return a copy whose model can be changed."""
        return Case(onnx.ModelProto.FromString(self.model.SerializeToString()), dict(self.feed))


def graphs_of(graph: onnx.GraphProto) -> Iterable[onnx.GraphProto]:
    """Yield a graph and all that are nested in it."""
    waiting = [graph]
    while waiting:
        found = waiting.pop()
        yield found
        for node in found.node:
            waiting.extend(_bodies(node))


def graphs_of_node(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs nested in a node, at any depth."""
    return [graph for body in _bodies(node) for graph in graphs_of(body)]


def scopes_of(
    owner: onnx.ModelProto | onnx.FunctionProto,
) -> Iterable[onnx.GraphProto | onnx.FunctionProto]:
    """Yield all that has nodes: of a model its graph and functions, and the graphs inside them."""
    if isinstance(owner, onnx.ModelProto):
        yield from graphs_of(owner.graph)
    for function in owner.functions if isinstance(owner, onnx.ModelProto) else [owner]:
        yield function
        for node in function.node:
            yield from graphs_of_node(node)


def _bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    found = [each.g for each in node.attribute if each.HasField("g")]
    return found + [body for each in node.attribute for body in each.graphs]


def reads(node: onnx.NodeProto) -> set[str]:
    """Return the names that a node reads, and its bodies from outside."""
    found = {name for name in node.input if name}
    for body in _bodies(node):
        own = {v.name for v in body.input} | {t.name for t in body.initializer}
        read = {value.name for value in body.output}
        for inner in body.node:
            own.update(inner.output)
            read |= reads(inner)
        found |= read - own
    return found


def _copy_field(old: Any, made: Any, item: Any) -> None:
    value = getattr(old, item.name)
    if hasattr(value, "extend"):
        getattr(made, item.name).extend(value)
    elif old.HasField(item.name):
        setattr(made, item.name, value)
