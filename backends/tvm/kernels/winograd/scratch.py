"""Scratch buffers of a Winograd convolution: planes of one point each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..elements import FLOAT, constant
from ..loops import loops


@dataclass(frozen=True)
class Planes:
    """A scratch buffer [outer, points, places, lanes] of float32.

    One vector is left empty after every plane: a transform writes all points at once, and addresses
    a power of two apart share a few lines of the cache. The buffer has one axis, because TVM would
    cut off what no index reaches.
    """

    buffer: Any
    points: int
    places: int
    lanes: int

    @classmethod
    def alloc(cls, outer: int, points: int, places: int, lanes: int) -> Planes:
        """Allocate the buffer here."""
        from tvm.tirx.script.builder import ir as T

        size = outer * points * (places + 1) * lanes
        return cls(T.alloc_buffer((size,), FLOAT), points, places, lanes)

    def load(self, outer: Any, point: Any, place: Any, lane: Any) -> Any:
        """Return an element."""
        return self.buffer[self._index(outer, point, place, lane)]

    def store(self, value: Any, outer: Any, point: Any, place: Any, lane: Any) -> None:
        """Emit a store to an element."""
        from tvm.tirx.script.builder import ir as T

        T.buffer_store(self.buffer, value, [self._index(outer, point, place, lane)])

    def zero(self) -> None:
        """Emit stores of zeros to all of it."""
        from tvm.tirx.script.builder import ir as T

        vectors = int(self.buffer.shape[0]) // self.lanes
        with loops(vectors) as (at,), T.vectorized(0, self.lanes) as lane:
            T.buffer_store(self.buffer, constant(0.0), [at * self.lanes + lane])

    def _index(self, outer: Any, point: Any, place: Any, lane: Any) -> Any:
        return ((outer * self.points + point) * (self.places + 1) + place) * self.lanes + lane
