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
from ....ir.ops.axes.named import axes_of, normal_axes
from ....ir.ops.build import Bounds, build_slice, slice_parameters
from ....ir.ops.parameters import input_of, read_parameter, spell
from ....ir.ops.slices import read_slice
from ....ir.ops.windows.pad import read_padding
from ...analysis.channels.cells import Array
from .kept_channels import KeptChannels


@dataclass(frozen=True)
class SizeChange:
    """New attributes, constants by input position, and inputs that are left out.

    `nodes`, where it is given, writes other nodes between the tensors instead.
    """

    attrs: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[int, Array] = field(default_factory=dict)
    dropped: tuple[int, ...] = ()
    nodes: Callable[[gs.Tensor, gs.Tensor, Edit], None] | None = None


def _target(node: gs.Node, view: View, keep: KeptChannels) -> SizeChange:
    """Reshape: the sizes of the result."""
    target = read_parameter(node, "shape", view, keep.analysis.values).values
    kept = keep.indices(node.outputs[0])
    if target is None or not kept:
        return SizeChange()
    sizes = np.array(target)
    for axis, index in kept.items():
        sizes[axis] = len(index)
    return SizeChange(*spell("Reshape", view.opset, {"shape": sizes}))


def _expand(node: gs.Node, view: View, keep: KeptChannels) -> SizeChange:
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


def _squeeze(node: gs.Node, view: View, keep: KeptChannels) -> SizeChange:
    """Without axes it would take a channel axis that is left with one."""
    shape = view.shape(node.inputs[0])
    if shape is None or read_parameter(node, "axes", view).given:
        return SizeChange()
    axes = [axis for axis, size in enumerate(shape) if size == 1]
    return SizeChange(*spell("Squeeze", view.opset, {"axes": axes}))


def _split(node: gs.Node, view: View, keep: KeptChannels) -> SizeChange:
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
    attrs, constants = spell("Split", view.opset, {"split": sizes})
    return SizeChange({**attrs, "num_outputs": None}, constants)


def _slice(node: gs.Node, view: View, keep: KeptChannels) -> SizeChange:
    """A window of what is left; where that is none, the elements by their places."""
    labels = keep.analysis.of(node.inputs[0])
    kept = keep.indices(node.inputs[0])
    window = read_slice(node, view, keep.analysis.values)
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
    if gathers:
        return SizeChange(nodes=_gathers(node, bounds, gathers))
    attrs, constants = spell("Slice", view.opset, slice_parameters(bounds))
    steps = input_of("Slice", "steps", view.opset)
    return SizeChange(attrs, constants, () if steps is None or steps in constants else (steps,))


def _gathers(
    node: gs.Node, bounds: Bounds, gathers: dict[int, Array]
) -> Callable[[gs.Tensor, gs.Tensor, Edit], None]:
    def write(source: gs.Tensor, result: gs.Tensor, edit: Edit) -> None:
        if bounds:
            part = edit.variable(f"{result.name}_part")
            build_slice(edit, source, part, bounds, at=node)
            source = part
        for number, (axis, index) in enumerate(gathers.items(), start=1):
            made = result if number == len(gathers) else edit.variable(f"{result.name}_part")
            places = edit.constant(index, f"{result.name}_places")
            edit.node("Gather", [source, places], [made], {"axis": axis}, at=node)
            source = made

    return write


def _gather(node: gs.Node, view: View, keep: KeptChannels) -> SizeChange:
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


def _pad(node: gs.Node, view: View, keep: KeptChannels) -> SizeChange:
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
    return SizeChange(*spell("Pad", view.opset, {"pads": pads}), dropped=(3,))


def _resize(node: gs.Node, view: View, keep: KeptChannels) -> SizeChange:
    kept = keep.indices(node.outputs[0])
    rank = view.rank(node.inputs[0])
    values = read_parameter(node, "sizes", view, keep.analysis.values).values
    if values is None or rank is None or not kept:
        return SizeChange()
    changed = np.array(values)
    named, _ = axes_of(node, view, rank)
    axes = list(range(rank)) if named is None else named
    for axis, index in kept.items():
        if axis in axes:
            changed[axes.index(axis)] = len(index)
    return SizeChange(*spell("Resize", view.opset, {"sizes": changed}))


def _hidden(node: gs.Node, view: View, keep: KeptChannels) -> SizeChange:
    """A recurrent layer: its hidden units."""
    for tensor in node.outputs:
        for index in keep.indices(tensor).values():
            return SizeChange({"hidden_size": len(index)})
    return SizeChange()


SIZES: dict[str, Callable[[gs.Node, View, KeptChannels], SizeChange]] = {
    "Reshape": _target,
    "Expand": _expand,
    "GRU": _hidden,
    "LSTM": _hidden,
    "RNN": _hidden,
    "Squeeze": _squeeze,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "Resize": _resize,
}
