"""Tensors all of whose elements are one known value, whatever their sizes.

ConstantOfShape(s, v) and, of those, Expand, Reshape, Slice and all else that only moves elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.variables import is_standard
from ..graph.view import View
from .traits import traits_of

_FARTHEST = 8


def fill_of(tensor: gs.Tensor, view: View) -> np.ndarray[Any, Any] | None:
    """Return the value, of rank 0, that every element of `tensor` has; None where none is known.

    Also None for what has no elements, and for text.
    """
    for _ in range(_FARTHEST):
        values = view.constant(tensor)
        node = view.producer(tensor)
        if values is not None:
            return _only(values)
        if node is None or not is_standard(node):
            return None
        if node.op == "ConstantOfShape":
            return _only(_value_of(node))
        traits = traits_of(node, view.opset)
        data = traits.data_of(len(node.inputs))
        if not traits.moves or len(data) != 1 or tensor is not node.outputs[0]:
            return None
        tensor = node.inputs[data[0]]
    return None


def _value_of(node: gs.Node) -> np.ndarray[Any, Any]:
    held = node.attrs.get("value")
    if held is None:
        return np.zeros(1, np.float32)
    return np.asarray(held.values if isinstance(held, gs.Constant) else held)


def _only(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    if not values.size or values.dtype.kind == "O":
        return None
    first = values.reshape(-1)[0]
    return np.asarray(first) if bool((values == first).all()) else None
