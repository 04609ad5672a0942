"""Constant nodes, in every spelling of their value."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..core.variables import dense_values

Array = np.ndarray[Any, Any]


def value_of_constant_node(node: gs.Node) -> Array | None:
    """Return the value of a Constant node, or None for a sparse one and for bytes."""
    for name, value in node.attrs.items():
        match name:
            case "value":
                return dense_values(value) if isinstance(value, gs.Tensor) else None
            case "value_float" | "value_floats":
                return np.array(value, np.float32)
            case "value_int" | "value_ints":
                return np.array(value, np.int64)
            case "value_string" | "value_strings" if not _is_bytes(value):
                return np.array(value, dtype=object)
    return None


def _is_bytes(value: Any) -> bool:
    """Say whether a string attribute is no UTF-8 text; such a one is held as an AttributeProto."""
    return isinstance(value, onnx.AttributeProto)
