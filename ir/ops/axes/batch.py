"""How many leading axes an operator takes one by one, its `batch_dims`."""

from __future__ import annotations

import onnx_graphsurgeon as gs


def batch_is_counted_from_behind(node: gs.Node) -> bool:
    """Say whether `batch_dims` of a GatherND is below zero, of which ONNX says nothing.

    ONNX's inference and ONNX Runtime read before the begin of a shape then. In a function's body it
    may be, where a call gives it.
    """
    held = node.attrs.get("batch_dims", 0)
    return not isinstance(held, int) or held < 0
