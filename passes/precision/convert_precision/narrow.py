"""Constants in a narrower float.

w' = round(w)         |w - w'| <= 2^-11 |w| in float16, 2^-8 |w| in bfloat16, if w' is normal
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.decline import need

Array = np.ndarray[Any, Any]
DType = np.dtype[Any]


def narrow_values(values: Array, dtype: DType) -> Array:
    """Return `values` rounded to the nearest of `dtype`; too large ones become infinity."""
    with np.errstate(over="ignore"):
        return np.asarray(values.astype(dtype))


def largest(dtype: DType) -> float:
    """Return the largest finite value of a 16-bit float."""
    return 65504.0 if dtype == np.float16 else float(np.frombuffer(b"\0\0\x7f\x7f", "<f4")[0])


def lost(values: Array, narrowed: Array) -> int:
    """Count the values that became 0."""
    return int(np.count_nonzero(values) - np.count_nonzero(narrowed))


def check_range(node: gs.Node, position: int, values: Array, narrowed: Array) -> None:
    """Decline where `node` would compute something else with the narrowed constant.

    A bound of Clip beyond all values bounds nothing, and may become infinity.
    """
    name, kind = node.inputs[position].name, dtypes.type_name(narrowed.dtype)
    beyond = np.isinf(narrowed) & np.isfinite(values)
    if beyond.any():
        side = {1: -1.0, 2: 1.0}.get(position, 0.0) if node.op == "Clip" else 0.0
        largest = float(np.abs(values[beyond]).max())
        need(
            bool((values[beyond] * side > 0).all()),
            f"its constant '{name}' reaches {largest:.3g}, beyond {kind}",
        )
    gone = lost(values, narrowed)
    all_gone = gone and not np.count_nonzero(narrowed)
    divides = gone and node.op == "Div" and position == 1
    need(not all_gone and not divides, f"its constant '{name}' is so small that it would become 0")
