"""What a compiled network takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Port:
    """An input or output: `dtype` as numpy calls it; sizes that are open are names or None.

    `shape` is None where the rank is not known.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        """Write it as `x float32[1, 3, 224, 224]`."""
        if self.shape is None:
            return f"{self.name} {self.dtype}"
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype}[{sizes}]"


def ports_line(inputs: Sequence[Port], outputs: Sequence[Port]) -> str:
    """Return what goes in and what comes out, in a line."""
    sides = (", ".join(map(str, side)) or "nothing" for side in (inputs, outputs))
    return " -> ".join(sides)
