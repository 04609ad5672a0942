"""The number formats of one quantization, read from the names that options use."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ....ir.core.errors import RefusedError
from ..grids.formats import IntegerFormat

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
        """Least opset that has it: 13 for scales along an axis, 21 for 4 and 16 bits."""
        widths = {self.weights.dtype.name, self.activations.dtype.name}
        return 13 if widths <= {"int8", "uint8"} else 21

    def with_weight_bits(self, bits: int) -> QuantizationScheme:
        """Return the scheme with weights of at most `bits` bits."""
        return replace(self, weights=replace(self.weights, bits=min(bits, self.weights.bits)))


def read_format(text: str, option: str, most: int, *, narrow: bool = False) -> IntegerFormat:
    """Return the format called `text`, such as `int8` or `uint4`, of 2 to `most` bits.

    Raises RefusedError naming `option`.
    """
    found = _NAME.fullmatch(text)
    bits = int(found[2]) if found else 0
    if not found or not (2 <= bits <= 8 or bits == 16) or bits > most:
        raise RefusedError(f"{option} is '{text}'; give int2 to int{most} or uint2 to uint{most}")
    signed = not found[1]
    return IntegerFormat(bits, signed, narrow=narrow and signed)
