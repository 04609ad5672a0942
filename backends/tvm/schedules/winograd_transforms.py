"""Winograd's short convolutions along one axis: their matrices, and how to apply them in few steps.

    y = A^T ((G w) * (B^T d))        m results, r taps, n = m + r - 1 products instead of m * r

Along several axes the matrices apply to each axis in turn. The rows stand for n - 1 points p_j and
infinity: A^T has the powers of p_j, G the powers over prod_{l != j} (p_j - p_l), and B^T the
coefficients of prod_{l != j} (x - p_l); infinity adds the last tap, the last result and
prod_l (x - p_l). Points come in pairs p, -p, whose sums share their even and odd halves.

Source: Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.polynomial import polynomial

from ..layout import Array

# Points whose powers and differences stay near one: half the rounding error of 0, 1, -1, 2, -2.
_PAIRS = {0: (), 1: (1.0,), 2: (0.625, 1.5)}

Keep = Callable[[Any], Any]


@dataclass(frozen=True)
class Transform:
    """F(`results`, `taps`) along one axis. F(1, 1) changes nothing."""

    results: int
    taps: int

    @property
    def points(self) -> int:
        """Number of products n, and of inputs that one tile reads."""
        return self.results + self.taps - 1

    @property
    def pairs(self) -> tuple[float, ...]:
        """The positive one of each pair of points; with an odd number of points, 0 comes first."""
        return _PAIRS[(self.points - 1) // 2]

    @cached_property
    def finite(self) -> tuple[float, ...]:
        """All points but infinity."""
        zero = (0.0,) * ((self.points - 1) % 2)
        return (*zero, *(sign * p for p in self.pairs for sign in (1, -1)))

    @cached_property
    def weight_matrix(self) -> Array:
        """G, [points, taps] in float64."""
        rows = [
            [p**k / np.prod([p - q for q in self.finite if q != p]) for k in range(self.taps)]
            for p in self.finite
        ]
        return np.array([*rows, [0.0] * (self.taps - 1) + [1.0]])

    @cached_property
    def input_matrix(self) -> Array:
        """B^T, [points, points] in float64."""
        found = np.zeros((self.points, self.points))
        for j in range(self.points):
            others = [q for i, q in enumerate(self.finite) if i != j]
            row = polynomial.polyfromroots(others)
            found[j, : len(row)] = row
        return found

    @cached_property
    def result_matrix(self) -> Array:
        """A^T, [results, points] in float64."""
        found = np.zeros((self.results, self.points))
        for j, p in enumerate(self.finite):
            found[:, j] = [p**i for i in range(self.results)]
        found[-1, -1] = 1.0
        return found

    def weights(self, values: Array, axis: int) -> Array:
        """Return G applied along `axis`, in float64."""
        moved = np.moveaxis(values.astype(np.float64), axis, -1) @ self.weight_matrix.T
        return np.moveaxis(moved, -1, axis)

    def inputs(self, values: Sequence[Any], keep: Keep) -> list[Any]:
        """Return B^T applied to `points` values; `keep` holds what is used more than once."""
        found: list[Any] = []
        rows = self.input_matrix
        while len(found) < self.points:
            row = rows[len(found)]
            if not self._is_paired(len(found)):
                found.append(_dot(row, values))
                continue
            even, odd = _halves(row, len(self.finite))
            half, scale = keep(_dot(even, values)), odd[np.flatnonzero(odd)[-1]]
            other = keep(_dot(odd / scale, values))
            found += [_dot([1.0, scale], [half, other]), _dot([1.0, -scale], [half, other])]
        return found

    def sums(self, values: Sequence[Any], keep: Keep) -> list[Any]:
        """Return A^T applied to `points` values."""
        columns: list[tuple[Array, Array, Any]] = []  # where even, where odd, the value
        j = 0
        ones = np.ones(self.results)
        while j < self.points:
            column = self.result_matrix[:, j]
            if not self._is_paired(j):
                columns.append((column, ones, values[j]))
                j += 1
                continue
            parity = np.arange(self.results) % 2
            columns.append((column * (1 - parity), ones, keep(values[j] + values[j + 1])))
            columns.append((column * parity, ones, keep(values[j] - values[j + 1])))
            j += 2
        matrix = np.stack([column for column, _, _ in columns], axis=1)
        held = [value for _, _, value in columns]
        return [_dot(row, held) for row in matrix]

    def _is_paired(self, row: int) -> bool:
        return (self.points - 1) % 2 <= row < self.points - 1


def _halves(row: Array, degree: int) -> tuple[Array, Array]:
    """Return the coefficients that p and -p share and those that change sign between them.

    Row p is (x + p) times a polynomial in x^2, or x times one: degree - 1 and every second below
    it are shared.
    """
    same = (degree - 1 - np.arange(len(row))) % 2 == 0
    return np.where(same, row, 0.0), np.where(same, 0.0, row)


def _dot(factors: Any, values: Sequence[Any]) -> Any:
    """Return the sum of factors times values, without products by 0, 1 and -1."""
    terms = [(float(f), v) for f, v in zip(factors, values, strict=True) if f]
    # A plain term first: each further one is then a single multiply-add.
    terms.sort(key=lambda term: (term[0] != 1.0, abs(term[0]) != 1.0))
    factor, value = terms[0]
    total = value if factor == 1.0 else value * factor
    for factor, value in terms[1:]:
        if abs(factor) == 1.0:
            total = total + value if factor > 0 else total - value
        else:
            total = total + value * factor
    return total
