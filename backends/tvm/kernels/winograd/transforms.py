"""Winograd's short convolutions along one axis: their matrices, and how to apply them in few steps.

    y = A^T ((G w) * (B^T x))        m results, r taps, n = m + r - 1 products instead of m * r

Along several axes the matrices apply to each axis in turn. Rows of G and B^T and columns of A^T
stand for n - 1 points p_j and for infinity:

    G[j, k] = p_j^k      B^T[j] = coefficients of prod_{l != j} (t - p_l)
    A^T[i, j] = p_j^i / prod_{l != j} (p_j - p_l)

and infinity has the last tap, prod_l (t - p_l) and the last result. Points are 0 and pairs p, -p
whose rows differ in the sign of every second coefficient: both are one sum and one difference.

Source: Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks, CVPR 2016. The fractions stand in A^T, which is applied least often.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.polynomial import polynomial

from ...spec.layout import Array

# Zero, and pairs whose powers and differences stay near one: half the rounding error of 1 and 2.
_PAIRS: dict[int, tuple[float, ...]] = {1: (), 2: (), 4: (1.0,), 6: (0.625, 1.5)}

Keep = Callable[[Any], Any]


@dataclass(frozen=True)
class Transform:
    """F(`results`, `taps`) along one axis, of 2, 4 or 6 points; F(1, 1) is nothing.

    The methods take values of any type that adds and multiplies with numbers; `keep` is called on
    every value that is used more than once, and what it returns is used instead.
    """

    results: int
    taps: int

    @property
    def points(self) -> int:
        """Number of products n, and of inputs that the results read."""
        return self.results + self.taps - 1

    def weights(self, values: Sequence[Any], keep: Keep) -> list[Any]:
        """Return G applied to `taps` values."""
        return self._rows(self.weight_matrix, values, keep)

    def inputs(self, values: Sequence[Any], keep: Keep) -> list[Any]:
        """Return B^T applied to `points` values."""
        return self._rows(self.input_matrix, values, keep)

    def sums(self, values: Sequence[Any], keep: Keep) -> list[Any]:
        """Return A^T applied to `points` values."""
        odd = np.arange(self.results) % 2
        columns, held = [], []
        for j in range(self.points):
            column = self.result_matrix[:, j]
            if self._is_first(j):
                a, b = values[j], values[j + 1]
                columns += [column * (1 - odd), column * odd]
                held += [keep(a + b), keep(a - b)]
            elif not self._is_first(j - 1):
                columns.append(column)
                held.append(values[j])
        return [_dot(row, held) for row in np.stack(columns, axis=1)]

    @cached_property
    def weight_matrix(self) -> Array:
        """G, [points, taps] in float64."""
        rows = [[p**k for k in range(self.taps)] for p in self._finite]
        return np.array([*rows, [0.0] * (self.taps - 1) + [1.0]])

    @cached_property
    def input_matrix(self) -> Array:
        """B^T, [points, points] in float64."""
        found = np.zeros((self.points, self.points))
        for j in range(self.points):
            row = polynomial.polyfromroots([q for i, q in enumerate(self._finite) if i != j])
            found[j, : len(row)] = row
        return found

    @cached_property
    def result_matrix(self) -> Array:
        """A^T, [results, points] in float64."""
        found = np.zeros((self.results, self.points))
        for j, p in enumerate(self._finite):
            share = math.prod(p - q for q in self._finite if q != p)
            found[:, j] = [p**i / share for i in range(self.results)]
        found[-1, -1] = 1.0
        return found

    @cached_property
    def _finite(self) -> tuple[float, ...]:
        """The points but infinity: 0 and the pairs."""
        pairs = _PAIRS[self.points]
        return (0.0, *(sign * p for p in pairs for sign in (1, -1)))[: self.points - 1]

    def _is_first(self, j: int) -> bool:
        """Say whether points j and j + 1 are a pair."""
        return j % 2 == 1 and 0 < j < self.points - 1

    def _rows(self, matrix: Array, values: Sequence[Any], keep: Keep) -> list[Any]:
        found: list[Any] = []
        for j, row in enumerate(matrix):
            if self._is_first(j):
                same, other = (row + matrix[j + 1]) / 2, (row - matrix[j + 1]) / 2
                scale = other[np.flatnonzero(other)[-1]]
                halves = keep(_dot(same, values)), keep(_dot(other / scale, values))
                found += [_dot((1.0, scale), halves), _dot((1.0, -scale), halves)]
            elif not self._is_first(j - 1):
                found.append(_dot(row, values))
        return found


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


def on_axes(
    steps: Sequence[Callable[[Sequence[Any], Keep], list[Any]]],
    sizes: Sequence[int],
    values: Sequence[Any],
    keep: Keep,
) -> list[Any]:
    """Return a grid of `sizes`, its last axis fastest, after `steps`: one along each axis."""
    grid = np.empty(len(values), object)
    for i, value in enumerate(values):
        grid[i] = value
    grid = grid.reshape(tuple(sizes))
    for axis, step in enumerate(steps):
        rows = np.moveaxis(grid, axis, -1)
        found = {place: step(list(rows[place]), keep) for place in np.ndindex(rows.shape[:-1])}
        count = len(next(iter(found.values())))
        results = np.empty((*rows.shape[:-1], count), object)
        for place, row in found.items():
            for i, value in enumerate(row):
                results[(*place, i)] = keep(value)
        grid = np.moveaxis(results, -1, axis)
    return list(grid.reshape(-1))
