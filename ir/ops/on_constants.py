"""Activations on known values: what an operator that works on each element makes of a constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..graph.view import View
from .clips import clip_bounds
from .traits import function_of, traits_of

Array = np.ndarray[Any, Any]


def constant_result(node: gs.Node, values: Array, view: View) -> Array | None:
    """Return what `node` makes of `values`, float64; NaN stays NaN, and so does what overflows.

    None where the operator is not one that works on each element alone, where integers might wrap
    around, and for functions with jumps, which make much of how `values` are rounded.
    """
    traits = traits_of(node, view.opset)
    if not traits.unary or not traits.continuous:
        return None
    dtype = view.dtype(node.inputs[0])
    if traits.integers.may_overflow and dtype is not None and dtype.kind in "iu":
        return None
    if traits.op == "Clip":
        bounds = clip_bounds(node, view)
        if bounds is None:
            return None
        result = np.minimum(np.maximum(values, bounds[0]), bounds[1])
    else:
        function = function_of(node, view.opset)
        if function is None:
            return None
        result = function(values)
    return np.where(np.isfinite(result), result, np.nan)
