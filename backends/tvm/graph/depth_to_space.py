"""Rows of operators that move elements, and together are DepthToSpace: written as that one.

    T(R(T6(R(T(x)))))[:, :, a:b, c:d]  ->  DepthToSpace(x)[:, :, a:b, c:d]

What a row does is not read from how it is spelled: the row moves the numbers of the elements, and
where they end is compared. Quantizing what was dequantized by the same grid moves nothing.
Files for runtimes that have DepthToSpace of floats alone, or channels last, spell it so.

Source: ONNX operator DepthToSpace-13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.clone import clone
from ....ir.graph.edit import Edit
from ....ir.graph.types import Shape, TensorType
from ....ir.graph.view import View
from ....ir.ops.axes.permutation import perm_of
from ....ir.ops.build import build_slice
from ....ir.ops.opsets import has_attribute
from ....ir.ops.quantization.nodes import is_dequantizer, quantizes_or_back
from ....ir.ops.slices import read_slice
from ...contract.prepare import typed_view
from ..spec.depth_to_space import BlocksOfChannels
from ..spec.layout import Array
from .quantized import quantization_of

_STARTS = ("Transpose", "Reshape")
_SPLIT = 6  # axes, where both positions are apart from their blocks


def fold_depth_to_space(graph: gs.Graph) -> gs.Graph:
    """Return `graph` with every row that is DepthToSpace, and perhaps a Slice, as these two.

    `graph` itself is left as it is.
    """
    if not any(map(_splits, graph.nodes)):
        return graph
    graph = clone(graph)
    view = typed_view(graph)
    seen: set[int] = set()
    with Edit(graph) as edit:
        for node in list(graph.nodes):
            if id(node) in seen or not is_standard(node) or node.op not in _STARTS:
                continue
            row = _Row.of(node, view)
            seen.update(map(id, row.nodes))
            found = row.shuffle(view) if any(map(_splits, row.nodes)) else None
            if found is not None:
                _write(row.nodes[: found[0]], found[1], view, edit)
    return graph


def _splits(node: gs.Node) -> bool:
    """Say whether `node` moves rows and columns beside their blocks, or away from them."""
    return node.op == "Transpose" and len(node.attrs.get("perm", ())) == _SPLIT


def read_depth_to_space(node: gs.Node) -> BlocksOfChannels:
    """Return what a DepthToSpace moves, nothing cut off."""
    mode = node.attrs.get("mode", "DCR")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    return BlocksOfChannels(int(node.attrs["blocksize"]), mode)


@dataclass
class _Row:
    """Nodes that each read what the one before gives, which nothing else reads.

    `source`: channels and positions of what the first one reads.
    """

    nodes: list[gs.Node]
    source: tuple[int, int, int]

    @classmethod
    def of(cls, node: gs.Node, view: View) -> _Row:
        """Return the longest row that begins with `node`."""
        tensor = node.inputs[0]
        shape = view.shape(tensor)
        row = cls([], (0, 0, 0))
        if shape is None or len(shape) != 4 or not all(isinstance(size, int) for size in shape[1:]):
            return row
        row.source = tuple(int(size or 0) for size in shape[1:])  # type: ignore[assignment]
        before = view.producer(tensor)
        grid = None
        if before is not None and is_dequantizer(before):
            grid = quantization_of(before, view)
        at: gs.Node | None = node
        while at is not None and is_standard(at) and at.inputs[0] is tensor:
            if quantizes_or_back(at):
                found = quantization_of(at, view)
                first = grid is None and is_dequantizer(at)
                if found is None or not (first or found == grid):
                    break
                grid = found
            elif at.op not in _STEPS:
                break
            result = view.shape(at.outputs[0])
            if result is None or result[0] != shape[0]:
                break
            row.nodes.append(at)
            tensor = at.outputs[0]
            at = view.only_reader(tensor)
        return row

    def shuffle(self, view: View) -> tuple[int, BlocksOfChannels] | None:
        """Return how many nodes, as many as may be, are one DepthToSpace; None where none are."""
        number = np.arange(math.prod(self.source), dtype=np.int32)
        moved = number.reshape(1, *self.source)
        reached: list[Array] = []
        for node in self.nodes:
            after = _after(node, moved, view)
            if after is None:
                break
            moved = after
            reached.append(moved)
        kind = view.dtype(self.nodes[0].inputs[0])
        for count in range(len(reached), 2, -1):
            last = reached[count - 1]
            if last.ndim != 4 or view.dtype(self.nodes[count - 1].outputs[0]) != kind:
                continue
            found = _recognized(last[0], self.source)
            if found is not None:
                return count, found
        return None


def _after(node: gs.Node, moved: Array, view: View) -> Array | None:
    """Return where elements are behind `node`, the batch being one; None where that is unknown."""
    if quantizes_or_back(node):
        return moved
    return _STEPS[node.op](node, moved, view)


def _transposed(node: gs.Node, moved: Array, view: View) -> Array | None:
    order = perm_of(node, view)
    return None if order is None or order[0] != 0 else moved.transpose(order)


def _reshaped(node: gs.Node, moved: Array, view: View) -> Array | None:
    shape: Shape | None = view.shape(node.outputs[0])
    sizes = [size for size in (shape or ())[1:] if isinstance(size, int)]
    if shape is None or len(sizes) < len(shape) - 1 or math.prod(sizes) != moved.size:
        return None
    return moved.reshape(1, *sizes)


def _sliced(node: gs.Node, moved: Array, view: View) -> Array | None:
    parts = read_slice(node, view)
    if parts is None or 0 in parts:
        return None
    return moved[tuple(parts.get(axis, slice(None)) for axis in range(moved.ndim))]


def _shuffled(node: gs.Node, moved: Array, view: View) -> Array | None:
    found = read_depth_to_space(node)
    return found.moved(moved[0])[None] if moved.ndim == 4 else None


_STEPS: dict[str, Callable[[gs.Node, Array, View], Array | None]] = {
    "Transpose": _transposed,
    "Reshape": _reshaped,
    "Slice": _sliced,
    "DepthToSpace": _shuffled,
}


def _recognized(moved: Array, source: tuple[int, int, int]) -> BlocksOfChannels | None:
    """Return the DepthToSpace that gives `moved` of the numbers of elements of `source`."""
    channels, height, width = source
    if not moved.size or channels % moved.shape[0]:
        return None
    size = math.isqrt(channels // moved.shape[0])
    if size < 2 or size**2 * moved.shape[0] != channels:
        return None
    numbers = np.arange(channels * height * width, dtype=np.int32).reshape(source)
    for mode in ("DCR", "CRD"):
        whole = BlocksOfChannels(size, mode).moved(numbers)
        starts = np.argwhere(whole[0] == moved[0, 0, 0])
        if not len(starts):
            continue
        crop = tuple(
            slice(int(start), int(start) + along)
            for start, along in zip(starts[0], moved.shape[1:], strict=True)
        )
        found = BlocksOfChannels(size, mode, (crop[0], crop[1]))
        if np.array_equal(found.moved(numbers), moved):
            return found
    return None


def _write(nodes: list[gs.Node], found: BlocksOfChannels, view: View, edit: Edit) -> None:
    first, result = nodes[0], nodes[-1].outputs[0]
    source = first.inputs[0]
    shape, dtype = view.shape(source), view.dtype(source)
    assert shape is not None
    assert dtype is not None
    batch, channels, height, width = shape
    sizes = (int(height or 0) * found.size, int(width or 0) * found.size)
    cut = any(part != slice(0, size) for part, size in zip(found.crop, sizes, strict=True))
    attrs: dict[str, Any] = {"blocksize": found.size}
    if has_attribute("DepthToSpace", "mode", view.opset):
        attrs["mode"] = found.mode
    made = result
    if cut:
        kind = TensorType(dtype, (batch, int(channels or 0) // found.size**2, *sizes))
        made = edit.variable(f"{result.name}_whole", kind)
    for node in reversed(nodes):
        edit.remove(node)
    edit.node("DepthToSpace", [source], [made], attrs, at=first)
    if cut:
        bounds = {axis: (part.start, part.stop, 1) for axis, part in enumerate(found.crop, start=2)}
        build_slice(edit, made, result, bounds, at=first)
