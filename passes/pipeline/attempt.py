"""A group of passes that is given up as a whole where what it is for does not come about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..engine.contract import Pass
from .presets import ATTEMPT, OTHERWISE
from .repeat import Repeat
from .repeat import members as passes_of


@dataclass(frozen=True)
class Attempt:
    """Passes that run in order; where one of them goes back (`Context.go_back`), others instead.

    `otherwise`: what runs then, on the graph as it was before the group.
    """

    passes: tuple[Pass | Repeat, ...]
    otherwise: tuple[Pass | Repeat, ...] = ()

    def __str__(self) -> str:
        """Write the group as it is read: `attempt(a,b,otherwise(c))`."""
        steps = list(map(str, self.passes))
        if self.otherwise:
            steps.append(f"{OTHERWISE}({','.join(map(str, self.otherwise))})")
        return f"{ATTEMPT}({','.join(steps)})"


Item = Pass | Repeat | Attempt


def members(item: Item) -> tuple[Pass, ...]:
    """Return the passes of an item of a pipeline, in order, those of `otherwise` last."""
    if not isinstance(item, Attempt):
        return passes_of(item)
    return tuple(each for part in (*item.passes, *item.otherwise) for each in passes_of(part))


def with_each(item: Item, change: Callable[[Pass], Pass]) -> Item:
    """Return `item` with what `change` makes of each of its passes, those of `otherwise` too."""
    if not isinstance(item, Attempt):
        return _with_each(item, change)
    return Attempt(
        tuple(_with_each(each, change) for each in item.passes),
        tuple(_with_each(each, change) for each in item.otherwise),
    )


def _with_each(item: Pass | Repeat, change: Callable[[Pass], Pass]) -> Pass | Repeat:
    if isinstance(item, Repeat):
        return Repeat(tuple(_with_each(each, change) for each in item.passes))
    return change(item)
