"""What is known about the range of a tensor's values without running anything."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...ir.variables import is_standard
from ...ir.view import View

_NONNEGATIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softplus", "Softmax", "Abs", "Exp"})
# Of values that are not negative these give none that is.
_KEEPING = frozenset(
    {
        "AveragePool",
        "Dropout",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "MaxPool",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
    }
)
_JOINING = frozenset({"Concat", "Add", "Mul", "Max", "Sum"})
_MOST_NODES = 16


def is_nonnegative(tensor: gs.Tensor, view: View) -> bool:
    """Say whether no value of `tensor` can be negative, as far as a few producers show."""
    pending, seen = [tensor], 0
    while pending:
        current = pending.pop()
        node = view.producer(current)
        seen += 1
        if node is None or not is_standard(node) or seen > _MOST_NODES:
            return False
        if node.op in _NONNEGATIVE or (node.op == "Clip" and _clips_below_zero(node, view)):
            continue
        if node.op in _KEEPING and current is node.outputs[0]:
            pending.append(node.inputs[0])
        elif node.op in _JOINING:
            pending.extend(node.inputs)
        else:
            return False
    return True


def _clips_below_zero(node: gs.Node, view: View) -> bool:
    if view.opset < 11:
        return bool(node.attrs.get("min", -1.0) >= 0)
    if len(node.inputs) < 2 or node.inputs[1].is_empty():
        return False
    low = view.constant(node.inputs[1])
    return low is not None and low.size == 1 and float(low.reshape(())) >= 0
