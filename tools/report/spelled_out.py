"""A graph with its fused operators spelled out, and which nodes each of them is."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...ir.core.variables import FUSED_DOMAIN, node_key
from ...ir.graph.clone import clone
from ...ir.graph.edit import Edit
from ...ir.graph.functions import fused_functions
from ...ir.graph.inline import CallInliner


@dataclass(frozen=True)
class SpelledOut:
    """The graph, and the parts of each call by its name and operator."""

    graph: gs.Graph
    calls: tuple[tuple[str, str, tuple[gs.Node, ...]], ...]


def spell_out(graph: gs.Graph) -> SpelledOut:
    """Return a copy of `graph` in which the calls of its outermost scope are written out.

    Those inside of bodies stay calls. Nodes have the names that a portable file gives them.
    """
    made = clone(graph)
    bodies = {function.name: function for function in fused_functions(made)}
    calls = [node for node in made.nodes if node.domain == FUSED_DOMAIN and node.op in bodies]
    found = []
    with Edit(made) as edit:
        inliner = CallInliner(edit, keep_parts=True)
        for call in calls:
            name, operator = node_key(call), str(call.op)
            found.append((name, operator, tuple(inliner.inline(call, bodies[operator]))))
    return SpelledOut(made, tuple(found))
