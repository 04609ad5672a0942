"""Values of tensors at random points, from which identities are told.

A tensor has one array for all points, `[points, *shape]`; one of a single point is the same at all.
Floats of every width are held in float64, so that what float32 would round is far above what this
arithmetic rounds. Integers that an input decides are elements of prime fields (`residues`); those
that none decides are held in their own type.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np

from ..core import dtypes
from .pieces import IDENTITY, Pieces
from .residues import Primes
from .scales import Scale

Array = np.ndarray[Any, Any]

_SPECIALS, _SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0]), 1 / 16
# 8 Gaussian points tell a row of coefficients from another: see `difference`.
POINTS = 8
# Of a tensor at all points: 128 MiB. What is larger is not evaluated.
MOST_ELEMENTS = 1 << 24

# What float64 leaves of sums, as a part of the largest number, and how far numbers have to move.
_NOISE = 2.0**-44
_LEAST_MOVE = 2.0**-28


class UnsupportedError(Exception):
    """Why a window cannot be evaluated."""


@dataclass(frozen=True)
class PointValues:
    """A tensor of element type `dtype` at all points.

    `base`, `form`: the tensor, of the same shape, that it is a function of element by element, and
    the function, where that is known. `low`, `high`: no element lies outside. `apart`: of a
    condition, the numbers that it compares with zero. `magnitude`: how large the terms are that
    each element is a sum of, and `roundings`: how many there are on the way of one, where that is
    looked at (`operators.magnitudes`).
    """

    array: Array
    dtype: np.dtype[Any]
    _: KW_ONLY
    base: PointValues | None = None
    form: Pieces | None = None
    low: float = -math.inf
    high: float = math.inf
    apart: Array | None = None
    magnitude: Array | None = None
    roundings: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return tuple(self.array.shape[1:])

    @property
    def rank(self) -> int:
        """How many axes the tensor has."""
        return self.array.ndim - 1

    @property
    def is_fixed(self) -> bool:
        """Whether it is the same at all points: no input decides it."""
        return bool(self.array.shape[0] == 1)

    @property
    def is_real(self) -> bool:
        """Whether its elements stand for real numbers."""
        return bool(dtypes.is_float(self.dtype))

    @property
    def is_real_or_condition(self) -> bool:
        """Whether its elements are real numbers or conditions."""
        return self.is_real or self.dtype.kind == "b"

    def fixed(self) -> Array:
        """Return the tensor where it is the same at all points; raises UnsupportedError else."""
        if not self.is_fixed:
            raise UnsupportedError("sizes, axes or indices that depend on the inputs")
        return np.asarray(self.array[0])

    def with_array(self, array: Array) -> PointValues:
        """Return a tensor of the same type, of which nothing else is known."""
        return PointValues(array, self.dtype)

    def rounded(self) -> PointValues:
        """Return the tensor with its numbers rounded to their type."""
        if not self.is_real or self.dtype == np.float64:
            return self
        with np.errstate(all="ignore"):
            return replace(self, array=self.array.astype(self.dtype).astype(np.float64))

    def function(self) -> tuple[PointValues, Pieces]:
        """Return the tensor that this one is a function of, by elements, and the function."""
        if self.base is None or self.form is None:
            return self, IDENTITY
        return self.base, self.form

    def as_function(self, base: PointValues, form: Pieces) -> PointValues:
        """Return the tensor with what it is a function of, where that has its shape."""
        if base.shape != self.shape:
            return self
        return replace(self, base=base, form=form)


def require_few(*sizes: int) -> None:
    """Raise UnsupportedError where a tensor of these sizes has more elements than are looked at."""
    if math.prod(sizes) > MOST_ELEMENTS:
        raise UnsupportedError("more elements than are looked at")


def constant(values: Array) -> PointValues:
    """Return the value of a constant."""
    if dtypes.is_float(values.dtype):
        held = values.astype(np.float64)
    elif values.dtype.kind in "biu":
        held = values
    else:
        raise UnsupportedError(f"constants of {dtypes.type_name(values.dtype)}")
    return PointValues(held[None], values.dtype)


def drawn(
    random: np.random.Generator,
    shape: tuple[int, ...],
    dtype: Any,
    primes: Primes,
    *,
    with_specials: bool = False,
    scale: Scale | None = None,
) -> PointValues:
    """Return random values: normally distributed numbers, or integers as elements of fields.

    `with_specials`: some of the numbers are NaN, infinities and zeros of either sign. `scale`: how
    large others are than usual.
    """
    of = dtypes.numpy_dtype(dtype)
    sizes = (POINTS, *shape)
    require_few(*sizes)
    if dtypes.is_float(of) and scale is not None:
        return PointValues(scale.drawn(random, shape, POINTS), of)
    if dtypes.is_float(of):
        numbers = random.standard_normal(sizes)
        if with_specials:
            chosen = random.random(sizes) < _SPECIAL
            numbers[chosen] = random.choice(_SPECIALS, int(chosen.sum()))
        return PointValues(numbers, of)
    if of.kind in "iu":
        return PointValues(
            random.integers(0, primes.each.reshape(-1, *(1,) * len(shape)), sizes), of
        )
    if of.kind == "b":  # what is true at which point tells booleans apart
        return PointValues(random.standard_normal(sizes), of)
    raise UnsupportedError(f"values of {dtypes.type_name(of)}")


def spread(array: Array, points: int = POINTS) -> Array:
    """Return `array` with an entry for every point."""
    return np.broadcast_to(array, (points, *array.shape[1:])) if len(array) == 1 else array


def difference(a: Array, b: Array) -> float:
    """Return how far two tensors are apart, element by element; infinity for other shapes.

    See `apart`. At random normal points, how far an affine function moves about its mean is the
    norm of its coefficients.
    """
    if a.shape[1:] != b.shape[1:]:
        return float("inf")
    if a.dtype.kind != "f" or b.dtype.kind != "f":
        return 0.0 if np.array_equal(spread(a), spread(b)) else float("inf")
    if a is b or not a.size:
        return 0.0
    a, b = spread(a), spread(b)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        same = np.array_equal(a, b, equal_nan=True)
        return 0.0 if same else float("inf")
    if np.array_equal(a, b):
        return 0.0
    x, y = (each.reshape(POINTS, -1).T for each in (a, b))
    require_told_apart(x)
    return float(apart(x, y).max(initial=0.0))


def difference_at_scale(a: Array, b: Array, *, together: bool) -> float:
    """Return how far two tensors are apart, at numbers of a scale, where the first is finite.

    `together`: beside the largest element, as what is added up in layers may cancel in one.
    """
    if a.shape[1:] != b.shape[1:] or a.dtype.kind != "f" or b.dtype.kind != "f":
        return difference(a, b)
    x, y = (spread(each).reshape(POINTS, -1).T for each in (a, b))
    finite = np.isfinite(x).all(axis=1)
    x, y = x[finite], y[finite]
    if not np.isfinite(y).all():
        return float("inf")
    if not together:
        return float(apart(x, y).max(initial=0.0))
    size = max(np.abs(each).max(initial=0.0) for each in (x, y))
    return float(np.abs(x - y).max(initial=0.0) / size) if size else 0.0


def difference_of_terms(a: Array, b: Array, magnitude: Array) -> float:
    """Return how far two tensors are apart, each element beside the terms that it is a sum of."""
    if a.shape[1:] != b.shape[1:] or a.dtype.kind != "f" or b.dtype.kind != "f":
        return difference(a, b)
    if not np.isfinite(a).all():
        raise UnsupportedError("numbers that leave the range of float64")
    if not np.isfinite(b).all():
        return float("inf")
    far = np.abs(a - b)
    with np.errstate(all="ignore"):
        return float(np.divide(far, magnitude, out=far, where=far > 0).max(initial=0.0))


def apart(a: Array, b: Array) -> Array:
    """Return how far numbers [..., points] are apart, as parts of their size.

    Each number is held against its own size, and how it moves from point to point against how far
    it moves: a large constant that is added hides nothing, nor do the numbers beside it.
    """
    size = np.maximum(np.abs(a), np.abs(b)).max(axis=-1, keepdims=True)
    with np.errstate(all="ignore"):  # by parts: squares would vanish, or leave the range
        x, y = (np.where(size > 0, each / size, 0.0) for each in (a, b))
    u, v = (each - each.mean(axis=-1, keepdims=True) for each in (x, y))
    moves = np.maximum(np.abs(u).max(axis=-1), np.abs(v).max(axis=-1))
    whole = np.abs(x - y).max(axis=-1)
    moved = np.maximum(np.abs(u - v).max(axis=-1) - _NOISE, 0.0)
    with np.errstate(all="ignore"):
        part = np.where(moved > 0, moved / moves, 0.0)
    return np.asarray(np.maximum(whole, part))


def require_told_apart(rows: Array) -> None:
    """Raise UnsupportedError where numbers [..., points] move too little beside their size."""
    size = np.abs(rows).max(axis=-1)
    # Beside it, what float64 rounds would be much of what differs.
    moves = rows.max(axis=-1) - rows.min(axis=-1)
    if ((moves > 0) & (moves < _LEAST_MOVE * size)).any():
        raise UnsupportedError("numbers so large that what is added to them is lost in rounding")
