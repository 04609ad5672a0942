"""The bounds of a Clip: attributes up to opset 10, inputs since.

    y = min(max(x, low), high)

An absent bound is the lowest or largest finite number, so that infinity is clipped too; integers
have nothing beyond theirs (ONNX operator Clip).
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..graph.view import View
from .parameters import Array, ValuesOf, read_parameter

Range = tuple[float, float]


def limits(dtype: np.dtype[Any]) -> Range:
    """Return the lowest and the largest finite value of an integer or float type."""
    if dtype.kind in "iu":
        integers = np.iinfo(dtype)
        return integers.min, integers.max
    largest = float(ml_dtypes.finfo(dtype).max)
    return -largest, largest


def _number(values: Array) -> float:
    """Return one value, an integer as it is: beyond 2^53 a float would be another one."""
    value = values.item()
    return int(value) if isinstance(value, int) else float(value)


def clip_bounds(node: gs.Node, view: View, values_of: ValuesOf | None = None) -> Range | None:
    """Return the bounds of a Clip, or None where they, or the type of its input, are not known.

    None also where one is no number, which bounds nothing and joins with no other. For `values_of`
    see `read_parameter`.
    """
    dtype = view.dtype(node.inputs[0])
    if dtype is None or not (dtype.kind in "iu" or dtypes.is_float(dtype)):
        return None
    bounds: list[float] = []
    for name, limit in zip(("min", "max"), limits(dtype), strict=True):
        found = read_parameter(node, name, view, values_of)
        if found.given and (found.values is None or found.values.size != 1):
            return None
        bounds.append(limit if found.values is None else _number(found.values))
    return None if any(math.isnan(bound) for bound in bounds) else (bounds[0], bounds[1])
