"""How far one output is from what it should be, over all feeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import dtypes

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class OutputComparison:
    """Distance of one output `b` from `a`, over all feeds.

    `max_abs`: largest |a - b|. `max_rel`: that over the output's range, max |a|. `sqnr_db`:
    10 log10(sum a^2 / sum (a - b)^2), infinite where equal. `cosine`: cosine similarity.
    `top1_agreement`: share of positions whose argmax along `class_axis` agrees, None where there
    are no classes and for non-floats. `is_float`: whether the ratio means noise, as it does not of
    indices, flags and text. NaN or infinity at the same place counts as equal; anywhere
    else as infinitely far. `remark`: why being equal shows nothing, as where `a` is NaN throughout;
    empty where it does.
    """

    name: str
    max_abs: float
    max_rel: float
    sqnr_db: float
    cosine: float
    top1_agreement: float | None
    class_axis: int | None = None
    is_float: bool = True
    remark: str = ""

    @property
    def is_untold(self) -> bool:
        """Say whether the outputs are equal, which shows nothing: their ratios mean nothing."""
        return bool(self.remark) and self.max_abs == 0


class Accumulator:
    """Distance of one output, gathered feed by feed in constant memory.

    `axis`: that of the classes, None for none.
    """

    def __init__(self, name: str, axis: int | None = 1) -> None:
        self._name, self._axis = name, axis
        self._max_abs = self._range = 0.0
        self._signal = self._noise = self._dot = self._other = 0.0
        self._agree = self._positions = 0
        self._ranked = self._telling = False
        self._floats = True
        self._elements = 0
        self._least, self._most = math.inf, -math.inf

    def add(self, a: Array, b: Array) -> None:
        """Take in one pair of arrays; a different shape or type counts as infinitely far."""
        self._floats = dtypes.is_float(a.dtype) or a.dtype.kind == "c"
        if a.shape != b.shape or a.dtype != b.dtype:
            self._max_abs, self._telling = math.inf, True
            if (axis := self._class_axis(a)) is not None:
                self._count(0, a.size // a.shape[axis])
            return
        self._elements += a.size
        if a.dtype.kind in "OUS":
            self._telling |= bool(a.size)
            self._max_abs = max(self._max_abs, 0.0 if np.array_equal(a, b) else math.inf)
            return
        if (axis := self._class_axis(a)) is not None:
            same = np.argmax(a, axis) == np.argmax(b, axis)
            self._count(int(same.sum()), same.size)
        # Integers beyond 2^53 may differ by less than float64 can hold; 1 is their least distance.
        differ = (a != b) if a.dtype.kind in "iu" else None
        if a.dtype.kind == "c":
            a, b = (np.stack([v.real, v.imag]) for v in (a, b))
        a, b = a.astype(np.float64), b.astype(np.float64)
        finite = np.isfinite(a)
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.all(
            np.isfinite(b) | ~finite
        ):
            self._max_abs = math.inf
            return
        x, y = a[finite], b[finite]
        if x.size:
            difference = np.abs(x - y)
            if differ is not None:
                difference = np.maximum(difference, differ.reshape(-1))
            self._max_abs = max(self._max_abs, float(difference.max()))
            self._least = min(self._least, float(x.min()))
            self._most = max(self._most, float(x.max()))
            self._range = max(abs(self._least), abs(self._most))
            self._signal += float(x @ x)
            self._noise += float(difference @ difference)
            self._other += float(y @ y)
            self._dot += float(x @ y)

    def _count(self, agreeing: int, positions: int) -> None:
        self._ranked = True
        self._agree += agreeing
        self._positions += positions

    def result(self) -> OutputComparison:
        """Return the distance over everything added so far."""
        if self._max_abs == 0:
            relative = 0.0
        else:
            relative = self._max_abs / self._range if self._range else math.inf
        if self._max_abs == math.inf:
            sqnr, cosine = -math.inf, 0.0
        elif self._noise == 0:
            sqnr, cosine = math.inf, 1.0
        else:
            sqnr = 10 * math.log10(self._signal / self._noise) if self._signal else -math.inf
            norm = math.sqrt(self._signal * self._other)
            cosine = self._dot / norm if norm else 0.0
        return OutputComparison(
            name=self._name,
            max_abs=self._max_abs,
            max_rel=relative,
            sqnr_db=sqnr,
            cosine=cosine,
            top1_agreement=self._agree / self._positions if self._ranked else None,
            class_axis=self._axis if self._ranked else None,
            remark="" if self._telling else self._remark(),
            is_float=self._floats,
        )

    def _remark(self) -> str:
        """Say what the output is where any other network may give the same."""
        if not self._elements:
            return "is empty; feeds on which it has elements would tell"
        if self._max_abs == 0 and self._least > self._most:
            return "is NaN or infinite throughout; feeds on which it is finite would tell"
        if self._least == self._most and self._elements > 1:
            return f"is {self._least:g} throughout; feeds on which it varies would tell"
        return ""

    def _class_axis(self, array: Array) -> int | None:
        """Return the axis of the classes where argmax means something: floats, several classes."""
        axis, floats = self._axis, array.dtype.kind not in "iubcOUS"
        if axis is None or not floats or array.ndim < 2 or not axis < array.ndim:
            return None
        return axis if array.size and array.shape[axis] > 1 else None
