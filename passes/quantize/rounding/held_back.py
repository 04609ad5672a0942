"""How far a layer follows its samples: as far as that helps on samples held back.

    ridge:  min over r of  E_B |y - (s Q_A,r x^ + c)|^2 + E_A |y - (s Q_B,r x^ + c)|^2
    bias:   c = b + (W - s Q) E[x^] + f d,   d = E[y - (W x^ + b)],   f = 2 h / (1 + h),
            h = d_A . d_B / (|d_A|^2 / 2 + |d_B|^2 / 2), 0 to 1

A and B are halves of the samples, and Q_A,r the integers that A and the ridge r give. d_A and d_B
are alike as far as the mean error of the layers before is theirs and not the samples'; with twice
the samples that part is larger (Spearman and Brown's formula), and c the best linear estimate.

Sources: Stone, "Cross-validatory choice and assessment of statistical predictions" (1974);
Brown, "Some experimental results in the correlation of mental abilities" (1910).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from ...analysis.observe.moments import Moments

Array = np.ndarray[Any, Any]
Known = TypeVar("Known")

# From following the samples not at all to as far as is ever good, in parts of their mean variance.
RIDGES = (300.0, 10.0, 1.0, 0.1)


def best_ridge(
    halves: Sequence[Known] | None,
    error: Callable[[Known, Known, float], float],
    *,
    both: bool = True,
) -> float:
    """Return the ridge of least error on samples held back; the least one if none can be.

    `error` gives that of what is learned from the first on the second; without `both` it is not
    asked the other way round. It falls and then rises, so that not every ridge is tried.
    """
    if halves is None:
        return RIDGES[-1]
    first, other = halves

    @functools.cache
    def held_back(at: int) -> float:
        found = error(first, other, RIDGES[at])
        return found + error(other, first, RIDGES[at]) if both else found

    at, step = (2, 1) if held_back(2) < held_back(1) else (1, -1)
    while 0 <= at + step < len(RIDGES) and held_back(at + step) < held_back(at):
        at += step
    return RIDGES[at]


def lasting_share(moments: Moments, shift: Callable[[Moments], Array]) -> float:
    """Return the part f of `shift`, taken from a half or from all, that other samples show too."""
    if moments.halves is None:
        return 1.0
    return lasting_part(*(shift(half) for half in moments.halves))


def lasting_part(a: Array, b: Array) -> float:
    """Return the part f of the mean of `a` and `b`, from two halves of the samples."""
    size = float(np.square(a).sum() + np.square(b).sum()) / 2
    alike = max(float((a * b).sum()) / size, 0.0) if size > 0 else 1.0
    return 2 * alike / (1 + alike)
