"""Operators of half precision that TVM's converters are given as float32.

A converter computes in the type of its operands: sums of float16 lose their last terms and end at
65504, and what takes several steps rounds in each. ONNX Runtime computes such nodes in float32 and
rounds once, as `y = Cast(op(Cast(x, float32), ...), float16)` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.traits import traits_of
from .own_converters import compares
from .value import dtype_of

WIDE = "float32"
_HALVES = ("float16", "bfloat16")


def widened(builder: Any, node: gs.Node, view: View, inputs: Sequence[Any]) -> list[Any] | None:
    """Return `inputs` with float32 for half precision; None where `node` needs no such thing.

    What moves elements or rounds its result once is the same in either type; what compares them
    is too, and has code for one.
    """
    same = traits_of(node, view.opset).rounds_once and not compares(node)
    if same or not any(map(_is_half, inputs)):
        return None
    return [_cast(builder, each, WIDE) if _is_half(each) else each for each in inputs]


def narrowed(builder: Any, view: View, node: gs.Node, results: Sequence[Any]) -> list[Any]:
    """Return `results` of a widened node in the types that were inferred."""
    return [
        as_inferred(builder, view, tensor, expr)
        for tensor, expr in zip(node.outputs, results, strict=True)
    ]


def without_bfloat16(builder: Any, expr: Any) -> Any:
    """Return `expr` with float32 for bfloat16."""
    return _cast(builder, expr, WIDE) if dtype_of(expr) == "bfloat16" else expr


def as_inferred(builder: Any, view: View, tensor: gs.Tensor, expr: Any) -> Any:
    """Return a float32 `expr` of `tensor` in the half precision that was inferred, if it was."""
    dtype = str(view.dtype(tensor))
    return _cast(builder, expr, dtype) if dtype in _HALVES and dtype_of(expr) == WIDE else expr


def _is_half(expr: Any) -> bool:
    return expr is not None and dtype_of(expr) in _HALVES


def _cast(builder: Any, expr: Any, dtype: str) -> Any:
    from tvm import relax

    return builder.emit(relax.op.astype(expr, dtype))
