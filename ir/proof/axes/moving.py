"""Operators that move elements: which axes stay what they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ...ops.traits import attribute
from .node import NodeAxes, is_open

_FROM_SEQUENCES = frozenset({"ConcatFromSequence", "SequenceAt"})


def concat(each: NodeAxes) -> None:
    """The axis that is joined is whole."""
    result = each.node.outputs[0]
    rank = len(each.shape(result) or ())
    at = int(attribute(each.node, "axis", each.opset)) % max(rank, 1)
    for tensor in each.node.inputs:
        _tie_beside(each, tensor, result, rank, at)


def split(each: NodeAxes) -> None:
    """The axis that is split is whole."""
    x = each.node.inputs[0]
    rank = len(each.shape(x) or ())
    at = int(attribute(each.node, "axis", each.opset) or 0) % max(rank, 1)
    each.keep([t for t in each.node.inputs[1:] if t.name])
    for result in each.node.outputs:
        _tie_beside(each, x, result, rank, at)


def _tie_beside(each: NodeAxes, x: gs.Tensor, result: gs.Tensor, rank: int, at: int) -> None:
    """Tie the axes of `x` and `result` but `at`, which both keep whole."""
    for axis in range(rank):
        if axis == at:
            each.keep_axis(x, axis)
            each.keep_axis(result, axis)
        else:
            each.tie(x, axis, result, axis)


def transpose(each: NodeAxes) -> None:
    """Axes change places."""
    x, result = each.node.inputs[0], each.node.outputs[0]
    rank = len(each.shape(x) or ())
    order = each.node.attrs.get("perm") or list(range(rank))[::-1]
    for axis, source in enumerate(order):
        each.tie(x, int(source), result, axis)


def pad(each: NodeAxes) -> None:
    """Elements are added beside those that are there: constants, or neighbours."""
    x, result = each.node.inputs[0], each.node.outputs[0]
    pads = each.node.inputs[1] if len(each.node.inputs) > 1 else None
    rank = len(each.shape(x) or ())
    values = None if pads is None else each.values(pads)
    if (
        values is None
        or values.size != 2 * rank
        or attribute(each.node, "mode", each.opset)
        in (
            "wrap",
            b"wrap",
        )
    ):
        return each.keep()
    for axis in range(rank):
        each.tie(x, axis, result, axis)
        reach = abs(int(values[axis])) + abs(int(values[axis + rank]))
        each.classes.add_reach((id(x), axis), each.side, reach)
    each.keep([t for t in each.node.inputs[2:] if t.name])
    return None


def reshape(each: NodeAxes) -> None:
    """Axes that stay what they are, among such that are joined or split."""
    node = each.node
    x, result = node.inputs[0], node.outputs[0]
    each.keep([t for t in node.inputs[1:] if t.name])
    sizes, made = each.shape(x) or (), each.shape(result) or ()
    for group, others in _joined(sizes, made):
        if len(group) == len(others) == 1 and _stays(each, group[0], others[0]):
            each.tie(x, group[0], result, others[0])
            continue
        for tensor, axes in ((x, group), (result, others)):
            for axis in axes:
                each.keep_axis(tensor, axis)


def _joined(a: Sequence[int], b: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return the axes of `a` and those of `b`, in order, that have as many elements."""
    found, i, j = [], 0, 0
    while i < len(a) or j < len(b):
        begins = i, j
        left, right = (math.prod(each[at : at + 1]) for each, at in ((a, i), (b, j)))
        i, j = min(i + 1, len(a)), min(j + 1, len(b))
        while left != right and (i < len(a) or j < len(b)):
            if (left < right or j == len(b)) and i < len(a):
                left, i = left * a[i], i + 1
            elif j < len(b):
                right, j = right * b[j], j + 1
        found.append((list(range(begins[0], i)), list(range(begins[1], j))))
    return found


def _stays(each: NodeAxes, axis: int, made: int) -> bool:
    """Say whether an axis of the result of a Reshape has the size of one of its input, open."""
    node = each.node
    x, result = node.inputs[0], node.outputs[0]
    dim, size = each.dim(x, axis), each.dim(result, made)
    if not is_open(dim):
        return bool(node.op == "Flatten")
    if dim is not None and dim == size:
        return True
    values = each.values(node.inputs[1]) if len(node.inputs) > 1 else None
    if values is None or made >= values.size:
        return bool(node.op == "Flatten")
    return int(values.reshape(-1)[made]) == -1 or (
        int(values.reshape(-1)[made]) == 0 and made == axis
    )


def squeeze(each: NodeAxes) -> None:
    """Axes of one element are taken away, or made; which others are there stays."""
    node = each.node
    x, result = node.inputs[0], node.outputs[0]
    axes = each.named("axes", 1)
    if axes is None:
        return each.keep()
    longer = x if node.op == "Squeeze" else result
    rank = len(each.shape(longer) or ())
    gone = {axis % max(rank, 1) for axis in axes}
    rest = [axis for axis in range(rank) if axis not in gone]
    each.keep([t for t in node.inputs[1:] if t.name])
    for axis in gone:
        each.keep_axis(longer, axis)
    for at, axis in enumerate(rest):
        each.tie(x, axis if longer is x else at, result, at if longer is x else axis)
    return None


def cut(each: NodeAxes) -> None:
    """The axes that are cut are whole."""
    axes = each.named("axes", 3)
    rank = len(each.shape(each.node.inputs[0]) or ())
    if axes is None:
        starts = each.named("starts", 1)
        if starts is None or len(each.node.inputs) > 3:
            return each.keep()
        axes = list(range(len(starts)))
    return all_but(each, {axis % max(rank, 1) for axis in axes})


def of_shape(each: NodeAxes) -> None:
    """What reads a shape reads no element."""
    each.keep(each.node.outputs)


def items(each: NodeAxes) -> None:
    """Enter the axes of the items of a sequence as axes of the sequence."""
    node = each.node
    tensors = [t for t in (*node.inputs, *node.outputs) if t.name]
    sequence = node.inputs[0] if node.op in _FROM_SEQUENCES else node.outputs[0]
    items = [t for t in tensors if t is not sequence and (each.shape(t) or ())]
    if node.op in ("SplitToSequence", "ConcatFromSequence"):
        items = items[:1]
        rank = len(each.shape(items[0]) or ()) if items else 0
        axis = int(attribute(node, "axis", each.opset)) % max(rank, 1)
        changes = node.attrs.get("new_axis", 0) or not node.attrs.get("keepdims", 1)
        for other in range(rank) if changes else (axis,):
            each.keep_axis(sequence, other)
    for tensor in items:
        for axis in range(len(each.shape(tensor) or ())):
            each.tie(tensor, axis, sequence, axis)


def all_but(each: NodeAxes, kept: set[int]) -> None:
    """Tie the axes of input and result, of as many, but those that are kept whole."""
    x = each.node.inputs[0]
    each.keep([t for t in each.node.inputs[1:] if t.name])
    for result in each.node.outputs:
        for axis in range(len(each.shape(x) or ())):
            if axis in kept:
                each.keep_axis(x, axis)
                each.keep_axis(result, axis)
            else:
                each.tie(x, axis, result, axis)


def gather(each: NodeAxes) -> None:
    """The axis that is picked from is whole."""
    node = each.node
    x, indices, result = node.inputs[0], node.inputs[1], node.outputs[0]
    rank = len(each.shape(x) or ())
    added = len(each.shape(indices) or ()) - 1
    at = int(attribute(node, "axis", each.opset)) % max(rank, 1)
    each.keep([indices])
    each.keep_axis(x, at)
    for axis in range(at, at + added + 1):
        each.keep_axis(result, axis)
    for axis in range(rank):
        if axis != at:
            each.tie(x, axis, result, axis if axis < at else axis + added)
