"""Disjoint sets of whole numbers (union-find).

Source: R. E. Tarjan and J. van Leeuwen, Worst-case Analysis of Set Union Algorithms, 1984 (path
halving).
"""

from __future__ import annotations


class DisjointSets:
    """The numbers 0 .. count-1, each at first a set of its own.

    A set is named by its least member, so that names do not depend on the order of unions.
    """

    def __init__(self, count: int = 0) -> None:
        self._parent = list(range(count))

    def __len__(self) -> int:
        return len(self._parent)

    def add(self, count: int) -> range:
        """Return `count` new numbers, each a set of its own."""
        fresh = range(len(self._parent), len(self._parent) + count)
        self._parent.extend(fresh)
        return fresh

    def find(self, member: int) -> int:
        """Return the least member of the set that holds `member`."""
        parent = self._parent
        while parent[member] != member:
            parent[member] = member = parent[parent[member]]
        return member

    def unite(self, a: int, b: int) -> tuple[int, int] | None:
        """Make the sets of `a` and `b` one; return the names kept and gone, None if equal."""
        kept, gone = sorted((self.find(a), self.find(b)))
        if kept == gone:
            return None
        self._parent[gone] = kept
        return kept, gone
