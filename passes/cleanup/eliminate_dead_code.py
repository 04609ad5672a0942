"""Remove what no output depends on.

a node is dead  <=>  none of its outputs is a graph output or read by a live node
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.variables import is_standard, subgraphs_of
from ..engine.context import Context
from ..engine.contract import Pass


@dataclass(frozen=True)
class EliminateDeadCode(Pass):
    """Remove nodes whose results nothing reads.

    An operator of an unknown domain stays even where nothing reads it: it may have an effect.
    """

    name: ClassVar[str] = "eliminate-dead-code"

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Walk every scope backwards, inner scopes before the ones they capture from."""
        known = _without_effects(graph)
        with context.editing() as edit:
            for scope in reversed(list(context.uses.scopes(graph))):
                for node in reversed(scope.nodes):
                    if any(
                        id(tensor) in edit.uses.pinned or edit.uses.reads(tensor)
                        for tensor in node.outputs
                    ):
                        continue
                    unknown = _unknown_domain(node, known)
                    if unknown is not None:
                        context.decline(node, f"operators of domain '{unknown}' may have effects")
                    elif edit.begin():
                        edit.remove(node)


def _without_effects(graph: gs.Graph) -> set[tuple[str | None, str]]:
    """Return domain and name of the functions that call nothing of an unknown domain."""
    known: set[tuple[str | None, str]] = set()
    pending = list(graph.functions)
    while pending:
        clean: list[gs.Function] = []
        left: list[gs.Function] = []
        for function in pending:
            unknown = any(_unknown_domain(node, known) for node in function.nodes)
            (left if unknown else clean).append(function)
        if not clean:
            break
        known.update((function.domain, function.name) for function in clean)
        pending = left
    return known


def _unknown_domain(node: gs.Node, known: set[tuple[str | None, str]]) -> str | None:
    """Return the unknown domain that `node`, or a node in its subgraphs, is of."""
    if not is_standard(node) and (node.domain, node.op) not in known:
        return str(node.domain)
    inner = (n for subgraph in subgraphs_of(node) for n in subgraph.nodes)
    return next((found for n in inner if (found := _unknown_domain(n, known))), None)
