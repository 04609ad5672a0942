"""Shapes of Expand, ends of Slice, sizes of Resize: computed from the sizes of their own input.

expand(x, [d1, ..., k, ...]) = expand(x, [1, ..., k, ...])     where d1 is that size of x
x[k : d1] = x[k :],   x[: d1 - k] = x[: -k]
resize(x, sizes = [d1, d2, 2 d3, 2 d4]) = resize(x, scales = [1, 1, 2, 2])
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.axes.named import normal_axes
from ....ir.ops.build import build_resize
from ....ir.ops.parameters import read_parameter
from ....ir.ops.slices import TO_THE_END
from ...analysis.sizes.shape_arithmetic import ShapeArithmetic
from ...analysis.sizes.symbolic import SymbolicSize
from ...engine.rewrite import Rewrite


@dataclass(frozen=True)
class _KnownSizes:
    node: gs.Node
    values: tuple[float, ...]


class ConstantExpand(Rewrite[_KnownSizes]):
    """Make the shape of an Expand constant: one stands for any size that the input has."""

    ops = frozenset({"Expand"})

    def __init__(self, sizes: ShapeArithmetic) -> None:
        self._sizes = sizes

    def match(self, node: gs.Node, view: View) -> _KnownSizes | None:
        """Return the constant shape."""
        if not is_standard(node) or view.is_constant(node.inputs[1]):
            return None
        held = self._sizes.held(node.inputs[1], view)
        sizes = self._sizes.shape(node.inputs[0], view)
        if held is None or sizes is None or held.ndim != 1:
            return None
        place = len(sizes) - len(held)
        found: list[float] = []
        for axis, size in enumerate(held, place):
            kept = size is not None and axis >= 0 and size == sizes[axis]
            number = 1 if kept else size.number if size is not None else None
            found.append(need(number, "its shape has a size that its input has not"))
        return _KnownSizes(node, tuple(found))

    def rewrite(self, site: _KnownSizes, edit: Edit) -> None:
        """Give the node a constant shape."""
        shape = edit.constant(np.array(site.values, np.int64), f"{site.node.outputs[0].name}_shape")
        edit.set_input(site.node, 1, shape)


class ConstantSlice(Rewrite[_KnownSizes]):
    """Make the ends of a Slice constant that are counted from the size of its axis."""

    ops = frozenset({"Slice"})

    def __init__(self, sizes: ShapeArithmetic) -> None:
        self._sizes = sizes

    def match(self, node: gs.Node, view: View) -> _KnownSizes | None:
        """Return the constant ends."""
        given = read_parameter(node, "ends", view)
        if not is_standard(node) or given.known or given.position is None:
            return None
        axes, steps = (read_parameter(node, name, view) for name in ("axes", "steps"))
        held = self._sizes.held(node.inputs[given.position], view)
        sizes = self._sizes.shape(node.inputs[0], view)
        if held is None or sizes is None or not axes.known or not steps.known or held.ndim != 1:
            return None
        named = normal_axes(range(len(held)) if axes.values is None else axes.values, len(sizes))
        if named is None or len(named) != len(held) or np.any(np.asarray(steps.ints() or 1) < 0):
            return None
        pairs = zip(held, named, strict=True)
        found = [need(_end(end, sizes[axis]), "its ends are computed") for end, axis in pairs]
        return _KnownSizes(node, tuple(found))

    def rewrite(self, site: _KnownSizes, edit: Edit) -> None:
        """Give the node constant ends, of the type that its starts have."""
        starts = site.node.inputs[1]
        dtype = np.int32 if starts.dtype == np.int32 else np.int64
        limits = np.iinfo(dtype)
        values = np.clip(np.array(site.values, object), limits.min, limits.max).astype(dtype)
        edit.set_input(site.node, 2, edit.constant(values, f"{site.node.outputs[0].name}_ends"))


def _end(end: SymbolicSize | None, size: SymbolicSize | None) -> int | None:
    """Return an end as a number: counted from the begin, or from the end of its axis."""
    if end is None or end.number is not None or size is None:
        return None if end is None else end.number
    left_out = (size - end).number
    # An end below zero would be counted from the end once more.
    if left_out is None or (left_out > 1 and end.low < 0):
        return None
    return TO_THE_END if left_out <= 0 else -left_out


class ConstantResize(Rewrite[_KnownSizes]):
    """Make computed sizes of a Resize constant scales, where these are whole numbers."""

    ops = frozenset({"Resize"})

    def __init__(self, sizes: ShapeArithmetic) -> None:
        self._sizes = sizes

    def match(self, node: gs.Node, view: View) -> _KnownSizes | None:
        """Return the scales."""
        if not is_standard(node):
            return None
        given = read_parameter(node, "sizes", view)
        if given.position is None or not given.given or given.known:
            return None
        if {"axes", "keep_aspect_ratio_policy"} & node.attrs.keys():
            return None
        if node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize":
            return None
        held = self._sizes.held(node.inputs[given.position], view)
        sizes = self._sizes.shape(node.inputs[0], view)
        if held is None or sizes is None or held.shape != (len(sizes),):
            return None
        found: list[float] = []
        for size, old in zip(held, sizes, strict=True):
            ratio = None if size is None or old is None else size.over(old)
            number = None if ratio is None else ratio.number
            found.append(need(number, "its sizes are no multiples of its input's"))
        return _KnownSizes(node, tuple(found))

    def rewrite(self, site: _KnownSizes, edit: Edit) -> None:
        """Put a Resize by scales in its place; their type is float32 always."""
        node = site.node
        edit.remove(node)
        scales = edit.constant(np.array(site.values, np.float32), f"{node.outputs[0].name}_scales")
        roi = node.inputs[1] if node.inputs[1].name else None
        build_resize(
            edit, node.inputs[0], node.outputs[0], scales=scales, roi=roi, attrs=node.attrs, at=node
        )
