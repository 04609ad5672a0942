"""Sizes, bounds and indices that operators state, for fewer channels.

Each rule returns what changes in a node beside its tensors; attributes of value None are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.axes.ports import normal_axes
from ....ir.ops.windows.pad import read_padding
from ...analysis.channels.cells import Array
from ...analysis.channels.rules.movement import read_slice
from .keep import Keep


@dataclass(frozen=True)
class SizeChange:
    """New attributes, constants by input position, and inputs that are left out.

    `nodes`, where it is given, writes other nodes between the tensors instead.
    """

    attrs: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[int, Array] = field(default_factory=dict)
    dropped: tuple[int, ...] = ()
    nodes: Callable[[gs.Tensor, gs.Tensor, Edit], None] | None = None


def _target(node: gs.Node, view: View, keep: Keep) -> SizeChange:
    """Reshape: the sizes of the result."""
    target = keep.analysis.values(node.inputs[1])
    kept = keep.indices(node.outputs[0])
    if target is None or not kept:
        return SizeChange()
    sizes = np.array(target)
    for axis, index in kept.items():
        sizes[axis] = len(index)
    return SizeChange(constants={1: sizes})


def _expand(node: gs.Node, view: View, keep: Keep) -> SizeChange:
    target = keep.analysis.values(node.inputs[1])
    rank = view.rank(node.outputs[0])
    kept = keep.indices(node.outputs[0])
    if target is None or rank is None or not kept:
        return SizeChange()
    sizes = np.array(target)
    for axis, index in kept.items():
        place = axis - rank + len(sizes)
        if place >= 0 and sizes[place] != 1:
            sizes[place] = len(index)
    return SizeChange(constants={1: sizes})


def _squeeze(node: gs.Node, view: View, keep: Keep) -> SizeChange:
    """Without axes it would take a channel axis that is left with one."""
    shape = view.shape(node.inputs[0])
    if node.attrs.get("axes") or (len(node.inputs) > 1 and node.inputs[1].name) or shape is None:
        return SizeChange()
    axes = [axis for axis, size in enumerate(shape) if size == 1]
    if view.opset < 13:
        return SizeChange(attrs={"axes": axes})
    return SizeChange(constants={1: np.array(axes, np.int64)})


def _split(node: gs.Node, view: View, keep: Keep) -> SizeChange:
    rank = view.rank(node.inputs[0])
    found = None if rank is None else normal_axes(node.attrs.get("axis", 0), rank)
    kept = keep.indices(node.inputs[0])
    if found is None or found[0] not in kept:
        return SizeChange()
    axis = found[0]
    sizes = []
    for tensor in node.outputs:
        shape = view.shape(tensor)
        own = keep.indices(tensor).get(axis)
        size = None if shape is None else shape[axis]
        sizes.append(len(own) if own is not None else int(size or 0))
    if view.opset < 13:
        return SizeChange(attrs={"split": sizes})
    return SizeChange(attrs={"num_outputs": None}, constants={1: np.array(sizes, np.int64)})


def _slice(node: gs.Node, view: View, keep: Keep) -> SizeChange:
    """A window of what is left; where that is none, the elements by their places."""
    labels = keep.analysis.of(node.inputs[0])
    kept = keep.indices(node.inputs[0])
    window = None if labels is None else read_slice(node, labels.ndim, keep.analysis)
    if labels is None or window is None:
        return SizeChange()
    bounds: dict[int, tuple[int, int, int]] = {}
    gathers: dict[int, Array] = {}
    for axis, part in window.items():
        size = labels.shape[axis]
        if axis not in kept:
            last = -(1 << 31) if part.stop is None else part.stop
            bounds[axis] = (part.start, last, part.step)
            continue
        taken = np.arange(size)[part]
        places = np.searchsorted(kept[axis], taken[np.isin(taken, kept[axis])])
        if len(places) == places[-1] - places[0] + 1 and (np.diff(places) == 1).all():
            bounds[axis] = (int(places[0]), int(places[-1]) + 1, 1)
        else:
            gathers[axis] = places
    columns = [np.array(column, np.int64) for column in zip(*bounds.values(), strict=True)]
    axes = np.array(list(bounds), np.int64)
    if gathers:
        return SizeChange(nodes=_gathers(node, view, axes, columns, gathers))
    if view.opset < 10:
        starts, ends = (column.tolist() for column in columns[:2])
        return SizeChange(attrs={"starts": starts, "ends": ends, "axes": axes.tolist()})
    given = (columns[0], columns[1], axes, columns[2])
    return SizeChange(constants={place + 1: values for place, values in enumerate(given)})


def _gathers(
    node: gs.Node, view: View, axes: Array, columns: list[Array], gathers: dict[int, Array]
) -> Callable[[gs.Tensor, gs.Tensor, Edit], None]:
    def write(source: gs.Tensor, result: gs.Tensor, edit: Edit) -> None:
        steps: list[tuple[str, dict[str, Any], list[Array]]] = []
        if len(axes) and view.opset < 10:
            starts, ends = (column.tolist() for column in columns[:2])
            steps.append(("Slice", {"starts": starts, "ends": ends, "axes": axes.tolist()}, []))
        elif len(axes):
            steps.append(("Slice", {}, [columns[0], columns[1], axes, columns[2]]))
        steps += [("Gather", {"axis": axis}, [index]) for axis, index in gathers.items()]
        for number, (op, attrs, constants) in enumerate(steps):
            last = number == len(steps) - 1
            made = result if last else edit.variable(f"{result.name}_part")
            inputs = [edit.constant(values, f"{result.name}_places") for values in constants]
            edit.node(op, [source, *inputs], [made], attrs, at=node)
            source = made

    return write


def _gather(node: gs.Node, view: View, keep: Keep) -> SizeChange:
    labels = keep.analysis.of(node.inputs[0])
    indices = keep.analysis.values(node.inputs[1])
    found = None if labels is None else normal_axes(node.attrs.get("axis", 0), labels.ndim)
    kept = keep.indices(node.inputs[0])
    if labels is None or indices is None or found is None or found[0] not in kept:
        return SizeChange()
    axis = found[0]
    after = keep.indices(node.outputs[0])
    for own in range(indices.ndim):
        if axis + own in after:
            indices = indices.take(after[axis + own], own)
    places = np.searchsorted(kept[axis], indices % labels.shape[axis])
    return SizeChange(constants={1: places.astype(indices.dtype)})


def _pad(node: gs.Node, view: View, keep: Keep) -> SizeChange:
    after = keep.indices(node.outputs[0])
    if node.attrs.get("mode", "constant") != "constant" or not after:
        return SizeChange()
    padding = read_padding(node, view, keep.analysis.values)
    begins, ends = list(padding.begins), list(padding.ends)
    labels = keep.analysis.of(node.outputs[0])
    assert labels is not None
    for axis, index in after.items():
        size = labels.shape[axis]
        ends[axis] = int((index >= size - ends[axis]).sum())
        begins[axis] = int((index < begins[axis]).sum())
    pads = [*begins, *ends]
    if view.opset < 11:
        return SizeChange(attrs={"pads": pads})
    return SizeChange(constants={1: np.array(pads, np.int64)}, dropped=(3,))


def _resize(node: gs.Node, view: View, keep: Keep) -> SizeChange:
    kept = keep.indices(node.outputs[0])
    sizes = node.inputs[3] if len(node.inputs) > 3 else None
    rank = view.rank(node.inputs[0])
    values = None if sizes is None or not sizes.name else keep.analysis.values(sizes)
    if values is None or rank is None or not kept:
        return SizeChange()
    changed = np.array(values)
    axes = normal_axes(node.attrs.get("axes", range(rank)), rank) or []
    for axis, index in kept.items():
        if axis in axes:
            changed[axes.index(axis)] = len(index)
    return SizeChange(constants={3: changed})


SIZES: dict[str, Callable[[gs.Node, View, Keep], SizeChange]] = {
    "Reshape": _target,
    "Expand": _expand,
    "Squeeze": _squeeze,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "Resize": _resize,
}
