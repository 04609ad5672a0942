"""Nodes that a batch of changes adds and removes, until they are written into their graphs."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_graphsurgeon as gs

from ..core.variables import subgraphs_of
from .uses import scopes


class Pending:
    """What is added before which node, and what is removed from where."""

    def __init__(self) -> None:
        self._removed: dict[int, tuple[gs.Node, gs.Graph]] = {}
        self._before: dict[int, list[gs.Node]] = {}

    def add(self, made: gs.Node, at: gs.Node) -> None:
        """Add `made` in front of `at`, behind what was added there before."""
        self._before.setdefault(id(at), []).append(made)

    def take_back(self, at: gs.Node) -> None:
        """Forget what was added last in front of `at`."""
        self._before[id(at)].pop()

    def remove(self, node: gs.Node, scope: gs.Graph) -> None:
        """Remove `node` from `scope`; what is added at its place stays."""
        self._removed[id(node)] = (node, scope)

    def put_back(self, node: gs.Node) -> None:
        """Forget that `node` was removed."""
        del self._removed[id(node)]

    def scope(self, node: gs.Node) -> gs.Graph | None:
        """Return the graph that a removed node was in, None for any other."""
        return self._removed[id(node)][1] if id(node) in self._removed else None

    def settle(self, holder: gs.Node) -> None:
        """Write the changes inside `holder` into its bodies, which may go on in another node."""
        for body in (scope for inner in subgraphs_of(holder) for scope in scopes(inner)):
            before = body.nodes
            self._place_all(body)
            for node in (*before, *body.nodes):
                self._removed.pop(id(node), None)
                self._before.pop(id(node), None)

    def write(self, graphs: Iterable[gs.Graph]) -> None:
        """Write all changes into `graphs`, and forget them."""
        if not (self._removed or self._before):
            return
        for scope in graphs:
            self._place_all(scope)
        self._removed.clear()
        self._before.clear()

    def _place_all(self, scope: gs.Graph) -> None:
        """Put the nodes of `scope` that are new among the others, without those removed."""
        placed: list[gs.Node] = []
        for node in scope.nodes:
            if id(node) in self._before or id(node) in self._removed:
                self._place(node, placed)
            else:
                placed.append(node)
        scope.nodes = placed

    def _place(self, node: gs.Node, placed: list[gs.Node]) -> None:
        pending = [(node, False)]
        while pending:
            current, expanded = pending.pop()
            if expanded:
                if id(current) not in self._removed:
                    placed.append(current)
                continue
            pending.append((current, True))
            pending.extend((made, False) for made in reversed(self._before.get(id(current), ())))
