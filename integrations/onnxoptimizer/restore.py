"""What onnxoptimizer loses of a model, put back."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_graphsurgeon as gs

from ...ir.graph.uses import scopes
from ...ir.proto.metadata import (
    model_metadata,
    node_metadata,
    quantization_of,
    set_model_metadata,
    set_node_metadata,
    set_quantization,
    set_tensor_metadata,
    tensor_metadata,
)


def restore(before: gs.Graph, after: gs.Graph) -> None:
    """Give `after` the metadata and annotations of `before`, as far as they are there.

    Nodes are told by operator and first output, tensors by name.
    """
    set_model_metadata(after, model_metadata(before))
    nodes = {key: node for node in _nodes(before) if (key := _key(node))}
    for node in _nodes(after):
        was = nodes.get(_key(node))
        if was is not None:
            set_node_metadata(node, node_metadata(was))
    old = {tensor.name: tensor for tensor in _tensors(before)}
    new = {tensor.name: tensor for tensor in _tensors(after)}
    for name, tensor in new.items():
        if name in old:
            set_tensor_metadata(tensor, tensor_metadata(old[name]))
            parameters = ((key, new.get(p.name)) for key, p in quantization_of(old[name]))
            set_quantization(tensor, tuple((key, p) for key, p in parameters if p is not None))


def _nodes(graph: gs.Graph) -> Iterator[gs.Node]:
    return (node for scope in scopes(graph) for node in scope.nodes)


def _tensors(graph: gs.Graph) -> Iterator[gs.Tensor]:
    for scope in scopes(graph):
        yield from (t for t in (*scope.inputs, *scope.outputs) if t.name)
        for node in scope.nodes:
            yield from (t for t in (*node.inputs, *node.outputs) if t.name)


def _key(node: gs.Node) -> tuple[str | None, str, str]:
    first = next((tensor.name for tensor in node.outputs if tensor.name), "")
    return node.domain or "", node.op, first
