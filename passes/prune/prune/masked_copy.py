"""A copy of a graph with masks, to score under."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ....ir.graph.clone import clone
from ...engine.context import Context
from .masked_weights import Array, PrunableWeight, read_weight, write_masks


def masked_copy(graph: gs.Graph, wanted: Sequence[tuple[PrunableWeight, Array]]) -> gs.Graph:
    """Return `graph` with the masks `wanted`: itself where there is nothing to write."""
    if all(bool((mask == prunable.stays()).all()) for prunable, mask in wanted):
        return graph
    copy = clone(graph)
    context = Context(copy)
    view = context.view()
    twins = {id(node): twin for node, twin in zip(graph.nodes, copy.nodes, strict=True)}
    own = []
    for prunable, mask in wanted:
        found = read_weight(twins[id(prunable.node)], prunable.position, view)
        assert found is not None
        own.append((found, mask))
    with context.editing() as edit:
        write_masks(edit, own)
    return copy
