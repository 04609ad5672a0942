"""The epilogue of every kernel: element-wise operators over its result, and the store."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec
from .elements import BYTES, FLOAT, converted
from .frame import Frame, Operand, OperandsAt, operand, operands
from .halo import zero_halo
from .lane_store import spare_registers, store_lane
from .registers import Vector, vector

# An image, a block of channels, a position, and a lane.
Place = tuple[Any, Any, Sequence[Any], Any]


@dataclass
class Epilogue:
    """Applies a kernel's chain to its result and stores it."""

    chain: ElementwiseChain
    y: Operand
    operands: list[Operand] = field(default_factory=list)

    @classmethod
    def declare(
        cls, frame: Frame, chain: ElementwiseChain, y: BufferSpec, flattened: bool = False
    ) -> Epilogue:
        """Declare the parameters of `chain`, then the output, which comes last.

        Before it comes the number of its first block, where `y` does not say it.
        """
        from tvm.tirx.script.builder import ir as T

        declared = operands(frame, "E", chain.operands, flattened)
        if y.first is None:
            y = replace(y, first=T.arg("first", T.int64()))
        return cls(chain, operand(frame, "Y", y, flattened), declared)

    def begin(self, frame: Frame) -> None:
        """End the parameters, and write the border that the readers of the output want."""
        frame.begin()
        zero_halo(frame, self.y)

    def vector(self) -> contextlib.AbstractContextManager[Vector]:
        """Open a loop over the lanes of the output, for `store`."""
        return vector(self.y.spec.lanes, self.chain.held + spare_registers(self.y.spec.dtype))

    def store(self, value: Any, n: Any, block: Any, at: Sequence[Any], vector: Vector) -> None:
        """Emit the chain over `value` and the store of what it gives."""
        lane = vector.lane
        if isinstance(lane, int):
            self.store_at(value, (n, block, at, lane), vector)
            return
        found = self._applied(value, (n, block, at, lane), vector)
        *outer, _ = self.y.spec.index(n, block, at, lane)
        store_lane(self.y.buffer, found, self.y.spec.dtype, outer, vector)

    def store_at(self, value: Any, place: Place, vector: Vector) -> None:
        """Emit the same for a `place` of which any index may be the vector's."""
        self.y.store(self._applied(value, place, vector), *place)

    def _applied(self, value: Any, place: Place, vector: Vector) -> Any:
        """Return what the chain makes of `value`."""
        if self.chain.steps:
            value = converted(value, FLOAT)
        return self.chain.apply(
            value,
            OperandsAt(self.operands, *place),
            vector.hold,
            as_bits=self.y.spec.dtype in BYTES and bool(self.chain.steps),
        )
