"""Operators that move data, where they leave it as it is.

Transpose by the identity; Reshape, Flatten, Expand and Slice to the own shape; Pad by nothing;
Tile by one; Squeeze and Unsqueeze of nothing; Split into one; Gather of all positions in order;
Concat of one; SpaceToDepth and DepthToSpace by one
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.graph.types import Dim
from ....ir.graph.view import View
from ..bypass import optional_values

Rule = Callable[[gs.Node, View], bool]

# Ends from here on mean "to the end" (ONNX operator Slice: INT_MAX for a size that is unknown).
_TO_THE_END = 2**31 - 1


def _transpose(node: gs.Node, view: View) -> bool:
    perm = node.attrs.get("perm")
    if isinstance(perm, list):
        return perm == list(range(len(perm)))
    rank = view.rank(node.inputs[0])  # absent, or an empty list, which is held as an AttributeProto
    return rank is not None and rank < 2


def _reshape(node: gs.Node, view: View) -> bool:
    if view.same_shape(node.inputs[0], node.outputs[0]):
        return True
    shape = view.shape(node.inputs[0])
    target = view.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if shape is None or target is None or len(target) != len(shape):
        return False
    copied = 0 if not node.attrs.get("allowzero", 0) else None
    left = [d for t, d in zip(target.tolist(), shape, strict=True) if t not in (copied, d)]
    return not left or (len(left) == 1 and target.tolist().count(-1) == 1)


def _flatten(node: gs.Node, view: View) -> bool:
    return view.rank(node.inputs[0]) == 2 and node.attrs.get("axis", 1) in (1, -1)


def _expand(node: gs.Node, view: View) -> bool:
    if view.same_shape(node.inputs[0], node.outputs[0]):
        return True
    shape, target = view.shape(node.inputs[0]), view.constant(node.inputs[1])
    return shape is not None and target is not None and keeps_shape(shape, target.tolist())


def keeps_shape(shape: Sequence[Dim], other: Sequence[Dim]) -> bool:
    """Say whether broadcasting a tensor of `shape` with one of shape `other` leaves it as it is."""
    if len(other) > len(shape):
        return False
    tail = shape[len(shape) - len(other) :]
    return all(size in (1, dim) for size, dim in zip(other, tail, strict=True))


def _slice(node: gs.Node, view: View) -> bool:
    steps = optional_values(node, 4, view)
    if steps is not None and not np.all(steps == 1):
        return False
    if view.same_shape(node.inputs[0], node.outputs[0]):
        return True
    shape = view.shape(node.inputs[0])
    starts, ends = _slice_operand(node, 1, view), _slice_operand(node, 2, view)
    if shape is None or starts is None or ends is None:
        return False
    if view.opset < 10:
        axes = _slice_operand(node, 3, view)
    else:
        listed = optional_values(node, 3, view)
        axes = None if listed is None else listed.tolist()
    return all(
        _takes_all(shape[axis], start, end)
        for axis, start, end in zip(axes or range(len(starts)), starts, ends, strict=True)
    )


def _slice_operand(node: gs.Node, index: int, view: View) -> list[int] | None:
    if view.opset < 10:
        found = node.attrs.get(("starts", "ends", "axes")[index - 1])
        return found if isinstance(found, list) else None
    values = view.constant(node.inputs[index])
    return None if values is None else values.tolist()


def _takes_all(size: Dim, start: int, end: int) -> bool:
    if isinstance(size, int):
        return (start == 0 or start <= -size) and end >= size
    return start in (0, -(2**63)) and end >= _TO_THE_END


def _pad(node: gs.Node, view: View) -> bool:
    pads = node.attrs.get("pads") or optional_values(node, 1, view)
    return pads is not None and not np.any(pads)


def _tile(node: gs.Node, view: View) -> bool:
    repeats = view.constant(node.inputs[1])
    return view.opset >= 6 and repeats is not None and bool(np.all(repeats == 1))


def _unsqueeze(node: gs.Node, view: View) -> bool:
    if view.opset < 13:
        return False
    axes = optional_values(node, 1, view)
    return axes is not None and not axes.size


def _squeeze(node: gs.Node, view: View) -> bool:
    """Without axes it takes every size of one, and some runtimes read an empty list likewise."""
    if node.attrs.get("axes"):
        return False
    axes = optional_values(node, 1, view)
    shape = view.shape(node.inputs[0])
    listed = axes is not None and axes.size > 0
    return not listed and shape is not None and all(isinstance(d, int) and d != 1 for d in shape)


def _split(node: gs.Node, view: View) -> bool:
    return len(node.outputs) == 1


def _gather(node: gs.Node, view: View) -> bool:
    shape, indices = view.shape(node.inputs[0]), view.constant(node.inputs[1])
    if not shape or indices is None or indices.ndim != 1:
        return False
    size = shape[node.attrs.get("axis", 0)]
    return size == len(indices) and bool(np.all(indices % len(indices) == np.arange(len(indices))))


def _concat(node: gs.Node, view: View) -> bool:
    return len(node.inputs) == 1


def _blocks(node: gs.Node, view: View) -> bool:
    return bool(node.attrs.get("blocksize") == 1)


def _identity(node: gs.Node, view: View) -> bool:
    return True


def _dropout(node: gs.Node, view: View) -> bool:
    if len(node.outputs) > 1:
        mask = node.outputs[1]
        need(not view.readers(mask) and not view.is_output(mask), "its mask is read")
    if view.opset < 7:
        return bool(need(node.attrs.get("is_test", 0) != 0, "it is in training mode"))
    mode = optional_values(node, 2, view, "its training mode")
    need(mode is None or not mode.any(), "it is in training mode")
    return True


RULES: dict[str, Rule] = {
    "Identity": _identity,
    "Dropout": _dropout,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Expand": _expand,
    "Slice": _slice,
    "Pad": _pad,
    "Tile": _tile,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Split": _split,
    "Gather": _gather,
    "Concat": _concat,
    "DepthToSpace": _blocks,
    "SpaceToDepth": _blocks,
}
