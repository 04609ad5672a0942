"""How a vector of sums takes in the next channels: one float32, or several in one instruction.

    total[lane] += x[c] * w[c, lane]                                          float32
    total[lane] += sum over i < 4 of x[4c + i] * w[4c + i, lane]              bytes to int32
    total[lane] += sum over i < 2 of x[2c + i] * w[2c + i, lane]              bfloat16 to float32

Four (two) neighbouring channels of x are one 32-bit number that all lanes share; the weights of a
lane stand side by side likewise. Where channels are not blocked, two taps along the last axis are
neighbours instead. VPDPBUSD takes x unsigned: of signed bytes the top bit is flipped,
which adds 128 to each.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VPDPBUSD and
VDPBF16PS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from ..spec.layout import Array
from ..spec.machine import CpuMachine
from .bfloat16 import HALF, bits_of
from .elements import FLOAT
from .padding import PaddedInput
from .registers import Register

_VPDPBUSD = "llvm.x86.avx512.vpdpbusd.512"
_VDPBF16PS = "planish_vdpbf16ps"
# TVM keeps bfloat16 as integers, which LLVM's own function does not take.
_WRAPPER = f"""
declare <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(
    <16 x float>, <32 x bfloat>, <32 x bfloat>)
define linkonce_odr <16 x float> @{_VDPBF16PS}(
    <16 x float> %total, <16 x i32> %x, <16 x i32> %w) alwaysinline nounwind {{
  %a = bitcast <16 x i32> %x to <32 x bfloat>
  %b = bitcast <16 x i32> %w to <32 x bfloat>
  %sum = call <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(
      <16 x float> %total, <32 x bfloat> %a, <32 x bfloat> %b)
  ret <16 x float> %sum
}}
"""
TOP_BITS = -0x7F7F7F80  # 0x80808080


@dataclass(frozen=True)
class Dot:
    """Products of `width` channels and `taps` along the last axis; `total`: the type of sums."""

    width: int = 1
    taps: int = 1
    total: str = FLOAT
    weights: str = FLOAT

    def most_sums(self, machine: CpuMachine) -> int | None:
        """Return how many sums a tile may hold, None for as many as there are registers."""
        return None

    def value(
        self, source: PaddedInput, n: Any, block: Any, at: list[Any], step: Any, whole: bool
    ) -> Any:
        """Return the channels of step `step` as one number; not `whole`: the last one is alone."""
        return source.load(n, block, at, step)

    def add(self, total: Register, value: Any, w: Any, place: Sequence[Any]) -> None:
        """Emit the addition of products to all sums of `total`, the weights from `place` on."""
        total.set(lambda lane: total[lane] + value * w[(*place, lane)])

    def interleaved(self, weights: Array) -> Array:
        """Return weights [..., C lanes, M lanes] as [..., steps, M lanes], one number a step."""
        return weights


@dataclass(frozen=True)
class ByteDot(Dot):
    """Four bytes of x, `signed` or not, by four signed bytes of weights."""

    width: int = 4
    total: str = "int32"
    weights: str = "int32"
    signed: bool = False

    def most_sums(self, machine: CpuMachine) -> int:
        """Return half of the registers.

        What four bytes are broadcast into takes some, and so do constants of the requantization:
        LLVM keeps sums in memory then, at half the speed.
        """
        return machine.registers // 2

    def value(
        self, source: PaddedInput, n: Any, block: Any, at: list[Any], step: Any, whole: bool
    ) -> Any:
        """Return four neighbouring channels as one number, some perhaps with weights of zero."""
        from tvm import tirx

        four = source.stored(n, block, at, tirx.Ramp(step * self.width, 1, self.width))
        number = tirx.reinterpret(self.total, four)
        return number ^ tirx.const(TOP_BITS, self.total) if self.signed else number

    def add(self, total: Register, value: Any, w: Any, place: Sequence[Any]) -> None:
        """Emit one instruction for all sums."""
        from tvm import tirx

        self._add(total, tirx.Broadcast(value, total.lanes), w, place)

    def add_vectors(self, total: Register, value: Register, w: Any, place: Sequence[Any]) -> None:
        """Emit the addition of products where every lane has four numbers of its own."""
        from tvm import tirx

        self._add(total, value[tirx.Ramp(0, 1, value.lanes)], w, place)

    def _add(self, total: Register, values: Any, w: Any, place: Sequence[Any]) -> None:
        from tvm import tirx
        from tvm.tirx.script.builder import ir as T

        lanes = total.lanes
        at = tirx.Ramp(0, 1, lanes)
        sums = tirx.call_llvm_pure_intrin(
            f"int32x{lanes}",
            _VPDPBUSD,
            total[at],
            tirx.reinterpret(f"uint8x{lanes * self.width}", values),
            tirx.reinterpret(f"int8x{lanes * self.width}", w[(*place, at)]),
        )
        T.buffer_store(total.buffer, sums, [at])

    def interleaved(self, weights: Array) -> Array:
        """Return the weights of four neighbouring channels side by side, as one int32."""
        return _interleaved(weights.astype(np.int8), self.width)


@dataclass(frozen=True)
class HalfDot(Dot):
    """Two bfloat16 by two, to float32."""

    width: int = 2
    weights: str = "int32"

    def value(
        self, source: PaddedInput, n: Any, block: Any, at: list[Any], step: Any, whole: bool
    ) -> Any:
        """Return two neighbours as one number; zero beside one that is alone."""
        from tvm import tirx

        if not whole:  # next to it there may be what is no number
            one = source.stored(n, block, at, step * self.width)
            return tirx.Cast(self.weights, bits_of(one))
        return tirx.reinterpret(self.weights, self._pair(source, n, block, at, step))

    def _pair(self, source: PaddedInput, n: Any, block: Any, at: list[Any], step: Any) -> Any:
        from tvm import tirx

        return source.stored(n, block, at, tirx.Ramp(step * self.width, 1, self.width))

    def add(self, total: Register, value: Any, w: Any, place: Sequence[Any]) -> None:
        """Emit one instruction for all sums."""
        from tvm import tirx
        from tvm.tirx.script.builder import ir as T

        lanes = total.lanes
        at = tirx.Ramp(0, 1, lanes)
        sums = tirx.call_pure_extern(
            f"{FLOAT}x{lanes}",
            _VDPBF16PS,
            total[at],
            tirx.Broadcast(value, lanes),
            w[(*place, at)],
        )
        with T.attr(tirx.const(0, "int32"), "pragma_import_llvm", _WRAPPER):
            T.buffer_store(total.buffer, sums, [at])

    def interleaved(self, weights: Array) -> Array:
        """Return the weights of two neighbours side by side, as one int32."""
        return _interleaved(weights.astype(ml_dtypes.bfloat16), self.width)


@dataclass(frozen=True)
class HalfTapDot(HalfDot):
    """Two taps along the last axis, of bfloat16 that lie as ONNX has them."""

    width: int = 1
    taps: int = 2

    def _pair(self, source: PaddedInput, n: Any, block: Any, at: list[Any], step: Any) -> Any:
        return source.stored_row(n, block, at, step, self.taps)

    def interleaved(self, weights: Array) -> Array:
        """Return weights [..., k, C, M] as int32 [..., k / 2, C, M]."""
        by_channel = np.swapaxes(weights.astype(ml_dtypes.bfloat16), -3, -2)
        return np.ascontiguousarray(np.swapaxes(_interleaved(by_channel, self.taps), -3, -2))


FLOAT_DOT = Dot()


def dot_of(machine: CpuMachine, dtype: str) -> Dot | None:
    """Return the products that `machine` has an instruction for where x holds `dtype`."""
    if dtype == HALF:
        return HalfDot() if machine.isa == "avx512-bf16" else None
    if dtype in ("uint8", "int8") and machine.isa in ("avx512-vnni", "avx512-bf16"):
        return ByteDot(signed=dtype == "int8")
    return None


def _interleaved(weights: Array, width: int) -> Array:
    """Return [..., C, M] as int32 [..., C / width, M]: the bits of `width` channels in each."""
    *outer, channels, lanes = weights.shape
    missing = -channels % width
    weights = np.pad(weights, [*[(0, 0)] * len(outer), (0, missing), (0, 0)])
    steps = weights.reshape(*outer, -1, width, lanes)
    return np.ascontiguousarray(np.swapaxes(steps, -1, -2)).view(np.int32)[..., 0]
