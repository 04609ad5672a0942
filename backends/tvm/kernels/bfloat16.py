"""bfloat16 in memory, float32 in registers: how one becomes the other.

    widened   the bits above sixteen zeros                                  exact
    rounded   (bits + 0x7FFF + (bits >> 16 & 1)) >> 16                      to nearest, ties to even

A NaN stays one. Bits are moved as integers, since TVM leaves casts of a type that it stores as
integers as they are where a name stands for the result. A row of numbers is rounded by LLVM's own
truncation where that is one instruction, VCVTNEPS2BF16, which also takes denormal numbers for 0.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VCVTNEPS2BF16.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

HALF = "bfloat16"
BITS = "uint16"  # of buffers inside a kernel: TVM makes such ones of bfloat16 twice as large
_ROUNDED = "planish_vcvtneps2bf16_{lanes}"
# TVM keeps bfloat16 as integers, which LLVM's truncation does not give.
_WRAPPER = """
define linkonce_odr <{lanes} x i16> @{name}(<{lanes} x float> %x) alwaysinline nounwind {{
  %half = fptrunc <{lanes} x float> %x to <{lanes} x bfloat>
  %bits = bitcast <{lanes} x bfloat> %half to <{lanes} x i16>
  ret <{lanes} x i16> %bits
}}
"""


def memory_type(dtype: str) -> str:
    """Return the type of a buffer inside a kernel that holds numbers of `dtype`."""
    return BITS if dtype == HALF else dtype


def bits_of(half: Any) -> Any:
    """Return a bfloat16 as an integer; one that is held as such already is what it is."""
    from tvm import tirx

    return half if str(half.ty.dtype) == BITS else tirx.reinterpret(BITS, half)


def widened(half: Any) -> Any:
    """Return a bfloat16, or the bits of one, as float32."""
    from tvm import tirx

    bits = tirx.Cast("uint32", bits_of(half))
    return tirx.reinterpret("float32", bits << tirx.const(16, "uint32"))


def rounded(number: Any) -> Any:
    """Return a float32 as bfloat16, in integers."""
    from tvm import tirx

    return tirx.reinterpret(HALF, rounded_bits(number))


def rounded_bits(number: Any) -> Any:
    """Return the bits of a float32 as bfloat16."""
    from tvm import tirx

    def const(value: int) -> Any:
        return tirx.const(value, "uint32")

    bits = tirx.reinterpret("uint32", number)
    nearest = (bits + ((bits >> const(16)) & const(1)) + const(0x7FFF)) >> const(16)
    quiet = (bits >> const(16)) | const(0x40)
    is_nan = (bits & const(0x7FFFFFFF)) > const(0x7F800000)
    return tirx.Cast(BITS, tirx.Select(is_nan, quiet, nearest))


def rounds_in_one_instruction() -> bool:
    """Say whether the target that kernels are made for rounds a vector at once."""
    import tvm
    from tvm.target.codegen import target_has_features

    target = tvm.target.Target.current(allow_none=True)
    return target is not None and bool(target_has_features(["avx512bf16", "avx512vl"], target))


def store_rounded(buffer: Any, row: Any, lanes: int, place: Sequence[Any]) -> None:
    """Emit the instruction that rounds the `lanes` numbers of `row`, and the store at `place`."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    name = _ROUNDED.format(lanes=lanes)
    bits = tirx.call_pure_extern(f"{BITS}x{lanes}", name, row[tirx.Ramp(0, 1, lanes)])
    *outer, first = place
    wrapper = _WRAPPER.format(lanes=lanes, name=name)
    with T.attr(tirx.const(0, "int32"), "pragma_import_llvm", wrapper):
        held = str(buffer.dtype) == BITS
        half = bits if held else tirx.reinterpret(f"{HALF}x{lanes}", bits)
        T.buffer_store(buffer, half, [*outer, tirx.Ramp(first, 1, lanes)])
