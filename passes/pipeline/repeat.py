"""A group of passes that runs to its fixed point, and passes as text."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.contract import Pass
from .grammar import show_options
from .presets import REPEAT


@dataclass(frozen=True)
class Repeat:
    """Passes that run in order, again and again, until none of them edits."""

    passes: tuple[Pass, ...]

    def __str__(self) -> str:
        """Write the group as it is read: `repeat(a,b)`."""
        return f"{REPEAT}({','.join(map(show, self.passes))})"


def show(item: Pass | Repeat) -> str:
    """Write a pass with its options, or a group, as text."""
    return f"{item.name}{show_options(item)}" if isinstance(item, Pass) else str(item)
