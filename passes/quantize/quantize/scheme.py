"""The number formats of one quantization, read from the names that options use."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ....ir.core.errors import RefusedError
from ....ir.ops.opsets import opset_taking
from ....ir.ops.quantization.nodes import DEQUANTIZE
from ..grids.formats import IntegerFormat

_OPSET_OF_AXES = 13
_NAME = re.compile(r"(u?)int(\d+)")


@dataclass(frozen=True)
class QuantizationScheme:
    """Formats of weights and activations. `symmetric`: zero points in the middle of the range."""

    weights: IntegerFormat
    activations: IntegerFormat
    per_channel: bool = True
    symmetric: bool = False

    @property
    def opset(self) -> int:
        """Least opset that has both types, and scales along an axis (13)."""
        types = (self.weights.dtype, self.activations.dtype)
        return max(_OPSET_OF_AXES, *(opset_taking(DEQUANTIZE, dtype) or 0 for dtype in types))

    def with_weight_bits(self, bits: int) -> QuantizationScheme:
        """Return the scheme with weights of at most `bits` bits."""
        return replace(self, weights=replace(self.weights, bits=min(bits, self.weights.bits)))


def read_format(
    text: str, option: str, most: int, *, narrow: bool = False, stored: int = 4
) -> IntegerFormat:
    """Return the format called `text`, such as `int8` or `uint4`, of 2 to `most` bits.

    It is stored in a type of `stored` bits at least.

    Raises RefusedError naming `option`.
    """
    found = _NAME.fullmatch(text)
    bits = int(found[2]) if found else 0
    if not found or not (2 <= bits <= 8 or bits == 16) or bits > most:
        raise RefusedError(f"{option} is '{text}'; give int2 to int{most} or uint2 to uint{most}")
    signed = not found[1]
    return IntegerFormat(bits, signed, narrow=narrow and signed, stored=stored)
