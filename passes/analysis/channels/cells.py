"""A partition of channels, each a number: those that were united are one cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass
class Cells:
    """Channels as numbers; those that were united are one cell, which shares one fate.

    A cell that was fixed stays as it is, for the first reason given.
    """

    _parent: list[int] = field(default_factory=list)
    _reason: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._parent)

    def fresh(self, count: int) -> Array:
        """Return `count` new cells."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def unite(self, a: Array, b: Array) -> None:
        """Make each of `a` one with that of `b` in its place; one that is fixed fixes both."""
        for one, other in zip(a.tolist(), b.tolist(), strict=True):
            low, high = sorted((self._root(one), self._root(other)))
            if low != high:
                self._parent[high] = low
                if high in self._reason:
                    self._reason.setdefault(low, self._reason[high])

    def fix(self, cells: Array, reason: str) -> None:
        """Keep `cells` as they are."""
        for cell in np.unique(cells).tolist():
            self._reason.setdefault(self._root(cell), reason)

    def reason(self, cell: int) -> str | None:
        """Return why `cell` is fixed, or None where it is free."""
        return self._reason.get(self._root(cell))

    def roots(self) -> Array:
        """Return for each cell the one that stands for all it was united with."""
        return np.array([self._root(cell) for cell in range(len(self))], np.int64)

    def fixed(self) -> Array:
        """Return which cells are fixed, by the number of the one that stands for them."""
        result = np.zeros(len(self), bool)
        result[[self._root(cell) for cell in self._reason]] = True
        return result

    def _root(self, cell: int) -> int:
        while self._parent[cell] != cell:
            self._parent[cell] = self._parent[self._parent[cell]]
            cell = self._parent[cell]
        return cell
