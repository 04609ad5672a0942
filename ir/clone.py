"""Copying a graph: new nodes and tensors, the same weights."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs

from .build import make_constant, make_node, make_variable
from .metadata import model_metadata, node_metadata, set_model_metadata, set_node_metadata
from .variables import exotic_type, set_exotic_type


def clone(graph: gs.Graph) -> gs.Graph:
    """Return a copy of `graph` whose edits leave the original untouched; weights are shared.

    Unlike `Graph.copy`, it keeps metadata, the producer's name and the types of sequences, tells
    tensors apart by identity, and takes linear time with subgraphs.
    """
    copies: dict[int, gs.Tensor] = {}

    def tensor(original: gs.Tensor) -> gs.Tensor:
        if not original.name:
            return make_variable("")
        found = copies.get(id(original))
        if found is None:
            found = copies[id(original)] = _copy_tensor(original)
        return found

    def value(attribute: Any) -> Any:
        if isinstance(attribute, gs.Graph):
            return scope(attribute)
        return list(attribute) if isinstance(attribute, list) else attribute

    def scope(original: gs.Graph) -> gs.Graph:
        nodes = []
        for node in original.nodes:
            copy = make_node(
                node.op,
                node.name,
                {name: value(attribute) for name, attribute in node.attrs.items()},
                [tensor(t) for t in node.inputs],
                [tensor(t) for t in node.outputs],
                node.domain,
            )
            set_node_metadata(copy, node_metadata(node))
            nodes.append(copy)
        made = gs.Graph(
            nodes,
            [tensor(t) for t in original.inputs],
            [tensor(t) for t in original.outputs],
            name=original.name,
            doc_string=original.doc_string,
            opset=original.opset,
            import_domains=list(original.import_domains or ()) or None,
            producer_name=original.producer_name,
            producer_version=original.producer_version,
            ir_version=original.ir_version,
        )
        set_model_metadata(made, model_metadata(original))
        return made

    copy = scope(graph)
    copy.functions = list(graph.functions)
    return copy


def _copy_tensor(original: gs.Tensor) -> gs.Tensor:
    if isinstance(original, gs.Constant):
        return make_constant(original.name, original._values)
    shape = None if original.shape is None else list(original.shape)
    copy = make_variable(original.name, original.dtype, shape, original.type)
    exotic = exotic_type(original)
    if exotic is not None:
        set_exotic_type(copy, exotic)
    return copy
