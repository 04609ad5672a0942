"""Values that follow from attributes or shapes alone, without evaluating anything.

Constant = its attribute;   Shape(x) = [d1, ..., dn];   Size(x) = d1 * ... * dn
Gather(Shape(x), i) = d_i   where that one size is static, whatever the others are; and whatever
                            else is computed from sizes (`ShapeArithmetic`)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.constant_nodes import value_of_constant_node
from ....ir.graph.view import View
from ....ir.ops.traits.groups import READ_NO_VALUES
from ..sizes.shape_arithmetic import ShapeArithmetic

Array = np.ndarray[Any, Any]


def is_told(node: gs.Node) -> bool:
    """Say, from its operator alone, whether `static_value` may know what `node` computes."""
    return node.op == "Constant" or node.op in READ_NO_VALUES


def static_value(node: gs.Node, view: View) -> Array | None:
    """Return what the standard operator `node` computes, or None where that needs its inputs."""
    match node.op:
        case "Constant":
            return value_of_constant_node(node)
        case "Shape":
            return _shape_value(node, view.shape(node.inputs[0]))
        case "Size":
            shape = view.shape(node.inputs[0])
            if shape is not None and is_static(shape):
                return np.array(math.prod(d for d in shape if isinstance(d, int)), np.int64)
    return None


def value_of_sizes(node: gs.Node, view: View, sizes: ShapeArithmetic) -> Array | None:
    """Return what the standard operator `node` computes from sizes that are static."""
    if len(node.outputs) != 1 or all(view.is_constant(t) for t in node.inputs if t.name):
        return None
    return sizes.numbers(node.outputs[0], view)


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
