"""Products of integers whose grid is found at run time, as those between pairs.

    x_q, s_x, z_x = DynamicQuantizeLinear(x)
    y = Cast(MatMulInteger(x_q, w_q, z_x, z_w)) (s_x s_w)
      = MatMul(DQ(x_q, s_x, z_x), DQ(w_q, s_w, z_w))

What planish's and ONNX Runtime's dynamic quantization write, and ConvInteger likewise.
Sources: ONNX operators DynamicQuantizeLinear, MatMulInteger and ConvInteger.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard, node_key
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import DEQUANTIZE, is_dynamic_quantizer
from ...engine.context import Context
from ...opset.convert_opset import ensure_opset

Array = np.ndarray[Any, Any]

_OPSET = 13  # of scales along an axis
# The float operator of each, and the axis of its weight that scales lie along.
_FLOATS = {"MatMulInteger": ("MatMul", -1), "ConvInteger": ("Conv", 0)}


@dataclass(frozen=True, kw_only=True)
class _IntegerProduct:
    """A product of what `source` quantized; `last` gives it as floats, by way of `between`.

    `other`: what quantized the second operand, of which `scale` and `zero` are None; or None.
    """

    node: gs.Node
    source: gs.Node
    other: gs.Node | None
    scale: Array | None
    zero: Array | None
    between: tuple[gs.Node, ...]
    last: gs.Node

    @property
    def nodes(self) -> tuple[gs.Node, ...]:
        """All nodes that go."""
        return (self.node, *self.between, self.last)

    @property
    def name(self) -> str:
        """What the operator is called that stands for it."""
        return self.node.name or node_key(self.last)


def raise_dynamic(
    graph: gs.Graph, context: Context, only: Collection[str] | None = None
) -> dict[str, str]:
    """Write products of what a DynamicQuantizeLinear gives as operators between pairs.

    In bodies too. `only`: those of these names; None for all. What has another form is declined.
    Returns what the operators are called that took their places, by the results of what went.
    """
    found = []
    for scope in context.uses.scopes(graph):
        view = context.view(scope)
        for node in scope.nodes:
            if node.op in _FLOATS and is_standard(node):
                try:
                    found.append((_read(node, view, context), view))
                except DeclinedError as reason:
                    context.decline(node, str(reason))
    found = [(each, view) for each, view in found if only is None or each.name in only]
    if not found or not ensure_opset(graph, context, _OPSET):
        return {}
    raised: dict[str, str] = {}
    with context.editing() as edit:
        for product, view in found:
            if edit.begin():
                name = _write(product, view, edit)
                raised.update((node.outputs[0].name, name) for node in product.nodes)
    return raised


def _read(node: gs.Node, view: View, context: Context) -> _IntegerProduct:
    found = [_quantizer(node, place, context) for place in range(2)]
    source = need(found[0], "its input is not quantized by its own range")
    cast = _only(node, view, "Cast")
    first = _only(cast, view, "Mul")
    factors, between, last = _factors(first, cast, view), [cast], first
    if len(factors) == 1:
        last = _only(first, view, "Mul")
        factors += _factors(last, first, view)
        between.append(first)
    rest = [factor for factor in factors if factor is not source.outputs[1]]
    need(len(factors) == 2 and len(rest) == 1, "its result is not multiplied by both scales")
    other, scale, zero = found[1], None, None
    if other is None:
        scale, zero = _grid(node, rest[0], view)
    else:
        need(rest[0] is other.outputs[1], "its result is not multiplied by both scales")
    return _IntegerProduct(
        node=node,
        source=source,
        other=other,
        scale=scale,
        zero=zero,
        between=tuple(between),
        last=last,
    )


def _quantizer(node: gs.Node, place: int, context: Context) -> gs.Node | None:
    """Return what quantizes an operand of `node` by its own range, with that zero point."""
    found = context.uses.producer(node.inputs[place])
    if found is None or not is_dynamic_quantizer(found):
        return None
    given = node.inputs[2 + place] if len(node.inputs) > 2 + place else None
    need(given is found.outputs[2], "it takes another zero point than that of its input")
    return found


def _grid(node: gs.Node, factor: gs.Tensor, view: View) -> tuple[Array, Array]:
    """Return scale and zero point of a constant weight, one or one a channel."""
    weight = need(view.constant(node.inputs[1]), "its weight is no constant")
    scales = need(view.constant(factor), "its result is not multiplied by both scales")
    zeros = view.constant(node.inputs[3]) if len(node.inputs) > 3 else np.zeros((), weight.dtype)
    size = weight.shape[_FLOATS[node.op][1]]
    scale = need(_along(scales, size), "its scales are not one a channel")
    zero = need(_along(need(zeros, "a zero point is computed"), scale.size), "as are zero points")
    return scale, np.broadcast_to(zero, scale.shape)


def _only(node: gs.Node, view: View, op: str) -> gs.Node:
    reader = need(view.only_reader(node.outputs[0]), "its result is read by several")
    need(reader.op == op and is_standard(reader), "its result is not multiplied by scales")
    return reader


def _factors(product: gs.Node, of: gs.Node, view: View) -> list[gs.Tensor]:
    """Return what `product` multiplies the result of `of` with, two where that is a product."""
    other = next((t for t in product.inputs if t is not of.outputs[0]), product.inputs[0])
    node = view.producer(other)
    return list(node.inputs) if node is not None and node.op == "Mul" else [other]


def _along(values: Array, size: int) -> Array | None:
    """Return one value, or `size` of them, of any shape, as DequantizeLinear takes them."""
    if values.size == 1:
        return values.reshape(())
    return values.reshape(-1) if values.size == size == max(values.shape) else None


def _write(product: _IntegerProduct, view: View, edit: Edit) -> str:
    node, result = product.node, product.last.outputs[0]
    op, axis = _FLOATS[node.op]
    for each in product.nodes:
        edit.remove(each)
    for tensor in product.last.inputs:  # the product of both scales
        made_by = view.producer(tensor)
        multiplied = made_by is not None and made_by.op == "Mul"
        if multiplied and not view.reads(tensor) and not view.is_output(tensor):
            edit.remove(made_by)
    data, held = (_real(t, view, edit) for t in node.inputs[:2])
    grids: list[tuple[list[gs.Tensor], gs.Variable, dict[str, int]]] = [
        (list(product.source.outputs), data, {}),
        (_held(product, edit), held, {}),
    ]
    if product.scale is not None and product.scale.shape:
        grids[1][2]["axis"] = axis
    for given, made, attrs in grids:
        edit.rename(edit.node(DEQUANTIZE, given, [made], attrs, at=node), made.name)
    operator = edit.node(op, [data, held], [result], dict(node.attrs), at=node)
    edit.rename(operator, product.name)
    return node_key(operator)


def _held(product: _IntegerProduct, edit: Edit) -> list[gs.Tensor]:
    """Return the integers of the second operand with scale and zero point."""
    if product.other is not None:
        return list(product.other.outputs)
    assert product.scale is not None
    assert product.zero is not None
    weight = product.node.inputs[1]
    scale = edit.constant(product.scale, f"{weight.name}_scale")
    return [weight, scale, edit.constant(product.zero, f"{weight.name}_zero_point")]


def _real(like: gs.Tensor, view: View, edit: Edit) -> gs.Variable:
    return edit.variable(f"{like.name}_real", TensorType(np.dtype(np.float32), view.shape(like)))
