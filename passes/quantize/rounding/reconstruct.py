"""Integers, step and bias of a layer that reproduce the float layer's output best.

    min over s, Q, c of  E |y - (s Q x^ + c)|^2  +  ridge |s Q - W|^2,        -qmax <= Q <= qmax

W is the float weight, y the float layer's output and x^ what the layer reads once those before it
are rounded, so that it makes up for their errors as well. The ridge, a small part of the mean
variance of x^, keeps few samples from moving weights that they say nothing about. The best c is
the bias plus the mean error, exactly; with it the rest is one quadratic form a row, in moments
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

from ...linear.kernel import Kernel
from .coordinate_descent import descend, nearest, nearest_plane, objective
from .moments import Moments

Array = np.ndarray[Any, Any]

_RIDGE = 0.01
_FACTORS = 16
# Multiply-adds that the choice of a step may cost, and the columns up to which every step is
# searched to the end before one is chosen.
_CHOICE_COST = 1e9
_SMALL = 32
_REFITS = 1


@dataclass(frozen=True)
class Rounded:
    """A layer on the integer grid, and E |error|^2 of its outputs [M]: its own and of nearest.

    Both errors are with the best bias, and without what no rounding can change.
    """

    kernel: Kernel
    error: Array
    nearest_error: Array


def snap(weight: Array, qmax: int, *, per_channel: bool = True) -> Array:
    """Return [G, M, K] weights at the nearest point of the grid with steps max |w| / qmax."""
    scale = _largest(weight, per_channel) / qmax
    return on_grid(nearest(weight, scale, qmax), scale)


def on_grid(whole: Array, scale: Array) -> Array:
    """Return scale * whole as the float32 values that stand in the graph, in float64."""
    return np.asarray((whole * scale[..., None]).astype(np.float32), np.float64)


def reconstruct(
    kernel: Kernel,
    moments: Moments,
    qmax: int,
    *,
    per_channel: bool = True,
    has_bias: bool = True,
    ridge: float = _RIDGE,
) -> Rounded:
    """Return the rounded layer; never worse on `moments`, in any row, than rounding to nearest."""
    weight = kernel.weight.reshape(*kernel.weight.shape[:2], -1)
    plain, plain_cross = moments.input_moment(), moments.cross_moment()
    strength = ridge * np.trace(plain, axis1=1, axis2=2) / plain.shape[1]
    strength = np.where(strength > 0, strength, 1.0)[:, None, None]
    a = plain + strength * np.eye(plain.shape[1])
    t = plain_cross + strength * weight
    target = np.linalg.solve(a, t.swapaxes(1, 2)).swapaxes(1, 2)
    base = _largest(weight, per_channel) / qmax
    scale, whole = _search(a, t, target, base, qmax, per_channel)
    found = on_grid(whole, scale)
    usual = on_grid(nearest(weight, base, qmax), base)
    error, usual_error = (objective(plain, plain_cross, values) for values in (found, usual))
    worse = error > usual_error
    if not per_channel:
        worse = np.broadcast_to(error.sum() > usual_error.sum(), worse.shape)
    found = np.where(worse[..., None], usual, found)
    error = np.where(worse, usual_error, error)
    rounded = Kernel(found.reshape(kernel.weight.shape), kernel.bias)
    if has_bias:
        rounded = replace(rounded, bias=best_bias(rounded, moments))
    return Rounded(rounded, error.reshape(-1), usual_error.reshape(-1))


def best_bias(rounded: Kernel, moments: Moments) -> Array:
    """Return the bias [M] at which the mean of the outputs is that of the float layer."""
    rows = rounded.weight.reshape(*rounded.weight.shape[:2], -1)
    mean = np.einsum("gmk,gk->gm", rows, moments.mean_input)
    return np.asarray((moments.mean_output - mean).reshape(-1))


def _search(
    a: Array, t: Array, target: Array, base: Array, qmax: int, per_channel: bool
) -> tuple[Array, Array]:
    groups, rows, size = target.shape
    factors = _factors(groups * rows * size**2, qmax)
    # Every step is one more row of the same problem.
    many = (base[:, :, None] * factors).reshape(groups, -1)
    wide_t, wide_target = (np.repeat(part, len(factors), axis=1) for part in (t, target))
    whole = nearest_plane(a, wide_target, many, qmax)
    if size <= _SMALL:
        whole = descend(a, wide_t, many, whole, qmax, pairs=False)
    cost = objective(a, wide_t, whole * many[..., None]).reshape(groups, rows, -1)
    if per_channel:
        choice = cost.argmin(axis=2)
    else:
        choice = np.full((groups, rows), cost.sum(axis=(0, 1)).argmin())
    scale = base * factors[choice]
    split = whole.reshape(groups, rows, len(factors), size)
    whole = np.take_along_axis(split, choice[:, :, None, None], axis=2)[:, :, 0]
    whole = _best_descent(a, t, target, scale, whole, qmax)
    for _ in range(_REFITS if per_channel else 0):
        scale, whole = _refit(a, t, scale, whole, qmax)
    return scale, whole


def _best_descent(
    a: Array, t: Array, target: Array, scale: Array, whole: Array, qmax: int
) -> Array:
    """Descend from `whole` and from the nearest integers; the better end of each row."""
    ends = [descend(a, t, scale, start, qmax) for start in (whole, nearest(target, scale, qmax))]
    costs = [objective(a, t, end * scale[..., None]) for end in ends]
    return np.where((costs[1] < costs[0])[..., None], ends[1], ends[0])


def _refit(a: Array, t: Array, scale: Array, whole: Array, qmax: int) -> tuple[Array, Array]:
    """Fit the step to the integers, q t' / q A q', and these to the step, where that is better."""
    curved = np.einsum("gmk,gmk->gm", whole @ a, whole)
    slope = np.einsum("gmk,gmk->gm", whole, t)
    usable = (curved > 0) & (slope > 0)
    fitted = np.where(usable, slope / np.where(usable, curved, 1.0), scale)
    moved = descend(a, t, fitted, whole, qmax)
    before, after = (
        objective(a, t, w * s[..., None]) for w, s in ((whole, scale), (moved, fitted))
    )
    better = after < before
    return np.where(better, fitted, scale), np.where(better[..., None], moved, whole)


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
