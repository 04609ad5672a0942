"""Weights of a quantized graph: integers behind a DequantizeLinear, or floats behind a pair.

w_q -> DequantizeLinear -> w,  or  w -> QuantizeLinear -> DequantizeLinear -> w'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core import dtypes
from ...graph.view import View
from .nodes import dequantizer, is_dequantizer, is_quantizer
from .parameters import read_quantization

Array = np.ndarray[Any, Any]


def weight_values(tensor: gs.Tensor, view: View) -> Array | None:
    """Return the float values of a weight, dequantized to float32 where it is stored as integers.

    None for what is no constant; block-wise scales are not read.
    """
    found = view.constant(tensor)
    if found is not None:
        return found
    node = dequantizer(tensor, view)
    integers = None if node is None else view.constant(node.inputs[0])
    if node is None or integers is None:
        return None
    known = read_quantization(node).constants(view.constant)
    parts = None if known is None or known.block else known.broadcast(integers.shape)
    if parts is None:
        return None
    scale, zero = parts
    return np.asarray((integers.astype(np.float64) - zero) * scale).astype(np.float32)


def weight_scale(tensor: gs.Tensor, view: View) -> Array | None:
    """Return the scale, of rank 0 or 1, with which a weight is stored; None where it is float."""
    node = dequantizer(tensor, view)
    return None if node is None else view.constant(read_quantization(node).scale)


@dataclass(frozen=True)
class StoredWeight:
    """A constant as an operator reads it, `values`, and as a float where it is still there.

    `step`, `zero`, `limits`: the grid, shaped to broadcast against the values.
    """

    values: Array
    original: Array | None
    step: Array
    zero: Array
    limits: tuple[float, float]

    def rounded(self, values: Array) -> Array:
        """Return `values` as this grid would hold them."""
        whole = np.clip(np.rint(values / self.step) + self.zero, *self.limits)
        return np.asarray((whole - self.zero) * self.step)


def stored_weight(tensor: gs.Tensor, view: View) -> StoredWeight | None:
    """Return the weight that comes out of a DequantizeLinear of constants, None for what is none.

    Scales may be one number, one for each index of an axis, or block-wise.
    """
    node = view.producer(tensor)
    if node is None or not is_dequantizer(node):
        return None
    integers, original = _integers(node.inputs[0], view)
    known = read_quantization(node).constants(view.constant)
    if integers is None or known is None or not dtypes.is_integer(integers.dtype):
        return None
    parts, values = known.broadcast(integers.shape), known.dequantize(integers)
    if parts is None or values is None:
        return None
    low, high = dtypes.integer_limits(integers.dtype)
    return StoredWeight(values, original, *parts, (float(low), float(high)))


def _integers(tensor: gs.Tensor, view: View) -> tuple[Array | None, Array | None]:
    """Return what a DequantizeLinear reads, and the constant that a QuantizeLinear made it of."""
    integers = view.constant(tensor)
    if integers is not None:
        return integers, None
    node = view.producer(tensor)
    original = None if node is None or not is_quantizer(node) else view.constant(node.inputs[0])
    if node is None or original is None:
        return None, None
    known = read_quantization(node).constants(view.constant)
    return (None if known is None else known.quantize(original)), original
