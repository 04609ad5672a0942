"""Values that follow from constants, and the types that follow from those.

Traced graphs compute axes, targets and biases of zeros from constants and shapes. Type inference
does not look through all of that; with the values in place of what computes them it sees further.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.build import make_constant, make_node
from ....ir.core.variables import is_standard
from ....ir.graph.types import TensorType, Types
from ....ir.graph.uses import scopes
from ....ir.graph.view import View
from ....ir.ops.masks import Masked, read_masked
from ....ir.ops.shapes.infer import infer_types
from ...engine.context import Context
from ..constants.evaluation import constant_values
from .cells import Array

_MOST_ROUNDS = 4


class Facts:
    """Constants, computed constants and masked weights of a graph, and the types of its tensors."""

    def __init__(self, context: Context) -> None:
        self.masked: dict[int, Masked] = {}
        self._computed: dict[int, Array] = {}
        self._graph = context.graph
        self._types: Types | None = None
        self._context = context
        self._scopes = list(scopes(context.graph))
        self._views = {id(scope): View(scope, context.uses, self._type) for scope in self._scopes}
        for scope in self._scopes:
            view = self.view(scope)
            for node in scope.nodes:
                masked = read_masked(node)
                if masked is not None and all(map(view.is_constant, node.inputs)):
                    self.masked[id(node.outputs[0])] = masked
        for _ in range(_MOST_ROUNDS):
            if not self._compute():
                break
            self._types = infer_types(self._with_values())

    def view(self, scope: gs.Graph) -> View:
        """Return the view of a scope, with the types known here."""
        return self._views[id(scope)]

    def is_constant(self, tensor: gs.Tensor) -> bool:
        """Say whether `tensor` holds the same whatever the graph is fed."""
        return (
            (
                isinstance(tensor, gs.Constant)
                and id(tensor) not in self._context.uses.interface_inputs
            )
            or id(tensor) in self.masked
            or id(tensor) in self._computed
        )

    def values(self, tensor: gs.Tensor) -> Array | None:
        """Return the values of what `is_constant`; None for the rest."""
        if id(tensor) in self.masked:
            return self.masked[id(tensor)].values()
        if id(tensor) in self._computed:
            return self._computed[id(tensor)]
        return self._views[id(self._graph)].constant(tensor)

    def _type(self, tensor: gs.Tensor) -> TensorType | None:
        made = self._context.type_of_new(tensor)
        types = self._context.infer() if self._types is None else self._types
        return made or types.of(tensor)

    def _compute(self) -> bool:
        """Compute what can be; return whether more is known than before."""
        before = len(self._computed)
        for scope in self._scopes:
            wanted = [
                tensor
                for node in scope.nodes
                if is_standard(node)
                for tensor in node.inputs
                if tensor.name and not self.is_constant(tensor)
            ]
            self._computed.update(constant_values(wanted, self.view(scope)))
            for node in scope.nodes:
                if node.op == "Expand" and is_standard(node):
                    self._expand(node)
        return len(self._computed) > before

    def _expand(self, node: gs.Node) -> None:
        """Repeat a value; of that, type inference often does not know how large it is."""
        if not all(map(self.is_constant, node.inputs)):
            return
        values, target = (self.values(tensor) for tensor in node.inputs)
        if values is not None and target is not None and values.size == 1:
            shape = np.broadcast_shapes(values.shape, tuple(int(size) for size in target))
            self._computed[id(node.outputs[0])] = np.broadcast_to(values, shape)

    def _with_values(self) -> gs.Graph:
        """Return the main graph with constants in place of what was computed."""
        graph = self._graph
        shadow = gs.Graph(
            opset=graph.opset, import_domains=graph.import_domains, ir_version=graph.ir_version
        )
        made: dict[int, gs.Constant] = {}

        def known(tensor: gs.Tensor) -> gs.Tensor:
            if id(tensor) not in self._computed:
                return tensor
            if id(tensor) not in made:
                name = f"{tensor.name}/computed"
                made[id(tensor)] = make_constant(name, self._computed[id(tensor)])
            return made[id(tensor)]

        shadow.nodes = [
            make_node(
                node.op,
                node.name,
                node.attrs,
                [known(tensor) for tensor in node.inputs],
                list(node.outputs),
                node.domain,
                link=False,
            )
            for node in graph.nodes
        ]
        shadow.inputs, shadow.outputs = list(graph.inputs), list(graph.outputs)
        shadow.functions = list(graph.functions)
        return shadow
