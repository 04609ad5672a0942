"""Constant nodes, in every spelling of their value."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from .variables import dense_values

Array = np.ndarray[Any, Any]


def value_of_constant_node(node: gs.Node) -> Array | None:
    """Return the value of a Constant node, or None for a sparse one and for bytes."""
    for name, value in node.attrs.items():
        if isinstance(value, gs.Node.AttributeRef):
            return None  # of a function's body: it depends on the call
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


def dense_value_of_constant_node(node: gs.Node) -> Array | None:
    """Return the value of a Constant node, a sparse one filled up with zeros; None for bytes."""
    sparse = node.attrs.get("sparse_value")
    if isinstance(sparse, onnx.AttributeProto):
        return dense_of_sparse(sparse.sparse_tensor)
    return value_of_constant_node(node)


def dense_of_sparse(proto: onnx.SparseTensorProto) -> Array:
    """Return the array that a sparse tensor stands for.

    Its indices are linear, [n], or one row of coordinates a value, [n, rank] (ONNX SparseTensor).
    """
    values = onnx.numpy_helper.to_array(proto.values)
    indices = onnx.numpy_helper.to_array(proto.indices)
    found = np.zeros(tuple(proto.dims), values.dtype)
    if indices.ndim == 1:
        found.reshape(-1)[indices] = values
    else:
        found[tuple(indices.T)] = values
    return found


def _is_bytes(value: Any) -> bool:
    """Say whether a string attribute is no UTF-8 text; such a one is held as an AttributeProto."""
    return isinstance(value, onnx.AttributeProto)
