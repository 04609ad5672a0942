"""What became of nodes, as node data of Google's Model Explorer.

    {graph: {"name": ..., "results": {node: {"value": what became of it,
                                             "bgColor": ..., "textColor": ...}}}}

Source: ai-edge-model-explorer 0.1.34, `node_data_builder.py`: what `ModelNodeData` writes, whose
values may be words. A node is called by its name, or by its first result where it has none; both
are keys that Model Explorer knows.
"""

from __future__ import annotations

from typing import Any, Literal

import onnx_graphsurgeon as gs

from ...ir.core.variables import node_key
from .model_diff import ModelDiff
from .wiring import Wiring

_COLOURS = {
    "same": "#e8edf2",
    "changed": "#f6d98b",
    "fused": "#9fd6b4",
    "replaced": "#b9b7f0",
    "removed": "#f2a8a0",
    "added": "#8fcdf0",
}
_TEXT = "#000000"
Side = Literal["before", "after"]
SIDES: tuple[Side, Side] = ("before", "after")


def node_data(found: ModelDiff, graph: gs.Graph, side: Side) -> dict[str, Any]:
    """Return the node data of one of two models, its outermost graph, for a file of its own."""
    became: dict[int, str] = {}
    for change in found.changes:
        nodes = change.before if side == "before" else change.after
        became.update({node.index: change.kind for node in nodes if not node.scope})
    results = {
        node_key(node): {
            "value": became.get(place, "same"),
            "bgColor": _COLOURS[became.get(place, "same")],
            "textColor": _TEXT,
        }
        for place, node in enumerate(Wiring(graph, graph).nodes)
    }
    return {str(graph.name): {"results": results, "name": f"planish diff, {side}"}}
