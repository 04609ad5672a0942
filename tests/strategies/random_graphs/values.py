"""Arrays of every element type, ordinary and extreme."""

from __future__ import annotations

from random import Random
from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, Any]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = tuple(np.dtype(name) for name in ("float32", "float64", "float16"))
SIGNED = tuple(np.dtype(name) for name in ("int32", "int64", "int8", "int16"))
UNSIGNED = tuple(np.dtype(name) for name in ("uint8", "uint32", "uint64", "uint16"))
BOOL = np.dtype(bool)
TEXT = np.dtype(object)

_WORDS = (
    "",
    "a",
    "b",
    "Cat",
    "cat",
    "dog",
    "\u00e9t\u00e9",
    "12",
    "3.5",
    "a b",
    " ",
    "longer than that",
)

# What a float rule may stumble over: zeros, ones, what cancels, overflows or is no number.
_SPECIAL_FLOATS = (
    0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, 6.0, -2.0, 1 / 6, 0.1, 1e-5, 255.0, 12582912.0,
    1e-8, 1e4, -1e4, 1e30, -1e30, 1e-30, 1e-40, 3.4e38, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
_PLAIN_FLOATS = _SPECIAL_FLOATS[:15]
# In 16 bits more than these overflow soon, and the runtime itself keeps 32 bits between some nodes.
_SHORT_FLOATS = (*_SPECIAL_FLOATS[:11], float("inf"), float("-inf"), float("nan"))


def is_float(dtype: np.dtype[Any]) -> bool:
    """Say whether `dtype` is a float, bfloat16 included."""
    return (dtype.kind == "f" and not is_narrow(dtype)) or dtype == BFLOAT16


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Say whether `dtype` is of those that the runtime neither takes nor gives as arrays."""
    return (dtype.kind == "V" and dtype != BFLOAT16) or dtype.name.startswith("float8")


def special(rng: Random, dtype: np.dtype[Any], *, extreme: bool) -> Array:
    """Return one number that rules about numbers may have to know, as an array of rank 0."""
    if is_float(dtype):
        short = np.dtype(dtype).itemsize == 2
        known = (_SHORT_FLOATS if short else _SPECIAL_FLOATS) if extreme else _PLAIN_FLOATS
        value = rng.choice(known[:11] if short and not extreme else known)
        with np.errstate(over="ignore", under="ignore"):
            return np.array(value, np.float64).astype(dtype)
    if dtype == BOOL:
        return np.array(rng.random() < 0.5)
    if dtype == TEXT:
        return np.array(rng.choice(_WORDS), object)
    info = np.iinfo(dtype)
    ordinary = [0, 1, 2, 3, 7] + ([-1, -2] if info.min < 0 else [])
    return np.array(rng.choice([*ordinary, int(info.min), int(info.max)]), dtype)


def ordinary(rng: Random, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Return numbers of order one: normal, or small integers, or booleans."""
    generator = np.random.default_rng(rng.getrandbits(32))
    if is_float(dtype):
        return np.asarray(generator.standard_normal(shape)).astype(dtype)
    if dtype == BOOL:
        return np.asarray(generator.random(shape) < 0.5)
    if dtype == TEXT:
        return np.asarray(generator.choice(np.array(_WORDS, object), shape), object)
    low = -4 if np.iinfo(dtype).min < 0 else 0
    return np.asarray(generator.integers(low, 6, shape)).astype(dtype)


def mild(rng: Random, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Return ordinary numbers, and among them zeros, large and small ones, ends of integers."""
    return _sprinkled(rng, dtype, shape, wild=False)


def extreme(rng: Random, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Return what `mild` does, and numbers whose squares overflow, infinities and no numbers."""
    return _sprinkled(rng, dtype, shape, wild=True)


def _sprinkled(rng: Random, dtype: np.dtype[Any], shape: tuple[int, ...], *, wild: bool) -> Array:
    array = ordinary(rng, dtype, shape)
    for _ in range(min(array.size, rng.randint(1, 4))):
        number = special(rng, dtype, extreme=wild)
        array.flat[rng.randrange(array.size)] = number.item() if dtype == TEXT else number
    return array
