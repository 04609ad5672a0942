"""Nodes that options name, looked up before anything is done."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.errors import RefusedError
from ...ir.core.nearest import nearest
from ...ir.core.variables import node_key
from ...ir.graph.uses import scopes
from .context import Context


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


@dataclass(frozen=True, kw_only=True)
class NodeSelection:
    """Options of a pass that say which nodes it takes.

    - `only`: take these nodes alone, by name or, where nameless, by first output; empty: all.
    - `exclude`: nodes to leave alone, by name or, where nameless, by first output.
    """

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def check_nodes(self, graph: gs.Graph, context: Context, operators: Container[str]) -> None:
        """Raise RefusedError where `graph` lacks a node that an option names, or none is left.

        What `only` names is declined where the pass takes none of its operator: none of
        `operators`.
        """
        check_node_names(graph, "only", self.only)
        check_node_names(graph, "exclude", self.exclude)
        if self.only and set(self.only) <= set(self.exclude):
            names = ", ".join(f"'{name}'" for name in self.only)
            raise RefusedError(
                f"exclude names all that only names ({names}), so that no node is left; take them "
                "out of one of the two"
            )
        for scope in scopes(graph) if self.only else ():
            for node in scope.nodes:
                if node_key(node) in self.only and node.op not in operators:
                    context.decline(
                        node, f"only names it, but {node.op} has no weights that the pass takes"
                    )

    def need_selected(self, node: gs.Node) -> None:
        """Decline `node` where the options leave it out."""
        name = node_key(node)
        need(name not in self.exclude, "it is excluded")
        need(self.selects(name), "only names others")

    def selects(self, *names: str) -> bool:
        """Say whether what the nodes called `names` hold together is taken.

        One of them has to be among `only`, where that says anything, and none among `exclude`.
        """
        return not any(name in self.exclude for name in names) and (
            not self.only or any(name in self.only for name in names)
        )
