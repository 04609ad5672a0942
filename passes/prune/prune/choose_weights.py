"""Which units go: exact counts out of scores, in one layer or across all of them.

Across layers, scores are first made comparable. For weights and kernels by LAMP (Lee et al.,
"Layer-adaptive sparsity for the magnitude-based pruning", ICLR 2021):

    s_u / sum of s_v over the v of the layer with s_v >= s_u

the part of what is left of a layer that taking u would lose; the last unit of a layer has 1, so
that no layer is emptied before all others. For channels by the mean of their group (Fang et al.,
"DepGraph: towards any structural pruning", CVPR 2023, section 3.3), since LAMP would bring all
layers to the same number of channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def lamp(scores: Array, gone: Array) -> Array:
    """Return each score over the sum of those of its layer that are not lower; 0 where `gone`."""
    found = np.zeros(scores.shape)
    alive = np.flatnonzero(~gone)
    order = alive[np.argsort(scores[alive], kind="stable")]
    left = scores[order].astype(np.float64)
    rest = np.cumsum(left[::-1])[::-1]
    found[order] = np.divide(left, rest, out=np.zeros(len(rest)), where=rest > 0)
    return found


def lowest(scores: Array, among: Array, count: int) -> Array:
    """Return where the `count` lowest scores `among` (a mask) are; of equal ones the first."""
    chosen = np.zeros(scores.shape, bool)
    places = np.flatnonzero(among)
    if count <= 0 or not len(places):
        return chosen
    if count >= len(places):
        chosen[places] = True
        return chosen
    values = scores[places]
    last = np.partition(values, count - 1)[count - 1]
    chosen[places[values < last]] = True
    equal = places[values == last]
    chosen[equal[: count - int(chosen.sum())]] = True
    return chosen


def spare(scores: Array, gone: Array, least: int) -> Array:
    """Return which units may go, when the `least` with the highest scores stay.

    Of equal ones the last, since the first go first.
    """
    stays = lowest(-scores[::-1], ~gone[::-1], least)[::-1]
    return ~gone & ~stays


def choose(
    scores: Sequence[Array],
    gone: Sequence[Array],
    sizes: Sequence[int],
    least: Sequence[int],
    count: int,
) -> list[Array]:
    """Return, for rows of units, which are gone once `count` weights of all rows together are.

    `sizes`: weights in a unit of each row. `least`: how many units of each row stay. Those that
    are gone already count. The result is within half a unit of `count`, where `least` allows it.
    """
    need = count - sum(int(g.sum()) * size for g, size in zip(gone, sizes, strict=True))
    free = [spare(s, g, k) for s, g, k in zip(scores, gone, least, strict=True)]
    flat = np.concatenate(scores) if scores else np.zeros(0)
    open_ = np.concatenate(free) if free else np.zeros(0, bool)
    chosen = np.zeros(flat.shape, bool)
    if len(set(sizes)) == 1:
        chosen = lowest(flat, open_, (2 * need + sizes[0]) // (2 * sizes[0]))
    elif need > 0:
        each = np.repeat(np.asarray(sizes), [len(s) for s in scores])
        chosen = _of_sizes(flat, open_, each, need)
    ends = np.cumsum([len(s) for s in scores])[:-1]
    return [g | c for g, c in zip(gone, np.split(chosen, ends), strict=True)]


def _of_sizes(scores: Array, among: Array, sizes: Array, need: int) -> Array:
    """Take units in order of score, passing over those of which over half would be too much."""
    places = np.flatnonzero(among)
    order = places[np.argsort(scores[places], kind="stable")]
    chosen = np.zeros(scores.shape, bool)
    while need > 0 and len(order):
        before = np.cumsum(sizes[order]) - sizes[order]
        fits = sizes[order] <= 2 * (need - before)
        run = len(fits) if fits.all() else int(np.argmin(fits))
        chosen[order[:run]] = True
        need -= int(sizes[order[:run]].sum())
        order = order[run:]
        order = order[sizes[order] <= 2 * need]
    return chosen


def n_of_m(scores: Array, gone: Array, stay: int, of: int) -> Array:
    """Return which weights [groups, outputs, inputs, taps] are gone when `stay` of `of` are left.

    `of` inputs in a row compete, for each output and tap; what is gone already counts, and goes on
    being gone.
    """
    outs, ins, taps = scores.shape[1:]

    def rows(array: Array) -> Array:
        split = array.reshape(-1, outs, ins // of, of, taps)
        return np.moveaxis(split, 3, -1).reshape(-1, of)

    ranked = np.argsort(np.where(rows(gone), -1.0, rows(scores)), axis=1, kind="stable")
    out = rows(gone).copy()
    np.put_along_axis(out, ranked[:, : of - stay], True, axis=1)
    inner = out.reshape(-1, outs, ins // of, taps, of)
    return np.moveaxis(inner, -1, 3).reshape(scores.shape)
