"""Say in one operator what a chain of Reshape, Flatten, Squeeze and Unsqueeze does.

reshape(reshape(x, a), b) = reshape(x, b)            nothing where b is the shape of x
reshape(x, [d1, d2 * d3 * ...]) = flatten(x)         with d1, d2, ... the sizes of x
reshape(x, shape arithmetic) = reshape(x, constant)  0 for a size kept in place, one -1 for another

Exporters compute the target of a Reshape from sizes of x (Shape, Gather, Unsqueeze, Concat) even
where all but the batch is known. That arithmetic is evaluated with names for the sizes that are
not (`shape_arithmetic`), and the result spelled as a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.edit import Edit
from ...ir.variables import is_standard
from ...ir.view import View
from ..context import Context
from ..contract import Rewrite, RewritePass, need
from .cancel_reshapes import CancelAround
from .computed_sizes import ConstantExpand, ConstantResize
from .shape_arithmetic import ShapeArithmetic, is_reshape
from .sizes import Size, product, same_sizes

Sizes = Sequence[Size | None]
_RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})


@dataclass(frozen=True)
class SimplifyReshapes(RewritePass):
    """Merge chains of Reshape, Flatten, Squeeze and Unsqueeze, and make their targets constant.

    A Reshape that keeps the first axis and joins all others becomes a Flatten; the target shapes
    of Expand and the sizes of Resize become constant too where they follow from the input's.
    """

    name: ClassVar[str] = "simplify-reshapes"

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Rewrite until sizes that follow from constant targets make no more of them constant."""
        edits = -1
        while context.edits > edits:
            edits = context.edits
            super().run(graph, context)
            if context.edits > edits:
                context.types = None

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites, which share what they know of sizes."""
        sizes = ShapeArithmetic()
        return (
            _Simplify(sizes),
            CancelAround(sizes),
            ConstantExpand(sizes),
            ConstantResize(sizes),
        )


@dataclass(frozen=True)
class _Form:
    """How to get the result from a tensor: a Flatten, a Reshape to `target`, or nothing."""

    op: str | None
    target: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Site:
    node: gs.Node
    source: gs.Tensor
    form: _Form


class _Simplify(Rewrite[_Site]):
    ops = _RESHAPES

    def __init__(self, sizes: ShapeArithmetic) -> None:
        self._sizes = sizes

    def match(self, node: gs.Node, view: View) -> _Site | None:
        if not is_standard(node) or (node.op == "Reshape" and view.opset < 5):
            return None
        result = self._sizes.reshaped(node, view)
        if result is None:
            known = node.op != "Reshape" or view.is_constant(node.inputs[1])
            need(known, "its target is not known to be made of sizes")
            return None
        x = node.inputs[0]
        inner = view.producer(x)
        if inner is not None and is_reshape(inner):
            form = self._form(inner.inputs[0], result, None, view)
            if form is not None:
                return _Site(node, inner.inputs[0], form)
        asked = view.constant(node.inputs[1]) if node.op == "Reshape" else None
        form = self._form(x, result, asked, view)
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
        return _Site(node, x, form)

    def _form(
        self, source: gs.Tensor, result: Sizes, asked: np.ndarray[Any, Any] | None, view: View
    ) -> _Form | None:
        """Return how to give `source` the sizes `result`, the constant target `asked` being it."""
        sizes = self._sizes.shape(source, view)
        if sizes is None:
            return None
        known = all(size is not None for size in sizes)
        if known and same_sizes(sizes, result):
            return _Form(None)
        if _is_flat(sizes, result):
            return _Form("Flatten")
        if view.opset < 5:
            return None
        target = _target(sizes, result, asked)
        return None if target is None else _Form("Reshape", target)

    def rewrite(self, site: _Site, edit: Edit) -> None:
        node, result = site.node, site.node.outputs[0]
        inner = edit.uses.producer(node.inputs[0])
        edit.remove(node)
        if site.form.op is None and id(result) not in edit.uses.pinned:
            edit.replace(result, site.source)
        elif site.form.op is None:
            edit.node("Identity", [site.source], [result], at=node)
        elif site.form.op == "Flatten":
            edit.node("Flatten", [site.source], [result], {"axis": 1}, at=node)
        else:
            shape = edit.constant(np.array(site.form.target, np.int64), f"{result.name}_shape")
            edit.node("Reshape", [site.source, shape], [result], at=node)
        if inner is not None and inner.outputs[0] is not site.source:
            _remove_unread(inner, edit)


def _is_flat(sizes: Sizes, result: Sizes) -> bool:
    """Say whether `result` is [first, all others joined] of three or more `sizes`."""
    if len(result) != 2 or len(sizes) < 3:
        return False
    rest = None if None in sizes[1:] else product(size for size in sizes[1:] if size is not None)
    kept = sizes[0] is not None and result[0] == sizes[0] and sizes[0].factor != 0
    joined = rest is not None and result[1] == rest and rest.factor != 0
    # Where one is certain the other is what is left.
    return (kept and (joined or result[1] is None)) or (joined and result[0] is None)


def _target(
    sizes: Sizes, result: Sizes, asked: np.ndarray[Any, Any] | None
) -> tuple[int, ...] | None:
    """Return the target of a Reshape from `sizes` to `result`; what `asked` names stays."""
    target: list[int] = []
    for place, size in enumerate(result):
        number = None if size is None else size.number
        if asked is not None and asked[place] != -1:
            target.append(int(asked[place]))
        elif number is not None:
            target.append(number)
        elif size is not None and place < len(sizes) and size == sizes[place]:
            target.append(0)
        else:
            target.append(-1)
    if target.count(-1) > 1 or (asked is None and any(s == Size(0) for s in result)):
        return None
    return tuple(target)


def _remove_unread(node: gs.Node, edit: Edit) -> None:
    result = node.outputs[0]
    if id(result) not in edit.uses.pinned and not edit.uses.reads(result):
        edit.remove(node)
