"""Weights computed in float64, stored in the type that the weights had.

Rounding moves a value by half a unit in its last place, which is what is granted. What type float16
and its like cannot hold so well, since it lies below the smallest normal number, is a subnormal of
few digits or zero, and beyond the largest an infinity: such weights are not to be written.

A weight is judged by the largest one of its row, those that are summed to one output, and of its
column, those that multiply one input: beside that its own last digits count for nothing. One
beyond 2^-48 of the largest of all is nothing in any sum; trained networks have channels as dead.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from ...core.decline import DeclinedError, need
from .kernel import Array, Kernel

_NOTHING = 2.0**-48
_NOT_FINITE = "the folded weights are not finite (variance + epsilon near zero?)"


def stored(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return `values` in the weights' type; what does not fit becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values.astype(dtype), order="C")  # which keeps rank 0


def is_storable(kernel: Kernel, dtype: np.dtype[Any]) -> bool:
    """Say whether weight and bias lose no more than rounding in the type they are stored in."""
    try:
        need_storable(kernel, dtype)
    except DeclinedError:
        return False
    return True


def need_storable(kernel: Kernel, dtype: np.dtype[Any]) -> None:
    """Decline where weight or bias lose more than rounding in the type they are to be stored in."""
    size = functools.cache(lambda: np.abs(kernel.weight))
    need_kept(kernel.weight, dtype, lambda: np.minimum(_largest(size(), 2), _largest(size(), 1)))
    if kernel.bias is not None:
        need_kept(kernel.bias, dtype, lambda: _largest(size(), 2).reshape(-1))


@functools.cache
def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the smallest normal number of a type, and the distance of 1 to the next one."""
    found = ml_dtypes.finfo(dtype)
    return float(found.smallest_normal), float(found.eps)


def _largest(size: Array, axis: int) -> Array:
    """Return the largest value along `axis` and the taps."""
    return np.asarray(size.max(axis=(axis, *range(3, size.ndim)), initial=0, keepdims=True))


def need_kept(
    values: Array,
    dtype: np.dtype[Any],
    beside: Array | float | Callable[[], Array] = 0.0,
    what: str = _NOT_FINITE,
) -> None:
    """Decline where float64 `values` lose more in `dtype` than rounding, of them or of `beside`.

    `beside`, or what it returns, broadcasts against them: how large what is added to them is.
    `what` is the reason where they are not finite.
    """
    held = stored(values, dtype)
    need(np.isfinite(held).all(), what)
    smallest_normal, eps = _limits(dtype)
    size = np.abs(values)
    small = size < smallest_normal
    if not small.any() or not (small := small & (size > 0)).any():
        return
    scale = np.maximum(size, beside() if callable(beside) else beside)
    scale = np.maximum(scale, _NOTHING * size.max())
    lost = np.abs(held.astype(np.float64) - values) > eps * scale
    need(
        not (lost & small).any(),
        f"the folded weights are so small that {np.dtype(dtype).name} would lose their digits",
    )
