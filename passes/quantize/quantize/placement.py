"""Where integers begin and end: which tensors are quantized, and which share one grid.

A tensor is quantized where an integer operator reads or makes it; behind operators that only move
data, so is what they move, and all of it shares one grid. Two exceptions at a Concat, which integer
kernels give one scale for each operand. Where it joins what is never negative with what can be, the
former keeps a grid of its own: it would lose half of its integers, and with them the Relu that they
make unnecessary. So does an operand of a much smaller range that something else reads too, which
would have to read the steps of the largest one; the Concat then rounds it a second time. Operands
that nothing else reads would only be rounded twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import onnx_graphsurgeon as gs

from ....ir.core.disjoint_sets import DisjointSets
from ....ir.ops.linear.operators import MATRIX_OPS
from ..qdq.scoped_views import ScopedViews
from ..qdq.units import Unit
from .calibration.observers import Range

# An operand whose range is below this part of what it is joined to gains more from a grid of its
# own than a second rounding costs: half the noise.
_UNLIKE = 0.5**0.5


@dataclass(frozen=True)
class Placement:
    """The units that run on integers, and the groups of tensors that share a grid.

    `groups` list tensors in graph order; each is to be quantized, unless it comes out of a
    DequantizeLinear already.
    """

    units: tuple[Unit, ...]
    groups: tuple[tuple[gs.Tensor, ...], ...]

    @property
    def tensors(self) -> list[gs.Tensor]:
        """All quantized tensors, in graph order of their groups."""
        return [tensor for group in self.groups for tensor in group]


def place(
    units: Sequence[Unit],
    views: ScopedViews,
    ranges: Mapping[str, Range] = MappingProxyType({}),
) -> Placement:
    """Return the placement in which `units`, in graph order, run on integers.

    `views` are of the graph that holds them, and say who else reads a tensor. `ranges` by tensor
    name say which operands of a Concat are unlike the others, where known.

    Movements among them do where their result is needed as integers; so does a Relu or Clip on its
    own, where what it reads is there as integers.
    """
    needed: dict[int, gs.Tensor] = {}
    for unit in units:
        if not unit.is_follower:
            _need(needed, unit.inputs)
            if not has_float_result(unit):
                _need(needed, unit.outputs)
    made = _made_of_integers(units, needed)
    moved = []
    for unit in reversed(units):
        if not unit.is_follower or not any(id(tensor) in needed for tensor in unit.outputs):
            continue
        if unit.is_movement:
            moved.append(unit)
            _need(needed, (*unit.inputs, *unit.outputs))
        elif id(unit.inputs[0]) in made:
            _need(needed, unit.inputs)
    chosen = {id(unit.node) for unit in moved}
    kept = tuple(u for u in units if not u.is_movement or id(u.node) in chosen)
    sets = _Sets(needed.values())
    bounded = {id(t) for unit in units if unit.is_bounded for t in unit.outputs}
    origins = _Origins(sets, views, ranges)
    for unit in reversed(moved):  # in graph order, so that inputs are known before outputs
        joined = [id(tensor) in bounded for tensor in unit.inputs]
        if all(joined):
            bounded.update(map(id, unit.outputs))
        mixed = any(joined) and not all(joined)
        apart = [
            (mixed and is_bounded) or origins.are_finer(tensor, unit)
            for tensor, is_bounded in zip(unit.inputs, joined, strict=True)
        ]
        united = [t for t, is_apart in zip(unit.inputs, apart, strict=True) if not is_apart]
        origins.follow(unit, united)
    return Placement(kept, sets.groups(_in_order(kept, needed)))


def has_float_result(unit: Unit) -> bool:
    """Say whether the unit may give floats, as its integer kernel can from the sums at once."""
    return unit.node.op in MATRIX_OPS and unit.bounded is None


class _Origins:
    """What shares a grid with a tensor so far, in graph order: how far it reaches, who reads it.

    A movement that was followed is no reader: what it gives has the same grid, and readers of its
    own.
    """

    def __init__(self, sets: _Sets, views: ScopedViews, ranges: Mapping[str, Range]) -> None:
        self._sets = sets
        self._views = views
        self._ranges = ranges
        self._lengths: dict[int, float] = {}
        self._readers: dict[int, set[int]] = {}  # of each set

    def are_finer(self, tensor: gs.Tensor, unit: Unit) -> bool:
        """Say whether something beside `unit` would lose by the steps of what `unit` joins."""
        if len(unit.inputs) == 1 or self._readers_of(tensor) <= {id(unit.node)}:
            return False
        own, joint = self._length(tensor), self._length(unit.outputs[0])
        return own is not None and joint is not None and own < _UNLIKE * joint

    def follow(self, unit: Unit, united: Sequence[gs.Tensor]) -> None:
        """Let the results of `unit` share the grid of `united`, of its inputs."""
        lengths = [self._length(tensor) for tensor in (*united, *unit.outputs)]
        known = [length for length in lengths if length is not None]
        if len(known) == len(lengths):
            self._lengths.update((id(tensor), max(known)) for tensor in unit.outputs)
        for tensor in (*united, *unit.outputs[1:]):
            self._unite(tensor, unit.outputs[0])
        self._readers_of(unit.outputs[0]).discard(id(unit.node))

    def _unite(self, a: gs.Tensor, b: gs.Tensor) -> None:
        fewer, more = sorted((self._readers_of(a), self._readers_of(b)), key=len)
        more |= fewer
        self._sets.unite(a, b)
        self._readers[self._sets.name(a)] = more

    def _readers_of(self, tensor: gs.Tensor) -> set[int]:
        """Return the ids of what reads the grid of `tensor`: nodes, and outputs of the graph."""
        name = self._sets.name(tensor)
        if name not in self._readers:  # united with nothing yet
            view = self._views.of_tensor(tensor)
            shown = {id(tensor)} if view.is_output(tensor) else set()
            self._readers[name] = {id(node) for node in view.readers(tensor)} | shown
        return self._readers[name]

    def _length(self, tensor: gs.Tensor) -> float | None:
        if id(tensor) in self._lengths:
            return self._lengths[id(tensor)]
        known = self._ranges.get(tensor.name)
        return None if known is None else known.length


def _made_of_integers(units: Sequence[Unit], needed: Mapping[int, gs.Tensor]) -> set[int]:
    """Return the ids of the tensors that follow from integer results alone."""
    made = {id(t) for u in units if not u.is_follower for t in u.outputs if id(t) in needed}
    for unit in units:
        if unit.is_follower and all(id(tensor) in made for tensor in unit.inputs):
            made.update(map(id, unit.outputs))
    return made


def _need(needed: dict[int, gs.Tensor], tensors: Iterable[gs.Tensor]) -> None:
    for tensor in tensors:
        needed.setdefault(id(tensor), tensor)


def _in_order(units: Iterable[Unit], needed: dict[int, gs.Tensor]) -> list[gs.Tensor]:
    found: dict[int, gs.Tensor] = {}
    for unit in units:
        for tensor in (*unit.inputs, *unit.outputs):
            if id(tensor) in needed:
                found.setdefault(id(tensor), tensor)
    return list(found.values())


class _Sets:
    """Disjoint sets of tensors."""

    def __init__(self, tensors: Iterable[gs.Tensor]) -> None:
        self._number = {id(tensor): number for number, tensor in enumerate(tensors)}
        self._sets = DisjointSets(len(self._number))

    def name(self, tensor: gs.Tensor) -> int:
        return self._sets.find(self._number[id(tensor)])

    def unite(self, a: gs.Tensor, b: gs.Tensor) -> None:
        self._sets.unite(self._number[id(a)], self._number[id(b)])

    def groups(self, ordered: Iterable[gs.Tensor]) -> tuple[tuple[gs.Tensor, ...], ...]:
        found: dict[int, list[gs.Tensor]] = {}
        for tensor in ordered:
            found.setdefault(self.name(tensor), []).append(tensor)
        return tuple(map(tuple, found.values()))
