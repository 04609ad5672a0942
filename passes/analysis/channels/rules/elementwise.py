"""Operators that work on each element: what meets in one element is one cell."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.variables import label
from .....ir.ops.opsets import aligns
from .....ir.ops.training import drops_at_random
from .....ir.ops.traits.groups import BROADCASTING, UNARY
from ..analysis import ChannelAnalysis, Rule
from ..cells import Array
from ..findings import Role
from ..labels import project, unite_pairs

# What a constant operand does to the channels of the other, to those who prune them.
_ROLES: dict[str, Role] = {"Add": "shifts", "Sub": "shifts", "Mul": "scales", "Div": "scales"}
NORMALIZATIONS = frozenset({"BatchNormalization", "InstanceNormalization"})


def _unary(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    if labels is None:
        return
    for tensor in node.outputs:
        analysis.put(tensor, labels)


def _dropout(node: gs.Node, analysis: ChannelAnalysis) -> None:
    if drops_at_random(node, analysis.view, analysis.values):
        analysis.block(node, f"{label(node)} drops it at random")
        return
    _unary(node, analysis)


def _cast_like(node: gs.Node, analysis: ChannelAnalysis) -> None:
    """The second input gives its type alone."""
    _unary(node, analysis)


def _broadcast(node: gs.Node, analysis: ChannelAnalysis) -> None:
    view = analysis.view
    result = view.shape(node.outputs[0])
    operands = list(analysis.data(node))
    known = aligns(node.op, view.opset) and all(view.shape(t) is not None for t in operands)
    if result is None or not known:
        analysis.block(node, f"it is not known how {label(node)} broadcasts it")
        return
    total = np.zeros((1,) * len(result), np.int64)
    aligned = [_aligned(tensor, len(result), analysis) for tensor in operands]
    for own in aligned:
        shape = np.broadcast_shapes(total.shape, own.shape)
        if own.size == max(own.size, total.size):
            total = own
        total = np.broadcast_to(total, shape)
    for tensor, own in zip(operands, aligned, strict=True):
        if _is_repeated(tensor, total, analysis):
            analysis.cells.fix(own, f"{label(node)} repeats it over channels")
        else:
            unite_pairs(own, total, analysis.cells)
    for position, tensor in enumerate(node.inputs):
        values = analysis.values(tensor) if tensor.name and analysis.is_constant(tensor) else None
        if values is not None:
            _constant(node, position, values, total, analysis)
    analysis.put(node.outputs[0], total)


def _aligned(tensor: gs.Tensor, rank: int, analysis: ChannelAnalysis) -> Array:
    own = analysis.of(tensor)
    assert own is not None
    return own.reshape((1,) * (rank - own.ndim) + own.shape)


def _is_repeated(tensor: gs.Tensor, total: Array, analysis: ChannelAnalysis) -> bool:
    """Say whether one element of an operand meets several channels of the others."""
    shape = analysis.view.shape(tensor) or ()
    room = total.ndim - len(shape)
    return any(
        size > 1 and (axis < room or shape[axis - room] == 1)
        for axis, size in enumerate(total.shape)
    )


def _constant(
    node: gs.Node, position: int, values: Array, total: Array, analysis: ChannelAnalysis
) -> None:
    """Slice a constant along the axes on which it and the labels differ."""
    room = total.ndim - values.ndim
    for axis in range(max(room, 0), total.ndim):
        if values.shape[axis - room] > 1 and total.shape[axis] > 1:
            cells = project(total, axis, total.shape[axis], analysis.cells)
            analysis.slice(node, position, axis - room, _ROLES.get(node.op, "follows"), cells)
    if any(
        _is_repeated(tensor, np.zeros(values.shape), analysis) for tensor in analysis.data(node)
    ):
        analysis.cells.fix(total, f"{label(node)} repeats it over channels")


def _normalization(node: gs.Node, analysis: ChannelAnalysis) -> None:
    """Mean and spread of each channel on its own."""
    parameters = [analysis.values(t) for t in node.inputs[1:]]
    labels = analysis.of(node.inputs[0])
    asked = [t for t in node.outputs[1:] if t.name and (analysis.view.readers(t))]
    if labels is None or labels.ndim < 2 or asked or any(p is None for p in parameters):
        analysis.block(node, f"the parameters of {label(node)} are not constant")
        return
    size = int(parameters[0].size) if parameters[0] is not None else 0
    cells = analysis.channels(node.inputs[0], 1, size)
    assert cells is not None
    batch = node.op == "BatchNormalization"
    roles: tuple[Role, ...] = ("scales", "shifts", "follows", "follows")
    for position in range(1, 5 if batch else 3):
        analysis.slice(node, position, 0, roles[position - 1], cells)
    analysis.put(node.outputs[0], cells.reshape(1, -1, *[1] * (labels.ndim - 2)))


RULES: dict[str, Rule] = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BROADCASTING, _broadcast),
    **dict.fromkeys(NORMALIZATIONS, _normalization),
    "Dropout": _dropout,
    "CastLike": _cast_like,
}
