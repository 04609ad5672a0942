"""One node of a graph with what is around it."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...ir.core.errors import GraphError
from ...ir.core.nearest import nearest
from ...ir.core.variables import label, node_key
from ...ir.graph.uses import Uses, scopes
from ...ir.ops.shapes.infer import infer_types
from ..diff.nodes import written_type
from ..diff.wiring import Wiring
from .document import NodeEntry
from .graph_entry import node_entry


@dataclass(frozen=True)
class Neighbour:
    """A tensor at `place` of a node: what makes or reads it, or its `role` where no node does."""

    place: int
    tensor: str
    type: str
    role: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class NodeAround:
    """A node, what it reads and what it makes; `place` is that in the outermost graph, or None."""

    node: NodeEntry
    place: int | None
    inputs: tuple[Neighbour, ...]
    outputs: tuple[Neighbour, ...]


def has_node(graph: gs.Graph, name: str) -> bool:
    """Say whether a node of `graph` or its bodies, or what it makes, is called `name`."""
    return _find(graph, name) is not None


def node_around(graph: gs.Graph, name: str) -> NodeAround:
    """Return the node called `name`, or that makes the tensor of that name, in any scope.

    Raises GraphError with the nearest known name.
    """
    if not name:
        raise GraphError("the name of the node is empty; name one, or what it makes")
    found = _find(graph, name)
    if found is None:
        known = {node_key(node) for scope in scopes(graph) for node in scope.nodes}
        raise GraphError(f"the graph has no node '{name}'{nearest(name, known)}")
    node, scope = found
    uses, types = Uses(graph), infer_types(graph)
    wiring = Wiring(scope, graph)
    index = next((at for at, each in enumerate(wiring.nodes) if each is node), None)
    if index is None:  # a Constant node
        raise GraphError(f"node '{name}' only holds a constant; name a node that reads it")
    inputs = [
        Neighbour(
            place,
            tensor.name,
            written_type(types.of(tensor)),
            _role(graph, tensor, uses),
            () if (maker := uses.producer(tensor)) is None else (label(maker),),
        )
        for place, tensor in enumerate(node.inputs)
        if tensor.name
    ]
    outputs = [
        Neighbour(
            place,
            tensor.name,
            written_type(types.of(tensor)),
            "an output of the graph" if id(tensor) in uses.pinned else "nothing",
            tuple(label(reader) for reader in uses.readers(tensor)),
        )
        for place, tensor in enumerate(node.outputs)
        if tensor.name
    ]
    at = None
    if scope is graph:
        at = next(place for place, each in enumerate(graph.nodes) if each is node)
    return NodeAround(node_entry(wiring, index, types), at, tuple(inputs), tuple(outputs))


def _find(graph: gs.Graph, name: str) -> tuple[gs.Node, gs.Graph] | None:
    made = None
    for scope in scopes(graph):
        for node in scope.nodes:
            if node.name == name:
                return node, scope
            if made is None and any(tensor.name == name for tensor in node.outputs):
                made = node, scope
    return made if name else None


def _role(graph: gs.Graph, tensor: gs.Tensor, uses: Uses) -> str:
    if isinstance(tensor, gs.Constant):
        return "a constant"
    return "an input of the graph" if id(tensor) in uses.interface_inputs else "a body's input"
