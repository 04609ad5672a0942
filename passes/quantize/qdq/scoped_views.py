"""The scopes of a graph: where tensors are made, and where something can stand that serves them."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_graphsurgeon as gs

from ....ir.core.variables import subgraphs_of
from ....ir.graph.view import View
from ...engine.context import Context


class ScopedViews:
    """The views of `graph` and its bodies, by what stands in them; they see an open batch too."""

    def __init__(self, graph: gs.Graph, context: Context) -> None:
        self._graph = graph
        self._context = context
        self._given: dict[int, gs.Graph] = {}  # scopes by the ids of their inputs
        self._holder: dict[int, gs.Node] = {}  # nodes by the ids of their bodies
        for scope in context.uses.scopes(graph):
            self._given.update((id(tensor), scope) for tensor in scope.inputs)
            self._holder.update((id(body), n) for n in scope.nodes for body in subgraphs_of(n))

    def of(self, scope: gs.Graph) -> View:
        """Return the view of `scope`."""
        return self._context.view(scope)

    def of_node(self, node: gs.Node) -> View:
        """Return the view of the scope that holds `node`."""
        return self.of(self.scope_of(node))

    def of_tensor(self, tensor: gs.Tensor) -> View:
        """Return the view of the scope that makes `tensor` or is given it."""
        return self.of(self.home(tensor))

    def scope_of(self, node: gs.Node) -> gs.Graph:
        """Return the scope that holds `node`, which is in the graph."""
        scope = self._context.uses.scope(node)
        assert scope is not None
        return scope

    def home(self, tensor: gs.Tensor) -> gs.Graph:
        """Return the scope that makes `tensor` or is given it; the whole graph for constants."""
        producer = self.producer(tensor)
        if producer is not None:
            return self.scope_of(producer)
        return self._given.get(id(tensor), self._graph)

    def producer(self, tensor: gs.Tensor) -> gs.Node | None:
        """Return the node of any scope that makes `tensor`, or None."""
        return self._context.uses.producer(tensor)

    def first_in(self, scope: gs.Graph, readers: Iterable[gs.Node]) -> gs.Node:
        """Return the first of `readers` in `scope`, or the node there that has one in its body."""
        lifted = (self._lifted(node, scope) for node in readers)
        return next(node for node in lifted if node is not None)

    def _lifted(self, node: gs.Node, scope: gs.Graph) -> gs.Node | None:
        at: gs.Node | None = node
        while at is not None and self.scope_of(at) is not scope:
            at = self._holder.get(id(self.scope_of(at)))
        return at
