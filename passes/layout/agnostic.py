"""The operators that work in any layout, and how: a table from operator to ports."""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

from ...ir.variables import is_standard
from ...ir.view import View
from .flattened import flattened
from .permutation import Order
from .ports import (
    Change,
    Ports,
    alike,
    axes_of,
    elementwise,
    normal_axes,
    renamed_axes,
    renamed_axis,
)
from .regrouped import regrouped
from .sized import expanded, padded, resized, sliced, tiled, upsampled

Reader = Callable[[gs.Node, View], Ports | None]

_UNARY = [
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitwiseNot",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
]
_BINARY = [
    "Add",
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Mod",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "Sub",
    "Xor",
]
_VARIADIC = ("Max", "Mean", "Min", "Sum")
_REDUCTIONS = [
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
]


def ports_of(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of `node`, or None where it demands the layout it has."""
    reader = _READERS.get(node.op)
    return None if reader is None or not is_standard(node) else reader(node, view)


def _unary(node: gs.Node, view: View) -> Ports | None:
    return elementwise(node, view, 1)


def _binary(node: gs.Node, view: View) -> Ports | None:
    return elementwise(node, view, 2)


def _variadic(node: gs.Node, view: View) -> Ports | None:
    return elementwise(node, view, len(node.inputs))


def _where(node: gs.Node, view: View) -> Ports | None:
    return elementwise(node, view, 3)


def _batchnorm(node: gs.Node, view: View) -> Ports | None:
    rank = view.rank(node.inputs[0])
    if rank is None or rank < 2 or len(node.outputs) > 1:
        return None
    return alike(node, rank, lambda order: Change() if order[1] == 1 else None)


def _quantized(node: gs.Node, view: View) -> Ports | None:
    rank, scale = view.rank(node.inputs[0]), view.rank(node.inputs[1])
    if rank is None or scale is None or scale > 1 or node.attrs.get("block_size", 0):
        return None
    if scale == 0:
        return elementwise(node, view, 1)
    axis = normal_axes([node.attrs.get("axis", 1)], rank)
    if axis is None or view.opset < 13:
        return None
    return alike(node, rank, lambda order: renamed_axis(axis[0], order))


def _along_axis(default: int | None) -> Reader:
    """Read an operator of one axis that keeps the rank; all its inputs of that rank are data."""

    def read(node: gs.Node, view: View) -> Ports | None:
        rank = view.rank(node.outputs[0])
        named = node.attrs.get("axis", default)
        axis = None if rank is None or named is None else normal_axes([named], rank)
        if rank is None or axis is None:
            return None
        inputs = range(len(node.inputs)) if node.op == "Concat" else (0,)
        return alike(node, rank, lambda order: renamed_axis(axis[0], order), *inputs)

    return read


def _softmax(node: gs.Node, view: View) -> Ports | None:
    rank = view.rank(node.inputs[0])
    named = node.attrs.get("axis", -1 if view.opset >= 13 else 1)
    axis = None if rank is None else normal_axes([named], rank)
    if rank is None or axis is None:
        return None

    def rebuild(order: Order) -> Change | None:
        # Before opset 13 all axes from `axis` on were one: the same only for the last.
        if view.opset < 13 and not axis[0] == order[-1] == rank - 1:
            return None
        return renamed_axis(axis[0], order)

    return alike(node, rank, rebuild, wants_last=axis[0])


def _gather(node: gs.Node, view: View) -> Ports | None:
    rank, indices = view.rank(node.inputs[0]), view.rank(node.inputs[1])
    axis = None if rank is None else normal_axes([node.attrs.get("axis", 0)], rank)
    if rank is None or axis is None or indices not in (0, 1):
        return None
    axes = tuple(range(rank))
    left = axes if indices == 1 else axes[: axis[0]] + axes[axis[0] + 1 :]
    return Ports(rank, {0: axes}, {0: left}, lambda order: renamed_axis(axis[0], order))


def _arg(node: gs.Node, view: View) -> Ports | None:
    rank = view.rank(node.inputs[0])
    axis = None if rank is None else normal_axes([node.attrs.get("axis", 0)], rank)
    if rank is None or axis is None:
        return None
    axes = tuple(range(rank))
    left = axes if node.attrs.get("keepdims", 1) else axes[: axis[0]] + axes[axis[0] + 1 :]
    return Ports(rank, {0: axes}, {0: left}, lambda order: renamed_axis(axis[0], order))


def _reduction(node: gs.Node, view: View) -> Ports | None:
    rank = view.rank(node.inputs[0])
    if rank is None:
        return None
    named, known = axes_of(node, view, 1, rank)
    if not known:
        return None
    every = tuple(range(rank))
    if named is None:
        if node.attrs.get("noop_with_empty_axes", 0):
            return None
        left = every if node.attrs.get("keepdims", 1) else ()
        return Ports(rank, {0: every}, {0: left}, lambda order: Change())
    axes = named
    left = every if node.attrs.get("keepdims", 1) else tuple(a for a in every if a not in axes)
    return Ports(rank, {0: every}, {0: left}, lambda o: _sorted_axes(node, axes, o))


def _squeeze(node: gs.Node, view: View) -> Ports | None:
    shape = view.shape(node.inputs[0])
    if shape is None:
        return None
    axes, known = axes_of(node, view, 1, len(shape))
    if axes is None or not known:
        return None  # without axes, the rank of its result is known only at run time
    every = tuple(range(len(shape)))
    left = tuple(a for a in every if a not in axes)
    return Ports(
        len(every),
        {0: every},
        {0: left},
        lambda order: _sorted_axes(node, axes, order),
        free=frozenset(axes),
    )


def _unsqueeze(node: gs.Node, view: View) -> Ports | None:
    rank = view.rank(node.outputs[0])
    if rank is None:
        return None
    axes, known = axes_of(node, view, 1, rank)
    if axes is None or not known:
        return None
    every = tuple(range(rank))
    left = tuple(a for a in every if a not in axes)
    return Ports(
        rank,
        {0: left},
        {0: every},
        lambda order: _sorted_axes(node, axes, order),
        free=frozenset(axes),
    )


def _sorted_axes(node: gs.Node, axes: list[int], order: Order) -> Change:
    return renamed_axes(node, sorted(axes, key=order.index), order, 1)


def _reshape(node: gs.Node, view: View) -> Ports | None:
    return flattened(node, view) or regrouped(node, view)


_READERS: dict[str, Reader] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_VARIADIC, _variadic),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _softmax),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantized),
    "Reshape": _reshape,
    "Flatten": flattened,
    "Where": _where,
    "BatchNormalization": _batchnorm,
    "Concat": _along_axis(None),
    "Split": _along_axis(0),
    "LpNormalization": _along_axis(-1),
    "TopK": _along_axis(-1),
    "Gather": _gather,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": sliced,
    "Pad": padded,
    "Resize": resized,
    "Upsample": upsampled,
    "Expand": expanded,
    "Tile": tiled,
}
