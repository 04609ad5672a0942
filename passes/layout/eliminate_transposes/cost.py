"""What a choice of layouts costs: bytes moved, and the Transposes that move them.

    better(a, b)  =  a.bytes <= b.bytes  and  a.transposes <= b.transposes  and  a != b

Neither may grow. One number cannot say that, so several are minimized, each by a minimum cut: bytes
first, Transposes first, and a sum of both as shares of what is paid today. The first labelling that
is better than today's is taken. One beside them that is better too may be missed; a worse one is
never taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .minimum_cut import CutCost, cheapest, splits

# More bytes than any network moves, and more Transposes than one has.
_BYTES, _TRANSPOSES = 1 << 60, 1 << 24


class Cost(NamedTuple):
    """`bytes` that `transposes` operators move; those that move axes of size one move none."""

    bytes: int
    transposes: int

    def better(self, other: Cost) -> bool:
        """Say whether it is lower in one way, and higher in none."""
        return self != other and self.bytes <= other.bytes and self.transposes <= other.transposes


@dataclass(frozen=True)
class Payment:
    """`cost` is paid where `members` (numbers of nodes, ONE, ZERO) have different labels."""

    cost: Cost
    members: tuple[int, ...]


def paid(payments: Iterable[Payment], ones: set[int]) -> Cost:
    """Return what the labelling pays in which the nodes `ones` have label 1."""
    costs = [payment.cost for payment in payments if splits(payment.members, ones)]
    return Cost(sum(cost.bytes for cost in costs), sum(cost.transposes for cost in costs))


def labellings(nodes: int, payments: Sequence[Payment]) -> Iterator[set[int]]:
    """Yield the nodes with label 1 in labellings that are cheapest, by one weight after another."""
    now = paid(payments, set())
    weights: tuple[Callable[[Cost], int], ...] = (
        lambda cost: cost.bytes * _TRANSPOSES + cost.transposes,
        lambda cost: cost.transposes * _BYTES + cost.bytes,
        lambda cost: cost.bytes * max(now.transposes, 1) + cost.transposes * max(now.bytes, 1),
    )
    for weight in weights:
        yield cheapest(nodes, [CutCost(weight(p.cost), p.members) for p in payments])[1]
