"""A node at the sizes that its graph had, and at those that it is to have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import RefusedError
from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ....ir.ops.parameters import input_of, read_parameter
from ....ir.run.feeds import is_size

Array = np.ndarray[Any, Any]
Sizes = tuple[int, ...]
Changes = Mapping[str, Sequence[float]]


_OFTEN = 4  # shapes that meet a number, two a node
_COLOURS = 4  # channels of a picture, at most


class FixedSizeError(RefusedError):
    """A constant holds a size that has changed, and what it is to be now does not follow."""


class Guess(dict[str, Sequence[float]]):
    """Changes of a node that would be right, too, if it held numbers of its own."""


class Taken(dict[str, Sequence[float]]):
    """Changes to the very size of an input, which a network may have had by chance."""


class MisfitError(FixedSizeError):
    """A constant has a value for each of so many elements, and no other number of them fits."""


class UndecidedPartsError(FixedSizeError):
    """A size is taken apart, and either part may be the one that stays."""


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
        for first in (2, 1) if rank == 4 else ():
            old, new = _map(before, first), _map(now, first)
            if old != new:
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


@dataclass(frozen=True, kw_only=True)
class SizedSite:
    """A node before and after, with what is known around it; see `rules`.

    `summed`: over how many elements its inputs were summed, `scaled_for`: over how many the product
    of its result with another is; see `sums`. `used_at_other_sizes` says of a number whether the
    same operator has it where no size is the one given. `is_between`: whether the sizes before are
    those in between, for which no number was written. `parts`: which part of a size that is taken
    apart stays, 0 or -1; None where that is open.
    """

    was: gs.Node
    node: gs.Node
    before: View
    after: View
    values_before: Callable[[gs.Tensor], Array | None]
    values_after: Callable[[gs.Tensor], Array | None]
    seen: SeenSizes
    summed: frozenset[Summed]
    scaled_for: frozenset[Summed]
    elsewhere: Callable[[str, float, int, int], bool]
    uses: Callable[[str, float], int]
    follows: bool
    is_between: bool
    parts: int | None
    is_live: Callable[[gs.Tensor], bool]

    def sizes(self, position: int = 0) -> tuple[Sizes, Sizes] | None:
        """Return the sizes of an input before and after, None where they are not numbers."""
        if position >= len(self.node.inputs) or self.node.inputs[position].is_empty():
            return None
        return self._pair(self.was.inputs[position], self.node.inputs[position])

    def pairs(self) -> Iterator[tuple[gs.Tensor, gs.Tensor]]:
        """Yield the inputs, before and after."""
        for was, now in zip(self.was.inputs, self.node.inputs, strict=True):
            if not now.is_empty():
                yield was, now

    def sizes_of_live(self) -> tuple[Sizes, Sizes] | None:
        """Return the sizes of the first input that inputs of the graph decide."""
        live = (p for p, t in enumerate(self.node.inputs) if not t.is_empty() and self.is_live(t))
        return self.sizes(next(live, len(self.node.inputs)))

    def areas(self) -> list[Summed]:
        """Return the products of the sizes, two side by side, of what the inputs of it hold."""
        found = self.sizes_of_live()
        rows = () if found is None else zip(*found, strict=True)
        sides = itertools.pairwise(list(rows)[1:])
        return [Summed(a * c, b * d) for (a, b), (c, d) in sides if a != b or c != d]

    def used_at_other_sizes(self, number: float, size: int) -> bool:
        """Say whether the same operator has `number` in tensors of this rank without `size`."""
        own = self.sizes_of_live()
        return own is not None and self.elsewhere(self.node.op, number, size, len(own[0]))

    def used_often(self, number: float) -> bool:
        """Say whether several nodes of this type have `number`."""
        return self.uses(self.node.op, number) > _OFTEN

    def is_table(self, place: int, values: Array) -> bool:
        """Say whether the constant at an input differs along an axis of a size that changes."""
        held = self.sizes(place)
        for other in range(len(self.node.inputs)):
            pair = self.sizes(other) if self.is_live(self.node.inputs[other]) else None
            for back in range(1, min(values.ndim, len(pair[0]) if pair else 0) + 1):
                assert pair is not None
                if pair[0][-back] == pair[1][-back] or values.shape[-back] == 1:
                    continue
                if held is not None and bool((values != np.take(values, [0], -back)).any()):
                    return True
        return False

    def is_given(self, axis: int, size: int) -> bool:
        """Say whether an input of the graph had `size` on `axis`, and has another."""
        return any((one.axis, one.was) == (axis, size) for one in self.seen.given)

    def made(self) -> Sizes | None:
        """Return the sizes that the result had, None where they were not numbers."""
        return known(self.before.shape(self.was.outputs[0]))

    def _pair(self, was: gs.Tensor, now: gs.Tensor) -> tuple[Sizes, Sizes] | None:
        before, after = known(self.before.shape(was)), known(self.after.shape(now))
        if before is None or after is None or len(before) != len(after):
            return None
        return before, after

    def asked(self, name: str) -> tuple[list[int], list[int]] | None:
        """Return what the parameter `name` holds before and after; None where it is not known."""
        was = read_parameter(self.was, name, self.before, self.values_before).ints()
        now = read_parameter(self.node, name, self.after, self.values_after).ints()
        return None if was is None or now is None else (was, now)

    def numbers(self, name: str) -> tuple[list[float], list[float]] | None:
        """Return what the parameter `name`, of fractions, holds before and after, as `asked`."""
        was = read_parameter(self.was, name, self.before, self.values_before).values
        now = read_parameter(self.node, name, self.after, self.values_after).values
        return None if was is None or now is None else (was.tolist(), now.tolist())

    def position(self, name: str) -> int | None:
        """Return which input the parameter `name` is, None where it is an attribute."""
        return input_of(self.node.op, name, self.after.opset)


def _map(sizes: Sizes, first: int) -> Map:
    return sizes[first], sizes[first + 1]


def known(shape: Shape | None) -> Sizes | None:
    """Return a shape as numbers, None where it is not all numbers."""
    if shape is None or not all(is_size(size) for size in shape):
        return None
    return tuple(int(size) for size in shape if size is not None)
