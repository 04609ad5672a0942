"""Vectors that stay in registers through a loop nest.

TVM puts a buffer on the stack if it is of scope "global" and less than a kilobyte; any other is
allocated on the heap, here for every tile, and what is stored there has to be written though nobody
reads it. A vector with a buffer of its own is a variable to LLVM. The loops over such vectors are
unrolled as the nest is written, for a register has no computed number.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .elements import FLOAT


@dataclass(frozen=True)
class Register:
    """A vector of `lanes` numbers in a buffer of its own, undefined at first."""

    buffer: Any
    lanes: int

    def __getitem__(self, lane: Any) -> Any:
        """Return the number in `lane`, or several where that is a row of lanes."""
        return self.buffer[lane]

    @property
    def all(self) -> Any:
        """All numbers at once."""
        from tvm import tirx

        return self.buffer[tirx.Ramp(0, 1, self.lanes)]

    def put(self, values: Any) -> None:
        """Emit a store of `values`, a vector of as many numbers."""
        from tvm import tirx
        from tvm.tirx.script.builder import ir as T

        T.buffer_store(self.buffer, values, [tirx.Ramp(0, 1, self.lanes)])

    def set(self, value: Callable[[Any], Any]) -> None:
        """Emit a store of `value(lane)` to all lanes at once."""
        from tvm.tirx.script.builder import ir as T

        with T.vectorized(0, self.lanes) as lane:
            T.buffer_store(self.buffer, value(lane), [lane])


def registers(count: int, lanes: int, dtype: str = FLOAT) -> list[Register]:
    """Return registers of `lanes` numbers each."""
    from tvm.tirx.script.builder import ir as T

    return [Register(T.alloc_buffer((lanes,), dtype), lanes) for _ in range(count)]


class Vector:
    """An open vectorized loop over `lanes`, and registers for what is computed on the way.

    `afterwards`: what is emitted behind the loop, where vectors are whole.

    TVM keeps no name for an expression in such a loop: it writes out what a `Bind` stands for, and
    makes a buffer that is allocated inside it one number.
    """

    def __init__(self, lane: Any, free: Sequence[Register]) -> None:
        self.lane = lane
        self._free = iter(free)
        self.afterwards: list[Callable[[], None]] = []

    def hold(self, value: Any) -> Any:
        """Emit the computation of `value` into the next register, and return it from there."""
        register = self.keep(value)
        return register[0 if register.lanes == 1 else self.lane]

    def keep(self, value: Any) -> Register:
        """Emit the computation of `value` into the next register, and return that."""
        from tvm.tirx.script.builder import ir as T

        register = next(self._free)
        T.buffer_store(register.buffer, value, [0 if register.lanes == 1 else self.lane])
        return register


@contextlib.contextmanager
def vector(lanes: int, held: int) -> Iterator[Vector]:
    """Open a vectorized loop that holds so many numbers on the way."""
    from tvm.tirx.script.builder import ir as T

    free = registers(held, lanes)
    with T.vectorized(0, lanes) as lane:
        found = Vector(lane, free)
        yield found
    for emit in found.afterwards:
        emit()


def scalar(lane: int, held: int) -> Vector:
    """Return one lane on its own, with room for so many numbers."""
    return Vector(lane, registers(held, 1))


def each(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the places of a grid, the last axis fastest."""
    return itertools.product(*map(range, sizes))
