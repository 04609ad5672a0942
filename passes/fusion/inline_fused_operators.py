"""Replace fused operators by the operators they were made of.

planish.ConvRelu(x, w, b)  ->  Relu(Conv(x, w, b))

The inverse of the fusing passes, for passes that look inside: quantization, training, pruning. A
graph that was fused once becomes open to them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.variables import FUSED_DOMAIN
from ...ir.graph.edit import Edit
from ...ir.graph.parts import match_parts
from ...ir.graph.uses import scopes
from ...ir.proto.metadata import node_metadata
from ..engine.context import Context
from ..engine.contract import Pass


@dataclass(frozen=True)
class InlineFusedOperators(Pass):
    """Replace every fused operator of the domain `planish` by the body of its local function.

    Nodes and results get the names that they had before they were fused, where there were any;
    names of others, and of constants inside, follow the node's own. The functions go once nothing
    calls them.
    """

    name: ClassVar[str] = "inline-fused-operators"

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Inline what the graph and its subgraphs call."""
        inline_fused_operators(graph, context)


def inline_fused_operators(graph: gs.Graph, context: Context) -> None:
    """Inline the fused operators of `graph`, which is that of `context`."""
    bodies = {f.name: f for f in graph.functions if f.domain == FUSED_DOMAIN}
    calls = [
        node
        for scope in scopes(graph)
        for node in scope.nodes
        if node.domain == FUSED_DOMAIN and node.op in bodies
    ]
    with context.editing() as edit:
        left = len(calls)
        for node in calls:
            if not edit.begin():
                break
            _inline(node, bodies[node.op], edit)
            left -= 1
        if bodies and not left:
            for function in bodies.values():
                if edit.begin():
                    edit.remove_function(function)
            if any(e.domain == FUSED_DOMAIN for e in graph.import_domains or ()) and edit.begin():
                edit.remove_import(graph, FUSED_DOMAIN)


def _inline(node: gs.Node, function: gs.Function, edit: Edit) -> None:
    actual: dict[int, gs.Tensor] = {}
    given = [*node.inputs, *[gs.Variable.empty()] * (len(function.inputs) - len(node.inputs))]
    actual.update(zip(map(id, function.inputs), given, strict=True))
    actual.update(zip(map(id, function.outputs), node.outputs, strict=True))
    metadata = node_metadata(node)
    parts = match_parts(function.nodes, metadata.parts if metadata else ())
    results = {
        id(inner.outputs[0]): part.result
        for inner, part in zip(function.nodes, parts, strict=True)
        if part is not None
    }
    edit.remove(node)

    def tensor(formal: gs.Tensor) -> gs.Tensor:
        if id(formal) not in actual:
            name = f"{node.name}/{formal.name}"
            if not formal.name:
                made: gs.Tensor = gs.Variable.empty()
            elif isinstance(formal, gs.Constant):
                made = edit.constant(formal.values, name)
            else:
                made = edit.variable(results.get(id(formal)) or name)
            actual[id(formal)] = made
        return actual[id(formal)]

    for inner, part in zip(function.nodes, parts, strict=True):
        inputs = [tensor(t) for t in inner.inputs]
        # ONNX Runtime lays a convolution out in blocks only without an absent input at the end.
        while inputs and not inputs[-1].name:
            inputs.pop()
        attrs = {key: _bound(value, node) for key, value in inner.attrs.items()}
        known = {key: value for key, value in attrs.items() if value is not None}
        outputs = [tensor(t) for t in inner.outputs]
        made = edit.node(inner.op, inputs, outputs, known, at=node, domain=inner.domain)
        if part is not None and part.name:
            edit.rename(made, part.name)


def _bound(value: Any, call: gs.Node) -> Any:
    return call.attrs.get(value.name) if isinstance(value, gs.Node.AttributeRef) else value
