"""Ports of the operators that take one number an axis: Slice, Pad, Resize, Expand and Tile."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ....ir.ops.axes.named import axes_of
from ....ir.ops.axes.permutation import Order
from ....ir.ops.axes.ports import Array, LayoutChange, Ports, alike, renamed_axes
from ....ir.ops.parameters import read_parameter, spell
from ....ir.ops.resizing import are_told, ratio_policy


def sliced(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Slice; without axes, it means the first as many as it has starts."""
    rank = view.rank(node.inputs[0])
    axes, known = (None, False) if rank is None else axes_of(node, view, rank)
    if known and axes is None:
        axes = _first_axes(node, view)
    return _with_renamed_axes(node, rank, axes, view)


def _first_axes(node: gs.Node, view: View) -> list[int] | None:
    """Return as many of the first axes as a Slice has starts, which may be computed."""
    starts = read_parameter(node, "starts", view)
    if starts.values is not None:
        return list(range(starts.values.size))
    shape = None if starts.position is None else view.shape(node.inputs[starts.position])
    count = shape[0] if shape else None
    return list(range(count)) if isinstance(count, int) else None


def padded(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Pad: pads are begins, then ends, of all axes or of those named."""
    rank = view.rank(node.inputs[0])
    axes, known = (None, False) if rank is None else axes_of(node, view, rank)
    if rank is None or axes is not None or not known:
        return _with_renamed_axes(node, rank, axes, view)
    pads = read_parameter(node, "pads", view).values
    if pads is None or pads.size != 2 * rank:
        return None
    given = pads

    def rebuild(order: Order) -> LayoutChange:
        return LayoutChange(*spell("Pad", view.opset, {"pads": _both_ends(given, order)}))

    return alike(node, rank, rebuild)


def _with_renamed_axes(
    node: gs.Node, rank: int | None, axes: list[int] | None, view: View
) -> Ports | None:
    """Return the ports of an operator that names the `axes` it works on, where they are known."""
    if rank is None or axes is None:
        return None
    return alike(node, rank, lambda order: renamed_axes(node, axes, order, view))


def _both_ends(pads: Array, order: Order) -> Array:
    return pads.reshape(2, -1)[:, list(order)].reshape(-1)


def resized(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Resize whose scales or sizes are constant.

    The axes that change must stay behind the first two: kernels for others are slow or missing.
    """
    shape = view.shape(node.inputs[0])
    if shape is None or node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return None
    named, known = axes_of(node, view, len(shape))
    name, values = "scales", _given(node, "scales", view)
    if values is None:
        name, values = "sizes", _given(node, "sizes", view)
    if values is None or not known:
        return None
    axes = list(range(len(shape))) if named is None else named
    given = values
    if len(given) != len(axes):
        return None
    scales = name == "scales"
    by_ratio = not scales and ratio_policy(node) != "stretch"
    if by_ratio and not are_told(list(node.attrs.get("axes") or axes), len(shape)):
        return None
    moved = [a for a, v in zip(axes, given, strict=True) if v != (1 if scales else shape[a])]

    def rebuild(order: Order) -> LayoutChange | None:
        if any(order.index(axis) < 2 and order[axis] != axis for axis in moved):
            return None
        if by_ratio and named and not are_told([order.index(axis) for axis in named], len(shape)):
            return None
        if named is not None:
            return renamed_axes(node, axes, order, view)
        return LayoutChange(*spell(node.op, view.opset, {name: given[list(order)]}))

    return alike(node, len(shape), rebuild)


def upsampled(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of an Upsample (opset 7: an attribute, 9: an input)."""
    rank = view.rank(node.inputs[0])
    values = _given(node, "scales", view)
    if rank is None or values is None or len(values) != rank:
        return None
    scales = values

    def rebuild(order: Order) -> LayoutChange | None:
        if any(scales[axis] != 1 for axis in order[:2]):
            return None
        return LayoutChange(*spell("Upsample", view.opset, {"scales": scales[list(order)]}))

    return alike(node, rank, rebuild)


def expanded(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of an Expand to a constant shape of no higher rank than its input's."""
    return _repeated(node, "shape", view, view.shape(node.inputs[0]))


def tiled(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Tile with constant repeats (opset 1 repeats along one axis)."""
    rank = view.rank(node.inputs[0])
    return _repeated(node, "repeats", view, None if rank is None else (1,) * rank)


def _repeated(node: gs.Node, name: str, view: View, unrepeated: Shape | None) -> Ports | None:
    """Return the ports of Expand or Tile, whose `name` leaves an axis as it is for a one."""
    values = _given(node, name, view)
    if unrepeated is None or values is None or len(values) > len(unrepeated):
        return None
    rank = len(unrepeated)
    full = np.concatenate([np.ones(rank - len(values), np.int64), values])
    repeated = frozenset(a for a in range(rank) if full[a] not in (1, unrepeated[a]))

    def rebuild(order: Order) -> LayoutChange:
        return LayoutChange(*spell(node.op, view.opset, {name: full[list(order)]}))

    return alike(node, rank, rebuild, repeated=repeated)


def _given(node: gs.Node, name: str, view: View) -> Array | None:
    values = read_parameter(node, name, view).values
    return None if values is None or not values.size else values
