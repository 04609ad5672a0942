"""What calls may run at once: those in a row that do not need each other are one phase.

Threads go on from one call of a phase to the next without waiting. Memory is planned by phases, so
that no call writes where another of its phase reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .call_sequence import PlacedTensor
from .team import KernelStage


@dataclass(frozen=True, eq=False, kw_only=True)
class Step:
    """A call of `function` on `operands`, tensors and numbers, some of them `written`.

    `function`: a variable of the module, or a symbol that the linker finds. `stage`: how threads
    share it, None where it starts threads itself. `sizes`: numbers that it is told last. `each`: it
    is for one image, and called for each.
    """

    function: Any
    operands: Sequence[object]
    written: Sequence[PlacedTensor]
    stage: KernelStage | None
    sizes: Sequence[object] = ()
    each: bool = False

    @property
    def is_one_of_each(self) -> bool:
        """Say whether it is one part of each image."""
        parts = None if self.stage is None else self.stage.parts
        return self.each and isinstance(parts, int) and parts == 1

    @property
    def tensors(self) -> list[PlacedTensor]:
        """The tensors that it reads or writes."""
        return [one for one in self.operands if isinstance(one, PlacedTensor)]


Phases = list[list[Step]]


def phases_of(steps: Iterable[Step]) -> Phases:
    """Return `steps` in their order, as phases; what starts threads itself is one alone."""
    phases: Phases = []
    touched: set[PlacedTensor] = set()
    written: set[PlacedTensor] = set()
    alone = True
    for step in steps:
        new, own = set(step.tensors), set(step.written)
        if alone or step.stage is None or new & written or own & touched:
            phases.append([])
            touched, written = set(), set()
        phases[-1].append(step)
        touched |= new
        written |= own
        alone = step.stage is None
    return phases


def lives_of(phases: Phases) -> dict[PlacedTensor, tuple[int, int]]:
    """Return the first and the last phase that each tensor is used in, by the first.

    Phases in a row that are one part of each image count as one: who has an image takes it through
    all of them, while others are anywhere with theirs.
    """
    lives: dict[PlacedTensor, tuple[int, int]] = {}
    number, chained = 0, False
    for phase in phases:
        single = len(phase) == 1 and phase[0].is_one_of_each
        number += not (single and chained)
        chained = single
        for step in phase:
            for tensor in step.tensors:
                lives[tensor] = lives.get(tensor, (number,))[0], number
    return lives
