"""Elements as they are stored, and the numbers that kernels compute with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..spec.layout import BufferSpec
from .bfloat16 import HALF, rounded, widened

FLOAT = "float32"
BYTES = ("uint8", "int8")


def real(stored: Any, spec: BufferSpec) -> Any:
    """Return the number that what is stored in a buffer of `spec` stands for."""
    if spec.dtype == HALF:
        return widened(stored)
    number = converted(stored, number_type(spec) if spec.scale is None else "int32")
    if spec.scale is None:
        return number
    whole = converted(number - spec.zero if spec.zero else number, FLOAT)
    return whole if spec.scale == 1.0 else whole * constant(spec.scale)


def converted(value: Any, dtype: str) -> Any:
    """Return `value` as another type; a float32 that becomes a byte is whole and in range."""
    from tvm import tirx

    found = str(value.ty.dtype)
    if found == dtype:
        return value
    if found == HALF:
        return converted(widened(value), dtype)
    if dtype == HALF:
        return rounded(converted(value, FLOAT))
    # There are instructions between bytes and float32 only by way of int32.
    return tirx.Cast(dtype, tirx.Cast("int32", value))


def number_type(spec: BufferSpec) -> str:
    """Return the type of what `Operand.load` gives."""
    return FLOAT if spec.scale is not None or spec.dtype == HALF else spec.dtype


def sum_type(spec: BufferSpec) -> str:
    """Return the type that sums of what is stored have: those of bytes are whole."""
    return "int32" if number_type(spec) in BYTES else FLOAT


def least(dtype: str) -> Any:
    """Return what no number of this type is below."""
    return constant(-math.inf if dtype == FLOAT else int(np.iinfo(dtype).min), dtype)


def constant(value: float, dtype: str = FLOAT) -> Any:
    """Return a constant of this type."""
    from tvm import tirx

    return tirx.const(value, dtype)
