"""Sums and products whose steps are so large beside what they lead to that rounding decides.

    (x + c) - c      is x, rounded to a multiple of the last digit of c: a rounding spelled out
    (x * c) / c      is infinite, or zero, where the product leaves the range of its type

In exact arithmetic such constants cancel, and a rewrite that adds or multiplies them beforehand
computes something else. Every one that does asks here. A step may be larger than its result by so
much that the digits lost stay below what verification grants, a hundred-thousandth of the range in
float32; a product may take a quarter of the exponents on either side. Of float16, which has few, it
may take all below one: values of size one do not become subnormal then.

How large x is decides what (x + 10) - 10 loses: nothing to speak of where x is 1, all where it is
1e-10. So a result counts for as much as constants show: the shift that is left, and the bias and
scale of a BatchNormalization, which say what it gives. Shifts that leave nothing stay, however
small they are; those of images, (x / 255 - mean) / std, leave mean / std and are merged. Products
do not depend on the size of x, within their range.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...core import dtypes
from ...core.decline import need

Array = np.ndarray[Any, Any]
Size = Array | float

# How much larger a term may be than the sum: of 2**-53, 2**-24 and 2**-11 of precision.
_MOST_OFFSET_DOUBLE = 2.0**30
_MOST_OFFSET = 64.0
_MOST_OFFSET_HALF = 2.0

# Powers of two that factors may reach above and below those of one and of the whole product.
_ROOM = {"float64": (256, 256), "float16": (4, 13)}
_ROOM_OF_OTHERS = (32, 32)

_CANCELS = "what it adds is so large beside what is left that rounding would show"
_LEAVES = "what it multiplies by in between is so large or small that the range would show"


def need_conditioned(terms: Size, result: Size, dtype: Any, reason: str = _CANCELS) -> None:
    """Decline where the largest of `terms` exceeds what they add up to by too many digits.

    Both are sizes, seen as those of whole tensors, of element type `dtype`. What is not finite is
    left to whoever stores it.
    """
    largest, left = (float(np.abs(part).max(initial=0.0)) for part in (terms, result))
    need(not largest > _most_offset(dtype) * left, reason)


def need_in_range(low: Size, high: Size, result: Size, dtype: Any) -> None:
    """Decline where factors from `low` to `high` lie far outside those from one to `result`.

    Elementwise; all are sizes of what a value of size one becomes on the way and at the end.
    """
    above, below = _room_of(np.dtype(dtype))
    if np.max(high, initial=0) <= 2.0**above and np.min(low, initial=1) * 2.0**below >= 1:
        return  # for any result
    end = np.abs(result)
    with np.errstate(over="ignore"):
        outside = high > 2.0**above * np.maximum(end, 1)
        outside |= low * 2.0**below < np.minimum(end, 1)
    need(not np.any(outside), _LEAVES)


@functools.cache
def _room_of(dtype: np.dtype[Any]) -> tuple[int, int]:
    return _ROOM.get(dtype.name, _ROOM_OF_OTHERS)


@functools.cache
def _most_offset(dtype: Any) -> float:
    if np.dtype(dtype) == np.float64:
        return _MOST_OFFSET_DOUBLE
    return _MOST_OFFSET_HALF if dtypes.is_half(dtype) else _MOST_OFFSET
