"""Axes and sizes that a Reshape of a constant gives, written as constants for inference.

    axes = Reshape (Constant [2], [-1])        ->        axes = Constant [2]

Exporters flatten every list of axes so, and ONNX's inference reads the axes of a reduction, the
sizes of an Expand or the pads of a Pad from constants alone: without this, a graph that nobody has
folded yet has no sizes behind its first reduction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

Array = np.ndarray[Any, Any]

# Longer lists are data, not axes.
MOST_ELEMENTS = 64
_FORWARDED = frozenset({"Reshape", "Identity"})
_GIVES_LISTS = _FORWARDED | {"Constant"}


def write_moved_constants(proto: onnx.GraphProto, *, nested: bool = True) -> None:
    """Make Constants of the nodes of `proto` that reshape a constant list, and of its bodies.

    `nested`: whether there may be bodies. Nodes stay where they are and keep their outputs. A list
    from outside a body is none of its own: inference would not read it there either.
    """
    known = {t.name: v for t in proto.initializer if (v := _small(t)) is not None}
    for node in proto.node:
        for attribute in node.attribute if nested else ():
            if attribute.type == onnx.AttributeProto.GRAPH:
                write_moved_constants(attribute.g)
        found = _value(node, known)
        if found is None:
            continue
        known[node.output[0]] = found
        if node.op_type in _FORWARDED:
            node.op_type = "Constant"
            del node.input[:], node.attribute[:]
            node.attribute.append(
                onnx.helper.make_attribute("value", numpy_helper.from_array(found))
            )


def _value(node: onnx.NodeProto, known: Mapping[str, Array]) -> Array | None:
    """Return the list that `node` gives, None where it is not such a list or not known."""
    if node.op_type not in _GIVES_LISTS or node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Constant":
        return _constant(node)
    if node.op_type not in _FORWARDED or not node.input or node.input[0] not in known:
        return None
    value = known[node.input[0]]
    if node.op_type == "Identity":
        return value
    sizes = known.get(node.input[1]) if len(node.input) > 1 else None
    if sizes is None or sizes.ndim != 1 or (sizes == 0).any():
        return None
    try:
        return value.reshape(sizes)
    except ValueError:  # an invalid graph
        return None


def _constant(node: onnx.NodeProto) -> Array | None:
    for attribute in node.attribute:
        if attribute.name == "value":
            return _small(attribute.t)
        if attribute.name == "value_int":
            return np.array(attribute.i, np.int64)
        if attribute.name == "value_ints" and len(attribute.ints) <= MOST_ELEMENTS:
            return np.array(attribute.ints, np.int64)
    return None


def _small(tensor: onnx.TensorProto) -> Array | None:
    """Return the values of a short list of integers that lies in the file itself."""
    if tensor.data_type not in (onnx.TensorProto.INT64, onnx.TensorProto.INT32):
        return None
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    return numpy_helper.to_array(tensor) if math.prod(tensor.dims) <= MOST_ELEMENTS else None
