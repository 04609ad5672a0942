"""Conv, ConvTranspose, Gemm and MatMul with constant weights, as direct convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.linear.layer import Layer
from ..graph.groups import REAL, FusionGroup
from ..graph.linear_layer import linear_layer
from ..graph.spatial import SpatialWindow, is_known, read_transposed, read_window
from ..kernels.amx.choice import choose_matrix
from ..kernels.amx.convolution import matrix_convolution
from ..kernels.byte_depthwise import ByteDepthwise, byte_depthwise, can_be_bytes
from ..kernels.convolution import NO_PROLOGUE, Convolution, convolution
from ..kernels.dot import dot_of
from ..kernels.transposed import Transposed, transposed
from ..kernels.winograd.choice import choose_winograd
from ..kernels.winograd.convolution import pack as pack_winograd
from ..kernels.winograd.convolution import winograd
from ..spec.layout import Array, Halo, Layout, no_halo
from .blocked import BlockedProgram
from .emit_products import Products, products_of
from .emit_windows import emit_windows
from .epilogue import layout_of_operands
from .kernel_result import KernelResult
from .value import Value

# A first layer's few channels are read where they are; blocks would be mostly empty.
_FEW_CHANNELS = 4


def can_emit_linear(node: gs.Node, view: View) -> bool:
    """Say whether `node` has constant weights of a real type and known channels and positions."""
    layer = linear_layer(node, view)
    if layer is None or layer.weight.dtype not in REAL:
        return False
    if layer.is_spatial:
        return (
            layer.rank is not None
            and layer.rank <= 5
            and is_known(view, node.inputs[0], node.outputs[0])
        )
    return view.rank(node.inputs[0]) == 2 and is_known(view, node.inputs[0], node.outputs[0])


def emit_linear(program: BlockedProgram, group: FusionGroup) -> None:
    """Emit the group of a linear operator."""
    node = group.anchor
    layer = linear_layer(node, program.view)
    assert layer is not None
    window = read_window(node, program.view) if node.op == "Conv" else SpatialWindow.none()
    if node.op == "ConvTranspose":
        _transposed(program, group, layer)
    elif layer.group == layer.inputs == layer.outputs:
        _depthwise(program, group, window, layer)
    else:
        _dense(program, group, window, layer)


def _dense(
    program: BlockedProgram,
    group: FusionGroup,
    window: SpatialWindow,
    layer: Layer,
) -> None:
    joined, parts, cut = _division(program, layer)
    source = group.anchor.inputs[0]
    prologue = program.prologues.pop(id(source), None)
    x = _input(program, source, parts, cut) if prologue is None else prologue.x
    products = products_of(program, layer, x, window).together(joined)
    x = _in_order(program, source, x, products, parts)
    layout = _layout(program, group, layer.outputs, parts, cut, products)
    y = KernelResult(program, group, layout, x.shape[0])
    y.epilogue.scale_and_shift(products.scale, products.bias)
    y.follow()
    conv = Convolution(
        x=x.spec(raw=products.are_bytes),
        y=y.spec,
        kernel=window.kernel,
        strides=window.strides,
        dilations=window.dilations,
        pads=window.pads,
        group=parts,
        epilogue=y.epilogue.chain,
        batch=y.batch,
        prologue=NO_PROLOGUE if prologue is None else prologue.chain,
        dot=products.dot,
        joined=joined,
    )
    packed = pack_dense(products, x.layout, y.layout, conv.weight_shape)
    settings, machine = program.settings, program.machine
    tiles = choose_matrix(conv, machine, settings.threads)
    short = None
    if tiles is None and settings.winograd and cut is _even:
        short = choose_winograd(conv, machine, settings.threads)
    if short is not None:
        ready = pack_winograd(short, packed)
        y.emit("winograd", short, winograd, [x.expr, program.parameter(ready)])
        return
    held = products.dot.interleaved(packed)
    if tiles is not None:
        held = tiles.packed(held)
    args = [x.expr, *([] if prologue is None else prologue.args), program.parameter(held)]
    if products.are_bytes:
        args.append(program.parameter(y.layout.pack(products.start)))
    if tiles is not None:
        y.emit("matrix_convolution", tiles, matrix_convolution, args)
        return
    tile = settings.tile_of(conv)
    y.emit("convolution", conv, lambda op: convolution(op, machine, tile, settings.threads), args)


def _division(program: BlockedProgram, layer: Layer) -> tuple[int, int, _Cut]:
    """Return how many groups share a block, how many parts that makes, and how they are cut."""
    joined = _joined(program, layer)
    parts = math.ceil(layer.group / joined)
    return joined, parts, _even if layer.group == parts * joined else _full


def _joined(program: BlockedProgram, layer: Layer) -> int:
    """Return how many groups share a block: as many as have room there, before and behind.

    Alone, each would have a block that is empty for the most part. Where some groups are left over
    and the others fill their blocks, those have a block that is emptier.
    """
    before, behind = layer.inputs // layer.group, layer.outputs // layer.group
    if layer.weight.dtype != np.float32:
        return 1
    lanes = program.machine.lanes
    most = max(1, lanes // max(before, behind)) if layer.group > 1 else 1
    if layer.group > most and before == behind and most * before == lanes:
        return most
    return max(count for count in range(1, most + 1) if layer.group % count == 0)


_Cut = Callable[[int, int, int, Halo], Layout]  # of channels, parts and lanes


def _even(channels: int, parts: int, lanes: int, halo: Halo) -> Layout:
    """Return the layout in which each of equal `parts` of the channels starts a block."""
    return Layout.grouped(channels, parts, lanes, halo)


def _full(channels: int, parts: int, lanes: int, halo: Halo) -> Layout:
    """Return the layout in which each of `parts` fills a block, but for the last."""
    found = Layout.plain(channels, lanes, halo)
    assert len(found.blocks) == parts
    return found


def _layout(
    program: BlockedProgram,
    group: FusionGroup,
    channels: int,
    parts: int,
    cut: _Cut,
    products: Products,
) -> Layout:
    """Return the order of a dense result's channels: as another branch that it meets has them.

    Where groups share a block, a lane's place says which group it is of.
    """
    node = group.anchor
    shape = program.inferred_shape(node.outputs[0])
    free = parts == 1 and products.dot.shared is None
    other = layout_of_operands(program, group, shape) if free else None
    if other is not None and other.lanes == program.machine.lanes:  # dot products fill all
        return other
    return cut(channels, parts, program.machine.lanes, no_halo(len(shape) - 2))


def _transposed(program: BlockedProgram, group: FusionGroup, layer: Layer) -> None:
    node = group.anchor
    joined, parts, cut = _division(program, layer)
    x = _input(program, node.inputs[0], parts, cut)
    products = products_of(program, layer, x, SpatialWindow.none()).together(joined)
    x = _in_order(program, node.inputs[0], x, products, parts)
    layout = _layout(program, group, layer.outputs, parts, cut, products)
    y = KernelResult(program, group, layout, x.shape[0])
    y.epilogue.scale_and_shift(products.scale, products.bias)
    y.follow()
    window, befores = read_transposed(node, program.view)
    op = Transposed(
        x=x.spec(raw=products.are_bytes),
        y=y.spec,
        kernel=window.kernel,
        strides=window.strides,
        dilations=window.dilations,
        befores=befores,
        group=parts,
        epilogue=y.epilogue.chain,
        batch=y.batch,
        dot=products.dot,
        joined=joined,
    )
    packed, starts = [], []
    for phase in op.phases:
        part = products.of_taps(window.kernel, [axis.taps for axis in phase])
        held = pack_dense(part, x.layout, y.layout, op.weight_shape(phase))
        packed.append(program.parameter(products.dot.interleaved(held)))
        if products.are_bytes:
            starts.append(program.parameter(y.layout.pack(part.start)))
    args = [x.expr, *packed, *starts]
    y.emit("transposed", op, lambda op: transposed(op, program.machine), args)


def pack_dense(products: Products, x: Layout | None, y: Layout, shape: tuple[int, ...]) -> Array:
    """Pack the weights of `products` for these layouts into `shape`, zeros elsewhere.

    `shape` is [M blocks, C blocks of a group, k, k, k, C lanes, M lanes]; x is None where the input
    is not blocked.
    """
    weight = products.weight
    parts, outs, ins, *kernel = weight.shape
    flat = weight.reshape(parts * outs, ins, *[1] * (3 - len(kernel)), *kernel)
    to = y.positions()
    if x is None or products.dot.shared is not None:
        at = np.stack([np.zeros(ins, np.int64), np.arange(ins)], axis=1)
    else:
        at = x.positions()[:ins]
    packed = np.zeros(shape, weight.dtype)
    # Groups that are not there have no place.
    packed[to[:, :1], at[None, :, 0], :, :, :, at[None, :, 1], to[:, 1:]] = flat[: len(to)]
    return packed


def _input(program: BlockedProgram, source: gs.Tensor, parts: int, cut: _Cut = _even) -> Value:
    """Return the input in a layout in which every group of channels starts a block."""
    held = program.values(source)
    channels = int(program.shape(source)[1])
    if parts == 1:
        # Bytes are multiplied four channels at a time, which only blocks hold side by side.
        blocked = [v for v in held if v.layout is not None or v.scale is not None]
        few = channels <= _FEW_CHANNELS or len(program.shape(source)) == 2
        if not blocked and few:
            program.plain(source)
            value = program.values(source)[0]
            return _as_one_block(program, value) if len(value.shape) == 2 else value
        return program.blocked(source)
    rank = len(program.shape(source)) - 2
    aligned = cut(channels, parts, program.machine.lanes, program.halo(source, rank))
    return program.repacked(source, aligned)


def _in_order(
    program: BlockedProgram, source: gs.Tensor, x: Value, products: Products, parts: int
) -> Value:
    """Return `x`, which is `source`, with its channels in order where groups share a block.

    A lane finds the channels of its group by their place: those of a shuffle or a concatenation,
    which other dot products read where they are, are moved.
    """
    if products.dot.shared is None or parts > 1:
        return x
    halo = program.halo(source, len(x.spatial))
    found = program.repacked(source, Layout.plain(x.shape[1], program.machine.lanes, halo))
    assert found.quantization == x.quantization
    return found


def _as_one_block(program: BlockedProgram, value: Value) -> Value:
    """Return rows whose channels are neighbours so that they can be multiplied several at once."""
    from tvm import relax

    if value.scale is not None or dot_of(program.machine, value.dtype) is None:
        return value
    images, channels = value.shape
    expr = program.builder.emit(relax.op.reshape(value.expr, [images, 1, channels]))
    return replace(value, expr=expr, layout=Layout.plain(channels, channels, ()))


def _depthwise(
    program: BlockedProgram, group: FusionGroup, window: SpatialWindow, layer: Layer
) -> None:
    """Emit a convolution of each channel alone; of one position, it is scale and shift."""
    x = program.blocked(group.anchor.inputs[0])
    assert x.layout is not None
    y = KernelResult(program, group, x.layout, x.shape[0])
    if not window.is_pointwise and can_be_bytes(x.spec(), window.dilations):
        products = products_of(program, layer, x, window)
        if products.are_bytes:
            _depthwise_bytes(program, window, x, y, products)
            return
    kernel = layer.kernel()
    weight = kernel.weight.astype(np.float32).reshape(layer.outputs, -1)
    bias = None if kernel.bias is None else kernel.bias.astype(np.float32)
    spec = y.read(x) if window.is_pointwise else x.spec()
    y.epilogue.scale_and_shift(weight.reshape(-1) if window.is_pointwise else None, bias)
    y.follow()
    if window.is_pointwise:
        y.emit_elementwise(x, spec)
        return
    packed = program.parameter(y.layout.pack(weight.reshape(-1, *window.kernel)))
    emit_windows(program, "depthwise", window, spec, y, [x.expr, packed])


def _depthwise_bytes(
    program: BlockedProgram, window: SpatialWindow, x: Value, y: KernelResult, products: Products
) -> None:
    y.epilogue.scale_and_shift(products.scale, products.bias)
    y.follow()
    op = ByteDepthwise(
        x=x.spec(raw=True),
        y=y.spec,
        kernel=window.kernel,
        strides=window.strides,
        dilations=window.dilations,
        pads=window.pads,
        epilogue=y.epilogue.chain,
        batch=y.batch,
    )
    weight = y.layout.pack(products.weight.reshape(-1, *window.kernel))
    args = [program.parameter(op.packed(weight)), program.parameter(y.layout.pack(products.start))]
    y.emit("depthwise", op, byte_depthwise, [x.expr, *args])
