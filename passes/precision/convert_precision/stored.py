"""Constants, initializers or not: some exporters write them as Constant nodes, weights included."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core.constant_nodes import dense_value_of_constant_node
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from .narrow import Array


def stored_values(tensor: gs.Tensor, view: View) -> Array | None:
    """Return the values of a constant of the scope of `view`; None where it is none, or sparse."""
    if view.is_constant(tensor):
        return view.constant(tensor)
    node = view.producer(tensor)
    if node is None or not is_constant_node(node):
        return None
    return dense_value_of_constant_node(node)


def is_constant_node(node: gs.Node) -> bool:
    """Say whether `node` is a Constant of the standard."""
    return node.op == "Constant" and is_standard(node)
