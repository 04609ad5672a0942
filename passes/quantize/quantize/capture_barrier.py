"""Barriers between what integers move through and the body of an If, Loop or Scan that reads it.

    DQ -> MaxPool -> body    becomes    DQ -> MaxPool -> LeakyRelu(alpha = 1) -> body

ONNX Runtime moves a DequantizeLinear on behind operators that only move data. Where a body reads
what these give, by its name and not as an input, it looks for the input that this is, past the last
one, and aborts the process. It does not move one past a LeakyRelu, which of slope 1 is the
identity. (Seen in ONNX Runtime 1.32, QDQPropagationTransformer.)
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.quantization.barriers import add_barrier
from ....ir.ops.quantization.nodes import dequantizer
from ..qdq.units import is_movement


def insert_capture_barriers(graph: gs.Graph, edit: Edit, view: View) -> None:
    """Put a LeakyRelu of slope 1 where bodies read what moves integers of `graph`, one scope."""
    moved: set[int] = set()
    for node in list(graph.nodes):
        if not is_movement(node) or edit.uses.scope(node) is not graph:
            continue
        if not any(id(t) in moved or dequantizer(t, view) is not None for t in node.inputs):
            continue
        for tensor in node.outputs:
            moved.add(id(tensor))
            _separate(node, tensor, edit, view)


def _separate(node: gs.Node, tensor: gs.Tensor, edit: Edit, view: View) -> None:
    inner = [n for n in view.readers(tensor) if edit.uses.scope(n) is not view.scope]
    if not inner or not edit.begin():
        return
    result = edit.variable(f"{tensor.name}_apart", view.type(tensor))
    edit.replace(tensor, result, inner)
    add_barrier(edit, tensor, result, node)
