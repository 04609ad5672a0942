"""Ports of the operators that take one number an axis: Slice, Pad, Resize, Expand and Tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ....ir.ops.axes.permutation import Order
from ....ir.ops.axes.ports import Array, Change, Ports, alike, axes_of, renamed_axes


def sliced(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Slice; without axes, it means the first as many as it has starts."""
    rank = view.rank(node.inputs[0])
    if rank is None:
        return None
    axes, known = axes_of(node, view, 3, rank)
    if not known:
        return None
    if axes is None:
        if view.opset < 10:
            axes = list(range(len(node.attrs["starts"])))
        else:
            starts = view.shape(node.inputs[1])
            if not starts or not isinstance(starts[0], int):
                return None
            axes = list(range(starts[0]))
    named = axes
    by_attribute = view.opset < 10

    def rebuild(order: Order) -> Change:
        place = [order.index(axis) for axis in named]
        if by_attribute:
            return Change(attrs={"axes": place})
        return Change(constants={3: np.array(place, np.int64)})

    return alike(node, rank, rebuild)


def padded(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Pad: pads are begins, then ends, of all axes or of those named."""
    rank = view.rank(node.inputs[0])
    if rank is None or view.opset < 2:
        return None
    axes, known = axes_of(node, view, 3, rank)
    if not known:
        return None
    if axes is not None:
        named = axes
        return alike(node, rank, lambda order: renamed_axes(node, named, order, 3))
    if view.opset < 11:
        given = np.array(node.attrs["pads"], np.int64)
        return alike(node, rank, lambda o: Change(attrs={"pads": _both_ends(given, o).tolist()}))
    pads = view.constant(node.inputs[1])
    if pads is None or pads.size != 2 * rank:
        return None
    return alike(node, rank, lambda order: Change(constants={1: _both_ends(pads, order)}))


def _both_ends(pads: Array, order: Order) -> Array:
    return pads.reshape(2, -1)[:, list(order)].reshape(-1)


def resized(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Resize whose scales or sizes are constant.

    The axes that change must stay behind the first two: kernels for others are slow or missing.
    """
    shape = view.shape(node.inputs[0])
    if shape is None or node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return None
    named, known = axes_of(node, view, len(node.inputs), len(shape))
    position = 1 if view.opset < 11 else 2
    values = _given(node, position, view)
    if values is None:
        position = 3
        values = _given(node, position, view)
    if values is None or not known:
        return None
    axes = list(range(len(shape))) if named is None else named
    if len(values) != len(axes):
        return None
    scales = position < 3
    moved = [a for a, v in zip(axes, values, strict=True) if v != (1 if scales else shape[a])]

    def rebuild(order: Order) -> Change | None:
        if any(order.index(axis) < 2 and order[axis] != axis for axis in moved):
            return None
        if named is not None:
            return renamed_axes(node, axes, order, len(node.inputs))
        return Change(constants={position: values[list(order)]})

    return alike(node, len(shape), rebuild)


def upsampled(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of an Upsample (opset 7: an attribute, 9: an input)."""
    rank = view.rank(node.inputs[0])
    by_attribute = view.opset < 9
    values = np.array(node.attrs.get("scales", ())) if by_attribute else _given(node, 1, view)
    if rank is None or values is None or len(values) != rank:
        return None
    scales = values

    def rebuild(order: Order) -> Change | None:
        if any(scales[axis] != 1 for axis in order[:2]):
            return None
        found = scales[list(order)]
        return Change({"scales": found.tolist()}) if by_attribute else Change({}, {1: found})

    return alike(node, rank, rebuild)


def expanded(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of an Expand to a constant shape of no higher rank than its input's."""
    return _repeated(node, view, view.shape(node.inputs[0]))


def tiled(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Tile with constant repeats."""
    if view.opset < 6:
        return None
    rank = view.rank(node.inputs[0])
    return _repeated(node, view, None if rank is None else (1,) * rank)


def _repeated(node: gs.Node, view: View, unrepeated: Shape | None) -> Ports | None:
    """Return the ports of Expand or Tile, whose second input leaves an axis as it is for a one."""
    values = _given(node, 1, view)
    if unrepeated is None or values is None or len(values) > len(unrepeated):
        return None
    rank = len(unrepeated)
    full = np.concatenate([np.ones(rank - len(values), np.int64), values])
    repeated = frozenset(a for a in range(rank) if full[a] not in (1, unrepeated[a]))

    def rebuild(order: Order) -> Change:
        return Change(constants={1: full[list(order)]})

    return alike(node, rank, rebuild, repeated=repeated)


def _given(node: gs.Node, position: int, view: View) -> Array | None:
    inputs: Sequence[gs.Tensor] = node.inputs
    if len(inputs) <= position or inputs[position].is_empty():
        return None
    values = view.constant(inputs[position])
    return None if values is None or not values.size else values
