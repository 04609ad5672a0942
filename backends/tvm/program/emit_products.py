"""What a dense layer multiplies: float32 weights, of bfloat16, or the bytes of a quantized one.

    sum over k of (q[k] - z) * w[m, k] = sum over k of q[k] * w[m, k] - z * sum over k of w[m, k]

The second sum is a constant that the integer sums start with, together with an integer bias; what
remains is one scale a channel. Padding reads z, which stands for zero.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, CVPR 2018, section 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ....ir.ops.linear.layer import Layer
from ..graph.spatial import SpatialWindow
from ..kernels.bfloat16 import HALF
from ..kernels.dot import FLOAT_DOT, Dot, HalfTapDot, dot_of
from ..spec.layout import Array
from .blocked import BlockedProgram
from .value import Value

_MOST = 2**31 - 1


@dataclass(frozen=True)
class Products:
    """Weights [group, M/group, C/group, k...] and how they are multiplied.

    The result is (start + sum of products) * scale + bias, all three [M] or absent.
    """

    weight: Array
    dot: Dot = FLOAT_DOT
    start: Array | None = None
    scale: Array | None = None
    bias: Array | None = None


def products_of(program: BlockedProgram, layer: Layer, x: Value, window: SpatialWindow) -> Products:
    """Return integer products where `x` and the weights are bytes, else those of floats."""
    found = _of_bytes(program, layer, x)
    if found is not None:
        return found
    kernel = layer.kernel()
    bias = None if kernel.bias is None else kernel.bias.astype(np.float32)
    return Products(kernel.weight.astype(np.float32), _of_floats(program, x, window), bias=bias)


def _of_floats(program: BlockedProgram, x: Value, window: SpatialWindow) -> Dot:
    dot = dot_of(program.machine, x.dtype) if x.scale is None else None
    if dot is None:
        return FLOAT_DOT
    if x.layout is not None:
        return dot
    paired = x.dtype == HALF and window.kernel[2] > 1 and window.dilations[2] == 1
    return HalfTapDot() if paired else FLOAT_DOT


def _of_bytes(program: BlockedProgram, layer: Layer, x: Value) -> Products | None:
    integers = program.integers.get(id(layer.node.inputs[1]))
    if integers is None or x.scale is None or x.layout is None:
        return None
    dot = dot_of(program.machine, x.dtype)
    if dot is None or x.layout.lanes % dot.width or layer.node.attrs.get("alpha", 1.0) != 1.0:
        return None
    weight = _kernel_of(layer, integers.values).astype(np.int64)
    outputs = weight.shape[0] * weight.shape[1]
    steps = np.broadcast_to(integers.scale, integers.values.shape)
    scales = _kernel_of(layer, steps).reshape(outputs, -1)
    unsigned = 128 if x.dtype == "int8" else 0
    each = weight.reshape(outputs, -1)
    most = np.abs(each).sum(axis=1).max(initial=0) * 255
    if (scales != scales[:, :1]).any() or np.abs(each + 0.5).max(initial=0) > 128 or most > _MOST:
        return None
    scale = scales[:, 0] * np.float64(x.scale)
    start = -each.sum(axis=1) * (x.zero + unsigned)
    bias = layer.kernel().bias
    if bias is not None:
        whole = np.rint(bias / scale)
        # An integer bias with the scale of the products belongs to their sum.
        if _is_on(whole * scale, bias) and np.abs(whole + start).max() + most <= _MOST:
            start, bias = start + whole.astype(np.int64), None
    return Products(
        weight.astype(np.int8),
        dot,
        start.astype(np.int32),
        scale.astype(np.float32),
        None if bias is None else bias.astype(np.float32),
    )


def _kernel_of(layer: Layer, values: Array) -> Array:
    return replace(layer, weight=np.asarray(values, np.float64), bias=None).kernel().weight


def _is_on(found: Array, bias: Array) -> bool:
    return bool(np.allclose(found, bias, rtol=1e-6, atol=0.0))
