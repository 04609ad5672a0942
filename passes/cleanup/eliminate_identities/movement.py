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
from ....ir.ops.parameters import need_parameter, read_parameter
from ....ir.ops.slices import read_slice, takes_all
from ....ir.ops.training import need_inference

Rule = Callable[[gs.Node, View], bool]


def _transpose(node: gs.Node, view: View) -> bool:
    perm = node.attrs.get("perm")
    if perm:
        return list(perm) == list(range(len(perm)))
    rank = view.rank(node.inputs[0])
    return rank is not None and rank < 2


def _reshape(node: gs.Node, view: View) -> bool:
    if view.same_shape(node.inputs[0], node.outputs[0]):
        return True
    shape = view.shape(node.inputs[0])
    target = read_parameter(node, "shape", view).values
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
    steps = need_parameter(node, "steps", view)
    if steps is not None and not np.all(steps == 1):
        return False
    if view.same_shape(node.inputs[0], node.outputs[0]):
        return True
    shape = view.shape(node.inputs[0])
    bounds = read_slice(node, view)
    if shape is None or bounds is None:
        return False
    return all(takes_all(part, shape[axis]) for axis, part in bounds.items())


def _pad(node: gs.Node, view: View) -> bool:
    pads = need_parameter(node, "pads", view)
    return pads is not None and not np.any(pads)


def _tile(node: gs.Node, view: View) -> bool:
    repeats = read_parameter(node, "repeats", view).values
    return repeats is not None and bool(np.all(repeats == 1))


def _unsqueeze(node: gs.Node, view: View) -> bool:
    axes = need_parameter(node, "axes", view)
    return axes is not None and not axes.size


def _squeeze(node: gs.Node, view: View) -> bool:
    """Without axes it takes every size of one, and some runtimes read an empty list likewise."""
    axes = need_parameter(node, "axes", view)
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
    need_inference(node, view)
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
