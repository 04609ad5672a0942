"""The integer formats of quantized tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

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
