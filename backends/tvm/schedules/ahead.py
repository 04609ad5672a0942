"""Asking for weights before their turn comes.

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

_LINE = 64  # bytes
_READ, _SECOND_CACHE, _DATA = 0, 2, 1  # the arguments of LLVM's prefetch


@dataclass(frozen=True)
class Ahead:
    """The weights `w` from output block `block` on, asked for in `turns` turns, this one `turn`."""

    w: Any
    block: Any
    turn: Any
    turns: int

    def fetch(self, blocks: int, step: Any) -> None:
        """Emit what step number `step` of a turn asks for; there is one for each of C and taps.

        `blocks` output blocks are asked for in all.
        """
        from tvm import tirx
        from tvm.tirx.script.builder import ir as T

        _, *inner, lanes = map(int, self.w.shape)
        width = int(inner.pop()) * lanes  # numbers in a step
        steps = math.prod(inner)
        line = _LINE // 4
        share = math.ceil(blocks * width / line / self.turns)
        begin = tirx.floordiv((self.turn * steps + step) * (blocks * width // line), self.turns)
        for i in range(share):
            place = [self.block, *[0] * (len(inner) + 1), (begin + i) * line]
            given = [tirx.const(number, "int32") for number in (_READ, _SECOND_CACHE, _DATA)]
            address = tirx.address_of(self.w[tuple(place)])
            T.evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch", address, *given))
