"""Which converters of TVM's ONNX importer give what ONNX says, as far as that is known.

A list of what a search with random graphs found wrong. Sizes and types of every result are compared
with what is inferred besides, so this is about values.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.parameters import read_parameter
from ....ir.ops.slices import read_slice

Right = Callable[[gs.Node, View], bool]


def is_right(node: gs.Node, view: View) -> bool:
    """Say whether the converter of `node` is known to be right for what it is given.

    An empty tensor is none of those that TVM's schedules expect.
    """
    if any(0 in (view.shape(tensor) or ()) for tensor in (*node.inputs, *node.outputs)):
        return False
    known = _CONDITIONS.get(node.op)
    if known is None:
        known = _reduces_something if node.op.startswith("Reduce") else _always
    return known(node, view)


def _always(node: gs.Node, view: View) -> bool:
    return True


def _never(node: gs.Node, view: View) -> bool:
    return False


def _has_constant_bounds(node: gs.Node, view: View) -> bool:
    """Say whether bounds are constant, and mean the same to Python, TVM and ONNX Runtime."""
    return read_slice(node, view) is not None


def _has_constant_indices(node: gs.Node, view: View) -> bool:
    """Say whether no index can lie outside: what is not constant would be read unchecked."""
    return view.constant(node.inputs[1]) is not None


def _reduces_something(node: gs.Node, view: View) -> bool:
    """Say whether axes are constant, and none of them does not mean that nothing is reduced."""
    axes = read_parameter(node, "axes", view)
    if not axes.known:
        return False
    return bool(axes.ints()) or not node.attrs.get("noop_with_empty_axes", 0)


def _of_integers(node: gs.Node, view: View) -> bool:
    dtype = view.dtype(node.inputs[0])
    return dtype is not None and dtype.kind in "iu"


def _has_bounds(node: gs.Node, view: View) -> bool:
    """Say whether Clip has both: TVM leaves infinity where a bound is absent."""
    found = [read_parameter(node, name, view) for name in ("min", "max")]
    return all(parameter.given for parameter in found) or view.dtype(node.inputs[0]) != np.float32


_CONDITIONS: dict[str, Right] = {
    "Clip": _has_bounds,
    "Gather": _has_constant_indices,
    "GatherElements": _has_constant_indices,
    "GatherND": _has_constant_indices,
    "Mod": _of_integers,
    "Resize": _never,
    "Scatter": _never,
    "ScatterElements": _never,
    "ScatterND": _never,
    "Slice": _has_constant_bounds,
    "Upsample": _never,
}
