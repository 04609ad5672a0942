"""A two-dimensional kernel as a vertical one and a horizontal one.

    W[o, i, a, b]  ~  sum over r of  U[o, r, b] V[r, i, a],        r = 0 .. R - 1

Of weights alone the best is a truncated SVD of the matrix [(i a), (o b)] (Tai et al.,
"Convolutional neural networks with low-rank regularization", 2015; the scheme is that of Jaderberg
et al., "Speeding up Convolutional Neural Networks with Low Rank Expansions", 2014). With data, V
comes from the SVD in coordinates in which the inputs are about white, H being taken for a
Kronecker product of moments over (i a) and over b; U then is a least squares problem.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..low_rank import balanced, low_rank
from ..quadratic import Array, FactorProblem, QuadraticForm


@dataclass(frozen=True)
class SeparableKernels:
    """Separable kernels of ranks 1 to n; `curve` [n + 1] is the form's value at each, in parts."""

    curve: Array
    _vertical: Array  # [n, C a]
    _form: QuadraticForm  # of the horizontal kernels [M, n b]
    _size: tuple[int, int]  # a, b

    def factors(self, rank: int) -> tuple[Array, Array]:
        """Return V [rank, C, a] and U [M, rank, b]."""
        height, width = self._size
        inner = rank * width
        moment = self._form.moment
        assert moment is not None
        form = QuadraticForm(moment[:inner, :inner], self._form.cross[:, :inner], self._form.energy)
        across = form.least_squares().reshape(-1, rank, width)
        u, v = balanced(across.swapaxes(1, 2).reshape(-1, rank), self._vertical[:rank])
        return v.reshape(rank, -1, height), u.reshape(-1, width, rank).swapaxes(1, 2)


def separable(problem: FactorProblem, most: int) -> SeparableKernels:
    """Solve `problem`, whose weight is [M, C, a, b], for ranks up to `most`."""
    outputs, channels, height, width = problem.weight.shape
    matrix = problem.weight.transpose(0, 3, 1, 2).reshape(outputs * width, channels * height)
    vertical = _vertical(matrix, problem, most)
    form = problem.form.through(vertical, width)
    # Columns of b in a row belong to one r: a prefix of them is what a lower rank explains.
    energies = np.sum(form.explained(form.factor()) ** 2, axis=0).reshape(-1, width).sum(axis=1)
    curve = form.relative(form.energy - np.concatenate([[0.0], np.cumsum(energies)]))
    return SeparableKernels(curve, vertical, form, (height, width))


def recombined(vertical: Array, horizontal: Array) -> Array:
    """Return the dense rows [M, K] that V and U amount to."""
    dense = np.einsum("ria,orb->oiab", vertical, horizontal, optimize=True)
    return np.asarray(dense.reshape(len(horizontal), -1))


def _vertical(matrix: Array, problem: FactorProblem, most: int) -> Array:
    """Return vertical kernels [most, C a], the most important first; `matrix` is [(o b), (i a)]."""
    moment = problem.form.moment
    if moment is None:
        return low_rank(_plain(None, matrix)).factors(most)[1]
    outputs, channels, height, width = problem.weight.shape
    split = moment.reshape(channels * height, width, channels * height, width)
    down = np.einsum("xbyb->xy", split) / width
    across = np.einsum("xbxc->bc", split)
    across = across * (width / np.trace(across))
    lower = QuadraticForm(across, across, 0.0).factor()
    assert lower is not None
    mixed = (lower.T @ matrix.reshape(outputs, width, -1)).reshape(matrix.shape)
    return low_rank(_plain(down, mixed)).factors(most)[1]


def _plain(moment: Array | None, matrix: Array) -> QuadraticForm:
    cross = matrix if moment is None else matrix @ moment
    return QuadraticForm(moment, cross, float(np.vdot(cross, matrix)))
