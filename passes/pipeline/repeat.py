"""A group of passes that runs to its fixed point."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.contract import Pass
from .presets import REPEAT


@dataclass(frozen=True)
class Repeat:
    """Passes that run in order, again and again, until none of them edits."""

    passes: tuple[Pass, ...]

    def __str__(self) -> str:
        """Write the group as it is read: `repeat(a,b)`."""
        return f"{REPEAT}({','.join(map(str, self.passes))})"
