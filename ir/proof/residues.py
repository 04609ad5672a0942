"""Integers that wrap around, as elements of prime fields.

Sums and products of integers modulo 2^n are those of whole numbers, taken modulo 2^n. So two
polynomials with the same whole coefficients are equal whatever the width, and whether they have
the same is told at random points of prime fields: of two that differ, with degree d and
coefficients of b bits, both are equal at one point of one random prime near 2^30 with probability
under d / 2^30 + b / 2^30 (J. T. Schwartz, 1980; of some 2^25 such primes at most b / 30 divide a
coefficient), and at all eight with the eighth power of that: under 10^-60 for a window of ordinary
size.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_LEAST, _MOST = 1 << 30, 1 << 31
# With which the test of Miller and Rabin is certain up to 3,474,749,660,383.
_WITNESSES = (2, 3, 5, 7, 11, 13)


class Primes:
    """A prime for each of `points`, drawn when the first is needed."""

    def __init__(self, random: np.random.Generator, points: int) -> None:
        self._random, self._points = random, points

    @cached_property
    def each(self) -> Array:
        """The primes."""
        found: list[int] = []
        while len(found) < self._points:
            each = int(self._random.integers(_LEAST, _MOST)) | 1
            if _is_prime(each):
                found.append(each)
        return np.array(found, np.int64)

    def beside(self, array: Array) -> Array:
        """Return the primes so that they broadcast to `array`, whose first axis is of points."""
        return self.each.reshape(-1, *(1,) * (array.ndim - 1))

    def residues(self, array: Array) -> Array:
        """Return whole numbers, those of one point at all, as elements of the fields.

        What a function gave of which nothing is known is a random float: of it, the bits count.
        """
        whole = np.ascontiguousarray(array).view(np.int64) if array.dtype.kind == "f" else array
        primes = self.beside(array)
        if whole.dtype == np.uint64:
            return (whole % primes.astype(np.uint64)).astype(np.int64)
        return np.asarray(whole.astype(np.int64) % primes)


def _is_prime(number: int) -> bool:
    if any(number % each == 0 for each in _WITNESSES):
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(pow(base, odd, number), twos, number) for base in _WITNESSES)


def _passes(power: int, twos: int, number: int) -> bool:
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False
