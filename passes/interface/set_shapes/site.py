"""A node at the sizes that its graph had, and at those that it is to have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
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


class FixedSizeError(RefusedError):
    """A constant holds a size that has changed, and what it is to be now does not follow."""


@dataclass
class SeenSizes:
    """Which sizes the tensors before a node had, and what has become of them, axis by axis.

    `given`: sizes that inputs of the graph had beside their first, the batch, and that change.
    """

    given: set[int] = field(default_factory=set)
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
        for first, last in itertools.combinations(range(rank + 1), 2):
            product, changed = math.prod(before[first:last]), math.prod(now[first:last])
            if product != changed:
                self._products.setdefault(product, set()).add((last - first, changed))

    def add_given(self, before: Sizes, now: Sizes) -> None:
        """Note the sizes of an input of the graph."""
        pairs = zip(before[1:], now[1:], strict=True)
        self.given.update(was for was, size in pairs if was != size)

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

    `summed`: sizes that change over which its inputs were summed; see `counts.summed`.
    """

    was: gs.Node
    node: gs.Node
    before: View
    after: View
    values_before: Callable[[gs.Tensor], Array | None]
    values_after: Callable[[gs.Tensor], Array | None]
    seen: SeenSizes
    summed: frozenset[int]
    follows: bool
    is_live: Callable[[gs.Tensor], bool]

    def sizes(self, position: int = 0) -> tuple[Sizes, Sizes] | None:
        """Return the sizes of an input before and after, None where they are not numbers."""
        if position >= len(self.node.inputs) or self.node.inputs[position].is_empty():
            return None
        return self._pair(self.was.inputs[position], self.node.inputs[position])

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


def known(shape: Shape | None) -> Sizes | None:
    """Return a shape as numbers, None where it is not all numbers."""
    if shape is None or not all(is_size(size) for size in shape):
        return None
    return tuple(int(size) for size in shape if size is not None)
