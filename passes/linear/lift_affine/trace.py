"""Which channel of a layer each element of a tensor is, behind operators that only move elements.

A tensor's channels are an array with as many axes as the tensor: the numbers of the layer's
channels along the axes that they went to, and size one along all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard
from ....ir.graph.types import Dim, Shape
from ....ir.graph.view import View
from ....ir.ops.axes.named import normal_axes
from ....ir.ops.axes.permutation import perm_of
from ....ir.ops.linear.layer import Layer, read_layer
from ....ir.ops.slices import read_slice
from ....ir.ops.traits.groups import LAYERS, READ_NO_VALUES, RESHAPES

Array = np.ndarray[Any, Any]

_LONGEST = 12
_MOST_READERS = 8


@dataclass(frozen=True)
class LayerBehind:
    """A layer, and which of its channels each element of a tensor behind it is."""

    layer: Layer
    channels: Array


def layer_behind(tensor: gs.Tensor, reader: gs.Node, view: View) -> LayerBehind | None:
    """Return the layer that `tensor` comes from by moving elements alone, for `reader` alone.

    None where there is none, and where it is next to `reader`. Declines where others read what
    moves, or where channels cannot be followed.
    """
    steps: list[tuple[gs.Node, gs.Tensor, gs.Node]] = []  # node, its result, who reads that
    while len(steps) < _LONGEST:
        node = view.producer(tensor)
        if node is None or not is_standard(node):
            return None
        if node.op not in _STEPS:
            break
        steps.append((node, tensor, reader))
        tensor, reader = node.inputs[0], node
    layer = _layer_at(tensor, view) if steps else None
    if layer is None:
        return None
    channels = _own_channels(layer, view)
    for node, result, after in reversed(steps):
        _need_alone(node.inputs[0], node, channels, view)
        channels = _part_alone(node, result, channels, view)
        if after is steps[0][2]:
            _need_alone(result, after, channels, view)
    return LayerBehind(layer, channels)


def _layer_at(tensor: gs.Tensor, view: View) -> Layer | None:
    node = view.producer(tensor)
    if node is None or not is_standard(node) or node.op not in LAYERS | {"Add"}:
        return None
    try:
        return read_layer(node, view)
    except DeclinedError:
        if node.op == "Add":
            return None
        raise


def _own_channels(layer: Layer, view: View) -> Array:
    rank = layer.weight.ndim if layer.is_spatial else layer.rank
    rank = need(rank, f"the rank of the result of {layer.op} is unknown")
    shape = [1] * rank
    shape[layer.axis] = layer.outputs
    return np.arange(layer.outputs).reshape(shape)


def _need_alone(tensor: gs.Tensor, reader: gs.Node, channels: Array, view: View) -> None:
    """Decline where others than `reader` read its channels of `tensor`, whose are `channels`."""
    readers = [r for r in view.readers(tensor) if r.op not in READ_NO_VALUES or not is_standard(r)]
    problem = "what its channels come from has other readers"
    need(not view.is_output(tensor) and len(readers) <= _MOST_READERS, problem)
    if len(readers) == 1:
        uses = sum(each is tensor for each in reader.inputs)
        need(readers[0] is reader and uses == 1, problem)
        return
    own = _taken(reader, tensor, channels, view)
    for other in readers:
        if other is not reader:
            need(not own & _taken(other, tensor, channels, view), problem)


def _part_alone(node: gs.Node, result: gs.Tensor, channels: Array, view: View) -> Array:
    """Return the channels of `result`; decline where something reads them in another part."""
    found = behind_step(node, result, channels, view)
    for other in node.outputs:
        if other is not result and (view.readers(other) or view.is_output(other)):
            shared = np.isin(behind_step(node, other, channels, view), found).any()
            need(not shared, "another part of what its channels come from is read too")
    return found


def _taken(reader: gs.Node, tensor: gs.Tensor, channels: Array, view: View) -> set[int]:
    """Return the channels of `tensor` that `reader` takes from it."""
    if reader.op in _STEPS and is_standard(reader) and reader.inputs[0] is tensor:
        taken = [behind_step(reader, t, channels, view).reshape(-1) for t in reader.outputs]
        return set(np.concatenate(taken).tolist())
    return set(channels.reshape(-1).tolist())


def steps_before(tensor: gs.Tensor, reader: gs.Node, view: View) -> list[gs.Node]:
    """Return the operators that move what `reader` alone reads as `tensor`, the first first.

    Each is all that reads what the one before gives, and gives nothing else that is read.
    """
    steps: list[gs.Node] = []
    while len(steps) < _LONGEST:
        node = view.producer(tensor)
        if node is None or node.op not in _STEPS or not is_standard(node):
            break
        others = [t for t in node.outputs if t is not tensor]
        used = any(view.readers(t) or view.is_output(t) for t in others)
        if used or not view.read_only_by(tensor, reader):
            break
        steps.insert(0, node)
        tensor, reader = node.inputs[0], node
    return steps


def behind_step(node: gs.Node, result: gs.Tensor, channels: Array, view: View) -> Array:
    """Return which channels `result` of the moving operator `node` has; see the module."""
    found = _STEPS[node.op](node, result, channels, view)
    return need(found, f"its channels cannot be followed through {node.op}")


def _transposed(node: gs.Node, result: gs.Tensor, channels: Array, view: View) -> Array | None:
    perm = perm_of(node, view)
    return None if perm is None else channels.transpose(perm)


def _split(node: gs.Node, result: gs.Tensor, channels: Array, view: View) -> Array | None:
    axis = normal_axes([node.attrs.get("axis", 0)], channels.ndim)
    if axis is None:
        return None
    if channels.shape[axis[0]] == 1:
        return channels
    shapes = [view.shape(tensor) for tensor in node.outputs]
    sizes = [None if shape is None else shape[axis[0]] for shape in shapes]
    place = next(i for i, tensor in enumerate(node.outputs) if tensor is result)
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) != len(sizes):
        return None
    start = sum(known[:place])
    return np.take(channels, range(start, start + known[place]), axis=axis[0])


def _gathered(node: gs.Node, result: gs.Tensor, channels: Array, view: View) -> Array | None:
    axis = normal_axes([node.attrs.get("axis", 0)], channels.ndim)
    rank = view.rank(node.inputs[1])
    if axis is None or rank not in (0, 1):
        return None
    if channels.shape[axis[0]] == 1:
        return channels.squeeze(axis[0]) if rank == 0 else channels
    indices = view.constant(node.inputs[1])
    return None if indices is None else np.take(channels, indices, axis=axis[0])


def _sliced(node: gs.Node, result: gs.Tensor, channels: Array, view: View) -> Array | None:
    parts = read_slice(node, view)
    if parts is None:
        return None
    whole = [slice(None)] * channels.ndim
    for axis, part in parts.items():
        if channels.shape[axis] > 1:
            whole[axis] = part
    return channels[tuple(whole)]


def _reshaped(node: gs.Node, result: gs.Tensor, channels: Array, view: View) -> Array | None:
    before, after = view.shape(node.inputs[0]), view.shape(result)
    if before is None or after is None or len(before) != channels.ndim:
        return None
    front = _alike(before, after)
    back = _alike(before[front:][::-1], after[front:][::-1])
    middle = before[front : len(before) - back], after[front : len(after) - back]
    inner = _regrouped(channels.shape[front : len(before) - back], *middle)
    if inner is None:
        return None
    tail = channels.shape[len(before) - back :]
    return channels.reshape((*channels.shape[:front], *inner, *tail))


def _alike(before: Shape, after: Shape) -> int:
    """Count the sizes that both shapes begin with."""
    count = 0
    for a, b in zip(before, after, strict=False):
        if a is None or a != b:
            break
        count += 1
    return count


def _regrouped(own: Sequence[int], before: Shape, after: Shape) -> list[int] | None:
    """Return the axes `own` of channels behind a Reshape; None where positions join channels."""
    if all(size == 1 for size in own):
        return [1] * len(after)
    pending = [(size, kept > 1) for size, kept in zip(before, own, strict=True)]
    found: list[int] = []
    for size in after:
        taken = _take(pending, size)
        if taken is None:
            return None
        found.append(taken)
    return found if all(size == 1 for size, _ in pending) else None


def _take(pending: list[tuple[Dim, bool]], size: Dim) -> int | None:
    """Take an axis of `size` from what is left of the axes before; return its channels."""
    if not isinstance(size, int) or size < 1:
        return None
    channels, kinds, left = 1, set[bool](), size
    while left > 1:
        while pending and pending[0][0] == 1:
            pending.pop(0)
        if not pending:
            return None
        whole, kept = pending[0]
        if not isinstance(whole, int) or whole < 1:
            return None
        part = min(left, whole)
        if left % part or whole % part:
            return None
        pending[0] = (whole // part, kept)
        kinds.add(kept)
        channels *= part if kept else 1
        left //= part
    return channels if len(kinds) < 2 else None


_Step = Callable[[gs.Node, gs.Tensor, Array, View], Array | None]
_STEPS: dict[str, _Step] = {
    **dict.fromkeys(RESHAPES, _reshaped),
    "Transpose": _transposed,
    "Split": _split,
    "Gather": _gathered,
    "Slice": _sliced,
}
