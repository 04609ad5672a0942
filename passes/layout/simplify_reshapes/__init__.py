"""Say in one operator what a chain of Reshape, Flatten, Squeeze and Unsqueeze does.

reshape(reshape(x, a), b) = reshape(x, b)            nothing where b is the shape of x
reshape(x, [d1, d2 * d3 * ...]) = flatten(x)         with d1, d2, ... the sizes of x
reshape(x, shape arithmetic) = reshape(x, constant)  0 for a size kept in place, one -1 for another

Exporters compute the target of a Reshape from sizes of x (Shape, Gather, Unsqueeze, Concat) even
where all but the batch is known. That arithmetic is evaluated with names for the sizes that are
not, and the result spelled as a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.parameters import read_parameter
from ....ir.ops.traits.groups import RESHAPES
from ...analysis.sizes.shape_arithmetic import ShapeArithmetic, is_reshape
from ...engine.context import Context
from ...engine.rewrite import Rewrite, RewritePass
from .cancel import CancelAround
from .computed_sizes import ConstantExpand, ConstantResize, ConstantSlice
from .forms import ReshapeForm, form_of, write_form
from .gathered import ReshapeForGather
from .sorted_axes import SortedAxes
from .written_sizes import FewerSteps, OneList


@dataclass(frozen=True)
class SimplifyReshapes(RewritePass):
    """Merge chains of Reshape, Flatten, Squeeze and Unsqueeze, and make their targets constant.

    A Reshape that keeps the first axis and joins all others becomes a Flatten, a Gather of every
    element in order a Reshape; the target shapes
    of Expand and the sizes of Resize become constant too where they follow from the input's.
    """

    name: ClassVar[str] = "simplify-reshapes"

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Rewrite until sizes that follow from constant targets make no more of them constant."""
        edits = -1
        while context.edits > edits:
            edits = context.edits
            super().run(graph, context)

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites, which share what they know of sizes."""
        sizes = ShapeArithmetic()
        return (
            _Simplify(sizes),
            CancelAround(sizes),
            ConstantExpand(sizes),
            ConstantResize(sizes),
            ConstantSlice(sizes),
            FewerSteps(sizes),
            OneList(sizes),
            SortedAxes(),
            ReshapeForGather(),
        )


@dataclass(frozen=True)
class _MergedReshape:
    node: gs.Node
    source: gs.Tensor
    form: ReshapeForm
    merged: gs.Node | None = None  # the reshape before, which may have no readers left


class _Simplify(Rewrite[_MergedReshape]):
    ops = RESHAPES

    def __init__(self, sizes: ShapeArithmetic) -> None:
        self._sizes = sizes

    def match(self, node: gs.Node, view: View) -> _MergedReshape | None:
        if not is_standard(node):
            return None
        asked = read_parameter(node, "shape", view).values if node.op == "Reshape" else None
        result = self._sizes.reshaped(node, view)
        if result is None:
            need(
                node.op != "Reshape" or asked is not None,
                "its target is not known to be made of sizes",
            )
            return None
        x = node.inputs[0]
        inner = view.producer(x)
        refused = self._sizes.refused(node, view)
        if inner is not None and is_reshape(inner):
            both = refused | self._sizes.refused(inner, view)
            form = form_of(self._sizes, inner.inputs[0], result, view, refused=both)
            if form is not None:
                return _MergedReshape(node, inner.inputs[0], form, inner)
        form = form_of(self._sizes, x, result, view, asked, refused)
        if node.op == "Reshape":
            computed = asked is None
            need(form is not None or not computed, "two sizes of its target are computed")
        if form is None or form.op == node.op == "Flatten":
            return None
        if form.op == "Reshape" and (
            node.op != "Reshape" or (asked is not None and form.target == tuple(asked))
        ):
            return None
        if form.op is None and view.is_output(node.outputs[0]):
            return None  # eliminate-identities knows which of the two names must stay
        return _MergedReshape(node, x, form)

    def rewrite(self, site: _MergedReshape, edit: Edit) -> None:
        node, result = site.node, site.node.outputs[0]
        edit.remove(node)
        write_form(site.form, site.source, result, node, edit)
        if site.merged is not None:
            _remove_unread(site.merged, edit)


def _remove_unread(node: gs.Node, edit: Edit) -> None:
    result = node.outputs[0]
    if id(result) not in edit.uses.pinned and not edit.uses.reads(result):
        edit.remove(node)
