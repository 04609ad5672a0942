"""A byte looked up in a table: any function of a quantized number, at the cost of a few shuffles.

    y = table[x],    x of 256 values

Four bytes are a word of 32 bits, and the 64 words are vectors. With sixteen lanes they are four
vectors: one instruction picks, for each lane, a word of two of them, and a shift brings the byte
down. Other machines load the word.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VPERMI2D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .layout import Array, BufferSpec, Layout, no_halo

_VPERMI2D = "llvm.x86.avx512.vpermi2var.d.512"
_WORDS = 64
_LANES = 16


@dataclass(frozen=True)
class Words:
    """A table as a kernel has it: `vectors`, lane by lane, or the word at an index."""

    vectors: tuple[Any, ...]
    word: Callable[[Any], Any]


def table_spec(lanes: int) -> BufferSpec:
    """Return the buffer of a table, in vectors of `lanes` words."""
    layout = Layout.plain(_WORDS, lanes, no_halo(0))
    return layout.spec((), single=True, dtype="int32")


def table_words(values: Array, lanes: int) -> Array:
    """Return 256 bytes, by the bits of what is looked up, as the buffer of a table."""
    return np.ascontiguousarray(values).view("<i4").reshape(1, -1, lanes)


def looked_up(table: Words, bits: Any) -> Any:
    """Return an int32 whose low byte is that of `table` for the low byte of `bits`."""
    from tvm import tirx

    index = bits >> 2
    if len(table.vectors) * _LANES == _WORDS:
        first, second, third, fourth = table.vectors

        def picked(low: Any, high: Any) -> Any:
            # Of an index, it reads the five low bits.
            return tirx.call_llvm_pure_intrin("int32", _VPERMI2D, low, index, high)

        upper = (bits & 128) != 0
        word = tirx.Select(upper, picked(third, fourth), picked(first, second))
    else:
        word = table.word(index & (_WORDS - 1))
    return word >> ((bits & 3) << 3)


def as_number(word: Any, signed: bool) -> Any:
    """Return the low byte of an int32 as a float32."""
    from tvm import tirx

    byte = (word << 24) >> 24 if signed else word & 255
    return tirx.Cast("float32", byte)
