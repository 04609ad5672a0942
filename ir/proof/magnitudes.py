"""Float types, and what evaluation by the size of terms keeps (`operators.magnitudes`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core import dtypes
from .values import PointValues, UnsupportedError


@dataclass(frozen=True)
class FloatType:
    """The rounding unit, the smallest normal and the largest number of a float type."""

    unit: float
    least: float
    largest: float


FLOAT_TYPES = {
    "float64": FloatType(2.0**-53, 2.0**-1022, float(np.finfo(np.float64).max)),
    "float32": FloatType(2.0**-24, 2.0**-126, float(np.finfo(np.float32).max)),
    "float16": FloatType(2.0**-11, 2.0**-14, 65504.0),
    "bfloat16": FloatType(2.0**-8, 2.0**-126, 2.0**128 - 2.0**120),
}


def float_type(dtype: Any) -> FloatType:
    """Return what is known of a float type. Raises UnsupportedError of those of eight bits."""
    name = dtypes.type_name(dtype)
    if name not in FLOAT_TYPES:
        raise UnsupportedError(f"rounding to {name}")
    return FLOAT_TYPES[name]


class Magnitudes:
    """What evaluation by magnitudes keeps.

    `rounds`: whether every result is rounded to its type, and not constants alone; then `unit` is
    the largest rounding unit of a result, `overflows` says whether one may leave its range, and
    `underflows` whether one that is not 0 stays under the smallest normal number.
    """

    def __init__(self, *, rounds: bool) -> None:
        self.rounds = rounds
        self.units: dict[str, float] = {}
        self.overflows = False
        self.underflows = False

    def of_constant(self, value: PointValues) -> PointValues:
        """Return a constant with its magnitude: what it was folded from was rounded as well."""
        if not value.is_real or value.magnitude is not None:
            return value
        least = float_type(value.dtype).least
        return replace(value, magnitude=np.maximum(np.abs(value.array), least))

    def of_result(self, value: PointValues) -> PointValues:
        """Return a result, whose magnitude is that of the exact one, as it is rounded."""
        magnitude = value.magnitude
        if not self.rounds or magnitude is None:
            return value
        of = float_type(value.dtype)
        self.units[dtypes.type_name(value.dtype)] = of.unit
        self.overflows |= bool((magnitude > of.largest).any())
        self.underflows |= bool(((magnitude > 0) & (magnitude < of.least)).any())
        return replace(value, magnitude=np.maximum(magnitude, of.least))
