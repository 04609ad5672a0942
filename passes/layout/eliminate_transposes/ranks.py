"""Ports of the operators that add or drop axes: reductions, Gather, Squeeze and Unsqueeze."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.axes.named import axes_of, normal_axes
from ....ir.ops.axes.permutation import Order
from ....ir.ops.axes.ports import LayoutChange, Ports, renamed_axes, renamed_axis
from ....ir.ops.axes.reductions import read_reduction


def gathered(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Gather by one index, which drops the axis, or a list of them."""
    rank, indices = view.rank(node.inputs[0]), view.rank(node.inputs[1])
    axis = None if rank is None else normal_axes([node.attrs.get("axis", 0)], rank)
    if rank is None or axis is None or indices not in (0, 1):
        return None
    axes = tuple(range(rank))
    left = axes if indices == 1 else axes[: axis[0]] + axes[axis[0] + 1 :]
    return Ports(
        rank=rank,
        inputs={0: axes},
        outputs={0: left},
        rebuild=lambda order: renamed_axis(axis[0], order),
    )


def arg_reduced(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of an ArgMax or ArgMin."""
    rank = view.rank(node.inputs[0])
    axis = None if rank is None else normal_axes([node.attrs.get("axis", 0)], rank)
    if rank is None or axis is None:
        return None
    axes = tuple(range(rank))
    left = axes if node.attrs.get("keepdims", 1) else axes[: axis[0]] + axes[axis[0] + 1 :]
    return Ports(
        rank=rank,
        inputs={0: axes},
        outputs={0: left},
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
    """Return the ports of a Squeeze that names its axes."""
    shape = view.shape(node.inputs[0])
    if shape is None:
        return None
    axes, known = axes_of(node, view, len(shape))
    if axes is None or not known:
        return None  # without axes, the rank of its result is known only at run time
    every = tuple(range(len(shape)))
    left = tuple(a for a in every if a not in axes)
    return Ports(
        rank=len(every),
        inputs={0: every},
        outputs={0: left},
        rebuild=lambda order: _sorted_axes(node, axes, order, view),
        free=frozenset(axes),
    )


def unsqueezed(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of an Unsqueeze."""
    rank = view.rank(node.outputs[0])
    if rank is None:
        return None
    axes, known = axes_of(node, view, rank)
    if axes is None or not known:
        return None
    every = tuple(range(rank))
    left = tuple(a for a in every if a not in axes)
    return Ports(
        rank=rank,
        inputs={0: left},
        outputs={0: every},
        rebuild=lambda order: _sorted_axes(node, axes, order, view),
        free=frozenset(axes),
    )


def _sorted_axes(node: gs.Node, axes: list[int], order: Order, view: View) -> LayoutChange:
    return renamed_axes(node, sorted(axes, key=order.index), order, view)
