"""Operators over windows and axes, where each window is one element.

Resize and Upsample by one, in all modes; AveragePool and MaxPool of 1x1 windows, one apart, without
pads; GlobalAveragePool and GlobalMaxPool over one position; ReduceMean, -Sum, -Max, -Min and -Prod
over axes of size one that stay
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.decline import need
from ....ir.graph.view import View
from ....ir.ops.axes.reductions import keeps_dims, read_reduction
from ....ir.ops.parameters import Array, need_parameter, read_parameter
from ....ir.ops.traits import Traits, operators_with, traits_of
from ....ir.ops.windows.attributes import pool_window
from .movement import Rule

# At scale one these shift positions all the same: into a region, and by half a pixel.
_SHIFTING = frozenset({"tf_crop_and_resize", "tf_half_pixel_for_nn"})


def _resize(node: gs.Node, view: View) -> bool:
    if node.attrs.get("coordinate_transformation_mode", "half_pixel") in _SHIFTING:
        return False
    sizes = read_parameter(node, "sizes", view)
    if sizes.given:
        return _own_sizes(node, sizes.values, view)
    scales = read_parameter(node, "scales", view).values
    return scales is not None and scales.size > 0 and bool(np.all(scales == 1))


def _own_sizes(node: gs.Node, sizes: Array | None, view: View) -> bool:
    """Say whether the sizes that a Resize is given are those that its input has."""
    if node.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return False
    if view.same_shape(node.inputs[0], node.outputs[0]):
        return True
    shape = view.shape(node.inputs[0])
    if sizes is None or shape is None:
        return False
    axes = node.attrs.get("axes") or range(len(shape))
    return all(size == shape[axis] for size, axis in zip(sizes.tolist(), axes, strict=True))


def _pool(node: gs.Node, view: View) -> bool:
    if not pool_window(node).is_pointwise:
        return False
    for indices in node.outputs[1:]:
        shown = bool(indices.name) and (view.is_output(indices) or bool(view.readers(indices)))
        need(not shown, "its indices are read")
    return True


def _global_pool(node: gs.Node, view: View) -> bool:
    shape = view.shape(node.inputs[0])
    return shape is not None and all(size == 1 for size in shape[2:])


def _reduce(node: gs.Node, view: View) -> bool:
    if not keeps_dims(node):
        return False
    need_parameter(node, "axes", view)
    need(not _divides_wide_integers(node, view), "runtimes divide 64-bit integers as floats")
    shape, found = view.shape(node.inputs[0]), read_reduction(node, view)
    return shape is not None and found is not None and all(shape[axis] == 1 for axis in found.axes)


def _divides_wide_integers(node: gs.Node, view: View) -> bool:
    """Say whether a mean of a large integer may be another, rounded to 53 bits."""
    traits, dtype = traits_of(node, view.opset), view.dtype(node.inputs[0])
    is_mean = traits.keeps_uniform and not traits.selects
    return is_mean and dtype in (np.int64, np.uint64)


def _singles(has: Callable[[Traits], bool], rule: Rule) -> dict[str, Rule]:
    """Return the rule of operators that give back a single element, where it is one."""

    def of_single(node: gs.Node, view: View) -> bool:
        return not _turns_zero(node, view) and rule(node, view)

    return dict.fromkeys(operators_with(lambda t: t.keeps_single and has(t)), of_single)


def _turns_zero(node: gs.Node, view: View) -> bool:
    """Say whether it matters that a sum begins with 0.0: of one -0.0 it is that."""
    floats = dtypes.is_float(view.dtype(node.inputs[0]))
    return view.signed_zeros and floats and not traits_of(node, view.opset).selects


RULES: dict[str, Rule] = {
    "Resize": _resize,
    "Upsample": _resize,
    **_singles(lambda t: t.pooling and t.windowed, _pool),
    **_singles(lambda t: t.pooling and not t.windowed, _global_pool),
    **_singles(lambda t: t.reduction, _reduce),
}
