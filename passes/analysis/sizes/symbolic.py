"""Sizes as polynomials of names: what shape arithmetic means.

A size is a sum of products, number * atom * atom * ..., an atom being a dimension that is known
only at run time, and not below zero. Two dimensions are the same atom where they have one name
among the graph's inputs, or where one follows from the other (the batch through a convolution).
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.graph.types import MADE_UP
from ....ir.graph.view import View
from ....ir.ops.traits import traits_of

Atoms = tuple[str, ...]


@dataclass(frozen=True)
class SymbolicSize:
    """The sum over `terms` of a number times the product of atoms (sorted, with repetition)."""

    terms: tuple[tuple[Atoms, int], ...]

    @classmethod
    def of(cls, number: int) -> SymbolicSize:
        """Return a size that is known."""
        return _of_number(number)

    @classmethod
    def named(cls, atom: str) -> SymbolicSize:
        """Return a size of which only the name is known."""
        return cls((((atom,), 1),))

    def __add__(self, other: SymbolicSize) -> SymbolicSize:
        """Return the sum."""
        total = Counter(dict(self.terms))
        for atoms, number in other.terms:
            total[atoms] += number
        return _sum(total)

    def __neg__(self) -> SymbolicSize:
        """Return it with the other sign."""
        return SymbolicSize(tuple((atoms, -number) for atoms, number in self.terms))

    def __sub__(self, other: SymbolicSize) -> SymbolicSize:
        """Return the difference."""
        return self + -other

    def __mul__(self, other: SymbolicSize) -> SymbolicSize:
        """Return the product."""
        if self.is_number and other.is_number:
            return _of_number(self.terms[0][1] * other.terms[0][1])
        total: Counter[Atoms] = Counter()
        for atoms, number in self.terms:
            for more, times in other.terms:
                total[tuple(sorted(atoms + more))] += number * times
        return _sum(total)

    def over(self, other: SymbolicSize) -> SymbolicSize | None:
        """Return the quotient where it is a size without remainder whatever the atoms are."""
        if not other.terms:
            return None
        quotient = ZERO
        left = self
        for _ in range(len(self.terms) + 1):
            if not left.terms:
                return quotient
            part = _divided(left.terms[-1], other.terms[-1])
            if part is None:
                return None
            quotient, left = quotient + part, left - part * other
        return None

    @property
    def is_number(self) -> bool:
        """Whether it is known now, and not zero."""
        return len(self.terms) == 1 and not self.terms[0][0]

    @property
    def number(self) -> int | None:
        """The size where it is known now."""
        if not self.terms:
            return 0
        return self.terms[0][1] if self.is_number else None

    @property
    def atoms(self) -> frozenset[str]:
        """The atoms it depends on."""
        return frozenset(atom for atoms, _ in self.terms for atom in atoms)

    @property
    def degree(self) -> int:
        """How many atoms its largest product has."""
        return max((len(atoms) for atoms, _ in self.terms), default=0)

    @property
    def low(self) -> float:
        """What it is at least, since no atom is below zero."""
        return self._constant if all(n > 0 for atoms, n in self.terms if atoms) else -math.inf

    @property
    def high(self) -> float:
        """What it is at most."""
        return self._constant if all(n < 0 for atoms, n in self.terms if atoms) else math.inf

    @property
    def _constant(self) -> int:
        return next((number for atoms, number in self.terms if not atoms), 0)


# Typed, since arrays of sizes hold numbers of numpy beside Python's.
@functools.lru_cache(maxsize=4096, typed=True)
def _of_number(number: int) -> SymbolicSize:
    return _sum({(): number})


def _sum(terms: Mapping[Atoms, int]) -> SymbolicSize:
    left = [(atoms, number) for atoms, number in terms.items() if number]
    return SymbolicSize(tuple(sorted(left, key=lambda term: (len(term[0]), term[0]))))


def _divided(term: tuple[Atoms, int], by: tuple[Atoms, int]) -> SymbolicSize | None:
    atoms, taken = Counter(term[0]), Counter(by[0])
    if term[1] % by[1] or taken - atoms:
        return None
    return SymbolicSize(((tuple(sorted((atoms - taken).elements())), term[1] // by[1]),))


ZERO = SymbolicSize(())
ONE = SymbolicSize.of(1)


def product(sizes: Iterable[SymbolicSize]) -> SymbolicSize:
    """Return the product of `sizes`."""
    return math.prod(sizes, start=ONE)


def same_sizes(sizes: Sequence[SymbolicSize | None], others: Sequence[SymbolicSize | None]) -> bool:
    """Say whether two shapes of the same elements are equal; one size follows from the rest.

    It does not where another is zero: then there are no elements, whatever it is.
    """
    if len(sizes) != len(others):
        return False
    pairs = list(zip(sizes, others, strict=True))
    unequal = [a is None or a != b for a, b in pairs]
    if not any(unequal):
        return True
    if sum(unequal) > 1 or not (None in sizes or None in others):
        return False
    return SymbolicSize.of(0) not in sizes


class SymbolicDims:
    """Names for dimensions, the same for those that are known to be equal."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], SymbolicSize] = {}
        self._named: dict[str, SymbolicSize] = {}
        self._alive: list[gs.Tensor] = []  # so that the ids of tensors stay taken

    def learn(self, name: str, size: SymbolicSize) -> None:
        """Let a dimension that inference could only name be `size` wherever the name stands.

        Not where it is 0: a Reshape that is asked for 0 copies, and inference takes the name.
        """
        told = size.number != 0 and all(
            not atom.startswith(f"name {MADE_UP}") for atom in size.atoms
        )
        if name.startswith(MADE_UP) and told:
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
                self._known[id(tensor), axis] = self._found(tensor, axis, dim)
            else:
                tensor = origin
        found = self._known[id(tensor), axis]
        self._known.update(dict.fromkeys(passed, found))
        return found

    def _found(self, tensor: gs.Tensor, axis: int, dim: int | str | None) -> SymbolicSize:
        if isinstance(dim, int):
            return SymbolicSize.of(dim)
        if isinstance(dim, str):
            return self._named.get(dim) or SymbolicSize.named(f"name {dim}")
        return SymbolicSize.named(f"size {axis} of {id(tensor)}")


def _origin(tensor: gs.Tensor, axis: int, view: View) -> gs.Tensor | None:
    """Return the tensor whose size along `axis` is that of `tensor`, if there is one."""
    node = view.producer(tensor)
    if node is None or node.outputs[0] is not tensor:
        return None
    traits = traits_of(node, view.opset)
    keeps = traits.keeps_shape or (axis == 0 and traits.keeps_batch)
    return node.inputs[0] if keeps else None
