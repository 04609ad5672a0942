"""Element types: between the numpy dtypes and ONNX enum values that GraphSurgeon mixes."""

from __future__ import annotations

import functools
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto

_FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
)
_HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
_BITS = {
    TensorProto.UINT4: 4,
    TensorProto.INT4: 4,
    getattr(TensorProto, "FLOAT4E2M1", -1): 4,
    getattr(TensorProto, "UINT2", -2): 2,
    getattr(TensorProto, "INT2", -3): 2,
}


def elem_type(dtype: Any) -> int:
    """Return the ONNX `TensorProto.DataType` of a numpy dtype, or of an enum value as it is."""
    return dtype if isinstance(dtype, int) else _elem_type_of(np.dtype(dtype))


def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the numpy (or ml_dtypes) dtype of an ONNX enum value, or of a dtype as it is."""
    return _numpy_dtype_of(int(dtype)) if isinstance(dtype, int) else np.dtype(dtype)


@functools.cache
def _elem_type_of(dtype: np.dtype[Any]) -> int:
    if dtype.kind in "OUS":
        return int(TensorProto.STRING)
    return int(onnx.helper.np_dtype_to_tensor_dtype(dtype))


@functools.cache
def _numpy_dtype_of(kind: int) -> np.dtype[Any]:
    bfloat16 = kind == TensorProto.BFLOAT16
    found: np.dtype[Any] = np.dtype(
        ml_dtypes.bfloat16 if bfloat16 else onnx.helper.tensor_dtype_to_np_dtype(kind)
    )
    return found


@functools.cache
def full_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a numpy dtype with its byte order: numpy has two for some integers."""
    return f"{dtype.str} {dtype.name}"


def is_float(dtype: Any) -> bool:
    """Say whether `dtype` is float16, bfloat16, float32 or float64."""
    return dtype is not None and elem_type(dtype) in _FLOATS


def is_half(dtype: Any) -> bool:
    """Say whether `dtype` is one of the 16-bit floats."""
    return dtype is not None and elem_type(dtype) in _HALVES


def is_integer(dtype: Any) -> bool:
    """Say whether `dtype` is an integer type, of four or two bits included."""
    return dtype is not None and "int" in type_name(dtype)


def bits(dtype: Any) -> int:
    """Return the storage bits of one element (4 for int4, 2 for int2; strings count as 64)."""
    kind = elem_type(dtype)
    if kind in _BITS:
        return _BITS[kind]
    return numpy_dtype(kind).itemsize * 8


def integer_limits(dtype: Any) -> tuple[int, int]:
    """Return the least and the largest value of an integer type."""
    signed, size = not type_name(dtype).startswith("uint"), bits(dtype)
    return (-(2 ** (size - 1)), 2 ** (size - 1) - 1) if signed else (0, 2**size - 1)


def byte_size(count: int, dtype: Any) -> int:
    """Return how many bytes `count` elements take in storage; sub-byte types are packed."""
    return -(-count * bits(dtype) // 8)


def type_name(dtype: Any) -> str:
    """Return the lower-case name people use: `float32`, `int64`, `bfloat16`, `string`."""
    if dtype is None:
        return "unknown type"
    kind = elem_type(dtype)
    return "string" if kind == TensorProto.STRING else numpy_dtype(kind).name
