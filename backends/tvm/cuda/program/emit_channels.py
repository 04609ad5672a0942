"""Pooling, concatenation of channels, and views of them, channels last."""

from __future__ import annotations

from functools import partial

import onnx_graphsurgeon as gs

from .....ir.graph.view import View
from ...graph.spatial import is_known, read_window
from ...program.value import shape_of
from ..kernels import compute
from .channels_last import ChannelsLastProgram
from .emit_kernel import emit_kernel, window_sizes


def can_emit_pool(node: gs.Node, view: View) -> bool:
    """Say whether `node` is a pooling of floats with known sizes but the batch."""
    dtype = view.dtype(node.inputs[0])
    known = is_known(view, node.inputs[0], node.outputs[0]) and view.rank(node.inputs[0]) != 2
    plain = len(node.outputs) == 1 and not node.attrs.get("storage_order", 0)
    return bool(known and plain and dtype is not None and dtype.kind == "f")


def emit_pool(program: ChannelsLastProgram, node: gs.Node) -> None:
    """Emit MaxPool or GlobalAveragePool."""
    from tvm import relax

    x = program.last(node.inputs[0])
    shape = program.view.shape(node.outputs[0])
    assert shape is not None
    rank = len(shape) - 2
    if node.op == "GlobalAveragePool":
        mean = relax.op.mean(x, axis=list(range(1, rank + 1)), keepdims=True)
        program.define_last(node.outputs[0], program.builder.emit(mean))
        return
    kernel = read_window(node, program.view).kernel[-rank:]
    make = partial(compute.max_pool, window=window_sizes(node, program.view))
    expr = emit_kernel(program, make, "max_pool", x, kernel)
    program.define_last(node.outputs[0], expr)


def can_emit_concat(node: gs.Node, view: View) -> bool:
    """Say whether `node` concatenates channels of images."""
    rank = view.rank(node.outputs[0])
    axis = int(node.attrs.get("axis", 1))
    return rank is not None and rank >= 3 and axis in (1, 1 - rank)


def emit_concat(program: ChannelsLastProgram, node: gs.Node) -> None:
    """Emit Concat."""
    from tvm import relax

    joined = relax.op.concat([program.last(tensor) for tensor in node.inputs], axis=-1)
    program.define_last(node.outputs[0], program.builder.emit(joined))


def can_emit_flatten(node: gs.Node, view: View) -> bool:
    """Say whether `node` drops positions of which there is one."""
    source = node.inputs[0]
    shape = view.shape(source)
    known = is_known(view, source) and int(node.attrs.get("axis", 1)) == 1
    return bool(known and shape is not None and all(size == 1 for size in shape[2:]))


def emit_flatten(program: ChannelsLastProgram, node: gs.Node) -> None:
    """Emit Flatten: one position of all channels is the same in any order of axes."""
    from tvm import relax

    x = program.last(node.inputs[0])
    shape = shape_of(x)
    assert shape is not None
    flat = relax.op.reshape(x, [shape[0], shape[-1]])
    program.define_last(node.outputs[0], program.builder.emit(flat))
