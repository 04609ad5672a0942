"""Sizes that are counted in steps: Slice and Range."""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs

from ....core.variables import dense_values
from ....graph.types import Shape
from ....graph.view import View
from ...axes.named import normal_axes
from ...parameters import input_of, read_parameter
from ...slices import read_bounds
from .rule import Rule, RuntimeShape, values_of


def _has_steps(node: gs.Node, opset: int) -> bool:
    """Inference takes an end that is INT_MAX for what it is, backwards too.

    That of opset 10 gives a part of an axis whose size has a name that name, and before, nothing is
    known where axes are not in order.
    """
    if opset == 10:
        return True
    if opset < 10:
        axes = node.attrs.get("axes")
        return axes is not None and (
            not isinstance(axes, list | tuple) or list(axes) != sorted(axes)
        )
    if any(t.name and dense_values(t) is None for t in node.inputs[1:]):
        return True
    position = input_of(node.op, "steps", opset)
    if position is None or position >= len(node.inputs) or not node.inputs[position].name:
        return False
    return bool(np.any(dense_values(node.inputs[position]) != 1))


def _sliced(node: gs.Node, view: View) -> RuntimeShape | None:
    x = view.shape(node.inputs[0])
    if x is None:
        return None
    bounds = read_bounds(node, view, values_of(view))
    if bounds is None:
        return RuntimeShape(_cut_somewhere(x, node, view))
    found = list(x)
    for each in bounds:
        found[each.axis] = each.taken(found[each.axis])
    return RuntimeShape(tuple(found))


def _cut_somewhere(x: Shape, node: gs.Node, view: View) -> Shape:
    """Return what is known of the shape of a Slice of `x` whose bounds only a run tells."""
    axes = read_parameter(node, "axes", view, values_of(view))
    named = None if axes.values is None else normal_axes(axes.values, len(x))
    if not axes.given:
        starts = view.shape(node.inputs[1]) if len(node.inputs) > 1 else None
        count = starts[0] if starts else None
        named = list(range(count)) if isinstance(count, int) else None
    return tuple(None if named is None or axis in named else n for axis, n in enumerate(x))


def _counts_floats(node: gs.Node, opset: int) -> bool:
    """Inference divides in another precision."""
    held = [dense_values(tensor) for tensor in node.inputs]
    return any(values is None or values.dtype.kind == "f" for values in held)


def _counted(node: gs.Node, view: View) -> RuntimeShape | None:
    found = [values_of(view)(tensor) for tensor in node.inputs]
    known = [v.reshape(-1)[0] for v in found if v is not None and v.size and v.dtype.kind == "f"]
    if len(known) < 3:
        return None
    start, limit, delta = map(float, known)
    count = (limit - start) / delta if delta else math.nan
    return RuntimeShape((max(math.ceil(count), 0) if math.isfinite(count) else None,))


SLICE = Rule(_has_steps, _sliced)
RANGE = Rule(_counts_floats, _counted)
