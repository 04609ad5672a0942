"""Functions of which nothing is known but that equal arguments give equal results.

f(x) = f(y)   where x = y

An application gets fresh random numbers for its result, and one whose arguments are those of an
earlier one, at all points and up to rounding, gets the same numbers. What is shown with them holds
whatever the function is (uninterpreted functions; R. E. Shostak, An Algorithm for Reasoning About
Equality, 1978). Fresh results also keep rounding from growing through functions that follow.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from .scales import Scale
from .sparse import SparseDraw
from .values import POINTS, Array, UnsupportedError, apart, require_told_apart

# Arguments that lie together along a random direction and are not equal are passed over.
_NEIGHBOURS = 2
MOST_ARGUMENTS = 1 << 23


class Applications:
    """The applications so far, by function.

    `tolerance`: how far each argument may be apart, as a part of its size (`values.apart`).
    `furthest`: how far arguments that were taken for equal are apart; `furthest_at_jumps`: the same
    of functions that jump where their arguments move. `scale`: of the results that are numbers.
    """

    def __init__(
        self, random: np.random.Generator, tolerance: float, scale: Scale | SparseDraw | None = None
    ) -> None:
        self._random = random
        self._tolerance = tolerance
        self._scale = None if scale is None else scale.of_results()
        self._stand_ins = random.standard_normal(3)
        self._tables: dict[Hashable, _Applied] = {}
        self.furthest = 0.0
        self.furthest_at_jumps = 0.0

    @property
    def any(self) -> bool:
        """Whether there was one."""
        return bool(self._tables)

    def _require_few(self, arguments: Array) -> None:
        if arguments.size > MOST_ARGUMENTS:
            raise UnsupportedError("more elements than are compared")

    def _coded(self, rows: Array) -> Array:
        """Return `rows` with random numbers, the same at all points, for what is not finite."""
        if np.isfinite(rows).all():
            return rows
        nan, above, below = self._stand_ins
        found = np.where(np.isnan(rows), nan, rows)
        return np.where(found == np.inf, above, np.where(found == -np.inf, below, found))

    def rows(
        self,
        function: Hashable,
        arguments: Array,
        width: int = 1,
        *,
        jumps: bool = False,
        numbers: bool = True,
    ) -> Array:
        """Return the results [n, width, points] of a function of each row of `arguments`.

        A row holds one argument after another, each at all points. What is not finite is equal to
        nothing but itself. `jumps`: whether it does where its arguments move. `numbers`: whether
        its results are, and not conditions or integers.
        """
        self._require_few(arguments)
        size = arguments.shape[1]
        arguments = self._coded(np.asarray(arguments, np.float64))
        if self._tolerance and self._scale is None:
            require_told_apart(arguments.reshape(len(arguments), -1, POINTS))
        key = (function, size, arguments.shape[1], width)
        if key not in self._tables:
            self._tables[key] = _Applied(
                self._random,
                arguments.shape[1],
                width * POINTS,
                self._tolerance,
                self._scale if numbers else None,
            )
        found, far = self._tables[key].results(np.ascontiguousarray(arguments, dtype=np.float64))
        self.furthest = max(self.furthest, far)
        if jumps:
            self.furthest_at_jumps = max(self.furthest_at_jumps, far)
        return found.reshape(-1, width, POINTS)


class _Applied:
    """The rows that one function was applied to, with its results."""

    def __init__(
        self,
        random: np.random.Generator,
        size: int,
        width: int,
        tolerance: float,
        scale: Scale | None,
    ) -> None:
        self._random, self._scale = random, scale
        self._direction = random.standard_normal(size) / np.sqrt(max(size, 1))
        self._norm = float(np.abs(self._direction).sum())
        self._tolerance = tolerance
        self._width = width
        self._arguments = np.empty((0, size))
        self._results = np.empty((0, width))
        self._along = np.empty(0)
        self._order = np.empty(0, np.int64)  # in which `_along` ascends
        self._furthest = 0.0

    def results(self, rows: Array) -> tuple[Array, float]:
        """Return what the function gives for each of `rows`.

        With it, how far these are from others that they were taken for equal to.
        """
        self._furthest = 0.0
        along = rows @ self._direction
        at = self._known(rows, along)
        missing = np.flatnonzero(at < 0)
        if missing.size:
            at[missing] = self._add(rows[missing], along[missing])
        return self._results[at], self._furthest

    def _equal(self, a: Array, b: Array, far: Array) -> Array:
        """Say which rows are the same arguments; `far`: how far apart along the direction."""
        same = (a == b).all(axis=1)
        other = np.flatnonzero(~same)
        if not self._tolerance or not other.size:
            return np.asarray(same)
        # What is no further apart than the tolerance is not further along the direction either.
        most = (
            self._tolerance * self._norm * np.maximum(np.abs(a), np.abs(b)).max(axis=1, initial=0.0)
        )
        other = other[far[other] <= 1.01 * most[other]]
        if not other.size:
            return np.asarray(same)
        x, y = (each[other].reshape(len(other), -1, POINTS) for each in (a, b))
        found = apart(x, y).max(axis=1, initial=0.0)
        close = found <= self._tolerance
        same[other[close]] = True
        self._furthest = max(self._furthest, float(found[close].max(initial=0.0)))
        return np.asarray(same)

    def _known(self, rows: Array, along: Array) -> Array:
        """Return the place of each of `rows` among the arguments known, -1 where there is none."""
        at = np.full(len(rows), -1)
        if not len(self._along):
            return at
        # Rows that are equal up to rounding may stand on either side of where theirs is.
        place = np.searchsorted(self._along, along, sorter=self._order)
        for step in sorted(range(-_NEIGHBOURS, _NEIGHBOURS + 1), key=abs):
            left = np.flatnonzero(at < 0)
            if not left.size:
                break
            near = self._order[np.clip(place[left] + step, 0, len(self._order) - 1)]
            far = np.abs(self._along[near] - along[left])
            equal = self._equal(self._arguments[near], rows[left], far)
            at[left[equal]] = near[equal]
        return at

    def _add(self, rows: Array, along: Array) -> Array:
        """Enter `rows`, equal ones once; return their places."""
        order = np.argsort(along, kind="stable")
        ordered, far = rows[order], np.diff(along[order])
        begins = np.concatenate([[True], ~self._equal(ordered[:-1], ordered[1:], far)])
        firsts = order[np.flatnonzero(begins)]
        found = np.empty(len(rows), np.int64)
        found[order] = len(self._along) + np.cumsum(begins) - 1
        fresh = self._fresh(len(firsts))
        self._along = np.concatenate([self._along, along[firsts]])
        self._arguments = np.concatenate([self._arguments, rows[firsts]])
        self._results = np.concatenate([self._results, fresh])
        self._order = np.argsort(self._along, kind="stable")
        return found

    def _fresh(self, count: int) -> Array:
        if self._scale is None:
            return self._random.standard_normal((count, self._width))
        drawn = self._scale.drawn(self._random, (count, self._width // POINTS), POINTS)
        return drawn.transpose(1, 2, 0).reshape(count, self._width)
