"""Sizes as products of known numbers and names: what shape arithmetic means.

A size is coefficient * atom * atom * ..., an atom being a dimension that is known only at run time.
Two dimensions are the same atom where they have one name among the graph's inputs, or where one
follows from the other (the batch through a convolution, any axis through a Relu).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.traits import traits_of

_GENERATED = "unk__"  # how the names begin that ONNX's inference makes up


@dataclass(frozen=True)
class SymbolicSize:
    """The number `factor` times the product of `atoms` (sorted, with repetition)."""

    factor: int
    atoms: tuple[str, ...] = ()

    def __mul__(self, other: SymbolicSize) -> SymbolicSize:
        """Return the product."""
        return SymbolicSize(self.factor * other.factor, tuple(sorted(self.atoms + other.atoms)))

    def over(self, other: SymbolicSize) -> SymbolicSize | None:
        """Return the quotient where it is a size without remainder whatever the atoms are."""
        left, taken = Counter(self.atoms), Counter(other.atoms)
        if not other.factor or self.factor % other.factor or taken - left:
            return None
        return SymbolicSize(self.factor // other.factor, tuple(sorted((left - taken).elements())))

    @property
    def number(self) -> int | None:
        """The size where it is known now."""
        return None if self.atoms else self.factor


ONE = SymbolicSize(1)


def product(sizes: Iterable[SymbolicSize]) -> SymbolicSize:
    """Return the product of `sizes`."""
    return math.prod(sizes, start=ONE)


def same_sizes(sizes: Sequence[SymbolicSize | None], others: Sequence[SymbolicSize | None]) -> bool:
    """Say whether two shapes of the same elements are equal; one size follows from the rest."""
    if len(sizes) != len(others):
        return False
    unequal = [a is None or a != b for a, b in zip(sizes, others, strict=True)]
    return not any(unequal) or (sum(unequal) == 1 and (None in sizes or None in others))


class SymbolicDims:
    """Names for dimensions, the same for those that are known to be equal."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], SymbolicSize] = {}
        self._named: dict[str, SymbolicSize] = {}
        self._alive: list[gs.Tensor] = []  # so that the ids of tensors stay taken

    def learn(self, name: str, size: SymbolicSize) -> None:
        """Let a dimension that inference could only name be `size` wherever the name stands."""
        told = all(not atom.startswith(f"name {_GENERATED}") for atom in size.atoms)
        if name.startswith(_GENERATED) and told:
            self._named.setdefault(name, size)

    def of(self, tensor: gs.Tensor, axis: int, view: View) -> SymbolicSize:
        """Return the size of `tensor`, of known rank, along `axis`; amortized constant time."""
        passed: list[tuple[int, int]] = []
        while (id(tensor), axis) not in self._known:
            passed.append((id(tensor), axis))
            self._alive.append(tensor)
            shape = view.shape(tensor)
            dim = None if shape is None else shape[axis]
            origin = None if dim is not None else _origin(tensor, axis, view)
            if origin is None:
                atom = f"name {dim}" if dim is not None else f"size {axis} of {id(tensor)}"
                found = SymbolicSize(dim) if isinstance(dim, int) else SymbolicSize(1, (atom,))
                if isinstance(dim, str):
                    found = self._named.get(dim, found)
                self._known[id(tensor), axis] = found
            else:
                tensor = origin
        found = self._known[id(tensor), axis]
        self._known.update(dict.fromkeys(passed, found))
        return found


def _origin(tensor: gs.Tensor, axis: int, view: View) -> gs.Tensor | None:
    """Return the tensor whose size along `axis` is that of `tensor`, if there is one."""
    node = view.producer(tensor)
    if node is None or node.outputs[0] is not tensor:
        return None
    traits = traits_of(node, view.opset)
    keeps = traits.keeps_shape or (axis == 0 and traits.keeps_batch)
    return node.inputs[0] if keeps else None
