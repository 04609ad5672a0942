"""Convolutions, transposed ones and products of matrices with constant weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.ops.linear.layer import Layer, read_layer
from ...ir.ops.linear.operators import reads_transposed
from ...ir.ops.windows.attributes import WindowAttributes, read_window
from .integers import NcnnIntegerLayer, floats_of, read_integers, with_float_weights
from .model import Array, Parameter
from .scope import NcnnScope

# By spatial axes: dilations, strides, pads before and after, kernel, from the outermost on.
_KERNEL = {1: (1,), 2: (11, 1), 3: (21, 11, 1)}
_DILATION = {1: (2,), 2: (12, 2), 3: (22, 12, 2)}
_STRIDE = {1: (3,), 2: (13, 3), 3: (23, 13, 3)}
_BEFORE = {1: (4,), 2: (14, 4), 3: (24, 14, 4)}
_AFTER = {1: (15,), 2: (16, 15), 3: (17, 16, 15)}
_EXTRA = {1: (18,), 2: (19, 18), 3: (20, 19, 18)}
_MOST_GROUPS = 64
_DIMENSIONS = {1: "1D", 2: "", 3: "3D"}


def convert_convolution(to: NcnnScope, node: gs.Node) -> None:
    """Add a Conv as Convolution, ConvolutionDepthWise, or one of 1D and 3D."""
    window = read_window(node, to.view)
    integers = read_integers(to, node) if window.rank == 2 else None
    layer = integers.layer if integers else float_layer(to, node)
    params = _window(to, node, window, layer)
    kind = ("Convolution" if layer.group == 1 else "ConvolutionDepthWise") + _DIMENSIONS[
        window.rank
    ]
    bias = [] if layer.bias is None else [(layer.bias.astype(np.float32), False)]
    if integers is not None and not integers.has_scale_a_group:
        to.define(node.outputs[0], _group_by_group(to, integers, params))
        return
    if integers is not None:
        scales = integers.weight_scales(layer.group)
        params[8] = 1 if layer.group > 1 else 2
        blob = to.blob(integers.source)
        weights = [(integers.weight, True), *bias, (scales, False), (integers.input_scale, False)]
    else:
        blob = to.blob(node.inputs[0])
        weights = [(layer.weight.astype(np.float32), True), *bias]
    to.shape(node.outputs[0])
    to.define(node.outputs[0], to.add(kind, (blob,), params, *weights))


def _group_by_group(to: NcnnScope, integers: NcnnIntegerLayer, params: dict[int, Parameter]) -> str:
    """Return a convolution of integers whose groups each have several scales, as one a group."""
    layer, group = integers.layer, integers.layer.group
    need(group <= _MOST_GROUPS, f"ncnn has one scale a group of a weight, and it has {group}")
    inputs = to.add_many("Slice", (to.blob(integers.source),), group, {
        0: [layer.inputs // group] * group, 1: 0,
    })  # fmt: skip
    scales = np.split(integers.weight_scales(1), group)
    weights = np.split(integers.weight, group)
    biases = [None] * group if layer.bias is None else np.split(layer.bias, group)
    told = {**params, 0: layer.outputs // group, 6: int(layer.weight.size) // group, 8: 2}
    del told[7]
    parts = []
    for blob, weight, bias, scale in zip(inputs, weights, biases, scales, strict=True):
        added = [] if bias is None else [(bias.astype(np.float32), False)]
        last = (scale, False), (integers.input_scale, False)
        parts.append(to.add("Convolution", (blob,), told, (weight, True), *added, *last))
    return to.add("Concat", parts, {0: 0})


def float_layer(to: NcnnScope, node: gs.Node) -> Layer:
    """Return `node` as a layer of floats, and say so where it has integers."""
    found = with_float_weights(to, node)
    if found.inputs[1] is not node.inputs[1]:
        to.remark("computed in float, on the grid of its integers", node)
    return read_layer(found, to.view)


def convert_transposed(to: NcnnScope, node: gs.Node) -> None:
    """Add a ConvTranspose as Deconvolution or one of its kinds."""
    window = read_window(node, to.view)
    layer = float_layer(to, node)
    params = _window(to, node, window, layer)
    params |= dict(zip(_EXTRA[window.rank], map(int, window.output_padding), strict=True))
    kind = "Deconvolution" if layer.group == 1 else "DeconvolutionDepthWise"
    # From [in, out / group, ...] to [group, out / group, in / group, ...].
    weight = layer.weight.reshape(layer.group, -1, *layer.weight.shape[1:])
    weight = np.ascontiguousarray(np.swapaxes(weight, 1, 2), np.float32)
    bias = [] if layer.bias is None else [(layer.bias.astype(np.float32), False)]
    blob = to.blob(node.inputs[0])
    added = to.add(kind + _DIMENSIONS[window.rank], (blob,), params, (weight, True), *bias)
    to.define(node.outputs[0], added)


def _window(
    to: NcnnScope, node: gs.Node, window: WindowAttributes, layer: Layer
) -> dict[int, Parameter]:
    rank = window.rank
    need(rank in _KERNEL, f"its window has {rank} axes")
    x, y = to.shape(node.inputs[0]), to.shape(node.outputs[0])
    before, after = window.pads(x[1:])
    need(min((*before, *after)) >= 0, "its pads are negative")
    if window.transposed:
        need(window.output_shape is None, "its pads follow from an output_shape")
    else:
        need(window.outputs(x[1:]) == y[1:], "its window does not fit")
    params: dict[int, Parameter] = {
        0: layer.outputs,
        5: int(layer.bias is not None),
        6: int(layer.weight.size),
    }
    for keys, values in (
        (_KERNEL, window.kernel),
        (_DILATION, window.dilations),
        (_STRIDE, window.strides),
        (_BEFORE, before),
        (_AFTER, after),
    ):
        params |= dict(zip(keys[rank], map(int, values), strict=True))
    # Those of 16 bits come out as garbage, or end the process.
    wrong = to.precision == "bfloat16" and rank == 2 and layer.group not in (1, layer.outputs)
    wrong |= to.precision == "bfloat16" and rank == 2 and 1 < layer.group < layer.inputs
    need(not wrong, "ncnn has groups of several channels wrong in bfloat16; take float16")
    if layer.group > 1:
        params[7] = layer.group
    return params


def convert_matrix(to: NcnnScope, node: gs.Node) -> None:
    """Add a Gemm, or a MatMul with a constant matrix, as InnerProduct."""
    integers = read_integers(to, node)
    weight = node.inputs[1]
    if integers is None and to.view.constant(floats_of(to, weight)) is None:
        _product(to, node)
        return
    layer = integers.layer if integers else float_layer(to, node)
    need(not reads_transposed(node), "it multiplies images with each other")
    source = node.inputs[0] if integers is None else integers.source
    shape = to.shape(node.inputs[0])
    blob = to.blob(source)
    if len(shape) > 2:  # rows of a stack are rows of one matrix
        blob = to.reshaped(blob, (math.prod(shape[:-1]), shape[-1]))
    params: dict[int, Parameter] = {0: layer.outputs, 2: int(layer.weight.size)}
    kernel = layer.kernel()
    bias: list[tuple[Array, bool]] = []
    if kernel.bias is not None:
        params[1] = 1
        bias = [(kernel.bias.astype(np.float32), False)]
    if integers is not None:
        params[8] = 2
        scales = (integers.weight_scales(1), False), (integers.input_scale, False)
        weights = [(integers.weight, True), *bias, *scales]
    else:
        weights = [(kernel.weight[0].astype(np.float32), True), *bias]
    added = to.add("InnerProduct", (blob,), params, *weights)
    result = node.outputs[0]
    to.define(result, added if len(shape) < 3 else to.reshaped(added, to.shape(result)))


def _product(to: NcnnScope, node: gs.Node) -> None:
    """Add a MatMul of two tensors that are computed, image by image."""
    need(node.op == "MatMul", "its weight is not constant")
    shapes: list[Any] = [to.shape(tensor) for tensor in node.inputs]
    alike = len(shapes[0]) == len(shapes[1]) and shapes[0][:-2] == shapes[1][:-2]
    need(alike and 2 <= len(shapes[0]) <= 3, "what it multiplies has other axes")
    to.define(node.outputs[0], to.add("MatMul", [to.blob(t) for t in node.inputs]))
