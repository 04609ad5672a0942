"""Normalizations of channels that are moved last, with Transposes of the floats beside them.

    DQ(T(q)) = T(DQ(q))        T'(Q(x)) = Q(T'(x))        for one scale and zero point

Passes leave Transposes where they move bytes; a kernel that reads blocks needs neither of the two.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.clone import clone
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_dequantizer, is_quantizer
from ...contract.prepare import typed_view
from .quantized import quantization_of


def swap_channels_last(graph: gs.Graph) -> gs.Graph:
    """Return `graph` with Transposes of bytes around LayerNormalization as those of floats.

    `graph` itself is left as it is.
    """
    if not any(_is_normalization(node) for node in graph.nodes):
        return graph
    graph = clone(graph)
    view = typed_view(graph)
    with Edit(graph) as edit:
        for node in list(filter(_is_normalization, graph.nodes)):
            before, after = _before(node, view), _after(node, view)
            if before is None or after is None:
                continue
            if len(before) > 1:
                _dequantize_first(before[0], before[1], view, edit)
            if len(after) > 1:
                _quantize_last(after[0], after[1], view, edit)
    return graph


def rolls(node: gs.Node, view: View, by: int) -> bool:
    """Say whether `node` moves channels last (`by` 1), or from there to their place (-1)."""
    rank = view.rank(node.inputs[0])
    if node.op != "Transpose" or not is_standard(node) or rank is None or rank < 3:
        return False
    wanted = [0, *np.roll(list(range(1, rank)), -by).tolist()]
    return list(node.attrs.get("perm", range(rank)[::-1])) == wanted


def _is_normalization(node: gs.Node) -> bool:
    return node.op == "LayerNormalization" and is_standard(node)


def _before(norm: gs.Node, view: View) -> tuple[gs.Node, ...] | None:
    """Return the Transpose that moves channels last, and a DequantizeLinear behind it."""
    last = view.producer(norm.inputs[0])
    if last is None or not is_dequantizer(last):
        return None if last is None or not rolls(last, view, 1) else (last,)
    first = view.producer(last.inputs[0])
    if first is None or not rolls(first, view, 1) or quantization_of(last, view) is None:
        return None
    return (first, last) if view.only_reader(last.inputs[0]) is last else None


def _after(norm: gs.Node, view: View) -> tuple[gs.Node, ...] | None:
    """Return the Transpose that moves them back, with a QuantizeLinear before it first."""
    first = view.only_reader(norm.outputs[0])
    if first is None or not is_quantizer(first):
        return None if first is None or not rolls(first, view, -1) else (first,)
    last = view.only_reader(first.outputs[0])
    if last is None or not rolls(last, view, -1) or quantization_of(first, view) is None:
        return None
    return first, last


def _dequantize_first(move: gs.Node, node: gs.Node, view: View, edit: Edit) -> None:
    source, result = move.inputs[0], node.outputs[0]
    made = _between(source, result, view, edit)
    edit.remove(node)
    edit.remove(move)
    edit.node(node.op, [source, *node.inputs[1:]], [made], dict(node.attrs), at=move)
    edit.node(move.op, [made], [result], dict(move.attrs), at=node)


def _quantize_last(node: gs.Node, move: gs.Node, view: View, edit: Edit) -> None:
    source, result = node.inputs[0], move.outputs[0]
    made = _between(result, source, view, edit)
    edit.remove(move)
    edit.remove(node)
    edit.node(move.op, [source], [made], dict(move.attrs), at=node)
    edit.node(node.op, [made, *node.inputs[1:]], [result], dict(node.attrs), at=move)


def _between(like: gs.Tensor, real: gs.Tensor, view: View, edit: Edit) -> gs.Variable:
    """Return a new float tensor of the shape of `like`."""
    dtype = view.dtype(real)
    assert dtype is not None
    return edit.variable(f"{real.name}_moved", TensorType(dtype, view.shape(like)))
