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

from .values import POINTS, Array, UnsupportedError

# Arguments that lie together along a random direction and are not equal are passed over.
_NEIGHBOURS = 2
MOST_ARGUMENTS = 1 << 25


class Applications:
    """The applications so far, by function.

    `tolerance`: how far arguments may be apart, as a part of their size.
    """

    def __init__(self, random: np.random.Generator, tolerance: float) -> None:
        self._random = random
        self._tolerance = tolerance
        self._tables: dict[Hashable, _Applied] = {}

    def _require_few(self, arguments: Array) -> None:
        if arguments.size > MOST_ARGUMENTS:
            raise UnsupportedError("more elements than are compared")

    def rows(self, function: Hashable, arguments: Array, width: int = 1) -> Array:
        """Return the results [n, width, points] of a function of each row of `arguments` [n, d]."""
        self._require_few(arguments)
        size = arguments.shape[1]
        key = (function, size, width)
        if key not in self._tables:
            self._tables[key] = _Applied(self._random, size, width * POINTS, self._tolerance)
        found = self._tables[key].results(np.ascontiguousarray(arguments, dtype=np.float64))
        return found.reshape(-1, width, POINTS)


class _Applied:
    """The rows that one function was applied to, with its results."""

    def __init__(
        self, random: np.random.Generator, size: int, width: int, tolerance: float
    ) -> None:
        self._random = random
        self._direction = random.standard_normal(size) / np.sqrt(max(size, 1))
        self._tolerance = tolerance
        self._width = width
        self._arguments = np.empty((0, size))
        self._results = np.empty((0, width))
        self._along = np.empty(0)
        self._order = np.empty(0, np.int64)  # in which `_along` ascends

    def results(self, rows: Array) -> Array:
        """Return what the function gives for each of `rows`."""
        along = rows @ self._direction
        size = np.abs(rows).max(axis=1, initial=0.0)
        typical = float(np.sqrt(np.mean(np.square(size)))) if size.size else 0.0
        allowed = self._tolerance * np.maximum(size, 1e-3 * typical)
        at = self._known(rows, along, allowed)
        missing = np.flatnonzero(at < 0)
        if missing.size:
            at[missing] = self._add(rows[missing], along[missing], allowed[missing])
        return self._results[at]

    def _known(self, rows: Array, along: Array, allowed: Array) -> Array:
        """Return the place of each of `rows` among the arguments known, -1 where there is none."""
        at = np.full(len(rows), -1)
        if not len(self._along):
            return at
        # Rows that are equal up to rounding may stand on either side of where theirs is.
        place = np.searchsorted(self._along, along, sorter=self._order)
        for step in range(-_NEIGHBOURS, _NEIGHBOURS + 1):
            left = np.flatnonzero(at < 0)
            if not left.size:
                break
            near = self._order[np.clip(place[left] + step, 0, len(self._order) - 1)]
            apart = np.abs(self._arguments[near] - rows[left]).max(axis=1, initial=0.0)
            equal = apart <= allowed[left]
            at[left[equal]] = near[equal]
        return at

    def _add(self, rows: Array, along: Array, allowed: Array) -> Array:
        """Enter `rows`, equal ones once; return their places."""
        order = np.argsort(along, kind="stable")
        apart = np.abs(np.diff(rows[order], axis=0)).max(axis=1, initial=0.0)
        begins = np.concatenate([[True], apart > allowed[order][1:]])
        firsts = order[np.flatnonzero(begins)]
        found = np.empty(len(rows), np.int64)
        found[order] = len(self._along) + np.cumsum(begins) - 1
        fresh = self._random.standard_normal((len(firsts), self._width))
        self._along = np.concatenate([self._along, along[firsts]])
        self._arguments = np.concatenate([self._arguments, rows[firsts]])
        self._results = np.concatenate([self._results, fresh])
        self._order = np.argsort(self._along, kind="stable")
        return found
