"""Conv, ConvTranspose, Gemm and MatMul with constant weights, as direct convolutions."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.variables import is_standard
from ...ir.view import View
from ...passes.contract import DeclinedError
from ...passes.linear.layer import Layer, read_layer
from .emit_chain import Epilogue, layout_of_operands
from .groups import Group
from .layout import Array, Layout
from .program import Program, Value, batch_of
from .schedules.convolution import Convolution, convolution
from .schedules.elementwise import Elementwise, elementwise
from .schedules.transposed import Transposed, transposed
from .schedules.windows import Windows, windows
from .spatial import Window, is_known, read_transposed, read_window, spatial_sizes

# A first layer's few channels are read where they are; blocks would be mostly empty.
_FEW_CHANNELS = 4


def can_emit_linear(node: gs.Node, view: View) -> bool:
    """Say whether `node` has constant float32 weights and known channels and positions."""
    layer = _layer(node, view)
    if layer is None or layer.weight.dtype != np.float32:
        return False
    if layer.is_spatial:
        return (
            layer.rank is not None
            and layer.rank <= 5
            and is_known(view, node.inputs[0], node.outputs[0])
        )
    return view.rank(node.inputs[0]) == 2 and is_known(view, node.inputs[0], node.outputs[0])


def emit_linear(program: Program, view: View, group: Group) -> None:
    """Emit the group of a linear operator."""
    node = group.anchor
    layer = _layer(node, view)
    assert layer is not None
    kernel = layer.kernel()
    weight = kernel.weight.astype(np.float32)  # [group, M/group, C/group, k...]
    bias = None if kernel.bias is None else kernel.bias.astype(np.float32)
    window = read_window(node, view) if node.op == "Conv" else Window.none()
    if node.op == "ConvTranspose":
        _transposed(program, view, group, weight, bias)
    elif layer.group == layer.inputs == layer.outputs:
        _depthwise(program, view, group, window, weight, bias)
    else:
        _dense(program, view, group, window, weight, bias)


def _dense(
    program: Program,
    view: View,
    group: Group,
    window: Window,
    weight: Array,
    bias: Array | None,
) -> None:
    node = group.anchor
    lanes = program.machine.lanes
    source, result = node.inputs[0], group.result
    shape = program.shape_from(view, node.outputs[0])
    spatial = spatial_sizes(shape)
    parts = len(weight)
    x = _input(program, source, parts)
    images = x.shape[0]
    halo = program.halo(result, len(spatial))
    y = Layout.grouped(weight.shape[0] * weight.shape[1], parts, lanes, halo)
    other = layout_of_operands(program, view, group, shape) if parts == 1 else None
    if other is not None:
        y = other.with_halo(halo)
    end = Epilogue(program, view, y, images)
    end.scale_and_shift(None, bias)
    end.follow(group, node.outputs[0])
    form = y.form(spatial)
    conv = Convolution(
        x.form(),
        form,
        window.kernel,
        window.strides,
        window.dilations,
        window.pads,
        parts,
        end.chain,
        batch_of(images),
    )
    packed = program.constant(pack_dense(weight, x.layout, y, conv.weight_shape))
    expr = program.call(
        "convolution",
        conv,
        lambda op: convolution(op, program.machine),
        [x.expr, packed, *end.args],
        form,
        images,
    )
    program.define(result, Value(expr, y, (images, *shape[1:]), spatial))


def _transposed(
    program: Program, view: View, group: Group, weight: Array, bias: Array | None
) -> None:
    node = group.anchor
    shape = program.shape_from(view, node.outputs[0])
    spatial = spatial_sizes(shape)
    parts = len(weight)
    x = _input(program, node.inputs[0], parts)
    images = x.shape[0]
    halo = program.halo(group.result, len(spatial))
    y = Layout.grouped(weight.shape[0] * weight.shape[1], parts, program.machine.lanes, halo)
    end = Epilogue(program, view, y, images)
    end.scale_and_shift(None, bias)
    end.follow(group, node.outputs[0])
    form = y.form(spatial)
    window, befores = read_transposed(node, view)
    op = Transposed(
        x.form(),
        form,
        window.kernel,
        window.strides,
        window.dilations,
        befores,
        parts,
        end.chain,
        batch_of(images),
    )
    deep = weight.reshape(*weight.shape[:3], *window.kernel)
    packed = []
    for phase in op.phases():
        taps = deep
        for axis, along in enumerate(phase, start=3):
            taps = np.take(taps, along.taps or (0,), axis=axis)
        packed.append(program.constant(pack_dense(taps, x.layout, y, op.weight_shape(phase))))
    expr = program.call(
        "transposed",
        op,
        lambda op: transposed(op, program.machine),
        [x.expr, *packed, *end.args],
        form,
        images,
    )
    program.define(group.result, Value(expr, y, (images, *shape[1:]), spatial))


def pack_dense(weight: Array, x: Layout | None, y: Layout, shape: tuple[int, ...]) -> Array:
    """Pack [group, M/group, C/group, k...] for these layouts into `shape`, zeros elsewhere.

    `shape` is [M blocks, C blocks of a group, k, k, k, C lanes, M lanes]; x is None where the input
    is not blocked.
    """
    parts, outs, ins, *kernel = weight.shape
    flat = weight.reshape(parts * outs, ins, *[1] * (3 - len(kernel)), *kernel)
    to = y.positions()
    if x is None:
        at = np.stack([np.zeros(ins, np.int64), np.arange(ins)], axis=1)
    else:
        at = x.positions()[:ins]
    packed = np.zeros(shape, np.float32)
    packed[to[:, :1], at[None, :, 0], :, :, :, at[None, :, 1], to[:, 1:]] = flat
    return packed


def _input(program: Program, source: gs.Tensor, parts: int) -> Value:
    """Return the input in a layout in which every group of channels starts a block."""
    held = program.held(source)
    channels = int(program.shape(source)[1])
    if parts == 1:
        blocked = [value for value in held if value.layout is not None]
        few = channels <= _FEW_CHANNELS or len(program.shape(source)) == 2
        if not blocked and few:
            program.plain(source)
            return program.held(source)[0]
        return program.blocked(source)
    rank = len(program.shape(source)) - 2
    aligned = Layout.grouped(channels, parts, program.machine.lanes, program.halo(source, rank))
    return program.repacked(source, aligned)


def _depthwise(
    program: Program,
    view: View,
    group: Group,
    window: Window,
    weight: Array,
    bias: Array | None,
) -> None:
    """Emit a convolution of each channel alone; of one position, it is scale and shift."""
    node = group.anchor
    x = program.blocked(node.inputs[0])
    assert x.layout is not None
    images = x.shape[0]
    shape = program.shape_from(view, node.outputs[0])
    spatial = spatial_sizes(shape)
    y = x.layout.with_halo(program.halo(group.result, len(spatial)))
    form = y.form(spatial)
    end = Epilogue(program, view, y, images)
    pointwise = window.is_pointwise
    end.scale_and_shift(weight.reshape(-1) if pointwise else None, bias)
    end.follow(group, node.outputs[0])
    if pointwise:
        op = Elementwise((x.form(),), ((1, 1, 1),), form, end.chain, batch_of(images))
        args = [x.expr, *end.args]
        expr = program.call("elementwise", op, elementwise, args, form, images)
    else:
        deep = Windows(
            "depthwise",
            x.form(),
            form,
            window.kernel,
            window.strides,
            window.dilations,
            window.pads,
            end.chain,
            batch_of(images),
        )
        packed = program.constant(y.pack(weight.reshape(len(weight), *window.kernel)))
        expr = program.call(
            "depthwise",
            deep,
            lambda op: windows(op, program.machine),
            [x.expr, packed, *end.args],
            form,
            images,
        )
    program.define(group.result, Value(expr, y, (images, *shape[1:]), spatial))


def _layer(node: gs.Node, view: View) -> Layer | None:
    if node.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or not is_standard(node):
        return None
    if node.op == "Gemm" and node.attrs.get("transA", 0):
        return None
    try:
        return read_layer(node, view)
    except DeclinedError:
        return None
