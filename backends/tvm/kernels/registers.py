"""Vectors that stay in registers through a loop nest.

TVM puts a buffer on the stack if it is of scope "global" and less than a kilobyte; any other is
allocated on the heap, here for every tile, and what is stored there has to be written though nobody
reads it. A vector with a buffer of its own is a variable to LLVM. The loops over such vectors are
unrolled as the nest is written, for a register has no computed number.
"""

from __future__ import annotations

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

    def set(self, value: Callable[[Any], Any]) -> None:
        """Emit a store of `value(lane)` to all lanes at once."""
        from tvm.tirx.script.builder import ir as T

        with T.vectorized(0, self.lanes) as lane:
            T.buffer_store(self.buffer, value(lane), [lane])


def registers(count: int, lanes: int, dtype: str = FLOAT) -> list[Register]:
    """Return registers of `lanes` numbers each."""
    from tvm.tirx.script.builder import ir as T

    return [Register(T.alloc_buffer((lanes,), dtype), lanes) for _ in range(count)]


def each(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the places of a grid, the last axis fastest."""
    return itertools.product(*map(range, sizes))
