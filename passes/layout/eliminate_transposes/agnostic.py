"""The operators that work in any layout, and how: element-wise ones, and a table of others."""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.axes.named import joins_axes, normal_axes, softmax_axes
from ....ir.ops.axes.permutation import Order
from ....ir.ops.axes.ports import LayoutChange, Ports, alike, elementwise, renamed_axis
from ....ir.ops.opsets import has_attribute, takes_type
from ....ir.ops.quantization.nodes import DEQUANTIZE, QUANTIZE
from ....ir.ops.quantization.parameters import read_quantization
from ....ir.ops.traits import traits_of
from ....ir.ops.traits.groups import REDUCTIONS, SOFTMAXES
from .flattened import flattened
from .ranks import arg_reduced, gathered, reduced, squeezed, unsqueezed
from .regrouped import regrouped
from .sized import expanded, padded, resized, sliced, tiled, upsampled

Reader = Callable[[gs.Node, View], Ports | None]


def ports_of(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of `node`, or None where it demands the layout it has."""
    traits = traits_of(node, view.opset)
    if not _is_permuted_by_opset(node, view):
        return None
    if traits.elementwise:
        return elementwise(node, view, len(traits.operands_of(len(node.inputs))))
    reader = _READERS.get(node.op)
    return None if reader is None or not is_standard(node) else reader(node, view)


def _is_permuted_by_opset(node: gs.Node, view: View) -> bool:
    """Say whether a Transpose may stand at each computed operand and result: of any type."""
    tensors = [t for t in (*node.inputs, *node.outputs) if t.name and not view.is_constant(t)]
    known = [dtype for dtype in map(view.dtype, tensors) if dtype is not None]
    return all(takes_type("Transpose", dtype, view.opset) for dtype in known)


def _batchnorm(node: gs.Node, view: View) -> Ports | None:
    rank = view.rank(node.inputs[0])
    if rank is None or rank < 2 or len(node.outputs) > 1:
        return None
    return alike(node, rank, lambda order: LayoutChange() if order[1] == 1 else None)


def _quantized(node: gs.Node, view: View) -> Ports | None:
    stated = read_quantization(node)
    rank, scale = view.rank(node.inputs[0]), view.rank(stated.scale)
    if rank is None or scale is None or scale > 1 or stated.block or stated.unread:
        return None
    if scale == 0:
        return elementwise(node, view, 1)
    axis = normal_axes([stated.axis], rank)
    if axis is None or not has_attribute(node.op, "axis", view.opset):
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
    axes = None if rank is None else softmax_axes(node, rank, view.opset)
    if rank is None or axes is None:
        return None
    joined = joins_axes(view.opset)

    def rebuild(order: Order) -> LayoutChange | None:
        # Where all axes from `axis` on are one, it is the same only for the last.
        if joined and not axes[0] == order[-1] == rank - 1:
            return None
        return renamed_axis(axes[0], order)

    return alike(node, rank, rebuild, wants_last=axes[0])


def _product(node: gs.Node, view: View) -> Ports | None:
    """Read a product of two computed matrices: transposed, it is that of both, exchanged.

    Constant weights stay the second operand, which is where linear layers have them.
    """
    ranks = {view.rank(tensor) for tensor in node.inputs}
    rank = ranks.pop()
    if ranks or rank is None or rank < 2 or any(map(view.is_constant, node.inputs)):
        return None

    def rebuild(order: Order) -> LayoutChange | None:
        if order[-2:] == (rank - 2, rank - 1):
            return LayoutChange()
        return LayoutChange(operands=(1, 0)) if order[-2:] == (rank - 1, rank - 2) else None

    return alike(node, rank, rebuild, 0, 1)


def _reshape(node: gs.Node, view: View) -> Ports | None:
    return flattened(node, view) or regrouped(node, view)


_READERS: dict[str, Reader] = {
    **dict.fromkeys(REDUCTIONS, reduced),
    **dict.fromkeys(SOFTMAXES, _softmax),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg_reduced),
    **dict.fromkeys((QUANTIZE, DEQUANTIZE), _quantized),
    "Reshape": _reshape,
    "Flatten": flattened,
    "BatchNormalization": _batchnorm,
    "MatMul": _product,
    "Concat": _along_axis(None),
    "Split": _along_axis(0),
    "LpNormalization": _along_axis(-1),
    "TopK": _along_axis(-1),
    "Gather": gathered,
    "Squeeze": squeezed,
    "Unsqueeze": unsqueezed,
    "Slice": sliced,
    "Pad": padded,
    "Resize": resized,
    "Upsample": upsampled,
    "Expand": expanded,
    "Tile": tiled,
}
