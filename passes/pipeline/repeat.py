"""A group of passes that runs to its fixed point."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from ..engine.contract import Pass
from .presets import REPEAT


@dataclass(frozen=True)
class Repeat:
    """Passes, and groups of them, that run in order, again and again, until none of them edits.

    A group inside comes to its own fixed point before what stands behind it runs.
    """

    passes: tuple[Pass | Repeat, ...]

    def __str__(self) -> str:
        """Write the group as it is read: `repeat(a,b)`."""
        return f"{REPEAT}({','.join(map(str, self.passes))})"


def members(item: Pass | Repeat) -> tuple[Pass, ...]:
    """Return the passes of a group and of those inside it, in order; of a pass, itself."""
    if not isinstance(item, Repeat):
        return (item,)
    return tuple(itertools.chain.from_iterable(map(members, item.passes)))
