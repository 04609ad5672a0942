"""Which values ONNX's inference follows: those of short lists of sizes, axes and factors."""

from __future__ import annotations

import math

import onnx_graphsurgeon as gs

from ...core.variables import dense_values
from ...graph.types import TensorType
from .moved_constants import MOST_ELEMENTS

# Shape arithmetic reads constants of a few elements; larger ones only cost time here.
_READ_BY_INFERENCE = 1024
_FEW = 8


def reads_values(constant: gs.Constant) -> bool:
    """Say whether inference is to see the values of `constant`, and not its type alone."""
    values = dense_values(constant)
    if values is None:
        return True
    return values.size <= (_READ_BY_INFERENCE if values.dtype.kind in "iu" else _FEW)


def holds_sizes(found: TensorType | None) -> bool:
    """Say whether inference may follow the values of a tensor: a short list of sizes or axes."""
    if found is None or found.shape is None or len(found.shape) < 2:
        return True
    if found.dtype.kind not in "iu":
        return False
    known = [size for size in found.shape if isinstance(size, int)]
    return math.prod(known) <= MOST_ELEMENTS
