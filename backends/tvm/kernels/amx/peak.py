"""Nothing but products of full tiles in registers: what a machine with AMX computes at most.

    sum_i = sum_i + x . w,    i < sums

One factor is 16 rows of 64 bytes, the other as many: four bytes or two bfloat16 of each channel
side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..frame import function, weights
from .unit import REGISTERS, ROW_BYTES, ROWS, MatrixUnit, TileShape

_LANES = ROW_BYTES // 4
_SUMS = REGISTERS - 2


@dataclass(frozen=True)
class MatrixPeak:
    """`steps` products added to every sum on each of `threads`; `total`: the type of sums."""

    threads: int
    steps: int
    total: str

    sums: ClassVar[int] = _SUMS

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all threads."""
        width = 4 if self.total == "int32" else 2
        return self.threads * self.steps * self.sums * ROWS * ROWS * _LANES * width

    @property
    def operands(self) -> list[tuple[tuple[int, ...], str]]:
        """Shape and type of both factors, and of the sums."""
        factor = (ROWS, _LANES), "int32"
        return [factor, factor, ((self.threads, self.sums, ROWS, _LANES), self.total)]


def matrix_peak(op: MatrixPeak) -> Any:
    """Return the function (x [16, 16], w [16, 16], sums [threads, sums, 16, 16])."""
    from tvm.tirx.script.builder import ir as T

    unit = MatrixUnit((TileShape(ROWS, ROW_BYTES),) * REGISTERS, op.total)
    x_at, w_at = op.sums, op.sums + 1
    with function("matrix_peak", 1) as frame:
        x, w, y = (weights(name, *one) for name, one in zip("XWY", op.operands, strict=True))
        frame.begin()
        with T.parallel(0, op.threads) as thread, unit.configured():
            unit.load(x_at, x, (0, 0), ROW_BYTES)
            unit.load(w_at, w, (0, 0), ROW_BYTES)
            for number in range(op.sums):
                unit.clear(number)
            with T.serial(0, op.steps):
                for number in range(op.sums):
                    unit.multiply(number, x_at, w_at)
            for number in range(op.sums):
                unit.store(number, y, (thread, number, 0, 0), ROW_BYTES)
    return frame.func
