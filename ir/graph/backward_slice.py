"""The backward slice of tensors: the nodes that they depend on."""

from __future__ import annotations

from collections.abc import Iterable, Set

import onnx_graphsurgeon as gs

from ..core.variables import subgraphs_of


def backward_slice(
    graph: gs.Graph, wanted: Iterable[str], given: Set[str] = frozenset()
) -> list[gs.Node]:
    """Return the top-level nodes, in order, that make the tensors `wanted` from those `given`."""
    needed = set(wanted) - given
    kept = []
    for node in reversed(graph.nodes):
        if any(tensor.name in needed for tensor in node.outputs):
            kept.append(node)
            needed.update(names_read(node) - given)
    return kept[::-1]


def names_read(node: gs.Node) -> set[str]:
    """Return the names of the tensors that `node` reads, its bodies included."""
    names = {tensor.name for tensor in node.inputs}
    for body in subgraphs_of(node):
        names.update(tensor.name for tensor in body.outputs)
        names.update(*map(names_read, body.nodes))
    return names - {""}
