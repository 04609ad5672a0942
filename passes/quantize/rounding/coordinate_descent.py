"""Integers q that minimise a quadratic error, by error feedback and coordinate descent.

    f(s, q) = s^2 q' A q - 2 s q' t              A [K, K] positive definite, t [K]
            = |R (s q - w*)|^2 + const           A = R' R,  w* = A^-1 t

The start is Babai's nearest plane: the last integer is rounded first, and each rounding error is
carried into the targets of those still to come. (GPTQ, Frantar et al. 2022, is the same algorithm
run from the other end; it needs the inverse of A, this its Cholesky factor alone.) Then single
integers move as long as one lowers f, then pairs where K is small.

Rows of a layer and groups are independent and run as one: A is [G, K, K], integers and t are
[G, K, M], with the rows of the weight as columns, so that every step is one operation on contiguous
memory. What decides between integers is float32, what is compared at the end float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_BLOCK = 64
_SWEEPS = 8
# A step must lower f by more than rounding may: a distance of this much over a half step.
_STRICT = 1e-3
_PAIRED = 32
# Moves of pairs, one a row and round; most rows need none or one.
_ROUNDS = 8


def objective(a: Array, t: Array, values: Array) -> Array:
    """Return f of `values` = s q, [G, K, M] -> [G, M]."""
    return np.asarray(((a @ values - 2 * t) * values).sum(axis=1))


def nearest(target: Array, scale: Array, qmax: int) -> Array:
    """Return `target` [G, K, M] rounded to integers for `scale` [G, M], clipped to +-qmax."""
    return np.clip(np.rint(target / scale[:, None]), -qmax, qmax)


class NearestPlane:
    """Babai's rounding for one A [G, K, K] and t [G, K, M], ready for any steps."""

    def __init__(self, a: Array, t: Array) -> None:
        # Coordinates that matter most come last, so that they are rounded first and freely.
        diagonal = np.diagonal(a, axis1=1, axis2=2)
        self._order = np.argsort(diagonal, axis=1, kind="stable")
        ordered = np.take_along_axis(t, self._order[..., None], axis=1)
        lower, wanted = _factored(_reordered(a, self._order), ordered)
        pivots = np.diagonal(lower, axis1=1, axis2=2)
        self._wanted = (wanted / pivots[..., None]).astype(np.float32)
        self._upper = (lower / pivots[:, None]).astype(np.float32).swapaxes(1, 2)
        self._pivots = pivots.astype(np.float32)

    def round(self, scale: Array, qmax: int) -> tuple[Array, Array]:
        """Return integers [G, K, M F] for `scale` [G, M F], and |R (s q - w*)|^2 [G, M F].

        Every row of the weight may come with F steps in a row.
        """
        upper, step = self._upper, scale.astype(np.float32)
        many = step.shape[1] // self._wanted.shape[2]
        wanted = np.repeat(self._wanted, many, axis=2)
        values = np.empty_like(wanted)
        error = np.zeros(step.shape, np.float64)
        pivots, rest = self._pivots[..., None], np.empty_like(step)
        for stop in range(wanted.shape[1], 0, -_BLOCK):
            start = max(0, stop - _BLOCK)
            aims = wanted[:, start:stop]
            aims -= upper[:, start:stop, stop:] @ values[:, stop:]
            for k in range(stop - start - 1, -1, -1):
                # Rows are short and many: calls and fresh arrays are what takes time here.
                aim, value = aims[:, k], values[:, start + k]
                np.rint(np.divide(aim, step, out=rest), out=rest)
                np.minimum(np.maximum(rest, -qmax, out=rest), qmax, out=rest)
                np.multiply(rest, step, out=value)
                # Far misses of what hardly counts: their squares alone leave float32.
                np.multiply(np.subtract(aim, value, out=rest), pivots[:, start + k], out=rest)
                error += np.square(rest, out=rest)
                if k:
                    column = upper[:, start : start + k, start + k, None]
                    aims[:, :k] -= column * value[:, None]
        found = np.empty_like(values)
        np.put_along_axis(found, self._order[..., None], np.rint(values / step[:, None]), axis=1)
        return found, error


def _reordered(a: Array, order: Array) -> Array:
    """Return A [G, K, K] with rows and columns in `order` [G, K]."""
    if len(a) == 1:  # a large matrix is gathered several times faster by itself
        found: Array = a[0][order[0]].take(order[0], axis=1)[None]
        return found
    return np.asarray(a[np.arange(len(a))[:, None, None], order[:, :, None], order[:, None, :]])


def _factored(a: Array, t: Array) -> tuple[Array, Array]:
    """Return the Cholesky factor of A and z with factor z = t, block by block.

    LAPACK shares a large factorization out among threads, and how many there are shows in its last
    digits; it does not in those of products.
    """
    lower, z = np.zeros_like(a), np.empty_like(t)
    for start in range(0, a.shape[1], _BLOCK):
        stop = min(start + _BLOCK, a.shape[1])
        known = lower[:, start:stop, :start]
        panel = a[:, start:, start:stop] - lower[:, start:, :start] @ known.swapaxes(1, 2)
        corner = np.linalg.cholesky(panel[:, : stop - start])
        inverse = np.linalg.inv(corner)
        lower[:, start:stop, start:stop] = corner
        lower[:, stop:, start:stop] = panel[:, stop - start :] @ inverse.swapaxes(1, 2)
        z[:, start:stop] = inverse @ (t[:, start:stop] - known @ z[:, :start])
    return lower, z


def descend(
    a: Array, t: Array, scale: Array, whole: Array, qmax: int, *, pairs: bool = True
) -> Array:
    """Return `whole` after the moves of single integers, and of `pairs`, that lower f."""
    step = scale.astype(np.float32)
    gradient = (a @ (whole * scale[:, None]) - t).astype(np.float32)
    whole, a = whole.astype(np.float32), a.astype(np.float32)
    paired = pairs and 1 < a.shape[1] <= _PAIRED
    for _ in range(_ROUNDS if paired else 1):
        for _ in range(_SWEEPS):
            if not _sweep(a, gradient, step, whole, qmax):
                break
        if not paired or not _move_pairs(a, gradient, step, whole, qmax):
            break
    return whole


def _sweep(a: Array, gradient: Array, scale: Array, whole: Array, qmax: int) -> bool:
    """Move each integer in turn to where f is least; `gradient` (half of f's) follows.

    Rows move at once. Within a sweep only integers are looked at that some row wanted to move when
    their block began.
    """
    any_moved = False
    for start in range(0, a.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        inner = a[:, block, block]
        local, at = gradient[:, block], whole[:, block]
        curved = np.diagonal(inner, axis1=1, axis2=2)[..., None] * scale[:, None]
        going = _steps(local, curved, at, qmax).any(axis=(0, 2))
        if not going.any():
            continue
        before, local = at.copy(), local.copy()
        for k in np.flatnonzero(going):
            steps = _steps(local[:, k], curved[:, k], at[:, k], qmax)
            at[:, k] += steps
            local += inner[:, :, k, None] * (steps * scale)[:, None]
        moves = (at - before) * scale[:, None]
        any_moved = True
        rows = moves.any(axis=(0, 1))
        if len(a) > 1 or rows.mean() > 0.5:
            gradient += a[:, :, block] @ moves
        else:  # few rows move after the first sweep
            gradient[..., rows] += a[:, :, block] @ moves[..., rows]
    return any_moved


def _steps(gradient: Array, curved: Array, at: Array, qmax: int) -> Array:
    away = gradient / -curved
    steps = np.rint(np.clip(at + away, -qmax, qmax)) - at
    return np.asarray(steps * (np.abs(away) > 0.5 + _STRICT))


def _move_pairs(a: Array, gradient: Array, scale: Array, whole: Array, qmax: int) -> bool:
    """Make, in every row, the best move of two integers by one step each, where one lowers f."""
    first, second = np.triu_indices(a.shape[1], 1)
    diagonal = np.diagonal(a, axis1=1, axis2=2)
    ends = (diagonal[:, first] + diagonal[:, second])[..., None] * scale[:, None]
    mixed = 2 * a[:, first, second][..., None] * scale[:, None]
    best = np.zeros(scale.shape, np.float32)
    steps = np.zeros_like(whole)
    for same in (1, -1):
        curved = ends + same * mixed
        slope = gradient[:, first] + same * gradient[:, second]
        one = np.where(slope > 0, np.float32(-1), np.float32(1))
        inside = np.abs(whole[:, first] + one) <= qmax
        inside &= np.abs(whole[:, second] + same * one) <= qmax
        change = np.where(inside, curved - 2 * np.abs(slope), 0)  # of f, over s
        change[change > -_STRICT * curved] = 0
        at = change.argmin(axis=1)[:, None]
        lowest = np.take_along_axis(change, at, axis=1)
        better = lowest < best[:, None]
        best = np.minimum(best, lowest[:, 0])
        move = np.take_along_axis(one, at, axis=1)
        moved = np.zeros_like(whole)
        np.put_along_axis(moved, first[at], move, axis=1)
        np.put_along_axis(moved, second[at], same * move, axis=1)
        steps = np.where(better, moved, steps)
    if not steps.any():
        return False
    whole += steps
    gradient += a @ (steps * scale[:, None])
    return True
