"""A dense kernel as a small core between two pointwise ones (Tucker-2).

    W[o, i, :]  ~  sum over r, s of  A[o, r] G[r, s, :] B[s, i]

Kim et al., "Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile
Applications", 2016. B starts from the SVD over input channels (HOSVD) and is improved in turns with
A (HOOI; De Lathauwer et al., 2000), with data in coordinates in which channels are about white.
Given B, A and G are a matrix of rank R over the taps of B x: exactly solvable (`low_rank`).
"""

from __future__ import annotations

import math

import numpy as np

from ..low_rank import balanced, low_rank
from ..quadratic import Array, FactorProblem, QuadraticForm, of_weight, times_inverse_factor

_TURNS = 3


class TuckerSolver:
    """Solves a problem whose weight is [M, C, k...] for any pair of ranks."""

    def __init__(self, problem: FactorProblem) -> None:
        self._problem = problem
        self._factor = _channel_factor(problem)
        outputs, channels, *self._taps = problem.weight.shape
        white = problem.weight.reshape(outputs, channels, -1).swapaxes(1, 2)
        self._white = white if self._factor is None else white @ self._factor  # [M, taps, C]
        self._axes = _principal(self._white.reshape(-1, channels))

    def curve(self, inner: int) -> Array:
        """Return the form's value in parts for `inner` input channels, by output channels."""
        return low_rank(self._through(self._axes[:inner])).curve

    def factors(self, inner: int, outer: int) -> tuple[Array, Array, Array, float]:
        """Return B [inner, C], G [outer, inner, k...], A [M, outer], and the form's value.

        B, G and A are of alike norms.
        """
        # With data HOOI improves a neighbour of the problem, so its start may be better.
        starts = (self._axes[:inner], self._iterated(inner, outer))
        solved = [low_rank(self._through(axes)) for axes in starts]
        best = min((0, 1), key=lambda which: solved[which].curve[outer])
        spread = self._spread(starts[best])
        out, rows = solved[best].factors(outer)
        core = rows.reshape(outer, inner, -1)
        sizes = np.linalg.norm(core, axis=(0, 2))
        share = np.where(sizes > 0, sizes, 1.0) ** 0.5
        out, rows = balanced(out, (core / share[:, None]).reshape(outer, -1))
        value = float(solved[best].curve[outer]) * self._problem.form.energy
        return spread * share[:, None], rows.reshape(outer, inner, *self._taps), out, value

    def _iterated(self, inner: int, outer: int) -> Array:
        axes = self._axes[:inner]
        for _ in range(_TURNS):
            reduced = self._white @ axes.T
            left = _principal(reduced.reshape(len(reduced), -1).T)[:outer]
            mixed = np.tensordot(left, self._white, (1, 0))
            axes = _principal(mixed.reshape(-1, mixed.shape[2]))[:inner]
        return axes

    def _spread(self, axes: Array) -> Array:
        spread = times_inverse_factor(axes, self._factor)
        return np.asarray(spread / np.linalg.norm(spread, axis=1, keepdims=True))

    def _through(self, axes: Array) -> QuadraticForm:
        return self._problem.form.through(self._spread(axes), math.prod(self._taps))


def tucker2(weight: Array, inner: int, outer: int) -> tuple[Array, Array, Array]:
    """Return B [inner, C], G [outer, inner, k...], A [M, outer] nearest to `weight`."""
    return TuckerSolver(of_weight(weight)).factors(inner, outer)[:3]


def recombined(spread: Array, core: Array, out: Array) -> Array:
    """Return the dense rows [M, K] that B, G and A amount to."""
    flat = core.reshape(*core.shape[:2], -1)
    dense = np.einsum("or,rsk,sc->ock", out, flat, spread, optimize=True)
    return np.asarray(dense.reshape(len(out), -1))


def _channel_factor(problem: FactorProblem) -> Array | None:
    """Return L of the channels' moment, the mean over taps."""
    moment = problem.form.moment
    if moment is None:
        return None
    channels = problem.weight.shape[1]
    taps = moment.shape[0] // channels
    mean = np.einsum("ckdk->cd", moment.reshape(channels, taps, channels, taps)) / taps
    return QuadraticForm(mean, mean, 0.0).factor()


def _principal(rows: Array) -> Array:
    """Return orthonormal rows [C, C], the right singular vectors of `rows` [N, C]."""
    return np.asarray(np.linalg.eigh(rows.T @ rows)[1].T[::-1])
