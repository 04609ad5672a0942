"""Prefetching weights before their turn comes.

Between two runs of a network its weights leave the caches nearest to the core, and the third one,
or the memory, gives a fraction of the bytes a cycle that a tile of sums takes in. Every tile of
positions takes in all weights of its output blocks: the first one waits for them, the others find
them in the second cache. So while those compute, each asks for its share of the next blocks'
weights, in the order of memory, which is what the machine's own prefetching follows best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

_LINE = 64  # bytes
_READ, _SECOND_CACHE, _DATA = 0, 2, 1  # the arguments of LLVM's prefetch


@dataclass(frozen=True)
class Prefetch:
    """The weights `w` of `blocks` output blocks from `first` on, asked for in `turns` equal turns.

    `turn` is the number of this one.
    """

    w: Any
    first: Any
    blocks: int
    turn: Any
    turns: int

    def emit(self, step: Any, steps: int) -> None:
        """Emit what step number `step` of the `steps` of a turn asks for."""
        from tvm import tirx

        _, *inner = map(int, self.w.shape)
        lines = math.ceil(self.blocks * math.prod(inner) / line_of(self.w) / self.turns)
        begin = self.turn * lines + tirx.floordiv(step * lines, steps)
        for i in range(math.ceil(lines / steps)):
            prefetch(self.w, self.first, (begin + i) * line_of(self.w))


def prefetch(w: Any, first: Any, place: Any) -> None:
    """Ask for the line of number `place` of `w`, counted from where block `first` begins."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    inside = [0] * (len(w.shape) - 2)
    given = [tirx.const(number, "int32") for number in (_READ, _SECOND_CACHE, _DATA)]
    address = tirx.address_of(w[(first, *inside, place)])
    T.evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch", address, *given))


def itemsize(w: Any) -> int:
    """Return the bytes of a number of `w`."""
    return np.dtype(str(w.dtype)).itemsize


def line_of(w: Any) -> int:
    """Return the numbers of `w` in a line."""
    return _LINE // itemsize(w)
