"""Conv, ConvTranspose, Gemm and MatMul with constant weights, as products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.graph.view import View
from .....ir.ops.linear.layer import Layer
from ...graph.linear_layer import linear_layer
from ...graph.spatial import is_known, read_window, spatial_sizes
from ...spec.layout import Array
from ..kernels import compute
from .channels_last import ChannelsLastProgram

# What tensor cores or float units multiply; the sum is float32.
_FLOATS = (np.dtype(np.float32), np.dtype(np.float16))
_FUSES = {"op_pattern": 4}  # element-wise operators may follow in the same kernel


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
    if node.op == "Conv":
        expr = _convolution(program, node, layer, x, weight, bias)
    else:
        w = program.constant(weight[0].reshape(weight.shape[1:3]))
        expr = emit_kernel(program, compute.matrix_product, "product", x, w, bias)
    program.define_last(node.outputs[0], expr)


def _convolution(
    program: ChannelsLastProgram, node: gs.Node, layer: Layer, x: Any, weight: Array, bias: Any
) -> Any:
    window = read_window(node, program.view)
    shape = program.view.shape(node.outputs[0])
    assert shape is not None
    out = spatial_sizes(shape)
    rank = len(out)
    sizes = window.strides[-rank:], window.dilations[-rank:], window.pads[-rank:]
    if layer.group == layer.inputs > 1:
        taps = weight.reshape(layer.outputs, *weight.shape[3:])
        w = program.constant(np.moveaxis(taps, 0, -1))
        return emit_kernel(program, compute.depthwise, "depthwise", x, w, bias, out, *sizes)
    w = program.constant(np.moveaxis(weight, 2, -1))
    return emit_kernel(program, compute.convolution, "convolution", x, w, bias, out, *sizes)


def emit_kernel(program: ChannelsLastProgram, make: Any, name: str, *args: Any) -> Any:
    """Emit `make` of `args` as a kernel that element-wise operators may follow."""
    return program.builder.emit_te(make, *args, primfunc_name_hint=name, primfunc_attrs=_FUSES)
