"""Axes that are counted from the end or not listed: Squeeze, Unsqueeze, Concat, reductions."""

from __future__ import annotations

import itertools

import onnx_graphsurgeon as gs

from ....core.variables import dense_values
from ....graph.view import View
from ...axes.named import normal_axes
from ...axes.reductions import read_reduction
from ...parameters import input_of, read_parameter
from .rule import Rule, RuntimeShape, values_of

# Runtimes take axes from the end before ONNX had them; inference does not.
_FIRST_NEGATIVE = 11


def _names_last_axes(node: gs.Node, opset: int) -> bool:
    """Inference of old opsets does not count from the end."""
    axes = node.attrs.get("axes", [node.attrs.get("axis", 0)])
    bound = isinstance(axes, gs.Node.AttributeRef)
    return opset < _FIRST_NEGATIVE and (bound or any(_is_negative(axis) for axis in axes))


def _is_negative(axis: object) -> bool:
    return isinstance(axis, gs.Node.AttributeRef) or (isinstance(axis, int) and axis < 0)


def _names_odd_axes(node: gs.Node, opset: int) -> bool:
    """Inference squeezes nothing where the list of axes is empty, and wants it sorted."""
    if _names_last_axes(node, opset):
        return True
    if input_of(node.op, "axes", opset) is None:
        axes = node.attrs.get("axes")  # an empty list is not kept among the attributes
    elif len(node.inputs) < 2 or not node.inputs[1].name:
        return False
    else:
        values = dense_values(node.inputs[1])
        axes = None if values is None else values.reshape(-1).tolist()
    return not axes or any(a >= b for a, b in itertools.pairwise(axes))


def _squeezed(node: gs.Node, view: View) -> RuntimeShape | None:
    axes = read_parameter(node, "axes", view, values_of(view))
    x = view.shape(node.inputs[0])
    if x is None or not axes.known:
        return None
    if axes.values is not None and axes.values.size:
        gone = normal_axes(axes.values, len(x))
        if gone is None:
            return None
        return RuntimeShape(tuple(size for axis, size in enumerate(x) if axis not in gone))
    known = all(isinstance(size, int) for size in x)
    return RuntimeShape(tuple(size for size in x if size != 1) if known else None)


def _unsqueezed(node: gs.Node, view: View) -> RuntimeShape | None:
    axes, x = node.attrs["axes"], view.shape(node.inputs[0])
    if x is None or isinstance(axes, gs.Node.AttributeRef):
        return None
    rank = len(x) + len(axes)
    ones = normal_axes(axes, rank)
    if ones is None:
        return None
    rest = iter(x)
    return RuntimeShape(tuple(1 if axis in ones else next(rest) for axis in range(rank)))


def _may_keep_all(node: gs.Node, opset: int) -> bool:
    """Inference takes other numbers than 0 and 1 for yes, runtimes for no."""
    return node.attrs.get("noop_with_empty_axes", 0) not in (0, 1)


def _reduced(node: gs.Node, view: View) -> RuntimeShape | None:
    found, x = read_reduction(node, view, values_of(view)), view.shape(node.inputs[0])
    if found is None or x is None:
        return RuntimeShape(None)
    sizes = enumerate(x)
    if found.keepdims:
        return RuntimeShape(tuple(1 if axis in found.axes else size for axis, size in sizes))
    return RuntimeShape(tuple(size for axis, size in sizes if axis not in found.axes))


def _joined(node: gs.Node, view: View) -> RuntimeShape | None:
    shapes = [view.shape(tensor) for tensor in node.inputs]
    first, axis = shapes[0], node.attrs["axis"]
    if first is None or not isinstance(axis, int):
        return None
    sizes = [None if one is None else one[axis] for one in shapes]
    known = [size for size in sizes if isinstance(size, int)]
    found = list(first)
    found[axis] = sum(known) if len(known) == len(sizes) else None
    return RuntimeShape(tuple(found))


CONCAT = Rule(_names_last_axes, _joined)
REDUCTION = Rule(_may_keep_all, _reduced)
SQUEEZE = Rule(_names_odd_axes, _squeezed)
UNSQUEEZE = Rule(_names_last_axes, _unsqueezed)
