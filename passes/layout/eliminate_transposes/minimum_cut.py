"""The cheapest labelling of nodes with 0 and 1: a minimum cut.

minimize  sum of w over payments (w, members) whose members do not all have one label

Each payment is an edge of a hypergraph; those whose members include the constants ZERO and ONE
make single labels dear. Minimum cut = maximum flow (Ford and Fulkerson, 1956), found with
blocking flows over layers (Dinic, 1970).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

ONE, ZERO = -1, -2
_FOREVER = 1 << 200


class CutCost(NamedTuple):
    """`price` is paid where `members` (numbers of nodes, ONE, ZERO) have different labels."""

    price: int
    members: tuple[int, ...]


def splits(members: Iterable[int], ones: set[int]) -> bool:
    """Say whether `members` have both labels where the nodes `ones` have label 1."""
    return len({member == ONE or member in ones for member in members}) == 2


def total(payments: Iterable[CutCost], ones: set[int]) -> int:
    """Return what the labelling pays in which the nodes `ones` have label 1."""
    return sum(payment.price for payment in payments if splits(payment.members, ones))


def cheapest(nodes: int, payments: Sequence[CutCost]) -> tuple[set[int], set[int]]:
    """Return the smallest and the largest set of nodes with label 1 that is cheapest."""
    flow = _Flow(nodes + 2)
    source, sink = nodes, nodes + 1
    place = {ONE: source, ZERO: sink}
    for payment in payments:
        members = [place.get(m, m) for m in dict.fromkeys(payment.members)]
        if len(members) < 2 or not payment.price or {source, sink} <= set(members):
            continue  # paid never, or always
        if len(members) == 2:
            flow.edge(members[0], members[1], payment.price, payment.price)
            continue
        # `any_one` must be 1 if a member is; `all_one` must be 0 if a member is.
        any_one, all_one = flow.vertex(), flow.vertex()
        flow.edge(any_one, all_one, payment.price)
        for member in members:
            flow.edge(member, any_one, _FOREVER)
            flow.edge(all_one, member, _FOREVER)
    flow.run(source, sink)
    smallest = flow.reached(source, forward=True)
    blocked = flow.reached(sink, forward=False)
    return (
        {node for node in range(nodes) if node in smallest},
        {node for node in range(nodes) if node not in blocked},
    )


class _Flow:
    def __init__(self, vertices: int) -> None:
        self._edges: list[list[int]] = [[] for _ in range(vertices)]
        self._to: list[int] = []
        self._left: list[int] = []  # capacity left; the edge e ^ 1 runs the other way

    def vertex(self) -> int:
        self._edges.append([])
        return len(self._edges) - 1

    def edge(self, a: int, b: int, capacity: int, back: int = 0) -> None:
        for start, end, size in ((a, b, capacity), (b, a, back)):
            self._edges[start].append(len(self._to))
            self._to.append(end)
            self._left.append(size)

    def run(self, source: int, sink: int) -> None:
        while True:
            level = self._levels(source)
            if sink not in level:
                return
            tried = [0] * len(self._edges)
            while self._augment(source, sink, level, tried):
                pass

    def _levels(self, source: int) -> dict[int, int]:
        level = {source: 0}
        queue = deque([source])
        while queue:
            vertex = queue.popleft()
            for edge in self._edges[vertex]:
                end = self._to[edge]
                if self._left[edge] and end not in level:
                    level[end] = level[vertex] + 1
                    queue.append(end)
        return level

    def _augment(self, source: int, sink: int, level: dict[int, int], tried: list[int]) -> bool:
        """Push as much as one path through the layers takes; an edge that fails is not retried."""
        path: list[int] = []
        vertex = source
        while vertex != sink:
            if tried[vertex] < len(self._edges[vertex]):
                edge = self._edges[vertex][tried[vertex]]
                end = self._to[edge]
                if self._left[edge] and level.get(end, -1) == level[vertex] + 1:
                    path.append(edge)
                    vertex = end
                else:
                    tried[vertex] += 1
            elif path:
                vertex = self._to[path.pop() ^ 1]
                tried[vertex] += 1
            else:
                return False
        amount = min(self._left[edge] for edge in path)
        for edge in path:
            self._left[edge] -= amount
            self._left[edge ^ 1] += amount
        return True

    def reached(self, start: int, *, forward: bool) -> set[int]:
        """Return what `start` reaches through capacity left, or what reaches it."""
        seen = {start}
        pending = [start]
        while pending:
            for edge in self._edges[pending.pop()]:
                end = self._to[edge]
                if self._left[edge if forward else edge ^ 1] and end not in seen:
                    seen.add(end)
                    pending.append(end)
        return seen
