"""Arrays as tensors and back, with the element types that numpy or torch lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..core import dtypes

_BY_NAME: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "bool": torch.bool,
    # Types whose arithmetic torch lacks: their values fit the next wider one.
    "uint16": torch.int32,
    "uint32": torch.int64,
    "uint64": torch.int64,
    "int4": torch.int8,
    "uint4": torch.uint8,
    "int2": torch.int8,
    "uint2": torch.uint8,
}


def torch_dtype(dtype: Any) -> torch.dtype | None:
    """Return the torch type that holds values of `dtype`, or None where there is none."""
    return _BY_NAME.get(dtypes.numpy_dtype(dtype).name)


def to_tensor(array: np.ndarray[Any, Any]) -> torch.Tensor | None:
    """Return a copy of `array` as a tensor, or None where torch has no type for it."""
    kind = torch_dtype(array.dtype)
    if kind is None:
        return None
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).to(kind)
    plain = array.astype(np.int64) if array.dtype.kind not in "fb" else array
    return torch.from_numpy(np.array(plain)).to(kind)


def to_array(tensor: torch.Tensor, dtype: Any) -> np.ndarray[Any, Any]:
    """Return a copy of `tensor` as an array of `dtype`."""
    held = tensor.detach().cpu()
    if held.dtype == torch.bfloat16:
        held = held.float()
    return np.array(held.numpy()).astype(dtypes.numpy_dtype(dtype))
