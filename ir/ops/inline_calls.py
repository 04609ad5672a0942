"""Graphs with the bodies of local functions in the place of their calls."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ..core.variables import is_standard, subgraphs_of
from ..graph.edit import Edit
from ..graph.inline import CallInliner, inline_fused
from ..graph.uses import scopes
from ..proto.metadata import node_metadata
from .opsets import version_of

_MOST_ROUNDS, _MOST_NODES = 16, 1 << 14


def written_out(graph: gs.Graph) -> gs.Graph:
    """Return a copy of `graph` without calls of local functions, as far as they can be replaced.

    Functions that are overloaded or for other versions of operators than the graph stay.
    """
    made = inline_fused(graph)
    bodies = {
        (function.domain, function.name): function
        for function in made.functions
        if _fits(function, int(made.opset))
    }
    for _ in range(_MOST_ROUNDS if bodies else 0):
        calls = [
            node
            for scope in scopes(made)
            for node in scope.nodes
            if (node.domain, node.op) in bodies and not subgraphs_of(node)
        ]
        if not calls or len(made.nodes) > _MOST_NODES:
            break
        with Edit(made) as edit:
            inliner = CallInliner(edit)
            for call in calls:
                if len(call.inputs) <= len(bodies[call.domain, call.op].inputs):
                    inliner.inline(call, bodies[call.domain, call.op])
    return made


def _fits(function: gs.Function, opset: int) -> bool:
    metadata = node_metadata(function)
    if metadata is not None and metadata.overload:
        return False
    own = int(function.opset)
    return all(
        version_of(str(node.op), own) == version_of(str(node.op), opset)
        for scope in scopes(function)
        for node in scope.nodes
        if is_standard(node)
    )
