"""Vectors that stay in registers through a loop nest.

TVM puts a buffer on the stack if it is of scope "global" and less than a kilobyte; any other is
allocated on the heap, here for every tile, and what is stored there has to be written though nobody
reads it. A vector with a buffer of its own is a variable to LLVM. The loops over such vectors are
unrolled as the nest is written, for a register has no computed number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from .elements import FLOAT


def registers(count: int, lanes: int, dtype: str = FLOAT) -> list[Any]:
    """Return buffers of `lanes` numbers each, undefined at first."""
    from tvm.tirx.script.builder import ir as T

    return [T.alloc_buffer((lanes,), dtype) for _ in range(count)]


def each(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the places of a grid, the last axis fastest."""
    return itertools.product(*map(range, sizes))
