"""The integer formats of quantized tensors, and the names that options have for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from ....ir.core.errors import RefusedError

_NAME = re.compile(r"(u?)int(\d+)")
_STORED = {
    (4, True): ml_dtypes.int4,
    (4, False): ml_dtypes.uint4,
    (8, True): np.int8,
    (8, False): np.uint8,
    (16, True): np.int16,
    (16, False): np.uint16,
    (32, True): np.int32,
}


@dataclass(frozen=True)
class IntegerFormat:
    """Integers of `bits` bits, `signed` or not.

    `narrow` leaves out the lowest signed value, so that the range is symmetric: -127 to 127. A
    width that ONNX cannot store (2, 3, 7 bits) lies in the next wider type, with its own range, and
    so does one below `stored` bits.
    """

    bits: int
    signed: bool
    narrow: bool = False
    stored: int = 4

    @property
    def qmin(self) -> int:
        """Smallest integer of the format."""
        return int(self.narrow) - (1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Largest integer of the format."""
        return (1 << (self.bits - int(self.signed))) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy (or ml_dtypes) type that stores it."""
        least = max(self.bits, self.stored)
        width = next(width for width in (4, 8, 16, 32) if least <= width)
        found: np.dtype[Any] = np.dtype(_STORED[width, self.signed])
        return found

    @property
    def ends_below(self) -> bool:
        """Whether nothing that can be stored lies below `qmin`, so that storing saturates there."""
        return self.qmin == int(ml_dtypes.iinfo(self.dtype).min)

    @property
    def ends_above(self) -> bool:
        """Whether nothing that can be stored lies above `qmax`."""
        return self.qmax == int(ml_dtypes.iinfo(self.dtype).max)

    def __str__(self) -> str:
        """Return the usual name: `int8`, `uint8`."""
        return f"{'' if self.signed else 'u'}int{self.bits}"


UINT8 = IntegerFormat(8, signed=False)
INT8 = IntegerFormat(8, signed=True)
# Weights: symmetric, so that the zero point is 0 and products need no correction for it.
WEIGHT8 = IntegerFormat(8, signed=True, narrow=True)


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
        wide = ", int16 or uint16" if most == 16 else ""
        raise RefusedError(f"{option} is '{text}'; give int2 to int8 or uint2 to uint8{wide}")
    signed = not found[1]
    return IntegerFormat(bits, signed, narrow=narrow and signed, stored=stored)
