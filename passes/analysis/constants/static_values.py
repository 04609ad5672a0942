"""Values that follow from attributes or shapes alone, without evaluating anything.

Constant = its attribute;   Shape(x) = [d1, ..., dn];   Size(x) = d1 * ... * dn
Gather(Shape(x), i) = d_i   where that one size is static, whatever the others are
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.constant_nodes import value_of_constant_node

Array = np.ndarray[Any, Any]


def static_value(node: gs.Node, view: View) -> Array | None:
    """Return what the standard operator `node` computes, or None where that needs evaluation."""
    match node.op:
        case "Constant":
            return value_of_constant_node(node)
        case "Shape":
            return _shape_value(node, view.shape(node.inputs[0]))
        case "Size":
            shape = view.shape(node.inputs[0])
            if shape is not None and is_static(shape):
                return np.array(math.prod(d for d in shape if isinstance(d, int)), np.int64)
        case "Gather":
            return _gathered_sizes(node, view)
    return None


def _gathered_sizes(node: gs.Node, view: View) -> Array | None:
    source = view.producer(node.inputs[0])
    indices = view.constant(node.inputs[1])
    if source is None or source.op != "Shape" or not is_standard(source) or indices is None:
        return None
    shape = view.shape(source.inputs[0])
    if shape is None:
        return None
    sizes = shape[_shape_slice(source)]
    picked = [sizes[i] if -len(sizes) <= i < len(sizes) else None for i in indices.flat]
    if not is_static(picked):
        return None
    return np.array(picked, np.int64).reshape(indices.shape)


def _shape_slice(node: gs.Node) -> slice:
    return slice(node.attrs.get("start", 0), node.attrs.get("end"))


def _shape_value(node: gs.Node, shape: Sequence[int | str | None] | None) -> Array | None:
    if shape is None:
        return None
    sizes = tuple(shape)[_shape_slice(node)]
    return np.array(sizes, np.int64) if is_static(sizes) else None


def is_static(shape: Sequence[int | str | None] | None) -> bool:
    """Say whether every size of `shape` is known."""
    return shape is not None and all(isinstance(dim, int) for dim in shape)
