"""A node at the sizes that its graph had, and at those that it is to have."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import RefusedError
from ....ir.graph.view import View
from ....ir.ops.parameters import input_of, read_parameter
from ....ir.ops.traits import traits_of
from .seen import SeenSizes, Sizes, Summed, known
from .splits import Parts

Array = np.ndarray[Any, Any]
Changes = Mapping[str, Sequence[float]]


_OFTEN = 4  # shapes that meet a number, two a node


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


@dataclass(frozen=True, kw_only=True)
class SizedSite:
    """A node before and after, with what is known around it; see `rules`.

    `summed`: over how many elements its inputs were summed, `scaled_for`: over how many the product
    of its result with another is; see `sums`. `used_at_other_sizes` says of a number whether the
    same operator has it where no size is the one given. `is_between`: whether the sizes before are
    those in between, for which no number was written. `parts`: which part of a size that is taken
    apart stays. `factors`: what the axes of an input are made of.
    `rolls`: whether rows are rolled on anywhere. `is_settled`: whether the sizes of a tensor are
    what they are to be.
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
    parts: Parts
    rolls: Callable[[], bool]
    factors: Callable[[gs.Tensor, tuple[Sizes, Sizes]], list[tuple[tuple[int, int], ...]]]
    is_live: Callable[[gs.Tensor], bool]
    is_settled: Callable[[gs.Tensor], bool]

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

    def met(self, axis: int, size: int) -> set[int]:
        """Return what `size` on `axis` of the result is in tensors that it is computed with."""
        found: set[int] = set()
        before = self.before.readers(self.was.outputs[0])
        after = self.after.readers(self.node.outputs[0])
        if len(before) != len(after):  # lists that are written out in one of both
            return found
        for reader, other in zip(before, after, strict=True):
            if not traits_of(other, self.after.opset).broadcasts:
                continue
            for was, now in zip(reader.inputs, other.inputs, strict=True):
                pair = self._pair(was, now) if self.is_settled(now) else None
                if pair is not None and len(pair[0]) > axis and pair[0][axis] == size > 1:
                    found.add(pair[1][axis])
        return found

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
