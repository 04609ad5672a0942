"""How likely noise changes which class comes first: agreement without the luck of counting it.

    P(first stays first) = product over j of Phi((a_first - a_j) / s)        s^2 = mean of d_j^2
    d_j = (b - a)_first - (b - a)_j

Of 64 samples perhaps three are close calls, and which of them flip is chance, which a search that
tries many choices then takes advantage of. Every sample says how large its margins are, though, and
all together say how large the noise is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_RIVALS = 4
# Positions kept of one array, and of all: segmentation has many, and neighbours say the same.
_OF_ONE = 256
_OF_ALL = 16384
_TINY = 1e-30

_erf = np.vectorize(math.erf, otypes=[np.float64])


class Margins:
    """Margins of the first class over the next ones, and what noise does to them."""

    def __init__(self) -> None:
        self._margins: list[Array] = []
        self._changes: list[Array] = []
        self._count = 0

    def add(self, a: Array, b: Array, axis: int = 1, *, probabilities: bool = False) -> None:
        """Take in scores `a` and their noisy version `b`, with classes along `axis`.

        `probabilities`: a Softmax gave them. Noise lies on what went into it, which the logarithm
        gives back, up to a number for each row, which no margin sees.
        """
        if self._count >= _OF_ALL:
            return
        a, b = _positions(a, axis), _positions(b, axis)
        _, margins, changes = first_and_rivals(a, b, probabilities=probabilities)
        self._margins.append(margins)
        self._changes.append(changes)
        self._count += len(a)

    @property
    def known(self) -> bool:
        """Say whether anything was taken in."""
        return self._count > 0

    def agreement(self) -> float:
        """Return the expected share of positions whose first class stays first; 0 with NaN."""
        margins, changes = np.concatenate(self._margins), np.concatenate(self._changes)
        return float(np.mean(np.prod(chances(margins, changes), axis=1)))


def first_and_rivals(a: Array, b: Array, *, probabilities: bool) -> tuple[Array, Array, Array]:
    """Return of rows of scores `a` and noisy ones `b` what may change the first class.

    [rows, rivals + 1] classes, the first one first; [rows, rivals] margins over the rivals in `a`,
    and what noise adds to them.
    """
    first = _largest(a, _RIVALS + 1)
    scores, noisy = (np.take_along_axis(each, first, 1).astype(np.float64) for each in (a, b))
    if probabilities:
        scores, noisy = (np.log(np.maximum(each, _TINY)) for each in (scores, noisy))
    noise = noisy - scores
    return first, scores[:, :1] - scores[:, 1:], noise[:, :1] - noise[:, 1:]


def chances(margins: Array, changes: Array) -> Array:
    """Return how likely each of `margins` stays above 0 under noise as large as `changes`.

    0 with NaN or infinity.
    """
    deviation = math.sqrt(float(np.mean(changes**2)))
    if deviation == 0:
        return np.ones_like(margins)
    if not math.isfinite(deviation):
        return np.zeros_like(margins)
    found: Array = 0.5 * (1 + _erf(margins / (deviation * math.sqrt(2))))
    return found


def _largest(rows: Array, count: int) -> Array:
    """Return where the `count` largest of each row are, the largest first."""
    if rows.shape[1] <= count:
        return np.argsort(-rows, axis=1)
    some = np.argpartition(-rows, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(rows, some, 1), axis=1)
    return np.take_along_axis(some, order, 1)


def _positions(scores: Array, axis: int) -> Array:
    """Return at most `_OF_ONE` rows of class scores, evenly spread over the positions."""
    rows = np.moveaxis(scores, axis, -1).reshape(-1, scores.shape[axis])
    return rows[:: -(-len(rows) // _OF_ONE)]
