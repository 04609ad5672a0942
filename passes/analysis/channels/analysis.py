"""A forward dataflow analysis that labels every tensor with the cells of its channels.

The transfer functions, one an operator, are in `rules`; `analyze` puts both together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import label
from ....ir.graph.uses import scopes
from ....ir.graph.view import View
from ....ir.ops.masks import Masked
from ...engine.context import Context
from .cells import Array, Cells
from .facts import Facts
from .findings import ChannelLayer, ChannelShuffle, RecurrentLayer, Role, SlicedConstant
from .labels import project, unite_pairs

Rule = Callable[[gs.Node, "ChannelAnalysis"], None]


class ChannelAnalysis:
    """Labels of all tensors of a graph and its subgraphs, and the constants sliced along them.

    `labels` holds by tensor id an array of the tensor's rank; an axis along which the cell does not
    differ has size one. What no rule knows is one fixed cell.
    """

    def __init__(self, context: Context, rule_of: Callable[[gs.Node], Rule | None]) -> None:
        self.cells = Cells()
        self.labels: dict[int, Array] = {}
        self.sliced: list[SlicedConstant] = []
        self.layers: list[ChannelLayer] = []
        self.recurrent: list[RecurrentLayer] = []
        self.shuffles: list[ChannelShuffle] = []
        self.normalized: list[tuple[gs.Node, Array]] = []  # with the cells in their statistics
        self.nodes: list[tuple[gs.Node, View]] = []
        self.view: View
        self._graph_uses = context.uses
        self._opaque: dict[str, int] = {}
        self._tied: dict[tuple[int, int, int], Array] = {}
        self.facts = Facts(context)
        self._rule_of = rule_of
        for scope in scopes(context.graph):
            self._label(scope, self.facts.view(scope))

    def of(self, tensor: gs.Tensor) -> Array | None:
        """Return the labels of `tensor`; None for constants and where the rank is unknown."""
        return self.labels.get(id(tensor))

    def put(self, tensor: gs.Tensor, labels: Array) -> None:
        """Give `tensor` labels."""
        if tensor.name:
            self.labels[id(tensor)] = labels

    def values(self, tensor: gs.Tensor) -> Array | None:
        """Return the values of a constant, of a masked weight, or of what follows from constants.

        Constants of outer scopes count; what is also a graph input does not.
        """
        return self.facts.values(tensor)

    def masked(self, tensor: gs.Tensor) -> Masked | None:
        """Return weight and mask where `tensor` is the product of both."""
        return self.facts.masked.get(id(tensor))

    def is_constant(self, tensor: gs.Tensor) -> bool:
        """Say whether `values` knows the values of `tensor`, without computing them."""
        return self.facts.is_constant(tensor)

    def data(self, node: gs.Node) -> Iterable[gs.Tensor]:
        """Yield the inputs of `node` that are not constant."""
        return (t for t in node.inputs if t.name and not self.is_constant(t))

    def slice(
        self,
        node: gs.Node,
        position: int,
        axis: int,
        role: Role,
        cells: Array,
        blocks: int = 1,
    ) -> None:
        """Record a constant input sliced along `axis`; one that several nodes read ties them."""
        self.sliced.append(
            SlicedConstant(
                node=node, position=position, axis=axis, role=role, cells=cells, blocks=blocks
            )
        )
        tensor = node.inputs[position]
        masked = self.masked(tensor)
        shared = tensor if masked is None else masked.weight
        key = (id(shared), axis, blocks)
        known = self._tied.setdefault(key, cells)
        if known is not cells:
            unite_pairs(known, cells, self.cells)

    def opaque(self, tensor: gs.Tensor, reason: str) -> None:
        """Give `tensor` one cell that stays, where its rank is known."""
        rank = self.view.rank(tensor)
        if rank is None or not tensor.name:
            return
        if reason not in self._opaque:
            cell = self.cells.fresh(1)
            self.cells.fix(cell, reason)
            self._opaque[reason] = int(cell[0])
        self.put(tensor, np.full((1,) * rank, self._opaque[reason]))

    def fix(self, tensor: gs.Tensor, reason: str) -> None:
        """Keep all channels of `tensor`."""
        labels = self.of(tensor)
        if labels is not None:
            self.cells.fix(labels, reason)

    def block(self, node: gs.Node, reason: str) -> None:
        """Keep all that `node` reads; nothing is known of what it makes."""
        for tensor in node.inputs:
            self.fix(tensor, reason)
        for tensor in node.outputs:
            self.opaque(tensor, f"it is made by {node.op}")

    def channels(self, tensor: gs.Tensor, axis: int, size: int) -> Array | None:
        """Return the cells [size] of `tensor` along `axis`; those along other axes are united."""
        labels = self.of(tensor)
        if labels is None or not -labels.ndim <= axis < labels.ndim:
            return None
        return project(labels, axis, size, self.cells)

    def _label(self, scope: gs.Graph, view: View) -> None:
        self.view = view
        for tensor in scope.inputs:
            self.opaque(tensor, "it is a graph input")
        for node in scope.nodes:
            self.nodes.append((node, view))
            self._visit(node)
        for tensor in scope.outputs:
            self.fix(tensor, "its output is a graph output")
        for node in scope.nodes:
            for tensor in node.outputs:
                if id(tensor) in self.labels and any(
                    self._graph_uses.scope(reader) is not scope for reader in view.readers(tensor)
                ):
                    self.fix(tensor, "a subgraph reads it")

    def _visit(self, node: gs.Node) -> None:
        if node.op != "Shape" and all(not t.name or self.is_constant(t) for t in node.outputs):
            return
        rule = self._rule_of(node)
        if rule is None:
            self.block(node, f"{label(node)} reads it, of which nothing is known")
            return
        if any(self.of(t) is None for t in self.data(node)):
            self.block(node, f"{label(node)} reads it with a tensor whose rank is unknown")
            return
        rule(node, self)
        for tensor in node.outputs:
            if tensor.name and id(tensor) not in self.labels:
                self.opaque(tensor, f"it is made by {node.op}")
