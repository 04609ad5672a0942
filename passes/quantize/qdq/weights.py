"""Weights of a quantized graph: integers behind a DequantizeLinear, or floats behind a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from .nodes import dequantizer, is_dequantizer, is_quantizer

Array = np.ndarray[Any, Any]


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
    original = None
    integers = view.constant(node.inputs[0])
    if integers is None:
        quantizer = view.producer(node.inputs[0])
        if quantizer is None or not is_quantizer(quantizer):
            return None
        original = view.constant(quantizer.inputs[0])
        if original is None:
            return None
        integers = _quantized(original, quantizer, view)
    if integers is None:
        return None
    found = _parameters(node, integers.shape, view)
    kept = view.constant(node.inputs[1])
    if found is None or kept is None:
        return None
    step, zero = found
    values = np.asarray((integers.astype(np.float64) - zero) * step).astype(kept.dtype)
    return StoredWeight(values, original, step, zero, limits_of(integers.dtype))


def limits_of(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the least and the largest value of an integer type, numpy's or that of ml_dtypes."""
    if dtype.kind in "iu":
        return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    found = ml_dtypes.iinfo(dtype)
    return float(found.min), float(found.max)


def _quantized(values: Array, node: gs.Node, view: View) -> Array | None:
    # What gives the type is the zero point; without one it is uint8.
    found = _parameters(node, values.shape, view)
    if found is None:
        return None
    given = view.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    dtype = np.dtype(np.uint8) if given is None else given.dtype
    scale, zero = found
    return np.asarray(np.clip(np.rint(values / scale) + zero, *limits_of(dtype))).astype(dtype)


def _parameters(node: gs.Node, shape: tuple[int, ...], view: View) -> tuple[Array, Array] | None:
    """Return scale and zero point of `node`, shaped to broadcast against `shape`."""
    scale = view.constant(node.inputs[1])
    if scale is None:
        return None
    zero = np.zeros_like(scale)
    if len(node.inputs) > 2 and node.inputs[2].name:
        given = view.constant(node.inputs[2])
        if given is None:
            return None
        zero = given
    spread = [_spread(part.astype(np.float64), node, shape) for part in (scale, zero)]
    if spread[0] is None or spread[1] is None:
        return None
    return spread[0], spread[1]


def _spread(part: Array, node: gs.Node, shape: tuple[int, ...]) -> Array | None:
    if part.size == 1:
        return part.reshape(())
    axis = int(node.attrs.get("axis", 1))
    if not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    block = int(node.attrs.get("block_size", 0))
    if block:
        return np.take(np.repeat(part, block, axis=axis), range(shape[axis]), axis=axis)
    if part.size != shape[axis]:
        return None
    return part.reshape([-1 if i == axis else 1 for i in range(len(shape))])
