"""What moves elements: reshapes, transposes, parts, concatenations; and sums along axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.ops.axes.named import softmax_axes
from ...ir.ops.axes.permutation import perm_of
from ...ir.ops.axes.reductions import read_reduction
from ...ir.ops.slices import read_slice
from ...ir.ops.traits import attribute
from .elementwise import BINARY
from .model import Parameter
from .scope import NcnnScope, axis_of

# The orders that Permute knows, by number: axes from the innermost on.
_ORDERS = {
    2: ("WH", "HW"),
    3: ("WHC", "HWC", "WCH", "CWH", "HCW", "CHW"),
    4: ("WHDC", "HWDC", "WDHC", "DWHC", "HDWC", "DHWC", "WHCD", "HWCD", "WCHD", "CWHD", "HCWD",
        "CHWD", "WDCH", "DWCH", "WCDH", "CWDH", "DCWH", "CDWH", "HDCW", "DHCW", "HCDW", "CHDW",
        "DCHW", "CDHW"),
}  # fmt: skip
_MOST_RUNS = 64
_AXES = {2: "HW", 3: "CHW", 4: "CDHW"}
# The numbers that ncnn knows them by.
REDUCTIONS = {
    "ReduceSum": 0, "ReduceSumSquare": 2, "ReduceMean": 3, "ReduceMax": 4, "ReduceMin": 5,
    "ReduceProd": 6, "ReduceL1": 7, "ReduceL2": 8, "ReduceLogSum": 9, "ReduceLogSumExp": 10,
}  # fmt: skip


def convert_identity(to: NcnnScope, node: gs.Node) -> None:
    """Give the same blob another name."""
    to.shape(node.outputs[0])
    to.define(node.outputs[0], to.blob(node.inputs[0]))


def convert_reshape(to: NcnnScope, node: gs.Node) -> None:
    """Add a Reshape, Flatten, Squeeze or Unsqueeze, of which only the result's sizes count."""
    shape = to.shape(node.outputs[0])
    to.shape(node.inputs[0])
    to.define(node.outputs[0], to.reshaped(to.blob(node.inputs[0]), shape))


def convert_transpose(to: NcnnScope, node: gs.Node) -> None:
    """Add a Transpose as Permute."""
    order = need(perm_of(node, to.view), "its order is not known")
    need(order[0] == 0, "it moves the images")
    rank = len(to.shape(node.inputs[0]))
    need(rank > 1, "it moves nothing")
    letters = "".join(_AXES[rank][axis - 1] for axis in reversed(order[1:]))
    number = _ORDERS[rank].index(letters)
    to.define(node.outputs[0], to.add("Permute", (to.blob(node.inputs[0]),), {0: number}))


def convert_concat(to: NcnnScope, node: gs.Node) -> None:
    """Add a Concat."""
    rank = len(to.shape(node.outputs[0])) + 1
    axis = axis_of(attribute(node, "axis", to.view.opset), rank)
    to.define(node.outputs[0], to.add("Concat", [to.blob(t) for t in node.inputs], {0: axis}))


def convert_split(to: NcnnScope, node: gs.Node) -> None:
    """Add a Split as Slice."""
    shape = to.shape(node.inputs[0])
    axis = axis_of(attribute(node, "axis", to.view.opset), len(shape) + 1)
    parts = [to.shape(tensor)[axis] for tensor in node.outputs]
    params: dict[int, Parameter] = {0: parts, 1: axis}
    blobs = to.add_many("Slice", (to.blob(node.inputs[0]),), len(parts), params)
    for tensor, blob in zip(node.outputs, blobs, strict=True):
        to.define(tensor, blob)


def convert_slice(to: NcnnScope, node: gs.Node) -> None:
    """Add a Slice as Crop."""
    shape = to.shape(node.inputs[0])
    parts = need(read_slice(node, to.view), "its bounds are not constant")
    need(0 not in parts or (shape and parts[0].indices(1) == (0, 1, 1)), "it takes some images")
    bounds = {axis_of(a, len(shape) + 1): part for a, part in parts.items() if a}
    found = {axis: part.indices(shape[axis]) for axis, part in sorted(bounds.items())}
    need(all(step == 1 for _, _, step in found.values()), "it takes every second element or so")
    blob = to.blob(node.inputs[0])
    if found:
        starts, ends = ([part[i] for part in found.values()] for i in (0, 1))
        blob = to.add("Crop", (blob,), {9: starts, 10: ends, 11: list(found)})
    to.shape(node.outputs[0])
    to.define(node.outputs[0], blob)


def convert_gather(to: NcnnScope, node: gs.Node) -> None:
    """Add a Gather of constant indices: ShuffleChannel, or runs that are cut out and joined."""
    shape = to.shape(node.inputs[0])
    axis = axis_of(attribute(node, "axis", to.view.opset), len(shape) + 1)
    indices = need(to.view.constant(node.inputs[1]), "its indices are not constant")
    need(indices.ndim == 1 and indices.size, "its indices are no row")
    order = np.asarray(indices) % shape[axis]
    blob, result = to.blob(node.inputs[0]), node.outputs[0]
    group = int(order[1] if order.size > 1 else 0)
    if (
        axis == 0
        and len(shape) == 3
        and group
        and order.size == shape[0]
        and not order.size % group
    ):
        parts = order.size // group
        if (order == np.arange(order.size).reshape(parts, group).T.reshape(-1)).all():
            to.define(result, to.add("ShuffleChannel", (blob,), {0: parts}))
            return
    ends = [*(np.flatnonzero(np.diff(order) != 1) + 1), order.size]
    need(len(ends) <= _MOST_RUNS, f"it takes {len(ends)} separate parts")
    runs = [(int(order[a]), int(order[b - 1]) + 1) for a, b in zip([0, *ends], ends, strict=False)]
    cut = [to.add("Crop", (blob,), {9: [a], 10: [b], 11: [axis]}) for a, b in runs]
    to.define(result, cut[0] if len(cut) == 1 else to.add("Concat", cut, {0: axis}))


def _shuffled(order: np.ndarray[Any, Any]) -> int | None:
    """Return into how many groups channels fall that `order` interleaves, or None."""
    size = int(order[1]) if order.size > 1 else 0
    if not size or order.size % size:
        return None
    groups = int(order.size) // size
    told = np.arange(order.size).reshape(groups, size).T.reshape(-1)
    return groups if (order == told).all() else None


def convert_reduction(to: NcnnScope, node: gs.Node) -> None:
    """Add a ReduceMean or the like; axes stay for the sizes of the result to tell."""
    found = need(read_reduction(node, to.view), "its axes are not known")
    shape = to.shape(node.outputs[0])
    axes = [axis_of(axis, found.rank) for axis in found.axes]
    need(axes, "it reduces nothing")

    def reduced(op: str, blob: str) -> str:
        params: dict[int, Parameter] = {0: REDUCTIONS[op], 1: 0, 3: axes, 4: 1, 5: 1}
        return to.add("Reduction", (blob,), params)

    blob = to.blob(node.inputs[0])
    if node.op == "ReduceLogSumExp":  # ncnn's own is infinite from 89 on
        largest = reduced("ReduceMax", blob)
        rest = to.add("BinaryOp", (blob, largest), {0: BINARY["Sub"]})
        blob = to.add("BinaryOp", (reduced(node.op, rest), largest), {0: BINARY["Add"]})
    else:
        blob = reduced(node.op, blob)
    to.define(node.outputs[0], blob if found.keepdims else to.reshaped(blob, shape))


def convert_softmax(to: NcnnScope, node: gs.Node) -> None:
    """Add a Softmax along one axis."""
    shape = to.shape(node.inputs[0])
    axes = softmax_axes(node, len(shape) + 1, to.view.opset)
    need(axes is not None and len(axes) == 1, "it normalizes over several axes")
    assert axes is not None
    params: dict[int, Parameter] = {0: axis_of(axes[0], len(shape) + 1), 1: 1}
    to.define(node.outputs[0], to.add("Softmax", (to.blob(node.inputs[0]),), params))


def convert_depth_to_space(to: NcnnScope, node: gs.Node) -> None:
    """Add a DepthToSpace as PixelShuffle."""
    block = int(attribute(node, "blocksize", to.view.opset))
    columns = str(attribute(node, "mode", to.view.opset)) == "CRD"
    params: dict[int, Parameter] = {0: block, 1: int(not columns)}
    to.shape(node.outputs[0])
    to.define(node.outputs[0], to.add("PixelShuffle", (to.blob(node.inputs[0]),), params))
