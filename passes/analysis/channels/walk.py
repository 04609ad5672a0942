"""One walk over a graph that labels every tensor with the cells of its channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import FUSED_DOMAIN, is_standard, label
from ....ir.graph.edit import Edit
from ....ir.graph.uses import scopes
from ....ir.graph.view import View
from ....ir.ops.masks import Masked
from ...engine.context import Context
from .cells import Array, Cells
from .facts import Facts
from .labels import project, unite_pairs

# Local functions of the domain `planish` that work on each element.
FUSED_ACTIVATIONS = frozenset({"Gelu", "GeluTanh", "HardSwish", "Mish", "Silu"})

Role = Literal["makes", "bias", "reads", "carries", "scales", "shifts", "follows"]


@dataclass(frozen=True)
class Use:
    """A constant that `node` reads at `position`, whose index i along `axis` is of `cells[i]`.

    Of a weight with several `blocks` (the groups of a convolution) the index counts through them:
    index b * k + j is index j of the k along `axis`, for the weights of block b only.
    """

    node: gs.Node
    position: int
    axis: int
    role: Role
    cells: Array
    blocks: int = 1


@dataclass(frozen=True)
class Layer:
    """A linear operator: cells [C] read and [M] made, in `group` groups of as many of either.

    A depthwise layer makes what it reads.
    """

    node: gs.Node
    view: View
    axis: int  # of the channels in its input
    group: int
    read: Array
    made: Array
    depthwise: bool = False


@dataclass(frozen=True)
class Shuffle:
    """Nodes that together only reorder channels: result channel i is source channel `order[i]`."""

    nodes: tuple[gs.Node, ...]
    source: gs.Tensor
    result: gs.Tensor
    axis: int
    order: Array


class Walk:
    """Labels of all tensors of a graph and its subgraphs, and the constants sliced along them.

    `labels` holds by tensor id an array of the tensor's rank; an axis along which the cell does not
    differ has size one. What no rule knows is one fixed cell.
    """

    def __init__(self, context: Context, edit: Edit | None = None) -> None:
        self.cells = Cells()
        self.labels: dict[int, Array] = {}
        self.uses: list[Use] = []
        self.layers: list[Layer] = []
        self.shuffles: list[Shuffle] = []
        self.nodes: list[tuple[gs.Node, View]] = []
        self.view: View
        self._edit = context.edit() if edit is None else edit
        self._opaque: dict[str, int] = {}
        self._tied: dict[tuple[int, int, int], Array] = {}
        self.facts = Facts(context, self._edit)
        self._rules = _rules()
        for scope in scopes(context.graph):
            self._walk(scope, self.facts.view(scope))

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
        self.uses.append(Use(node, position, axis, role, cells, blocks))
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

    def _walk(self, scope: gs.Graph, view: View) -> None:
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
                    self._edit.uses.scope(reader) is not scope for reader in view.readers(tensor)
                ):
                    self.fix(tensor, "a subgraph reads it")

    def _visit(self, node: gs.Node) -> None:
        if node.op != "Shape" and all(not t.name or self.is_constant(t) for t in node.outputs):
            return
        rule = self._rules.get(node.op) if is_standard(node) else None
        if node.domain == FUSED_DOMAIN and node.op in FUSED_ACTIVATIONS:
            rule = self._rules["Relu"]
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


Rule = Callable[[gs.Node, Walk], None]


def _rules() -> dict[str, Rule]:
    from . import elementwise, growth, linear, movement, windows  # they are written against `Walk`

    found: dict[str, Any] = {}
    for module in (elementwise, growth, linear, movement, windows):
        found.update(module.RULES)
    return found
