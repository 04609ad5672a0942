"""Rows that count places: what each formula that fits a row of n makes of a row of m.

0, 1, 2, ...   |   0.5, 1.5, ... times a stride   |   (i + 0.5) / n   |   -1 ... 1   |   i - n / 2

A row is only written anew where all formulas that fit it agree on the longer one: [0, 1] may be a
count or go from 0 to 1, and [-1, 0, 1] a middle or the ends.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

Row = np.ndarray[Any, Any]
IsOwn = Callable[[float], bool]
Formula = Callable[[int], Row]

_OFFSETS = (0.0, 0.5, 1.0, -0.5)  # of a count, in steps
_LENGTHS = (1.0, 2.0, math.pi, 2 * math.pi)
_STARTS = (0.0, -1.0, -0.5, 1.0, -math.pi)
_ULPS = 4
_UNEVEN = 1e-2  # more than any type rounds a step by


def grown_row(row: Row, size: int, is_own: IsOwn) -> Row | None:
    """Return what `row` is with `size` places, None where the formulas that fit it do not agree.

    `is_own` says of a number whether it is none that is made of sizes that change.
    """
    if row.dtype.kind not in "iuf" or not np.isfinite(row).all():
        return None
    values = row.astype(np.float64)
    if (values == values[0]).all():
        return np.repeat(row[:1], size) if is_own(float(values[0])) else None
    steps = np.diff(values)
    if np.ptp(steps) > _UNEVEN * max(np.abs(values).max(), 1.0):
        return None
    found: list[Row] = []
    for formula in _formulas(values, is_own):
        if _fits(formula(len(row)), row):
            made = formula(size).astype(row.dtype)
            if not any(_fits(made.astype(np.float64), other) for other in found):
                found.append(made)
    return found[0] if len(found) == 1 else None


def _fits(made: Row, row: Row) -> bool:
    near = 0.0
    if row.dtype.kind == "f":
        near = _ULPS * float(np.finfo(row.dtype).eps) * max(1.0, float(np.abs(row).max()))
    return bool((np.abs(made - row.astype(np.float64)) <= near).all())


def _formulas(row: Row, is_own: IsOwn) -> Iterator[Formula]:
    step = round(float(row[1] - row[0]), 6)
    if abs(step) >= 1 and step == int(step) and (abs(step) == 1 or is_own(abs(step))):
        yield from _counts(step)
    for length, offset, start in itertools.product(_LENGTHS, _OFFSETS[:3], _STARTS):
        for way in (1, -1):
            yield partial(_share, way * length, offset, start)
    for length, start in itertools.product(_LENGTHS, _STARTS):
        for way in (1, -1):
            yield partial(_end, way * length, start)


def _counts(step: float) -> Iterator[Formula]:
    if step < 0:
        yield from (partial(_down, -step, offset) for offset in _OFFSETS[:2])
        return
    yield from (partial(_up, step, offset) for offset in _OFFSETS)
    yield from (partial(_about, step, middle) for middle in _MIDDLES)


def _up(step: float, offset: float, n: int) -> Row:
    return step * (np.arange(n) + offset)


def _down(step: float, offset: float, n: int) -> Row:
    return step * (n - 1 - np.arange(n) + offset)


def _about(step: float, middle: Callable[[int], float], n: int) -> Row:
    return step * (np.arange(n) - middle(n))


def _share(length: float, offset: float, start: float, n: int) -> Row:
    return length * (np.arange(n) + offset) / n + start


def _end(length: float, start: float, n: int) -> Row:
    return length * np.arange(n) / max(n - 1, 1) + start


_MIDDLES: tuple[Callable[[int], float], ...] = (
    lambda n: (n - 1) / 2,
    lambda n: n / 2,
    lambda n: n // 2,
)
