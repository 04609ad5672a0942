"""The store of one lane, in the type of the buffer; bfloat16 of all lanes are rounded at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .bfloat16 import (
    BITS,
    HALF,
    rounded_bits,
    rounds_in_one_instruction,
    store_rounded,
)
from .elements import FLOAT, converted
from .registers import Vector


def spare_registers(dtype: str) -> int:
    """Return how many more registers a vector wants for the store of a lane as `dtype`."""
    return int(dtype == HALF and rounds_in_one_instruction())


def store_lane(
    buffer: Any, value: Any, dtype: str, outer: Sequence[Any], vector: Vector, first: Any = 0
) -> None:
    """Emit the store of `value`, as `dtype`, to the lane of `vector` of the row at `outer`.

    `first`: where in the row the lanes begin.
    """
    from tvm.tirx.script.builder import ir as T

    if spare_registers(dtype):
        row = vector.keep(converted(value, FLOAT))
        place = [*outer, first]
        vector.afterwards.append(lambda: store_rounded(buffer, row, row.lanes, place))
        return
    if dtype == HALF and str(buffer.dtype) == BITS:
        value = rounded_bits(converted(value, FLOAT))
    else:
        value = converted(value, dtype)
    T.buffer_store(buffer, value, [*outer, first + vector.lane])
