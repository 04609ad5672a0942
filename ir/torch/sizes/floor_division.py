"""Python's `//` and `%` of sizes, where PyTorch's exporter writes what rounds otherwise.

    a // b = (a - a mod b) / b        integers; a mod b has the sign of b, as Mod of ONNX
    a // b = floor(a / b)             floats
    a % b  = a - floor(a / b) * b

ONNX's Div of integers rounds towards zero: -(-h // 2), a common way to round up, would be one too
small for every odd h. Of integers that are never negative it is the same, and stays. Mod of floats
has the sign of the dividend, or none. (Seen in PyTorch 2.13.)
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from .numbers import as_double, is_real, noted


def floor_divisions(torch: Any) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what `torch.onnx.export` takes as `custom_translation_table`: both operators."""
    from onnxscript.onnx_opset import opset18 as op
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    def is_never_negative(value: Any) -> bool:
        size = value if isinstance(value, int) else noted(value.producer())
        return size is not None and bool(statically_known_true(size >= 0))

    def floor_of_quotient(dividend: Any, divisor: Any) -> Any:
        return op.Floor(op.Div(as_double(dividend, torch), as_double(divisor, torch)))

    # The exporter reads the annotations: any tensor or number.
    def floordiv(dividend, divisor):  # type: ignore[no-untyped-def]
        if is_real(dividend, torch) or is_real(divisor, torch):
            return floor_of_quotient(dividend, divisor)
        if is_never_negative(dividend) and is_never_negative(divisor):
            return op.Div(dividend, divisor)
        return op.Div(op.Sub(dividend, op.Mod(dividend, divisor)), divisor)

    def mod(dividend, divisor):  # type: ignore[no-untyped-def]
        if not (is_real(dividend, torch) or is_real(divisor, torch)):
            return op.Mod(dividend, divisor)
        whole = op.Mul(floor_of_quotient(dividend, divisor), as_double(divisor, torch))
        return op.Sub(as_double(dividend, torch), whole)

    return {operator.floordiv: floordiv, operator.mod: mod}
