"""Integers q that minimise a quadratic error, by error feedback and coordinate descent.

    f(s, q) = s^2 q A q' - 2 s q t'              A [K, K] positive definite, t [K]
            = (s q - w*) A (s q - w*)' + const   with w* = t A^-1

The start is Babai's nearest plane: with A = R' R the last integer is rounded first, and each
rounding error is carried into the targets of those still to come. (GPTQ, Frantar et al. 2022, is
the same algorithm run from the other end; it needs the inverse of A, this its Cholesky factor
alone.) Then single integers move as long as one lowers f, then pairs where K is small. Rows and
problems are independent and run as one: A is [G, K, K], everything else [G, M, K].
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_BLOCK = 64
_SWEEPS = 8
# A step must lower f by more than rounding may: a distance of this much over a half step.
_STRICT = 1e-6
_PAIRED = 32
# Moves of one row within a block, in multiples of its width.
_MOST_MOVES = 2


def objective(a: Array, t: Array, values: Array) -> Array:
    """Return f of `values` = s q, [G, M, K] -> [G, M]."""
    return np.asarray(np.einsum("gmk,gmk->gm", values @ a - 2 * t, values))


def nearest(target: Array, scale: Array, qmax: int) -> Array:
    """Return `target` [G, M, K] rounded to integers for `scale` [G, M], clipped to +-qmax."""
    return np.clip(np.rint(target / scale[..., None]), -qmax, qmax)


def nearest_plane(a: Array, target: Array, scale: Array, qmax: int) -> Array:
    """Return Babai's integers for `target` w* [G, M, K]: the error of each is fed to the next."""
    size = a.shape[1]
    # Coordinates that matter most come last, so that they are rounded first and freely.
    order = np.argsort(np.diagonal(a, axis1=1, axis2=2), axis=1, kind="stable")
    groups = np.arange(len(a))[:, None]
    mixed = a[groups[..., None], order[:, :, None], order[:, None, :]]
    upper = np.linalg.cholesky(mixed).swapaxes(1, 2)
    upper = upper / np.diagonal(upper, axis1=1, axis2=2)[..., None]
    wanted = np.take_along_axis(target, order[:, None, :], axis=2)
    error = np.zeros_like(wanted)  # w* - s q, of what is rounded
    whole = np.zeros_like(wanted)
    step = scale[..., None]
    for stop in range(size, 0, -_BLOCK):
        start = max(0, stop - _BLOCK)
        carried = error[..., stop:] @ upper[:, start:stop, stop:].swapaxes(1, 2)
        for k in range(stop - 1, start - 1, -1):
            inner = error[..., k + 1 : stop] @ upper[:, k, k + 1 : stop, None]
            aim = wanted[..., k, None] + carried[..., k - start, None] + inner
            whole[..., k, None] = np.clip(np.rint(aim / step), -qmax, qmax)
            error[..., k] = wanted[..., k] - scale * whole[..., k]
    found = np.empty_like(whole)
    np.put_along_axis(found, np.broadcast_to(order[:, None, :], whole.shape), whole, axis=2)
    return found


def descend(
    a: Array, t: Array, scale: Array, whole: Array, qmax: int, *, pairs: bool = True
) -> Array:
    """Return `whole` after the moves of single integers, and of `pairs`, that lower f."""
    whole = whole.copy()
    gradient = (whole * scale[..., None]) @ a - t
    for _ in range(_SWEEPS):
        moved = _sweep(a, gradient, scale, whole, qmax)
        if not moved and pairs and a.shape[1] <= _PAIRED:
            moved = _move_pairs(a, gradient, scale, whole, qmax)
        if not moved:
            break
    return whole


def _sweep(a: Array, gradient: Array, scale: Array, whole: Array, qmax: int) -> bool:
    """Make, block by block, each row's best moves of one integer; `gradient` (half of f's) follows.

    All rows move at once, each its own integer: the cost is that of the most moves of a row.
    """
    size = a.shape[1]
    any_moved = False
    for start in range(0, size, _BLOCK):
        block = slice(start, min(size, start + _BLOCK))
        moves = _block_moves(
            a[:, block, block], gradient[..., block], scale, whole[..., block], qmax
        )
        if moves is not None:
            any_moved = True
            whole[..., block] += moves
            steps = moves * scale[..., None]
            if len(a) == 1:  # few rows move after the first sweep
                rows = np.flatnonzero(moves[0].any(axis=1))
                gradient[0, rows] += steps[0, rows] @ a[0, block]
            else:
                gradient += steps @ a[:, block]
    return any_moved


def _block_moves(a: Array, gradient: Array, scale: Array, whole: Array, qmax: int) -> Array | None:
    """Return the moves [G, M, B] within one block, greedily until none lowers f; None for none."""
    diagonal = np.diagonal(a, axis1=1, axis2=2)
    group, row = np.nonzero(np.ones(scale.shape, bool))
    moves = None
    local, at = gradient[group, row], whole[group, row]
    for _ in range(_MOST_MOVES * a.shape[1]):
        curved = diagonal[group] * scale[group, row, None]
        away = -local / curved
        step = np.rint(np.clip(at + away, -qmax, qmax)) - at
        change = step * (step * curved + 2 * local)  # of f, over s
        change[np.abs(away) <= 0.5 + _STRICT] = 0.0
        column = change.argmin(axis=1)
        going = np.take_along_axis(change, column[:, None], axis=1)[:, 0] < 0
        if not going.any():
            break
        group, row, column, local, at = (part[going] for part in (group, row, column, local, at))
        index = np.arange(len(column))
        made = step[going][index, column]
        moves = np.zeros_like(whole) if moves is None else moves
        moves[group, row, column] += made
        at[index, column] += made
        local += (made * scale[group, row])[:, None] * a[group, column]
    return moves


def _move_pairs(a: Array, gradient: Array, scale: Array, whole: Array, qmax: int) -> bool:
    """Make, in every row, the best move of two integers by one step each, where one lowers f."""
    size = a.shape[1]
    if size < 2:
        return False
    first, second = np.triu_indices(size, 1)
    diagonal = np.diagonal(a, axis1=1, axis2=2)
    best = np.zeros(scale.shape)
    choice = np.zeros((*scale.shape, 2), np.int64)
    pair = np.zeros(scale.shape, np.int64)
    for one, other in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        curved = diagonal[:, first] + diagonal[:, second] + 2 * one * other * a[:, first, second]
        slope = one * gradient[..., first] + other * gradient[..., second]
        change = scale[..., None] * curved[:, None] + 2 * slope  # of f, over s
        inside = (np.abs(whole[..., first] + one) <= qmax) & (
            np.abs(whole[..., second] + other) <= qmax
        )
        floor = -_STRICT * scale[..., None] * curved[:, None]
        change = np.where(inside & (change < floor), change, 0.0)
        at = change.argmin(axis=2)
        lowest = np.take_along_axis(change, at[..., None], axis=2)[..., 0]
        better = lowest < best
        best = np.where(better, lowest, best)
        pair = np.where(better, at, pair)
        choice[better] = (one, other)
    if not choice.any():
        return False
    step = np.zeros_like(whole)
    np.put_along_axis(step, first[pair][..., None], choice[..., :1], axis=2)
    np.put_along_axis(step, second[pair][..., None], choice[..., 1:], axis=2)
    whole += step
    gradient += (step * scale[..., None]) @ a
    return True
