"""Ports of the operators that add or drop axes: reductions, Gather, Squeeze and Unsqueeze."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.axes.named import axes_of, normal_axes
from ....ir.ops.axes.permutation import Order
from ....ir.ops.axes.ports import LayoutChange, Ports, renamed_axes, renamed_axis
from ....ir.ops.axes.reductions import keeps_dims, read_reduction
from ....ir.ops.traits import attribute


def gathered(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Gather by one index, which drops the axis, or a list of them."""
    indices = view.rank(node.inputs[1])
    return _along_axis(node, view, drops=indices == 0) if indices in (0, 1) else None


def arg_reduced(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of an ArgMax or ArgMin."""
    return _along_axis(node, view, drops=not keeps_dims(node))


def _along_axis(node: gs.Node, view: View, *, drops: bool) -> Ports | None:
    """Return the ports of an operator that works along `axis`, and may drop it."""
    rank = view.rank(node.inputs[0])
    named = attribute(node, "axis", view.opset)
    axis = None if rank is None else normal_axes(named, rank)
    if rank is None or axis is None:
        return None
    axes = tuple(range(rank))
    return Ports(
        rank=rank,
        inputs={0: axes},
        outputs={0: axes[: axis[0]] + axes[axis[0] + 1 :] if drops else axes},
        rebuild=lambda order: renamed_axis(axis[0], order),
    )


def reduced(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a reduction whose axes are known."""
    rank = view.rank(node.inputs[0])
    if rank is None:
        return None
    named, known = axes_of(node, view, rank)
    found = read_reduction(node, view)
    if not known or found is None or not found.axes:
        return None
    every = tuple(range(rank))
    left = tuple(axis for axis in every if found.axis_after(axis) is not None)
    left = every if found.keepdims else left
    if named is None:
        return Ports(
            rank=rank, inputs={0: every}, outputs={0: left}, rebuild=lambda order: LayoutChange()
        )
    axes = named
    return Ports(
        rank=rank,
        inputs={0: every},
        outputs={0: left},
        rebuild=lambda o: _sorted_axes(node, axes, o, view),
    )


def squeezed(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Squeeze that names its axes; without, its rank is that of a run."""
    return _with_or_without_ones(node, view, view.rank(node.inputs[0]), drops=True)


def unsqueezed(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of an Unsqueeze."""
    return _with_or_without_ones(node, view, view.rank(node.outputs[0]), drops=False)


def _with_or_without_ones(
    node: gs.Node, view: View, rank: int | None, *, drops: bool
) -> Ports | None:
    """Return the ports of an operator that drops or adds the axes, of `rank`, that it names."""
    axes, known = (None, False) if rank is None else axes_of(node, view, rank)
    if rank is None or axes is None or not known:
        return None
    every = tuple(range(rank))
    left = tuple(axis for axis in every if axis not in axes)
    return Ports(
        rank=rank,
        inputs={0: every if drops else left},
        outputs={0: left if drops else every},
        rebuild=lambda order: _sorted_axes(node, axes, order, view),
        free=frozenset(axes),
    )


def _sorted_axes(node: gs.Node, axes: list[int], order: Order, view: View) -> LayoutChange:
    return renamed_axes(node, sorted(axes, key=order.index), order, view)
