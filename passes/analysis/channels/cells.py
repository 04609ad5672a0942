"""A partition of channels, each a number: those that were united are one cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....ir.core.disjoint_sets import DisjointSets

Array = np.ndarray[Any, Any]


@dataclass
class Cells:
    """Channels as numbers; those that were united are one cell, which shares one fate.

    A cell that was fixed stays as it is, for the first reason given.
    """

    _sets: DisjointSets = field(default_factory=DisjointSets)
    _reason: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._sets)

    def fresh(self, count: int) -> Array:
        """Return `count` new cells."""
        return np.array(self._sets.add(count), np.int64)

    def unite(self, a: Array, b: Array) -> None:
        """Make each of `a` one with that of `b` in its place; one that is fixed fixes both."""
        for one, other in zip(a.tolist(), b.tolist(), strict=True):
            united = self._sets.unite(one, other)
            if united is not None and united[1] in self._reason:
                self._reason.setdefault(united[0], self._reason[united[1]])

    def fix(self, cells: Array, reason: str) -> None:
        """Keep `cells` as they are."""
        for cell in np.unique(cells).tolist():
            self._reason.setdefault(self._sets.find(cell), reason)

    def reason(self, cell: int) -> str | None:
        """Return why `cell` is fixed, or None where it is free."""
        return self._reason.get(self._sets.find(cell))

    def roots(self) -> Array:
        """Return for each cell the one that stands for all it was united with."""
        return np.array([self._sets.find(cell) for cell in range(len(self))], np.int64)

    def fixed(self) -> Array:
        """Return which cells are fixed, by the number of the one that stands for them."""
        result = np.zeros(len(self), bool)
        result[[self._sets.find(cell) for cell in self._reason]] = True
        return result
