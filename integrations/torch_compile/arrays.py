"""Tensors of PyTorch as arrays and back, without copies."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch

_IMAGES = 4  # axes
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def to_array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return what `tensor`, on the CPU, holds."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype is torch.bfloat16:
        return np.asarray(tensor.view(torch.uint16).numpy()).view(_BFLOAT16)
    return np.asarray(tensor.numpy())


def to_tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return a tensor that holds what `array` does."""
    if array.dtype == _BFLOAT16:
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def memory_format(tensor: torch.Tensor) -> torch.memory_format:
    """Return the order in memory that `tensor` has."""
    image = tensor.ndim == _IMAGES and not tensor.is_contiguous()
    if image and tensor.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format
