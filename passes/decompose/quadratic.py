"""How well other weights give a layer's output: one quadratic form, with data or without.

    E |y - (V x^ + c)|^2 + ridge |V - W|^2  =  tr(V H V') - 2 tr(V T') + energy,    at the best c

    H = cov(x^, x^) + ridge I      T = cov(y, x^) + ridge W      energy = var y + ridge |W|^2

W [M, K] are the layer's own weights and V those that replace them; K runs over input channels and
taps. Without data H = I and T = W, so that the form is |V - W|^2. A layer that reads z = F x^
instead has a form of its own, with F H F' and T F': every structure of V comes down to these.
On data every output channel is first divided by its deviation, so that all count alike. The
ridge keeps few samples from moving weights that they say nothing about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...ir.ops.linear.kernel import Kernel
from ..analysis.observe.moments import Moments, join_columns, split_columns

Array = np.ndarray[Any, Any]

# The ridge in parts of the inputs' mean variance: at many samples, and at one a column.
_RIDGE = 0.01
_RIDGE_OF_FEW = 0.1
_MOST_RIDGE = 1.0
_JITTER = 1e-12
# Added to a channel's variance where channels are made to count alike, of the mean.
_LEAST_VARIANCE = 1e-4


@dataclass(frozen=True)
class QuadraticForm:
    """tr(V H V') - 2 tr(V T') + energy for V [M, K].

    `moment`: H [K, K]; None is the identity; [P, K', K'] are blocks on its diagonal, as `Moments`
    keeps them. `cross`: T [M, K].
    """

    moment: Array | None
    cross: Array
    energy: float

    def value(self, rows: Array) -> float:
        """Return the form at V = `rows` [M, K], at least 0."""
        curved = rows if self.moment is None else _times(rows, self.moment)
        return max(float(np.vdot(curved - 2 * self.cross, rows)) + self.energy, 0.0)

    def relative(self, value: float | Array) -> Array:
        """Return `value` in parts of the energy, 0 of none."""
        return np.maximum(value, 0) / self.energy if self.energy > 0 else np.zeros_like(value)

    def through(self, first: Array, inner: int = 1) -> QuadraticForm:
        """Return the form of a layer that reads z = F x^; H must not be blocks.

        `first` is [Z, K / inner] and works on the outer part of K alone: F is its Kronecker product
        with the identity of size `inner`.
        """
        outer, size = first.shape[1], len(first) * inner
        cross = first @ self.cross.reshape(-1, outer, inner)
        if self.moment is None:
            moment = np.kron(first @ first.T, np.eye(inner))
        else:
            half = (first @ self.moment.reshape(outer, -1)).reshape(size, outer, inner)
            moment = (first @ half).reshape(size, size)
        return QuadraticForm(moment, cross.reshape(-1, size), self.energy)

    def factor(self) -> Array | None:
        """Return the lower triangle L of H = L L', None for the identity; H may be singular."""
        if self.moment is None:
            return None
        size = self.moment.shape[-1]
        mean = np.trace(self.moment, axis1=-2, axis2=-1) / size
        floor = np.where(mean > 0, mean * _JITTER, 1.0)
        return np.asarray(np.linalg.cholesky(self.moment + floor[..., None, None] * np.eye(size)))

    def explained(self, factor: Array | None) -> Array:
        """Return Y = T L'^-1 [M, K]: energy - |Y|^2 is the least value of the form.

        The sum over the first n columns alone is what a V of those columns explains.
        """
        return self.cross if factor is None else _divide(self.cross, factor, transposed=True)

    def least_squares(self) -> Array:
        """Return the V [M, K] of the least value."""
        factor = self.factor()
        return times_inverse_factor(self.explained(factor), factor)


def times_inverse_factor(rows: Array, factor: Array | None) -> Array:
    """Return `rows` [R, K] times L^-1."""
    return rows if factor is None else _divide(rows, factor, transposed=False)


@dataclass(frozen=True)
class FactorProblem:
    """Weights [M, C, k...] of one group of a layer, and the form by which others are judged.

    `mean_input` [K] and `mean_output` [M] give the best bias; None without data, or where the layer
    can have none.
    """

    weight: Array
    form: QuadraticForm
    ridge: float = 0.0
    mean_input: Array | None = None
    mean_output: Array | None = None

    @property
    def rows(self) -> Array:
        """The weights as a matrix [M, K]."""
        return self.weight.reshape(len(self.weight), -1)

    @property
    def has_blocks(self) -> bool:
        """Say whether H is known in blocks on its diagonal alone."""
        return self.form.moment is not None and self.form.moment.ndim == 3

    def without_blocks(self) -> FactorProblem:
        """Return the problem; where H is known in blocks alone, of data it keeps the means."""
        if not self.has_blocks:
            return self
        form = of_weight(self.weight).form
        return replace(self, form=form, ridge=0.0)

    def error(self, rows: Array, value: float) -> tuple[float, float]:
        """Return E |y - V x^ - c|^2 and var y, without the ridge; V = `rows` [M, K].

        `value` is that of the form, which solvers get at less than `QuadraticForm.value` takes.
        """
        value -= self.ridge * float(np.sum((rows - self.rows) ** 2))
        energy = self.form.energy - self.ridge * float(np.sum(self.rows**2))
        return max(value, 0.0), max(energy, 0.0)

    def bias(self, rows: Array) -> Array | None:
        """Return the best bias [M] with the weights `rows`, None where the layer keeps its own."""
        if self.mean_input is None or self.mean_output is None:
            return None
        return np.asarray(self.mean_output - rows @ self.mean_input)


def relative_error(
    problems: Sequence[FactorProblem], rows: Sequence[Array], values: Sequence[float]
) -> float:
    """Return E |y - V x^ - c|^2 in parts of var y for a layer whose groups have weights `rows`.

    `values` are those of the forms.
    """
    wrong, energy = 0.0, 0.0
    for problem, found, value in zip(problems, rows, values, strict=True):
        part = problem.error(found, value)
        wrong, energy = wrong + part[0], energy + part[1]
    return wrong / energy if energy > 0 else float(wrong > 0)


def of_weight(weight: Array) -> FactorProblem:
    """Return the problem of weights [M, C, k...] without data."""
    rows = weight.reshape(len(weight), -1)
    return FactorProblem(weight, QuadraticForm(None, rows, float(np.sum(rows**2))))


def scales_of(moments: Moments) -> Array:
    """Return what output channels [M] are divided by, so that all count alike: their deviation.

    What follows gives a channel of small values the weight of others: a normalization that was
    folded, a depthwise convolution, columns of the next layer. What hardly varies counts less.
    """
    variance = np.maximum(moments.output_moment().reshape(-1), 0)
    floor = _LEAST_VARIANCE * variance.mean()
    return np.sqrt(variance + floor) if floor > 0 else np.ones_like(variance)


def problems_of(kernel: Kernel, moments: Moments | None, *, has_bias: bool) -> list[FactorProblem]:
    """Return the problem of each group of `kernel`, whose output channels count alike with data.

    Its weights and outputs are those of the layer divided by `scales_of`.
    """
    if moments is None:
        return [of_weight(weight) for weight in kernel.weight]
    moment = moments.input_moment()
    moment = moment.reshape(kernel.group, moments.parts, *moment.shape[1:])
    scales = scales_of(moments).reshape(kernel.group, -1)
    energy = (moments.output_moment() / scales**2).sum(axis=1)
    cross = moments.cross_moment() if moments.parts == 1 else None
    found = []
    for g, weight in enumerate(kernel.weight):
        scale = scales[g]
        weight = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
        blocks, rows = moment[g], weight.reshape(len(weight), -1)
        size = blocks.shape[-1]
        ridge = _ridge(blocks, rows.shape[1], moments.count)
        blocks[:, range(size), range(size)] += ridge
        if cross is None:
            target = _times(rows, blocks)
            total = float(np.vdot(target, rows))
        else:
            blocks, target = blocks[0], cross[g] / scale[:, None] + ridge * rows
            total = float(energy[g] + ridge * np.sum(rows**2))
        means = (
            (moments.mean_input[g], moments.mean_output[g] / scale) if has_bias else (None, None)
        )
        found.append(FactorProblem(weight, QuadraticForm(blocks, target, total), ridge, *means))
    return found


def _ridge(moment: Array, columns: int, count: int) -> float:
    variance = float(np.trace(moment, axis1=1, axis2=2).sum()) / columns
    part = min(_RIDGE + _RIDGE_OF_FEW * columns / count, _MOST_RIDGE)
    return part * variance if variance > 0 else 1.0


def _times(rows: Array, moment: Array) -> Array:
    """Return `rows` [R, K] times H, which may be blocks."""
    if moment.ndim == 2:
        return np.asarray(rows @ moment)
    split = split_columns(rows.T[None], len(moment))
    return np.asarray(join_columns(moment @ split, len(moment), rows.shape[1])[0].T)


def _divide(rows: Array, factor: Array, *, transposed: bool) -> Array:
    """Return `rows` [R, K] times L'^-1 or L^-1, which may be blocks."""
    parts = len(factor) if factor.ndim == 3 else 1
    lower = factor.reshape(parts, *factor.shape[-2:])
    split = split_columns(rows.T[None], parts)
    solved = np.linalg.solve(lower if transposed else lower.swapaxes(1, 2), split)
    return np.asarray(join_columns(solved, parts, rows.shape[1])[0].T)
