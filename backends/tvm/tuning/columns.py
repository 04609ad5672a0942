"""How many positions a depthwise convolution or pooling combines at once."""

from __future__ import annotations

from typing import Any, ClassVar

from ..kernels.windows import Windows, choose_columns, most_columns, windows
from ..spec.machine import CpuMachine
from .choice import Choice


class ColumnChoice(Choice[Windows, int]):
    """The columns that are held in registers."""

    name: ClassVar[str] = "columns"

    def covers(self, op: Any) -> bool:
        """Say whether `op` combines windows."""
        return isinstance(op, Windows)

    def ranked(self, op: Windows, machine: CpuMachine) -> list[int]:
        """Return what the model takes, then the other numbers from those nearest to it."""
        best = choose_columns(op, machine)
        return sorted(range(1, most_columns(op, machine) + 1), key=lambda c: (abs(c - best), c))

    def neighbours(self, op: Windows, candidate: int, machine: CpuMachine) -> list[int]:
        """Return one less and one more, where registers and the row have room."""
        most = most_columns(op, machine)
        return [c for c in (candidate - 1, candidate + 1) if 1 <= c <= most]

    def kernel(self, op: Windows, candidate: int, machine: CpuMachine) -> Any:
        """Return the operator that combines so many columns at once."""
        return windows(op, machine, candidate)

    def to_json(self, candidate: int) -> Any:
        """Return the number."""
        return candidate

    def from_json(self, value: Any, op: Windows, machine: CpuMachine) -> int:
        """Return the number; raises ValueError where `op` cannot have so many columns."""
        if type(value) is not int or not 1 <= value <= most_columns(op, machine):
            raise ValueError(f"{value!r} is no number of columns of the operator")
        return value
