"""Nothing but multiply-adds in registers: what a machine computes at most.

    sum_i = sum_i + x * w,    i < sums

x and w are one float32, two bfloat16 or four bytes a lane, as `dot` has them. As many sums are in
flight as registers hold, more than the latency of a multiply-add asks for, and nothing is loaded in
the loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..spec.machine import CpuMachine
from .dot import FLOAT_DOT, Dot
from .frame import function, weights
from .registers import registers

_SPARE = 4  # registers for the factors and for what the compiler wants


@dataclass(frozen=True)
class Peak:
    """`steps` multiply-adds of every sum on each of `threads`."""

    threads: int
    steps: int
    sums: int
    lanes: int
    dot: Dot = FLOAT_DOT

    @classmethod
    def of(cls, machine: CpuMachine, threads: int, steps: int, dot: Dot = FLOAT_DOT) -> Peak:
        """Return the one that fills the registers of `machine`."""
        return cls(threads, steps, machine.registers - _SPARE, machine.lanes, dot)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all threads."""
        return self.threads * self.steps * self.sums * self.lanes * self.dot.width

    @property
    def operands(self) -> list[tuple[tuple[int, ...], str]]:
        """Shape and type of both factors, and of the sums."""
        factors = [((1,), self.dot.weights), ((1, self.lanes), self.dot.weights)]
        return [*factors, ((self.threads, self.sums, self.lanes), self.dot.total)]


def peak(op: Peak) -> Any:
    """Return the function (x [1], w [1, lanes], sums [threads, sums, lanes])."""
    from tvm.tirx.script.builder import ir as T

    with function("peak", 1) as frame:
        x, w, y = (weights(name, *one) for name, one in zip("XWY", op.operands, strict=True))
        frame.begin()
        with T.parallel(0, op.threads) as thread:
            held = registers(op.sums, op.lanes, op.dot.total)
            for i, total in enumerate(held):
                total.set(lambda lane: y[thread, i, lane])
            with T.serial(0, op.steps):
                for total in held:
                    op.dot.add(total, x[0], w, (0,))
            for i, total in enumerate(held):
                with T.vectorized(0, op.lanes) as lane:
                    T.buffer_store(y, total[lane], [thread, i, lane])
    return frame.func
