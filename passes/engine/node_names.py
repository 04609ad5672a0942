"""Nodes that options name, looked up before anything is done."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ...ir.core.errors import RefusedError
from ...ir.core.nearest import nearest
from ...ir.core.variables import node_key
from ...ir.graph.uses import scopes


def check_node_names(graph: gs.Graph, option: str, names: Sequence[str]) -> None:
    """Raise RefusedError with the nearest known name where `graph` has no node of one of `names`.

    Nodes in the bodies of If, Loop and Scan count.
    """
    if not names:
        return
    known = {node_key(node) for scope in scopes(graph) for node in scope.nodes}
    for name in names:
        if name not in known:
            raise RefusedError(
                f"{option} names the node '{name}', which the graph does not have"
                f"{nearest(name, known)}"
            )
