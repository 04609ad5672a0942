"""Operators that move elements: what they do to a tensor they do to its labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.variables import label
from .....ir.graph.types import Dim
from .....ir.ops.axes.named import normal_axes
from .....ir.ops.slices import read_slice
from .....ir.ops.traits.groups import RESHAPES
from ..analysis import ChannelAnalysis, Rule
from ..cells import Array
from ..labels import reshape, unite_pairs, varying
from .shuffles import find_shuffle


def _reshape(node: gs.Node, analysis: ChannelAnalysis) -> None:
    """Reshape, Flatten, Squeeze and Unsqueeze, by the shapes before and after."""
    labels = analysis.of(node.inputs[0])
    before, after = analysis.view.shape(node.inputs[0]), analysis.view.shape(node.outputs[0])
    if labels is None:
        return
    if before is None or after is None:
        analysis.block(node, f"the shapes around {label(node)} are unknown")
        return
    if not varying(labels):
        analysis.put(node.outputs[0], labels.reshape((1,) * len(after)))
        return
    moved = reshape(labels, before, after, analysis.cells)
    if node.op == "Reshape" and not _follows(node.inputs[1], varying(moved), analysis):
        analysis.block(
            node, f"the target of {label(node)} is computed, run simplify-reshapes before"
        )
        return
    if not varying(moved):
        analysis.fix(node.inputs[0], f"{label(node)} merges its channels with unknown sizes")
    analysis.put(node.outputs[0], moved)
    if len(varying(moved)) == 1 and len(varying(labels)) > 1:
        found = find_shuffle(node, analysis)
        if found is not None:
            analysis.shuffles.append(found)


def _follows(target: gs.Tensor, axes: Sequence[int], analysis: ChannelAnalysis) -> bool:
    """Say whether the sizes of `axes` in a Reshape's target can be changed: constant, or -1.

    Exporters join a batch size that they read with such a constant.
    """
    if analysis.is_constant(target):
        return True
    joined = analysis.view.producer(target)
    if joined is None or joined.op != "Concat":
        return False
    entries: list[int | None] = []
    for part in joined.inputs:
        values = analysis.values(part)
        shape = analysis.view.shape(part)
        if values is not None:
            entries += np.ravel(values).tolist()
        elif shape is not None and len(shape) == 1 and isinstance(shape[0], int):
            entries += [None] * shape[0]
        else:
            return False
    return all(axis < len(entries) and entries[axis] == -1 for axis in axes)


def _transpose(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    if labels is not None:
        order = node.attrs.get("perm") or tuple(reversed(range(labels.ndim)))
        analysis.put(node.outputs[0], labels.transpose(order))


def _sized(labels: Array, axis: int, size: Dim) -> Array | None:
    """Return labels with `size` entries along `axis`, or None where that is unknown."""
    if labels.shape[axis] == size:
        return labels
    if not isinstance(size, int):
        return None
    shape = list(labels.shape)
    shape[axis] = size
    return np.broadcast_to(labels, shape)


def _concat(node: gs.Node, analysis: ChannelAnalysis) -> None:
    rank = analysis.view.rank(node.outputs[0])
    axis = None if rank is None else normal_axes(node.attrs.get("axis", 1), rank)
    if rank is None or axis is None:
        analysis.block(node, f"the rank of what {label(node)} makes is unknown")
        return
    for tensor in node.inputs:
        if analysis.is_constant(tensor):
            analysis.opaque(tensor, "it is a constant")
    parts = [analysis.of(tensor) for tensor in node.inputs]
    along = axis[0]
    own = [part for part in parts if part is not None and part.ndim == rank]
    if len(own) < len(parts):
        analysis.block(node, f"the rank of what {label(node)} joins is unknown")
        return
    if any(part.shape[along] > 1 for part in own):
        shapes = [analysis.view.shape(tensor) for tensor in node.inputs]
        sized = [
            None if shape is None else _sized(part, along, shape[along])
            for part, shape in zip(own, shapes, strict=True)
        ]
        full = [part for part in sized if part is not None]
        if len(full) < len(parts):
            analysis.block(node, f"it is not known how many channels {label(node)} joins")
            return
        analysis.put(node.outputs[0], _joined(full, along))
        return
    total = own[0]
    for part in own[1:]:
        total = np.broadcast_to(total, np.broadcast_shapes(total.shape, part.shape))
    for part in own:
        unite_pairs(part, total, analysis.cells)
    analysis.put(node.outputs[0], total)


def _joined(parts: Sequence[Array], axis: int) -> Array:
    """Concatenate labels, with as many along each other axis as any of them has."""
    sizes = [max(part.shape[a] for part in parts) for a in range(parts[0].ndim)]
    grown = []
    for part in parts:
        shape = [part.shape[a] if a == axis else size for a, size in enumerate(sizes)]
        grown.append(np.broadcast_to(part, shape))
    return np.concatenate(grown, axis)


def _split(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    axis = None if labels is None else normal_axes(node.attrs.get("axis", 0), labels.ndim)
    if labels is None or axis is None:
        return
    if labels.shape[axis[0]] == 1:
        for tensor in node.outputs:
            analysis.put(tensor, labels)
        return
    shapes = [analysis.view.shape(tensor) for tensor in node.outputs]
    sizes = [shape[axis[0]] for shape in shapes if shape is not None]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) != len(node.outputs) or sum(known) != labels.shape[axis[0]]:
        analysis.block(node, f"it is not known where {label(node)} splits it")
        return
    parts = np.split(labels, np.cumsum(known)[:-1].tolist(), axis[0])
    for tensor, part in zip(node.outputs, parts, strict=True):
        analysis.put(tensor, part)


def _slice(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    if labels is None:
        return
    cut = read_slice(node, analysis.view, analysis.values)
    if cut is None and varying(labels):
        analysis.block(node, f"the bounds of {label(node)} are not constant")
        return
    window = [slice(None)] * labels.ndim
    for axis, part in (cut or {}).items():
        if labels.shape[axis] > 1:
            window[axis] = part
    analysis.put(node.outputs[0], labels[tuple(window)])


def _gather(node: gs.Node, analysis: ChannelAnalysis) -> None:
    labels = analysis.of(node.inputs[0])
    if labels is None or analysis.is_constant(node.inputs[0]):
        analysis.block(node, f"{label(node)} looks it up")
        return
    axis = normal_axes(node.attrs.get("axis", 0), labels.ndim)
    indices = analysis.values(node.inputs[1])
    if axis is None or (labels.shape[axis[0]] > 1 and indices is None):
        analysis.block(node, f"the indices of {label(node)} are not constant")
        return
    rank = analysis.view.rank(node.inputs[1])
    if labels.shape[axis[0]] == 1:
        if rank is None:
            analysis.block(node, f"the rank of the indices of {label(node)} is unknown")
            return
        indices = np.zeros((1,) * rank, np.int64)
    assert indices is not None
    analysis.put(node.outputs[0], labels.take(indices, axis[0]))


def _shape(node: gs.Node, analysis: ChannelAnalysis) -> None:
    """Sizes: those of axes with channels must not be asked for."""
    labels = analysis.of(node.inputs[0])
    if labels is None:
        return
    rank = labels.ndim
    start, end = int(node.attrs.get("start", 0)), int(node.attrs.get("end", rank))
    asked = set(range(rank)[start:end])
    readers = analysis.view.readers(node.outputs[0])
    if readers and not analysis.view.is_output(node.outputs[0]):
        picked = [_picked(reader, sorted(asked), analysis) for reader in readers]
        asked &= set().union(*picked)
    if set(varying(labels)) & asked and (readers or analysis.view.is_output(node.outputs[0])):
        analysis.fix(node.inputs[0], f"{label(node)} reads how many there are")


def _picked(reader: gs.Node, axes: list[int], analysis: ChannelAnalysis) -> set[int]:
    """Return which of the sizes of `axes` a reader of them takes: all, where that is unknown."""
    positions = np.array(axes)
    if reader.op == "Gather" and len(reader.inputs) == 2:
        indices = analysis.values(reader.inputs[1])
        if indices is not None and indices.size:
            return set(positions[indices.ravel()].tolist())
    if reader.op == "Slice":
        cut = read_slice(reader, analysis.view, analysis.values)
        if cut is not None:
            return set(positions[cut.get(0, slice(None))].tolist())
    return set(axes)


RULES: dict[str, Rule] = {
    **dict.fromkeys(RESHAPES, _reshape),
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Shape": _shape,
}
