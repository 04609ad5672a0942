"""The first node whose results are wrong, where what computes a graph is wrong as a whole.

The nodes up to some place are a graph of their own, with the tensors that later nodes read as its
outputs. Halving the place takes log2(nodes) trials.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

from ...ir.core.variables import exotic_type
from ...ir.graph.backward_slice import names_read
from ...ir.graph.clone import clone
from ...ir.graph.types import Types
from ...ir.ops.shapes.infer import infer_types


def first_wrong(
    graph: gs.Graph, is_wrong: Callable[[gs.Graph], bool]
) -> tuple[gs.Node, gs.Graph] | None:
    """Return the first node of a sorted `graph` with which its beginning is wrong, and that part.

    None where no beginning, the whole included, is found to be wrong.
    """
    types = infer_types(graph)
    low, high = 0, len(graph.nodes)
    part = graph_of_first(graph, high, types)
    if not high or not is_wrong(part):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        beginning = graph_of_first(graph, middle, types)
        if is_wrong(beginning):
            high, part = middle, beginning
        else:
            low = middle
    return graph.nodes[high - 1], part


def graph_of_first(graph: gs.Graph, count: int, types: Types) -> gs.Graph:
    """Return the first `count` nodes, with what the others or the outputs read as outputs."""
    known = {t.name: types.of(t) for node in graph.nodes[:count] for t in node.outputs if t.name}
    read = {tensor.name for tensor in graph.outputs}.union(*map(names_read, graph.nodes[count:]))
    found = clone(graph)
    found.nodes = found.nodes[:count]
    found.outputs = []
    for tensor in (tensor for node in found.nodes for tensor in node.outputs):
        made = known.get(tensor.name)
        if made is not None and tensor.name in read and exotic_type(tensor) is None:
            tensor.dtype, tensor.shape = made.dtype, made.shape
            found.outputs.append(tensor)
    return found
