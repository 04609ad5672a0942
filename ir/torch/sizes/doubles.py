"""Sizes that are computed through real numbers, in Python's own 64 bits.

    ceil(1.1 * h)       h = 100: 111 of doubles, 110 in float32

PyTorch's exporter computes them in float32. (Seen in PyTorch 2.13.)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from .numbers import as_double, is_real, noted

_Table = dict[Callable[..., Any], Callable[..., Any]]


def in_doubles(torch: Any) -> _Table:
    """Return what `torch.onnx.export` takes as `custom_translation_table`.

    Tensors have operators of their own: Python's are those of sizes alone.
    """
    import onnx_ir as ir
    from onnxscript.onnx_opset import opset18 as op

    def real(value: Any) -> Any:
        return as_double(value, torch)

    def of_reals(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        # The exporter reads the annotations: any tensor or number.
        def compute(a, b):  # type: ignore[no-untyped-def]
            any_is_real = is_real(a, torch) or is_real(b, torch)
            return function(real(a), real(b)) if any_is_real else function(a, b)

        return compute

    def sym_float(self):  # type: ignore[no-untyped-def]
        return real(self)

    def truediv(a, b):  # type: ignore[no-untyped-def]
        return op.Div(real(a), real(b))

    def ceil(self):  # type: ignore[no-untyped-def]
        return op.Cast(op.Ceil(real(self)), to=ir.DataType.INT64)

    def floor(self):  # type: ignore[no-untyped-def]
        return op.Cast(op.Floor(real(self)), to=ir.DataType.INT64)

    def trunc(self):  # type: ignore[no-untyped-def]
        return op.Cast(real(self), to=ir.DataType.INT64)

    return {
        torch.sym_float: sym_float,
        operator.add: of_reals(op.Add),
        operator.sub: of_reals(op.Sub),
        operator.mul: of_reals(op.Mul),
        operator.truediv: truediv,
        operator.pow: of_reals(op.Pow),
        math.ceil: ceil,
        math.floor: floor,
        math.trunc: trunc,
    }


def hand_on_in_single(graph: Any, torch: Any) -> None:
    """Cast real numbers of sizes to float32 where tensors take them, in an exporter's graph."""
    import onnx_ir as ir

    for node in tuple(graph):
        if not isinstance(noted(node), torch.SymFloat):
            continue
        for value in node.outputs:
            value.dtype = ir.DataType.DOUBLE  # the exporter has noted what it would compute
            users = [use for use in value.uses() if not _is_number(use.node, torch)]
            if users:
                single = ir.node("Cast", [value], {"to": ir.DataType.FLOAT})
                single.outputs[0].dtype = ir.DataType.FLOAT
                single.outputs[0].shape = value.shape
                single.outputs[0].name = f"{value.name}_single"
                graph.insert_after(node, single)
                for user, place in users:
                    user.replace_input_with(place, single.outputs[0])


def _is_number(node: Any, torch: Any) -> bool:
    return isinstance(noted(node), torch.SymInt | torch.SymFloat | torch.SymBool)
