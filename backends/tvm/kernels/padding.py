"""Reading an input as if zeros stood around it, or the number that stands for zero."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..spec.layout import covers
from .bfloat16 import HALF, bits_of, memory_type
from .elements import constant, real
from .frame import Frame, Operand
from .loops import loops, parallel

Pads = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class PaddedInput:
    """The input, read at positions counted from the first padded one."""

    operand: Operand
    shift: tuple[Any, Any, Any]
    scratch: Any = None
    n: Any = None

    def image(self, n: Any) -> Any:
        """Return the image that a kernel's loop over images stands at."""
        return n if self.n is None else self.n

    def load(self, n: Any, block: Any, at: list[Any], lane: Any) -> Any:
        """Return one number of the input."""
        return real(self.stored(n, block, at, lane), self.operand.spec)

    def stored(self, n: Any, block: Any, at: list[Any], lane: Any) -> Any:
        """Return what is stored for one number, or, where `lane` is a row, for several."""
        place = [position - shift for position, shift in zip(at, self.shift, strict=True)]
        if self.scratch is not None:
            if self.operand.spec.lanes:
                return self.scratch[(block, *place, lane)]
            return self.scratch[(lane, *place)]
        return self.operand.stored(n, block, place, lane)

    def stored_row(self, n: Any, block: Any, at: list[Any], lane: Any, count: int) -> Any:
        """Return what is stored of one channel, not blocked, at `count` positions in a row."""
        from tvm import tirx

        *outer, first = [position - shift for position, shift in zip(at, self.shift, strict=True)]
        if self.scratch is not None:
            return self.scratch[(lane, *outer, tirx.Ramp(first, 1, count))]
        *outer, first = self.operand.spec.index(n, block, [*outer, first], lane)
        return self.operand.buffer[(*outer, tirx.Ramp(first, 1, count))]


@contextlib.contextmanager
def padded(frame: Frame, pads: Pads, x: Operand) -> Iterator[tuple[Any, PaddedInput]]:
    """Give the number of images to loop over, and the input with its padding around it.

    Where the halo covers the padding it is read in place, all images in one loop. Else each image
    in turn is copied into a scratch buffer with zeros around it.
    """
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    spec = x.spec
    (first, _), (second, _), (third, _) = pads
    befores = (first, second, third)
    if covers(spec.halo, tuple(pads)):
        yield frame.batch, PaddedInput(x, befores)
        return
    sizes = [s + a + b for s, (a, b) in zip(spec.spatial, pads, strict=True)]
    outer = len(spec.blocks) if spec.lanes else spec.channels
    inner = spec.lanes or 1
    shape = (outer, *sizes, spec.lanes) if spec.lanes else (outer, *sizes)
    held = memory_type(spec.dtype)
    zero = constant(spec.zero, held)
    frame.independent = False
    with loops(frame.batch) as (n,):
        scratch = T.alloc_buffer(shape, held)
        with parallel([outer, *sizes[:2]]) as (c, z, y), loops(sizes[2]) as (column,):
            place = [p - low for p, low in zip((z, y, column), befores, strict=True)]
            inside = [
                test
                for p, size, around in zip(place, spec.spatial, pads, strict=True)
                if any(around)
                for test in (p >= 0, p < size)
            ]
            with loops(inner, kind="vectorized") as (lane,):
                block, channel = (c, lane) if spec.lanes else (0, c)
                value = x.stored(n, block, place, channel)
                value = bits_of(value) if spec.dtype == HALF else value
                kept = tirx.if_then_else(tirx.all(*inside), value, zero)
                index = [c, z, y, column, lane] if spec.lanes else [c, z, y, column]
                T.buffer_store(scratch, kept, index)
        yield 1, PaddedInput(x, (0, 0, 0), scratch, n)
