"""Replace an If whose condition is known by the branch that is taken.

If(true; f, g) = f        If(false; f, g) = g      (ONNX operator If)

The condition is computed here, and the If is gone in the same edit: ONNX Runtime inlines an If with
a constant condition itself, and then rejects ranks that only the other branch allowed. For the same
reason fold-constants leaves alone what decides nothing but an If.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ...ir.edit import Edit
from ...ir.uses import scopes
from ...ir.variables import is_standard
from ...ir.view import View
from ..context import Context
from ..contract import Pass
from ..driver import make_view
from .evaluation import constant_values
from .inlining import Inliner


@dataclass(frozen=True)
class InlineConstantBranches(Pass):
    """Replace an If whose condition follows from constants and static shapes by its branch.

    Nested ones too: a branch that was inlined may decide others, by its constants or its shapes.
    """

    name: ClassVar[str] = "inline-constant-branches"

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Inline, infer types again and look at the Ifs that are left, until none is decided."""
        while True:
            edit = context.edit()
            left = False
            # Outer scopes first: what an inlined branch holds is copied, and looked at next time.
            for scope in list(scopes(graph)):
                found = [n for n in scope.nodes if n.op == "If" and is_standard(n)]
                if found:
                    left |= _inline(found, make_view(scope, edit, context), edit, context)
            edit.commit()
            if not edit.count or not left:
                return
            context.types = None


def _inline(found: list[gs.Node], view: View, edit: Edit, context: Context) -> bool:
    """Inline those of the Ifs of one scope that are decided; say whether any If is left."""
    left = False
    known = constant_values((node.inputs[0] for node in found), view)
    for node in found:
        if edit.uses.scope(node) is None:
            left = True  # its copy
            continue
        condition = known.get(id(node.inputs[0]))
        if condition is None or condition.size != 1:
            context.decline(node, "its condition depends on the inputs")
            left = True
        elif edit.begin():
            taken = node.attrs["then_branch" if condition.item() else "else_branch"]
            edit.remove(node)
            inliner = Inliner(node, edit, view)
            targets = list(node.outputs)
            inliner.deliver(inliner.copy(taken, (), targets), targets)
            context.accept(node)
            left |= any(n.op == "If" for scope in scopes(taken) for n in scope.nodes)
    return left
