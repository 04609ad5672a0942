"""Operators that compute: along which axes each position is computed alone, or from neighbours."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...ops.axes.reductions import keeps_dims
from ...ops.traits import attribute, traits_of
from ...ops.windows.attributes import window_attributes
from .classes import Ratio
from .node import NodeAxes


def elementwise(each: NodeAxes) -> None:
    """Sizes of operands are those of the result, but for those that are broadcast."""
    result = each.node.outputs[0]
    shape = each.shape(result) or ()
    operands = traits_of(each.node, each.opset).operands_of(len(each.node.inputs))
    for tensor in (each.node.inputs[position] for position in operands):
        own = each.shape(tensor) or ()
        for axis, size in enumerate(own):
            to = axis + len(shape) - len(own)
            if size == shape[to] and not isinstance(tensor, gs.Constant):
                each.tie(tensor, axis, result, to)
            elif size != 1:
                each.keep_axis(result, to)


def windowed(each: NodeAxes) -> None:
    """Positions of a window are neighbours; what its stride counts is a step of the result."""
    node = each.node
    x, result = node.inputs[0], node.outputs[0]
    shape = each.shape(x) or ()
    kernel = node.attrs.get("kernel_shape")
    if kernel is None:
        kernel = (each.shape(node.inputs[1]) or ())[2:]
    window = window_attributes(str(node.op), node.attrs, kernel)
    if len(node.outputs) > 1 or len(shape) != window.rank + 2 or window.output_shape is not None:
        return each.keep()
    each.tie(x, 0, result, 0)
    each.keep_axis(x, 1)
    each.keep_axis(result, 1)
    each.keep([t for t in node.inputs[1:] if t.name])
    if window.ceil or window.is_same:
        for axis in range(2, len(shape)):
            each.keep_axis(x, axis)
            each.keep_axis(result, axis)
        return None
    for axis in range(window.rank):
        stride: Ratio = window.strides[axis]
        finer = (id(x), axis + 2)
        coarser = (id(result), axis + 2)
        if window.transposed:
            finer, coarser = coarser, finer
        each.classes.tie(finer, coarser, stride)
        pads = abs(window.begins[axis]) + abs(window.ends[axis])
        # So many positions more see the begin or the end of what the input is: of a convolution
        # those that read pads, or what sees them, rounded up to steps of its stride.
        beside = window.reaches[axis] if window.transposed else window.strides[axis]
        each.classes.add_reach(finer, each.side, 2 * (beside - 1) + pads)
    return None


def _along(each: NodeAxes, kept: set[int]) -> None:
    """Have the result have the axes of the first input, of which `kept` are not local."""
    x = each.node.inputs[0]
    each.keep([t for t in each.node.inputs[1:] if t.name])
    for result in each.node.outputs:
        for axis in range(len(each.shape(x) or ())):
            each.tie(x, axis, result, axis)
            if axis in kept:
                each.keep_axis(x, axis)


def normalization(each: NodeAxes) -> None:
    """Each channel is scaled alone, whose numbers stand in constants."""
    _along(each, {1})


def softmax(each: NodeAxes) -> None:
    """Elements along an axis are weighed against each other."""
    rank = len(each.shape(each.node.inputs[0]) or ())
    axis = int(attribute(each.node, "axis", each.opset)) % max(rank, 1)
    _along(each, {axis} if each.opset >= 13 else set(range(rank)))


def global_pool(each: NodeAxes) -> None:
    """All positions of a channel are joined."""
    x, result = each.node.inputs[0], each.node.outputs[0]
    for axis in range(len(each.shape(x) or ())):
        if axis < 2:
            each.tie(x, axis, result, axis)
        else:
            each.keep_axis(x, axis)
            each.keep_axis(result, axis)


def matmul(each: NodeAxes) -> None:
    """Rows are independent of each other, where the right operand is one matrix."""
    x, y = each.node.inputs
    result = each.node.outputs[0]
    rank, right = len(each.shape(x) or ()), len(each.shape(y) or ())
    if rank < 2 or right != 2:
        return each.keep()
    each.keep([y])
    each.keep_axis(x, rank - 1)
    each.keep_axis(result, rank - 1)
    for axis in range(rank - 1):
        each.tie(x, axis, result, axis)
    return None


def gemm(each: NodeAxes) -> None:
    """Rows are independent of each other."""
    node = each.node
    x, result = node.inputs[0], node.outputs[0]
    each.keep(list(node.inputs[1:]))
    if node.attrs.get("transA", 0) or (len(node.inputs) > 2 and not _is_row(each, node.inputs[2])):
        return each.keep()
    each.tie(x, 0, result, 0)
    each.keep_axis(x, 1)
    each.keep_axis(result, 1)
    return None


def _is_row(each: NodeAxes, tensor: gs.Tensor) -> bool:
    shape = each.shape(tensor)
    return shape is not None and (len(shape) < 2 or shape[0] == 1)


def batch(each: NodeAxes) -> None:
    """Treat the elements of the first axis alone, and keep the others whole."""
    x = each.node.inputs[0]
    each.keep([t for t in each.node.inputs[1:] if t.name])
    for tensor in (x, *(t for t in each.node.outputs if t.name)):
        for axis in range(1, len(each.shape(tensor) or ())):
            each.keep_axis(tensor, axis)
        if tensor is not x and (each.shape(tensor) or (0,))[:1] == (each.shape(x) or ())[:1]:
            each.tie(x, 0, tensor, 0)
        elif tensor is not x:
            each.keep([x, tensor])


def reduction(each: NodeAxes) -> None:
    """Axes that are reduced are whole; the others stay."""
    node = each.node
    x, result = node.inputs[0], node.outputs[0]
    rank = len(each.shape(x) or ())
    if "axis" in node.attrs:
        axes: list[int] | None = [int(node.attrs["axis"])]
    else:
        axes = [0] if traits_of(node, each.opset).arg_reduction else each.named("axes", 1)
    each.keep([t for t in node.inputs[1:] if t.name])
    if axes is None or len(node.outputs) > 1:
        return each.keep()
    gone = {axis % max(rank, 1) for axis in axes}
    for axis in range(rank):
        made = axis if keeps_dims(node) else axis - sum(other < axis for other in gone)
        if axis in gone:
            each.keep_axis(x, axis)
            if keeps_dims(node):
                each.keep_axis(result, made)
        else:
            each.tie(x, axis, result, made)
    return None
