"""Which sizes tensors had, and what has become of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ....ir.graph.types import Shape
from ....ir.run.feeds import is_size

Sizes = tuple[int, ...]

_COLOURS = 4  # channels of a picture, at most


@dataclass(frozen=True)
class Summed:
    """How many elements were added up, before and now."""

    was: int
    now: int

    @property
    def changes(self) -> bool:
        """Whether it is another number now."""
        return self.was != self.now

    @staticmethod
    def of_one(sums: Iterable[Summed]) -> bool:
        """Say whether one element was added up, and several are now."""
        return any(one.was == 1 and one.changes for one in sums)


@dataclass(frozen=True)
class GivenSize:
    """The size of an input of the graph on an axis, which changes."""

    name: str
    axis: int
    was: int
    now: int

    @property
    def told(self) -> str:
        """What a person is told of it."""
        return (
            f"{self.was} was a size of an input that changes (axis {self.axis} of input "
            f"'{self.name}', {self.was} -> {self.now})"
        )


Map = tuple[int, int]


@dataclass(kw_only=True)
class SeenSizes:
    """Which sizes the tensors before a node had, and what has become of them, axis by axis.

    `given`: sizes that inputs of the graph had beside their first, the batch, and that change.
    `sides`: with those that stay, of inputs with some that change. `changed`: those of all tensors.
    `maps`: heights and widths, before and now, in order; `picture`: that of an input.
    """

    given: list[GivenSize] = field(default_factory=list)
    sides: list[list[tuple[int, int]]] = field(default_factory=list)
    changed: set[Summed] = field(default_factory=set)
    maps: dict[tuple[Map, Map], None] = field(default_factory=dict)
    picture: tuple[Map, Map] | None = None
    _became: dict[tuple[int | None, int, int], set[int]] = field(default_factory=dict)
    _products: dict[int, set[tuple[int, int]]] = field(default_factory=dict)

    def add(self, before: Sizes, now: Sizes) -> None:
        """Note the sizes of a tensor that the graph's inputs decide."""
        rank = len(before)
        if rank < 2:
            return  # lists of sizes, and what is one number a sample
        for axis, (was, size) in enumerate(zip(before, now, strict=True)):
            for key in ((rank, axis, was), (None, axis, was)):
                self._became.setdefault(key, set()).add(size)
            if axis and was != size:
                self.changed.add(Summed(was, size))
        for first, last in itertools.combinations(range(rank + 1), 2):
            product, changed = math.prod(before[first:last]), math.prod(now[first:last])
            if product != changed:
                self._products.setdefault(product, set()).add((last - first, changed))
        for first, channels in ((2, 1), (1, 3)) if rank == 4 else ():
            old, new = _map(before, first), _map(now, first)
            if old != new and before[channels] == now[channels]:
                self.maps[old, new] = None

    def told_of(self, sizes: Sequence[Summed]) -> str:
        """Return what a person is told of which inputs some sizes go with."""
        found = [
            one
            for one in self.given
            if any(one.was * size.now == one.now * size.was for size in sizes)
        ] or self.given
        each = [f"axis {one.axis} of input '{one.name}', {one.was} -> {one.now}" for one in found]
        return f" ({'; '.join(each)})" if each else ""

    def add_given(self, name: str, before: Sizes, now: Sizes) -> None:
        """Note the sizes of an input of the graph."""
        for axis, (was, size) in enumerate(zip(before, now, strict=True)):
            if axis and was != size:
                self.given.append(GivenSize(name, axis, was, size))
        pairs = list(zip(before, now, strict=True))[1:]
        if any(was != size for was, size in pairs):
            self.sides.append([(a, b) for a, b in pairs if a != b or a > _COLOURS])
        if len(before) == 4 and self.picture is None:
            first = 2 if before[1] in (1, 3, 4) or before[3] not in (1, 3, 4) else 1
            self.picture = _map(before, first), _map(now, first)

    def follow(self, axis: int, size: int, rank: int) -> int | None:
        """Return what every `size` on `axis` has become; None where there is none, or several.

        Tensors of `rank` are asked first, those of any where none of it has that size there.
        """
        found = self.become(axis, size, rank)
        return next(iter(found)) if len(found) == 1 else None

    def differ(self, axis: int, size: int, rank: int) -> bool:
        """Say whether some `size` on `axis` has become another, and some has not."""
        return len(self.become(axis, size, rank)) > 1

    def become(self, axis: int, size: int, rank: int) -> frozenset[int]:
        """Return all that a `size` on `axis` has become; see `follow`."""
        any_rank = self._became.get((None, axis, size), set())
        return frozenset(self._became.get((rank, axis, size), any_rank))

    def knows(self, axis: int, size: int, rank: int) -> bool:
        """Say whether a tensor of `rank` had `size` on `axis`."""
        return (rank, axis, size) in self._became

    def changes(self, size: int, axis: int | None, rank: int) -> bool:
        """Say whether a `size` on `axis`, or on any where that is None, has become another."""
        if axis is not None:
            return bool(self.become(axis, size, rank) - {size})
        return any(axes == 1 for axes, _ in self._products.get(size, ()))

    def products(self, fewest: int) -> Iterator[int]:
        """Yield the products of `fewest` sizes or more side by side that have changed."""
        yield from (product for product in self._products if self.holds(product, fewest))

    def holds(self, product: float, fewest: int) -> bool:
        """Say whether `product` was that of `fewest` sizes or more side by side, which changed."""
        return any(axes >= fewest for axes, _ in self._products.get(int(product), ()))


def _map(sizes: Sizes, first: int) -> Map:
    return sizes[first], sizes[first + 1]


def known(shape: Shape | None) -> Sizes | None:
    """Return a shape as numbers, None where it is not all numbers."""
    if shape is None or not all(is_size(size) for size in shape):
        return None
    return tuple(int(size) for size in shape if size is not None)
