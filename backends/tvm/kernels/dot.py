"""How a vector of sums takes in the next channels: one float32, or several in one instruction.

    total[lane] += x[c] * w[c, lane]                                          float32
    total[lane] += sum over i < 4 of x[4c + i] * w[4c + i, lane]              bytes to int32
    total[lane] += sum over i < 2 of x[2c + i] * w[2c + i, lane]              bfloat16 to float32

Four (two) neighbouring channels of x are one 32-bit number that all lanes share; the weights of a
lane stand side by side likewise. Where channels are not blocked, two taps along the last axis are
neighbours instead. VPDPBUSD takes x unsigned: of signed bytes the top bit is flipped,
which adds 128 to each.

Where groups of few channels share a block, lanes have numbers of their own: those of four groups of
four channels are a vector of the block's four numbers, each four times.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VPDPBUSD and
VDPBF16PS.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
class SharedBlock:
    """Groups of `inputs` channels, and of `outputs`, that follow each other in a block."""

    inputs: int
    outputs: int

    def numbers(self, lanes: int, count: int, width: int, step: int) -> list[int]:
        """Return which of `count` numbers of `width` channels each of `lanes` reads at `step`."""
        each = self.inputs // width
        return [min(lane // self.outputs * each + step, count - 1) for lane in range(lanes)]


@dataclass(frozen=True)
class Dot:
    """Products of `width` channels and `taps` along the last axis; `total`: the type of sums.

    With `shared`, each lane takes in the channels of its own group alone.
    """

    width: int = 1
    taps: int = 1
    total: str = FLOAT
    weights: str = FLOAT
    shared: SharedBlock | None = None

    def can_share(self, block: SharedBlock) -> bool:
        """Say whether lanes can be given the numbers of their own groups."""
        return False

    def most_sums(self, machine: CpuMachine) -> int | None:
        """Return how many sums a tile may hold, None for as many as there are registers."""
        return None

    def value(
        self, source: PaddedInput, n: Any, block: Any, at: list[Any], step: Any, whole: bool
    ) -> Any:
        """Return the channels of step `step` as one number; not `whole`: the last one is alone.

        Of a shared block, a vector of the numbers of all lanes.
        """
        return source.load(n, block, at, step)

    def add(self, total: Register, value: Any, w: Any, place: Sequence[Any]) -> None:
        """Emit the addition of products to all sums of `total`, the weights from `place` on."""
        total.set(lambda lane: total[lane] + value * w[(*place, lane)])

    def add_vector(self, total: Register, value: Any, w: Any, place: Sequence[Any]) -> None:
        """Emit the addition of products where every lane has a number of its own."""
        from tvm import tirx

        weights = w[(*place, tirx.Ramp(0, 1, total.lanes))]
        total.put(self.sums(total.all, value, weights))

    def sums(self, total: Any, value: Any, weights: Any) -> Any:
        """Return `total` with products added, of vectors of as many numbers."""
        return total + value * weights

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

    def can_share(self, block: SharedBlock) -> bool:
        """Say whether each group has whole numbers."""
        return block.inputs % self.width == 0

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

        if self.shared is not None:
            lanes = source.operand.spec.lanes
            numbers = self.numbers(source.stored(n, block, at, tirx.Ramp(0, 1, lanes)), lanes)
            chosen = self.shared.numbers(lanes, lanes // self.width, self.width, step)
            # TVM wants as many numbers to choose from as there are lanes.
            return tirx.Shuffle([numbers] * self.width, chosen)
        four = source.stored(n, block, at, tirx.Ramp(step * self.width, 1, self.width))
        return self.numbers(four, self.width)

    def numbers(self, stored: Any, count: int) -> Any:
        """Return `count` bytes as numbers of four, each of them unsigned."""
        from tvm import tirx

        found = tirx.reinterpret(vector_type(self.total, count // self.width), stored)
        if not self.signed:
            return found
        top = tirx.const(TOP_BITS, self.total)
        whole = count == self.width
        return found ^ (top if whole else tirx.Broadcast(top, count // self.width))

    def add(self, total: Register, value: Any, w: Any, place: Sequence[Any]) -> None:
        """Emit one instruction for all sums."""
        from tvm import tirx

        self.add_vector(total, tirx.Broadcast(value, total.lanes), w, place)

    def sums(self, total: Any, value: Any, weights: Any) -> Any:
        """Return `total` with products added, of vectors of as many numbers of four bytes."""
        from tvm import tirx

        lanes = weights.ty.dtype.lanes
        return tirx.call_llvm_pure_intrin(
            vector_type(self.total, lanes),
            _VPDPBUSD,
            total,
            tirx.reinterpret(f"uint8x{lanes * self.width}", value),
            tirx.reinterpret(f"int8x{lanes * self.width}", weights),
        )

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


def vector_type(dtype: str, lanes: int) -> str:
    """Return TVM's name of a vector, or of a single number."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def steps(size: int, width: int) -> Iterator[tuple[int, int, bool]]:
    """Yield (first step, steps, whether all are of `width`) that `size` is taken in by."""
    whole, rest = divmod(size, width)
    if whole:
        yield 0, whole, True
    if rest:
        yield whole, 1, False


def dot_of(machine: CpuMachine, dtype: str) -> Dot | None:
    """Return the products that `machine` has an instruction for where x holds `dtype`."""
    if dtype == HALF:
        return HalfDot() if machine.has("avx512_bf16") else None
    if dtype in ("uint8", "int8") and machine.has("avx512_vnni"):
        return ByteDot(signed=dtype == "int8")
    return None


def _interleaved(weights: Array, width: int) -> Array:
    """Return [..., C, M] as int32 [..., C / width, M]: the bits of `width` channels in each."""
    *outer, channels, lanes = weights.shape
    missing = -channels % width
    weights = np.pad(weights, [*[(0, 0)] * len(outer), (0, missing), (0, 0)])
    steps = weights.reshape(*outer, -1, width, lanes)
    return np.ascontiguousarray(np.swapaxes(steps, -1, -2)).view(np.int32)[..., 0]
