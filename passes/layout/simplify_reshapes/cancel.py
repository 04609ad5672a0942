"""Two reshapes around operators that know no shape are one, behind them or before, or none.

unsqueeze(f(squeeze(x))) = f(x)   a constant operand of f gets the axes that the Unsqueeze adds
reshape(f(reshape(x))) = reshape(f(x))     f element-wise
reshape(g(reshape(x))) = reshape(g(x))     g along the last axis, which x has too; or
                       = g(reshape(x))     which the result has
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.axes.named import axes_of, normalizes_rows
from ....ir.ops.axes.ports import Array
from ....ir.ops.opsets import broadcasts
from ....ir.ops.traits import traits_of
from ....ir.ops.traits.groups import RESHAPES
from ...analysis.sizes.result_sizes import Shape
from ...analysis.sizes.shape_arithmetic import ShapeArithmetic, is_reshape
from ...engine.rewrite import Rewrite
from .forms import ReshapeForm, form_of, write_form

_MOST_BETWEEN = 8


@dataclass(frozen=True)
class _Step:
    """An operator between the two, and its constant operand where it has one.

    Element-wise, or (`rows`) along the last axis alone.
    """

    node: gs.Node
    data: int
    constant: Array | None
    rows: bool = False


@dataclass(frozen=True, kw_only=True)
class _ReshapesAround:
    last: gs.Node
    between: tuple[_Step, ...]  # the last first
    first: gs.Node
    types: tuple[TensorType | None, ...]
    form: ReshapeForm
    rank: int  # of what the operators between are to work on
    before: bool  # the one reshape left goes before them


class CancelAround(Rewrite[_ReshapesAround]):
    """Merge two reshapes around element-wise operators that nothing else reads."""

    ops = RESHAPES

    def __init__(self, sizes: ShapeArithmetic) -> None:
        self._sizes = sizes

    def match(self, node: gs.Node, view: View) -> _ReshapesAround | None:
        """Return what lies between `node` and a reshape before it, and what both are together."""
        if not is_standard(node):
            return None
        between: list[_Step] = []
        reader, value = node, node.inputs[0]
        for _ in range(_MOST_BETWEEN + 1):
            inner = view.producer(value)
            if inner is None or not view.read_only_by(value, reader):
                return None
            if is_reshape(inner):
                break
            step = _step(inner, node, view)
            if step is None:
                return None
            between.append(step)
            reader, value = inner, inner.inputs[step.data]
        else:
            return None
        sizes = self._sizes.shape(inner.inputs[0], view)
        result = self._sizes.reshaped(node, view)
        if not between or sizes is None or result is None or None in sizes:
            return None
        if any(step.constant is not None and step.constant.ndim for step in between):
            # Such an operand may have widened what one size is to follow from.
            form = ReshapeForm(None) if tuple(sizes) == tuple(result) else None
        else:
            refused = self._sizes.refused(node, view) | self._sizes.refused(inner, view)
            form = form_of(self._sizes, inner.inputs[0], result, view, refused=refused)
        if form is None:
            return None
        shapes = [(sizes, inner.inputs[0], False), (result, node.outputs[0], True)]
        if any(step.rows for step in between):
            rows = self._sizes.shape(inner.outputs[0], view)
            shapes = [each for each in shapes if _has_rows_of(rows, each[0])]
        if not shapes or (form.op is None and view.is_output(node.outputs[0])):
            return None
        shape, like, before = shapes[0]
        return _ReshapesAround(
            last=node,
            between=tuple(between),
            first=inner,
            types=tuple(_typed(step.node.outputs[0], like, view) for step in between),
            form=form,
            rank=len(shape),
            before=before,
        )

    def rewrite(self, site: _ReshapesAround, edit: Edit) -> None:
        """Let the operators between work on the shape around."""
        for node in (site.last, *(step.node for step in site.between), site.first):
            edit.remove(node)
        x, result = site.first.inputs[0], site.last.outputs[0]
        if site.before and site.form.op is not None:
            made = edit.variable(f"{site.first.outputs[0].name}_reshaped", site.types[-1])
            write_form(site.form, x, made, site.first, edit)
            _write_steps(site, made, result, edit)
        else:
            write_form(site.form, _write_steps(site, x, None, edit), result, site.last, edit)


def _write_steps(
    site: _ReshapesAround, x: gs.Tensor, result: gs.Tensor | None, edit: Edit
) -> gs.Tensor:
    """Write the operators between, on `x`; the last gives `result`, or a fresh variable."""
    for step, like in zip(reversed(site.between), reversed(site.types), strict=True):
        node = step.node
        y = edit.variable(f"{node.outputs[0].name}_reshaped", like)
        if result is not None and step is site.between[0]:
            y = result
        inputs, attrs = list(node.inputs), dict(node.attrs)
        inputs[step.data] = x
        if step.constant is not None:
            name = inputs[1 - step.data].name
            inputs[1 - step.data] = edit.constant(step.constant, f"{name}_reshaped")
        if step.rows:
            attrs["axis"] = site.rank - 1
        edit.node(node.op, inputs, [y], attrs, at=node, domain=node.domain)
        x = y
    return x


def _typed(value: gs.Tensor, like: gs.Tensor, view: View) -> TensorType | None:
    found = view.type(value)
    return None if found is None else TensorType(found.dtype, view.shape(like))


def _has_rows_of(rows: Shape | None, other: Shape) -> bool:
    """Say whether `other` has the last axis of `rows`."""
    if not rows or not other:
        return False
    return rows[-1] is not None and rows[-1] == other[-1]


def _step(node: gs.Node, last: gs.Node, view: View) -> _Step | None:
    traits = traits_of(node, view.opset)
    if normalizes_rows(node, view) and all(t.is_empty() for t in node.outputs[1:]):
        return _Step(node, 0, None, rows=True)
    if not traits.elementwise or not traits.pure:
        return None
    if traits.operands == 1:
        return _Step(node, 0, None)
    if len(node.inputs) != 2 or not broadcasts(node.op, view.opset):
        return None
    data = 1 if view.is_constant(node.inputs[0]) else 0
    values = view.constant(node.inputs[1 - data])
    rank, result = view.rank(node.inputs[data]), view.rank(last.outputs[0])
    if values is None or rank is None or result is None or values.ndim > rank:
        return None
    if data not in traits.data_of(2):
        return None  # a slope, which PRelu broadcasts one way only
    if values.size == 1:
        return _Step(node, data, values.reshape(()))
    axes, known = axes_of(last, view, result) if last.op == "Unsqueeze" else (None, False)
    if axes is None or not known:
        return None
    aligned = values.reshape((1,) * (rank - values.ndim) + values.shape)
    return _Step(node, data, np.expand_dims(aligned, tuple(axes)))
