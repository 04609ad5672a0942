"""What a graph holds in quantized form already: weights as integers, tensors between pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.view import View

Array = np.ndarray[Any, Any]


def dequantizer(tensor: gs.Tensor, view: View) -> gs.Node | None:
    """Return the DequantizeLinear that makes `tensor`, or None."""
    producer = view.producer(tensor)
    if producer is None or producer.op != "DequantizeLinear" or not is_standard(producer):
        return None
    return producer


def quantizer(tensor: gs.Tensor, view: View) -> gs.Node | None:
    """Return the QuantizeLinear that alone reads `tensor`, or None."""
    reader = view.only_reader(tensor)
    if reader is None or reader.op != "QuantizeLinear" or not is_standard(reader):
        return None
    return reader if reader.inputs[0] is tensor else None


def weight_values(tensor: gs.Tensor, view: View) -> Array | None:
    """Return the float values of a weight, dequantized where it is stored as integers.

    None for what is no constant; block-wise scales are not read.
    """
    found = view.constant(tensor)
    if found is not None:
        return found
    node = dequantizer(tensor, view)
    if node is None or node.attrs.get("block_size", 0):
        return None
    parts = [view.constant(t) for t in node.inputs if t.name]
    if any(part is None for part in parts):
        return None
    integers, scale, *zero = (np.asarray(part, np.float64) for part in parts)
    if scale.ndim:
        shape = [1] * integers.ndim
        shape[int(node.attrs.get("axis", 1))] = -1
        scale, zero = scale.reshape(shape), [z.reshape(shape) for z in zero]
    centred = integers - zero[0] if zero else integers
    return np.asarray(centred * scale).astype(np.float32)


def weight_scale(tensor: gs.Tensor, view: View) -> Array | None:
    """Return the scale, of rank 0 or 1, with which a weight is stored; None where it is float."""
    node = dequantizer(tensor, view)
    return None if node is None else view.constant(node.inputs[1])
