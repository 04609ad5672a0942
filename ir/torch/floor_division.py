"""Python's `//` and `%` of sizes, where PyTorch's exporter writes what rounds otherwise.

    a // b = (a - a mod b) / b        integers; a mod b has the sign of b, as Mod of ONNX
    a % b  = a - floor(a / b) * b     floats

ONNX's Div of integers rounds towards zero: -(-h // 2), a common way to round up, would be one too
small for every odd h. Of integers that are never negative it is the same, and stays. Mod of floats
has the sign of the dividend, or none. (Seen in PyTorch 2.13.)
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any


def floor_divisions() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what `torch.onnx.export` takes as `custom_translation_table`: both operators."""
    from onnxscript.onnx_opset import opset18 as op
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    def is_never_negative(value: Any) -> bool:
        if isinstance(value, int):
            return value >= 0
        size = _noted(value)
        return size is not None and bool(statically_known_true(size >= 0))

    # The exporter reads the annotations: any tensor or number.
    def floordiv(dividend, divisor):  # type: ignore[no-untyped-def]
        if is_never_negative(dividend) and is_never_negative(divisor):
            return op.Div(dividend, divisor)
        return op.Div(op.Sub(dividend, op.Mod(dividend, divisor)), divisor)

    def mod(dividend, divisor):  # type: ignore[no-untyped-def]
        if not (_is_real(dividend) or _is_real(divisor)):
            return op.Mod(dividend, divisor)
        return op.Sub(dividend, op.Mul(op.Floor(op.Div(dividend, divisor)), divisor))

    return {operator.floordiv: floordiv, operator.mod: mod}


def _noted(value: Any) -> Any:
    """Return the number with symbols that torch.export has noted of the exporter's `value`."""
    producer = value.producer()
    node = None if producer is None else producer.meta.get("node")
    return None if node is None else node.meta.get("val")


def _is_real(value: Any) -> bool:
    if isinstance(value, int | float):
        return isinstance(value, float)
    return value.dtype is not None and value.dtype.is_floating_point()
