"""Copying the body of an If or Loop to the place of the node that runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_graphsurgeon as gs

from ...ir.core.build import make_variable
from ...ir.core.variables import subgraphs_of
from ...ir.graph.bodies import BodyCopier, copy_constant, deliver
from ...ir.graph.edit import Edit
from ...ir.graph.uses import scopes
from ...ir.graph.view import View

Tensors = Sequence[gs.Tensor]


class Inliner:
    """Copies bodies to the place of `at`, which the same edit has removed.

    Everything a body declares gets a name that no scope uses; what it captures is read as it is.
    Its constants are copied once for all copies. Sizes that `view` knows go with the copies, so
    that later matches of the same pass may ask for them.
    """

    def __init__(self, at: gs.Node, edit: Edit, view: View) -> None:
        self._at = at
        self._edit = edit
        self._view = view
        self._constants: dict[int, gs.Tensor] = {}

    def copy(self, body: gs.Graph, inputs: Tensors, targets: Tensors | None = None) -> Tensors:
        """Copy the nodes of `body`, which reads `inputs`; return what it computes.

        `targets`: tensors without a producer that the copies produce where the body itself
        computes its output, each at most once.
        """
        given = {id(t): value for t, value in zip(body.inputs, inputs, strict=True)}
        computed = {id(t) for node in body.nodes for t in node.outputs}
        for output, target in zip(body.outputs, targets or (), strict=targets is not None):
            if target.name and id(output) in computed:
                given.setdefault(id(output), target)
        copier = _Copier(body, given, self._constants, self._edit, self._view)
        for node in body.nodes:
            made = self._edit.node(
                node.op,
                [copier.tensor(t) for t in node.inputs],
                [copier.tensor(t) for t in node.outputs],
                {name: copier.attribute(value) for name, value in node.attrs.items()},
                at=self._at,
                domain=node.domain,
                copy_of=node,
            )
            for subgraph in subgraphs_of(made):
                for scope in scopes(subgraph):
                    self._edit.touched += scope.nodes
        return [copier.tensor(t) for t in body.outputs]

    def deliver(self, values: Tensors, targets: Tensors) -> None:
        """Make every reader of `targets`, which have no producer, find `values` there."""
        for value, target in zip(values, targets, strict=True):
            if target.name and value is not target:
                deliver(self._edit, value, target, self._at)


class _Copier(BodyCopier):
    """Copies what a body declares under fresh names, and leaves what it captures as it is."""

    def __init__(
        self,
        body: gs.Graph,
        given: Mapping[int, gs.Tensor],
        constants: dict[int, gs.Tensor],
        edit: Edit,
        view: View,
    ) -> None:
        super().__init__(body.nodes, edit)
        self.copies.update(given)
        self._constants = constants
        self._view = view
        made = (t for scope in (body, *self.nested) for node in scope.nodes for t in node.outputs)
        self._own = {id(t) for scope in self.nested for t in scope.inputs} | {id(t) for t in made}

    def tensor(self, original: gs.Tensor) -> gs.Tensor:
        if not original.name:
            return make_variable("")
        found = self.copies.get(id(original)) or self._constants.get(id(original))
        if found is not None:
            return found
        if isinstance(original, gs.Constant) and self._is_unread(original):
            found = self._constants[id(original)] = copy_constant(
                self._edit, original, original.name
            )
        elif id(original) in self._own:
            found = self.copies[id(original)] = self.variable(
                original, original.name, self._view.type(original)
            )
        else:
            found = original
        return found

    def _is_unread(self, constant: gs.Constant) -> bool:
        """Say whether only the removed body read `constant`, so that it goes with the body."""
        uses = self._edit.uses
        shown = id(constant) in uses.interface_inputs or id(constant) in uses.pinned
        return not shown and not uses.reads(constant)
