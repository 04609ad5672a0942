"""What a compiled network takes and gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


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


def ports_of(tensors: Iterable[gs.Tensor]) -> tuple[Port, ...]:
    """Return the tensors of a graph as ports."""
    from ...ir.core import dtypes  # onnx, which what only runs artifacts does without

    return tuple(
        Port(t.name, dtypes.type_name(t.dtype), None if t.shape is None else tuple(t.shape))
        for t in tensors
    )


def ports_line(inputs: Sequence[Port], outputs: Sequence[Port]) -> str:
    """Return what goes in and what comes out, in a line."""
    sides = (", ".join(map(str, side)) or "nothing" for side in (inputs, outputs))
    return " -> ".join(sides)
