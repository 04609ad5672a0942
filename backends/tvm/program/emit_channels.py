"""Operators that keep channels apart: element-wise, pooling, concatenation."""

from __future__ import annotations

from typing import Literal

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.windows.attributes import averages_pads, pool_window
from ..graph.concat import stored_of
from ..graph.groups import REAL, FusionGroup, can_be_operand, is_scalar_operator
from ..graph.spatial import is_known, read_window
from ..kernels.elementwise import Elementwise, elementwise
from ..kernels.global_pooling import GlobalPooling, global_pooling
from ..kernels.windows import Kind
from ..spec.layout import Layout, no_halo
from .blocked import BlockedProgram
from .emit_concat import emit_joined_concat, emit_placed_concat
from .emit_windows import emit_windows
from .kernel_result import KernelResult


def can_emit_pool(node: gs.Node, view: View) -> bool:
    """Say whether `node` is a pooling of float32 with known sizes that the kernels express."""
    if not is_known(view, node.inputs[0], node.outputs[0]) or view.rank(node.inputs[0]) == 2:
        return False
    if view.dtype(node.inputs[0]) not in REAL or len(node.outputs) != 1:
        return False
    if node.op.startswith("Global"):
        return True
    window = pool_window(node)
    if any(d != 1 for d in window.dilations):
        return False
    if window.is_same and any(s > k for s, k in zip(window.strides, window.kernel, strict=True)):
        return False  # its pads may be below zero
    if node.op == "MaxPool":
        return not node.attrs.get("storage_order", 0)
    # What a last window that reaches beyond the pads counts differs from opset to opset.
    if window.counts_pads and not window.fits((view.shape(node.inputs[0]) or ())[2:]):
        return False
    return not (averages_pads(node, view) and window.ceil)


def emit_pool(program: BlockedProgram, group: FusionGroup) -> None:
    """Emit MaxPool, AveragePool and their global forms."""
    node = group.anchor
    x = program.blocked(node.inputs[0])
    assert x.layout is not None
    y = KernelResult(program, group, x.layout, x.shape[0])
    counts = averages_pads(node, program.view)
    # A mean that counts pads as zeros is one of numbers that stand for zero there.
    spec = x.spec() if counts and x.zero else x.spec(raw=True)
    if not ("Max" in node.op and y.keeps(x)):
        if spec.scale is None:
            y.read(x)
        y.follow()
    if node.op.startswith("Global"):
        kind: Literal["max", "mean"] = "max" if node.op == "GlobalMaxPool" else "mean"
        whole = GlobalPooling(kind, spec, y.spec, y.epilogue.chain, y.batch)
        y.emit("global_pool", whole, global_pooling, [x.expr])
        return
    pooling: Kind = "max" if node.op == "MaxPool" else "average"
    window = read_window(node, program.view)
    emit_windows(program, pooling, window, spec, y, [x.expr], counts_pads=counts)


def can_emit_scalar(node: gs.Node, view: View) -> bool:
    """Say whether `node` is element-wise and reads a tensor of its result's shape."""
    return (
        is_scalar_operator(node, view)
        and is_known(view, node.outputs[0])
        and _main(node, view) is not None
    )


def _main(node: gs.Node, view: View) -> gs.Tensor | None:
    """Return the input that has the shape of the result, where the others broadcast to it."""
    shape = view.shape(node.outputs[0])
    if shape is None:
        return None
    bounds = node.op == "Clip"
    for tensor in node.inputs:
        others = [] if bounds else [t for t in node.inputs if t is not tensor]
        if (
            not view.is_constant(tensor)
            and view.shape(tensor) == shape
            and all(can_be_operand(other, shape, view) for other in others)
        ):
            return tensor
    return None


def emit_scalar(program: BlockedProgram, group: FusionGroup) -> bool:
    """Emit an element-wise group in the blocked layout; False where no input is in one."""
    node = group.anchor
    operands = [t for t in node.inputs if not t.is_empty() and not program.view.is_constant(t)]
    shape = program.inferred_shape(node.outputs[0])
    candidates = [t for t in operands if program.view.shape(t) == shape]
    main = next((t for t in candidates if any(v.layout for v in program.values(t))), None)
    if main is None:
        return False
    x = program.blocked(main)
    assert x.layout is not None
    y = KernelResult(program, group, x.layout, x.shape[0])
    spec = y.read(x)
    y.epilogue.begin(node, main, len(shape))
    y.follow()
    y.emit_elementwise(x, spec)
    return True


def can_emit_concat(node: gs.Node, view: View) -> bool:
    """Say whether `node` concatenates channels of known number."""
    rank = view.rank(node.outputs[0])
    axis = int(node.attrs.get("axis", 1))
    return (
        rank is not None
        and rank >= 3
        and axis in (1, 1 - rank)
        and view.dtype(node.outputs[0]) in REAL
        and is_known(view, node.outputs[0], *node.inputs)
        and not any(view.is_constant(t) for t in node.inputs)
    )


def emit_concat(program: BlockedProgram, group: FusionGroup) -> None:
    """Emit a concatenation: the blocks of all inputs one after the other, none of them split.

    Parts that are some channels of blocks are joined with the others without gaps.
    """
    node = group.anchor
    lanes = program.machine.lanes
    if emit_joined_concat(program, group):
        return
    # Quantized inputs of few channels come in narrower blocks.
    parts = [program.blocked(t, lambda layout: layout.lanes == lanes) for t in node.inputs]
    buffer = program.concats.buffers.get(id(node))
    _, whole = stored_of(node, program.view)
    stored = group.result is whole
    if buffer is not None and stored and emit_placed_concat(program, whole, buffer, parts):
        return
    blocks: list[tuple[int, ...]] = []
    start = 0
    for part in parts:
        assert part.layout is not None
        blocks += [tuple(start + c for c in held) for held in part.layout.blocks]
        start += part.layout.channels
    joined = Layout(lanes, tuple(blocks), no_halo(len(parts[0].spatial)))
    y = KernelResult(program, group, joined, parts[0].shape[0])
    alike = len({part.quantization for part in parts}) == 1
    if not y.keeps(*parts):
        if alike:
            y.read(parts[0])
        y.follow()
    specs = tuple(part.spec(raw=alike) for part in parts)
    op = Elementwise(specs, ((1, 1, 1),) * len(parts), y.spec, y.epilogue.chain, y.batch)
    y.emit("concat", op, elementwise, [part.expr for part in parts])
