"""The border of zeros that a kernel writes around its result, for the padding of what reads it."""

from __future__ import annotations

from .bfloat16 import HALF
from .elements import constant
from .frame import Frame, Operand
from .loops import loops, parallel


def zero_halo(frame: Frame, y: Operand) -> None:
    """Emit stores of what stands for zero to the border of every block that `y` covers."""
    from tvm.tirx.script.builder import ir as T

    spec = y.spec
    if not any(map(any, spec.halo)):
        return
    zero = constant(spec.zero, spec.dtype)
    kind = "serial" if spec.dtype == HALF else "vectorized"  # TVM has no vector of constants then
    count = len(spec.blocks)
    lows = [low for low, _ in spec.halo]
    with parallel([frame.batch, count]) as (n, block):
        for axis in range(3):
            low, high = spec.halo[axis]
            starts = [(0, low), (low + spec.spatial[axis], high)]
            # Corners belong to the first axis that is outside.
            extents = [
                spec.spatial[other] if other < axis else spec.padded[other] for other in range(3)
            ]
            base = [lows[other] if other < axis else 0 for other in range(3)]
            for start, width in starts:
                if not width:
                    continue
                sizes = [*extents]
                sizes[axis] = width
                origin = [*base]
                origin[axis] = start
                with loops(*sizes) as at, loops(spec.lanes, kind=kind) as (lane,):
                    place = [o + a for o, a in zip(origin, at, strict=True)]
                    T.buffer_store(y.buffer, zero, [n, block + spec.first, *place, lane])
