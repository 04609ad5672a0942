"""Integers, step and bias of a layer that reproduce the float layer's output best.

    min over s, Q, c of  E |y - (s Q x^ + c)|^2  +  ridge |s Q - W|^2,        -qmax <= Q <= qmax

W is the float weight, y the float layer's output and x^ what the layer reads once those before it
are rounded, so that it makes up for their errors as well. The ridge, a multiple of the mean
variance of x^, keeps few samples from moving weights that they say nothing about: what is learned
from one half of the samples says on the other which ridge is best, and how much of the mean error
the bias should take (`held_back`). With the bias the rest is one quadratic form a row, in moments
(`moments`), for which integers are searched (`coordinate_descent`) over several steps s.

Sources: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020), the
objective; Hubara et al., "Accurate Post Training Quantization With Small Calibration Sets"
(AdaQuant, 2021), steps and biases fitted with the integers and more than one step up or down;
Frantar et al., "GPTQ" (2022), error feedback.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....ir.ops.linear.kernel import Kernel
from ...analysis.observe.moments import Moments, join_columns, split_columns
from .coordinate_descent import NearestPlane, descend, nearest, objective
from .held_back import best_ridge, lasting_share

Array = np.ndarray[Any, Any]

_FACTORS = 16
# Multiply-adds that the choice of a step may cost, and the columns up to which every step is
# searched to the end before one is chosen.
_CHOICE_COST = 1e9
_SMALL = 32
# From here on clipping gains nothing that would show which ridge is better.
_FINE = 63
_REFITS = 1
# Of a layer of more multiply-adds than these so many rows are rounded to compare ridges, and one
# half of the samples learns.
_LARGE = 2e9
_JUDGED = 64


@dataclass(frozen=True)
class RoundedLayer:
    """A layer on the integer grid, and E |error|^2 of its outputs [M]: its own and of nearest.

    Both errors are with the best bias, and without what no rounding can change.
    """

    kernel: Kernel
    error: Array
    nearest_error: Array


def snap(weight: Array, qmax: int, *, per_channel: bool = True) -> Array:
    """Return [G, M, K] weights at the nearest point of the grid with steps max |w| / qmax."""
    scale = _largest(weight, per_channel) / qmax
    rows = weight.swapaxes(1, 2)
    return on_grid(nearest(rows, scale, qmax), scale).swapaxes(1, 2)


def on_grid(whole: Array, scale: Array) -> Array:
    """Return scale * whole as the float32 values that stand in the graph, in float64."""
    return np.asarray((whole * scale[:, None]).astype(np.float32), np.float64)


def reconstruct(
    kernel: Kernel,
    moments: Moments,
    qmax: int,
    *,
    per_channel: bool = True,
    has_bias: bool = True,
    ridge: float | None = None,
) -> RoundedLayer:
    """Return the rounded layer; never worse on `moments`, in any row, than rounding to nearest.

    `ridge`: None for the best one on samples held back.
    """
    rows = kernel.weight.reshape(*kernel.weight.shape[:2], -1)
    parts = moments.parts
    weight = split_columns(rows.swapaxes(1, 2), parts)
    base = np.repeat(_largest(rows, per_channel) / qmax, parts, axis=0)
    target = _Target(weight=weight, base=base, qmax=qmax, parts=parts, per_channel=per_channel)
    form = target.form(moments)
    if ridge is None:
        judged = target.sampled()
        halves = moments.halves and [judged.form(half) for half in moments.halves]
        ridge = best_ridge(halves, judged.error_elsewhere, both=judged is target)
    found = target.values(form, ridge)
    usual = on_grid(nearest(weight, base, qmax), base)
    error, usual_error = (_joint(form.error(values), parts) for values in (found, usual))
    worse = error > usual_error
    if not per_channel:
        worse = np.broadcast_to(error.sum() > usual_error.sum(), worse.shape)
    found = np.where(worse[:, None], usual, found)
    found = join_columns(found, parts, rows.shape[2]).swapaxes(1, 2)
    error = np.where(worse, usual_error, error)[::parts]
    usual_error = usual_error[::parts]
    rounded = Kernel(found.reshape(kernel.weight.shape), kernel.bias)
    if has_bias:
        rounded = replace(rounded, bias=best_bias(kernel, rounded, moments))
    return RoundedLayer(rounded, error.reshape(-1), usual_error.reshape(-1))


@dataclass(frozen=True)
class _Form:
    """E |y - (w x^ + c)|^2 as a form in w: w H w' - 2 w T', with H [G, K, K] and T' [G, K, M]."""

    h: Array
    t: Array

    def error(self, values: Array) -> Array:
        """Return the form of `values` [G, K, M], [G, M]."""
        return objective(self.h, self.t, values)


@dataclass(frozen=True, kw_only=True)
class _Target:
    """A float weight [G, K, M], the steps [G, M] that reach its largest values, and its grid.

    `rows`: which ones of the layer these are, where not all.
    """

    weight: Array
    base: Array
    qmax: int
    parts: int
    per_channel: bool
    rows: Array | None = None

    def sampled(self) -> _Target:
        """Return a part of the rows of a large layer: all of them would say the same of a ridge."""
        groups, size, count = self.weight.shape
        if groups * size**2 * (size + count) < _LARGE:
            return self
        rows = np.linspace(0, count - 1, min(count, _JUDGED)).astype(int)
        weight, base = self.weight[..., rows], self.base[:, rows]
        return replace(self, weight=weight, base=base, rows=rows)

    def form(self, moments: Moments) -> _Form:
        """Return the form that `moments` give."""
        h = moments.input_moment()
        if self.parts > 1:
            return _Form(h, h @ self.weight)
        t = moments.cross_moment().swapaxes(1, 2)
        return _Form(h, t if self.rows is None else t[..., self.rows])

    def values(self, form: _Form, ridge: float, *, roughly: bool = False) -> Array:
        """Return the points of the grid where `form` and the ridge together are least.

        `roughly`: as one search from above finds them.
        """
        size = form.h.shape[1]
        strength = ridge * np.trace(form.h, axis1=1, axis2=2) / size
        strength = np.where(strength > 0, strength, 1.0)[:, None, None]
        a = form.h.copy()
        a.reshape(len(a), -1)[:, :: size + 1] += strength[:, 0]
        unit, length = _units(a, self.base, apart=self.per_channel and self.parts == 1)
        t = (form.t + strength * self.weight) / (unit * length[:, None])
        a /= unit
        problem = _RoundingProblem(a, t, self.qmax, self.parts)
        search = _start if roughly else _search
        scale, whole = search(problem, self.base / length, self.per_channel)
        return on_grid(whole, scale * length)

    def error_elsewhere(self, known: _Form, other: _Form, ridge: float) -> float:
        """Return the error on `other` of what is learned from `known`."""
        return float(other.error(self.values(known, ridge, roughly=True)).sum())


def best_bias(kernel: Kernel, rounded: Kernel, moments: Moments) -> Array:
    """Return the bias [M] at which the mean of the outputs is that of the float layer `kernel`.

    What `rounded` weights shift is made up for wholly, and what comes from the layers before as far
    as half the samples and the others agree on it.
    """

    def shift(known: Moments) -> Array:
        return np.asarray(known.mean_output.reshape(-1) - _means(kernel, known) - bias)

    bias = kernel.full_bias()
    own = _means(kernel, moments) - _means(rounded, moments)
    return np.asarray(bias + own + lasting_share(moments, shift) * shift(moments))


def _means(kernel: Kernel, moments: Moments) -> Array:
    """Return the means of what the weights of `kernel` give, [M]."""
    rows = kernel.weight.reshape(*kernel.weight.shape[:2], -1)
    return np.asarray(np.einsum("gmk,gk->gm", rows, moments.mean_input).reshape(-1))


def _units(a: Array, base: Array, *, apart: bool) -> tuple[Array, Array]:
    """Return powers of two near the size of A [G, 1, 1] and of the steps [G, M].

    What decides between integers is float32, whose range the products of large data leave. Groups
    and rows that are to be weighed against one another have the same.
    """
    sizes, steps = np.trace(a, axis1=1, axis2=2) / a.shape[1], base
    if not apart:
        sizes, steps = np.full_like(sizes, sizes.max()), np.full_like(steps, steps.max())
    return _power_of_two(sizes)[:, None, None], _power_of_two(steps)


def _power_of_two(values: Array) -> Array:
    return np.ldexp(1.0, np.frexp(values)[1])


@dataclass(frozen=True)
class _RoundingProblem:
    """A [G, K, K] and t [G, K, M]; `parts` groups in a row share each row's step."""

    a: Array
    t: Array
    qmax: int
    parts: int


def _search(problem: _RoundingProblem, base: Array, per_channel: bool) -> tuple[Array, Array]:
    """Return the steps [G, M] and the integers [G, K, M]."""
    groups, size, rows = problem.t.shape
    factors = _factors(groups * rows * size**2, problem.qmax)
    scale, whole = _start(problem, base, per_channel, factors)
    whole = descend(problem.a, problem.t, scale, whole, problem.qmax)
    for _ in range(_REFITS if per_channel else 0):
        scale, whole = _refit(problem, scale, whole)
    return scale, whole


def _start(
    problem: _RoundingProblem, base: Array, per_channel: bool, factors: Array | None = None
) -> tuple[Array, Array]:
    """Return the best of a few steps, and what one search from above finds for them."""
    a, t, qmax = problem.a, problem.t, problem.qmax
    groups, size, rows = t.shape
    if factors is None:
        factors = np.ones(1) if qmax >= _FINE else _factors(np.inf, qmax)
    # Every step is one more row of the same problem.
    many = (base[..., None] * factors).reshape(groups, -1)
    whole, cost = NearestPlane(a, t).round(many, qmax)
    if size <= _SMALL:
        wide_t = np.repeat(t, len(factors), axis=2)
        whole = descend(a, wide_t, many, whole, qmax, pairs=False)
        cost = objective(a, wide_t, whole * many[:, None])
    cost = _joint(cost, problem.parts).reshape(groups, rows, -1)
    if per_channel:
        choice = cost.argmin(axis=2)
    else:
        choice = np.full((groups, rows), cost.sum(axis=(0, 1)).argmin())
    scale = base * factors[choice]
    split = whole.reshape(groups, size, rows, len(factors))
    return scale, np.take_along_axis(split, choice[:, None, :, None], axis=3)[..., 0]


def _refit(problem: _RoundingProblem, scale: Array, whole: Array) -> tuple[Array, Array]:
    """Fit the step to the integers, q' t / q' A q, and these to the step, where that is better."""
    a, t, parts = problem.a, problem.t, problem.parts
    exact = whole.astype(np.float64)
    curved = _joint(((a @ exact) * exact).sum(axis=1), parts)
    slope = _joint((exact * t).sum(axis=1), parts)
    usable = (curved > 0) & (slope > 0)
    fitted = np.where(usable, slope / np.where(usable, curved, 1.0), scale)
    moved = descend(a, t, fitted, whole, problem.qmax)
    before = scale * (scale * curved - 2 * slope)
    after = _joint(objective(a, t, moved * fitted[:, None]), parts)
    better = after < before
    return np.where(better, fitted, scale), np.where(better[:, None], moved, whole)


def _joint(values: Array, parts: int) -> Array:
    """Return `values` [G, ...] summed over the `parts` groups in a row that are one layer's."""
    if parts == 1:
        return values
    total = values.reshape(-1, parts, *values.shape[1:]).sum(axis=1)
    return np.repeat(total, parts, axis=0)


def _factors(cost: float, qmax: int) -> Array:
    """Return the steps to try, in parts of max |w| / qmax; few bits gain by clipping more."""
    count = int(np.clip(_CHOICE_COST / max(cost, 1), 4, _FACTORS))
    lowest = {1: 0.3, 3: 0.4, 7: 0.5, 15: 0.6}.get(qmax, 0.75)
    return np.linspace(1.05, lowest, count)


def _largest(weight: Array, per_channel: bool) -> Array:
    """Return max |w| of each row [G, M], or of all of them; 1 where there is none."""
    most = np.abs(weight).max(axis=2, initial=0.0)
    if not per_channel:
        most = np.full_like(most, most.max(initial=0.0))
    tiny = float(np.finfo(np.float32).tiny) * 2.0**16
    return np.where(most > tiny, most, 1.0).astype(np.float32).astype(np.float64)
