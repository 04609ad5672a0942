"""Conv, ConvTranspose, Gemm and MatMul with constant weights, as products of matrices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.graph.view import View
from .....ir.ops.linear.layer import Layer
from ...graph.linear_layer import linear_layer
from ...graph.spatial import is_known
from ...spec.layout import Array
from ..kernels import compute
from .channels_last import ChannelsLastProgram
from .emit_kernel import emit_kernel, window_sizes

# What tensor cores or float units multiply; the sum is float32.
_FLOATS = (np.dtype(np.float32), np.dtype(np.float16))


def can_emit_linear(node: gs.Node, view: View) -> bool:
    """Say whether `node` has constant weights of 32 or 16 bits and known sizes but the batch."""
    layer = linear_layer(node, view)
    if layer is None or layer.weight.dtype not in _FLOATS:
        return False
    known = is_known(view, node.inputs[0], node.outputs[0])
    return known and (layer.is_spatial or view.rank(node.inputs[0]) == 2)


def emit_linear(program: ChannelsLastProgram, node: gs.Node) -> None:
    """Emit a linear operator."""
    layer = linear_layer(node, program.view)
    assert layer is not None
    kernel = layer.kernel()
    dtype = layer.weight.dtype
    weight = kernel.weight.astype(dtype)  # [group, M/group, C/group, k...]
    bias = None if kernel.bias is None else program.constant(kernel.bias.astype(dtype))
    x = program.last(node.inputs[0])
    make, name, packed = _expression(layer, weight)
    if node.op == "Conv":
        make = partial(make, window=window_sizes(node, program.view))
    w = program.constant(packed)
    program.define_last(node.outputs[0], emit_kernel(program, make, name, x, w, bias))


def _expression(layer: Layer, weight: Array) -> tuple[Callable[..., Any], str, Array]:
    """Return the tensor expression of `layer`, its name, and `weight` in the order it reads."""
    if layer.node.op != "Conv":
        return compute.matrix_product, "product", weight[0].reshape(weight.shape[1:3])
    if layer.group == layer.inputs > 1:
        taps = weight.reshape(layer.outputs, *weight.shape[3:])
        return compute.depthwise, "depthwise", np.moveaxis(taps, 0, -1)
    return compute.convolution, "convolution", np.moveaxis(weight, 2, -1)
