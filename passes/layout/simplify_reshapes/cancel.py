"""Two reshapes around element-wise operators are one behind them, or none.

unsqueeze(f(squeeze(x))) = f(x)   a constant operand of f gets the axes that the Unsqueeze adds
reshape(f(reshape(x))) = reshape(f(x))
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.axes.named import axes_of
from ....ir.ops.axes.ports import Array
from ....ir.ops.opsets import broadcasts
from ....ir.ops.traits import traits_of
from ....ir.ops.traits.groups import RESHAPES
from ...analysis.sizes.shape_arithmetic import ShapeArithmetic, is_reshape
from ...engine.rewrite import Rewrite
from .forms import ReshapeForm, form_of, write_form

_MOST_BETWEEN = 8


@dataclass(frozen=True)
class _Step:
    """An element-wise operator between the two, and its constant operand where it has one."""

    node: gs.Node
    data: int
    constant: Array | None


@dataclass(frozen=True)
class _ReshapesAround:
    last: gs.Node
    between: tuple[_Step, ...]  # the last first
    first: gs.Node
    types: tuple[TensorType | None, ...]
    form: ReshapeForm


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
        if form is None or (form.op is None and view.is_output(node.outputs[0])):
            return None
        types = [view.type(step.node.outputs[0]) for step in between]
        shape = view.shape(inner.inputs[0])
        like = tuple(None if t is None else TensorType(t.dtype, shape) for t in types)
        return _ReshapesAround(node, tuple(between), inner, like, form)

    def rewrite(self, site: _ReshapesAround, edit: Edit) -> None:
        """Let the operators between work on the shape around."""
        for node in (site.last, *(step.node for step in site.between), site.first):
            edit.remove(node)
        x = site.first.inputs[0]
        for step, like in zip(reversed(site.between), reversed(site.types), strict=True):
            y = edit.variable(f"{step.node.outputs[0].name}_reshaped", like)
            inputs = list(step.node.inputs)
            inputs[step.data] = x
            if step.constant is not None:
                name = inputs[1 - step.data].name
                inputs[1 - step.data] = edit.constant(step.constant, f"{name}_reshaped")
            op, attrs, domain = step.node.op, dict(step.node.attrs), step.node.domain
            edit.node(op, inputs, [y], attrs, at=step.node, domain=domain)
            x = y
        write_form(site.form, x, site.last.outputs[0], site.last, edit)


def _step(node: gs.Node, last: gs.Node, view: View) -> _Step | None:
    traits = traits_of(node, view.opset)
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
