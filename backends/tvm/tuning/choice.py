"""A choice that measuring can make: which operators have it, what may be chosen, and its kernel."""

from __future__ import annotations

import itertools
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from ..spec.machine import CpuMachine

Op = TypeVar("Op")
Candidate = TypeVar("Candidate")


class Choice(ABC, Generic[Op, Candidate]):
    """One kind of choice. A candidate is a value: hashable, and compared by what it says.

    Instances are sent to other processes, so that their class has to be importable by name.
    """

    name: ClassVar[str]

    @abstractmethod
    def covers(self, op: Any) -> bool:
        """Say whether the operator `op` has this choice."""

    @abstractmethod
    def ranked(self, op: Op, machine: CpuMachine) -> list[Candidate]:
        """Return candidates in the order of the cost model, first what it would take itself."""

    @abstractmethod
    def neighbours(self, op: Op, candidate: Candidate, machine: CpuMachine) -> list[Candidate]:
        """Return the candidates one step away from this one, whatever the cost model says."""

    @abstractmethod
    def kernel(self, op: Op, candidate: Candidate, machine: CpuMachine) -> Any:
        """Return the kernel of `op` as a TIR function: operands in, the last one written."""

    @abstractmethod
    def to_json(self, candidate: Candidate) -> Any:
        """Return what stands for `candidate` in a file."""

    @abstractmethod
    def from_json(self, value: Any, op: Op, machine: CpuMachine) -> Candidate:
        """Return the candidate that `value` stands for; raises ValueError where it is none of `op`.

        A file may have been changed by anyone, so that nothing in it is trusted.
        """


def candidates(
    choice: Choice[Op, Candidate], op: Op, machine: CpuMachine, count: int, seed: int
) -> list[Candidate]:
    """Return up to `count` candidates, the same ones for the same `seed`.

    The first is what the cost model takes. It ranks the first half, and the rest is drawn from
    their neighbours, which it may be wrong about.
    """
    ranked = choice.ranked(op, machine)
    found = dict.fromkeys(ranked[: -(-count // 2)])
    generator = random.Random(seed)
    waiting = list(found)
    while waiting and len(found) < count:
        near = [
            one
            for candidate in waiting
            for one in choice.neighbours(op, candidate, machine)
            if one not in found
        ]
        waiting = list(dict.fromkeys(near))
        generator.shuffle(waiting)
        found.update(dict.fromkeys(waiting[: count - len(found)]))
    found.update(dict.fromkeys(_first(ranked, count - len(found), found)))
    return list(found)


def _first(
    ranked: Iterable[Candidate], count: int, but: dict[Candidate, None]
) -> Iterator[Candidate]:
    return itertools.islice((one for one in ranked if one not in but), max(0, count))
