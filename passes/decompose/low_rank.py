"""The best matrix of a given rank, in view of what it is multiplied with.

    min over A [M, R], B [R, K] of the form of `quadratic` at V = A B

With H = L L' and Y = T L'^-1 the form is |Y - V L|^2 + constant, so that V L is Y truncated to its
R largest singular values (Eckart and Young, 1936): reduced-rank regression. Without data this is
the truncated SVD of W.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .quadratic import Array, QuadraticForm, times_inverse_factor


@dataclass(frozen=True)
class LowRankFactors:
    """Factors of every rank: `curve` [n + 1] is the form's value in parts of its energy at each."""

    curve: Array
    _left: Array  # [M, n], orthonormal
    _right: Array  # [n, K]: left' Y
    _factor: Array | None

    def factors(self, rank: int) -> tuple[Array, Array]:
        """Return A [M, rank] and B [rank, K], of alike norms."""
        a, b = self._left[:, :rank], times_inverse_factor(self._right[:rank], self._factor)
        return balanced(a, b)


def low_rank(form: QuadraticForm) -> LowRankFactors:
    """Solve `form` for every rank."""
    factor = form.factor()
    explained = form.explained(factor)
    left, energies = _directions(explained)
    curve = form.relative(form.energy - np.concatenate([[0.0], np.cumsum(energies)]))
    return LowRankFactors(curve, left, left.T @ explained, factor)


def svd_factors(weight: Array, rank: int, moment: Array | None = None) -> tuple[Array, Array]:
    """Return A [M, rank] and B [rank, K] that minimise |(W - A B) X|; W [M, K], X X' = `moment`."""
    cross = weight if moment is None else weight @ moment
    form = QuadraticForm(moment, cross, float(np.vdot(cross, weight)))
    return low_rank(form).factors(rank)


def balanced(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the same product A B with column r of A and row r of B of one norm."""
    columns, rows = np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=1)
    usable = (columns > 0) & (rows > 0)
    scale = np.sqrt(np.where(usable, rows, 1.0) / np.where(usable, columns, 1.0))
    return a * scale, b / scale[:, None]


def _directions(matrix: Array) -> tuple[Array, Array]:
    """Return left singular vectors [M, n] and squared singular values [n], the largest first."""
    rows, columns = matrix.shape
    if rows <= columns:
        values, vectors = np.linalg.eigh(matrix @ matrix.T)
        return vectors[:, ::-1], np.maximum(values[::-1], 0)
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    values, left = np.maximum(values[::-1], 0), matrix @ vectors[:, ::-1]
    norms = np.linalg.norm(left, axis=0)
    return left / np.where(norms > 0, norms, 1.0), values
