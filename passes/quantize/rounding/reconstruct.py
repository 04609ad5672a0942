"""Integers, step and bias of a layer that reproduce the float layer's output best.

    min over s, Q, c of  E |y - (s Q x^ + c)|^2  +  ridge |s Q - W|^2,        -qmax <= Q <= qmax

W is the float weight, y the float layer's output and x^ what the layer reads once those before it
are rounded, so that it makes up for their errors as well. The ridge, a part of the mean variance of
x^, keeps few samples from moving weights that they say nothing about: a tenth, or what shrinking
the moments of so few samples comes to (`Moments.shrinkage`). The best c is the bias plus the mean
error, exactly; with it the rest is one quadratic form a row, in moments (`moments`), for which
integers are searched (`coordinate_descent`) over several steps s.

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

Array = np.ndarray[Any, Any]

_RIDGE = 0.1
_LEAST_KEPT = 1e-3
_FACTORS = 16
# Multiply-adds that the choice of a step may cost, and the columns up to which every step is
# searched to the end before one is chosen.
_CHOICE_COST = 1e9
_SMALL = 32
_REFITS = 1


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

    `ridge`: None for what the number of samples asks for.
    """
    rows = kernel.weight.reshape(*kernel.weight.shape[:2], -1)
    parts = moments.parts
    weight = split_columns(rows.swapaxes(1, 2), parts)
    plain = moments.input_moment()
    plain_cross = moments.cross_moment().swapaxes(1, 2) if parts == 1 else plain @ weight
    size = plain.shape[1]
    if ridge is None:
        mixed = moments.shrinkage()
        ridge = max(_RIDGE, mixed / max(1 - mixed, _LEAST_KEPT))
    strength = ridge * np.trace(plain, axis1=1, axis2=2) / size
    strength = np.where(strength > 0, strength, 1.0)[:, None, None]
    a = plain + strength * np.eye(size)
    base = np.repeat(_largest(rows, per_channel) / qmax, parts, axis=0)
    problem = _RoundingProblem(a, plain_cross + strength * weight, qmax, parts)
    unit, length = _units(a, base, apart=per_channel and parts == 1)
    problem = replace(problem, a=a / unit, t=problem.t / (unit * length[:, None]))
    scale, whole = _search(problem, base / length, per_channel)
    scale = scale * length
    found = on_grid(whole, scale)
    usual = on_grid(nearest(weight, base, qmax), base)
    error, usual_error = (
        _joint(objective(plain, plain_cross, values), parts) for values in (found, usual)
    )
    worse = error > usual_error
    if not per_channel:
        worse = np.broadcast_to(error.sum() > usual_error.sum(), worse.shape)
    found = np.where(worse[:, None], usual, found)
    found = join_columns(found, parts, rows.shape[2]).swapaxes(1, 2)
    error = np.where(worse, usual_error, error)[::parts]
    usual_error = usual_error[::parts]
    rounded = Kernel(found.reshape(kernel.weight.shape), kernel.bias)
    if has_bias:
        rounded = replace(rounded, bias=best_bias(rounded, moments))
    return RoundedLayer(rounded, error.reshape(-1), usual_error.reshape(-1))


def best_bias(rounded: Kernel, moments: Moments) -> Array:
    """Return the bias [M] at which the mean of the outputs is that of the float layer."""
    rows = rounded.weight.reshape(*rounded.weight.shape[:2], -1)
    mean = np.einsum("gmk,gk->gm", rows, moments.mean_input)
    return np.asarray((moments.mean_output - mean).reshape(-1))


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
    a, t, qmax = problem.a, problem.t, problem.qmax
    groups, size, rows = t.shape
    factors = _factors(groups * rows * size**2, qmax)
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
    whole = np.take_along_axis(split, choice[:, None, :, None], axis=3)[..., 0]
    whole = descend(a, t, scale, whole, qmax)
    for _ in range(_REFITS if per_channel else 0):
        scale, whole = _refit(problem, scale, whole)
    return scale, whole


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
