"""The matrix unit of AMX: eight tile registers of at most 16 rows of 64 bytes, and their products.

    c[m, n] += sum over k < 16, i < 4 of a[m, 4k + i] * b[k, 4n + i]      bytes to int32
    c[m, n] += sum over k < 16, i < 2 of a[m, 2k + i] * b[k, 2n + i]      bfloat16 to float32

A thread says first how many rows and bytes each register has, and lets go of them at the end: a
register that is in use has to be saved when the system changes threads. The registers have numbers
here; LLVM, which may not move them, keeps the order of these instructions among all loads and
stores.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18, and
volume 2, LDTILECFG, TDPBUSD and TDPBF16PS.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...spec.machine import CpuMachine
from ..elements import FLOAT

ROWS = 16  # of a register, at most
ROW_BYTES = 64  # at most
REGISTERS = 8
_PALETTE = 1  # eight registers of a kilobyte
_BYTES_AT, _ROWS_AT = 16, 48  # in the 64 bytes of a configuration
_PRODUCTS = {"int32": "llvm.x86.tdpbusd", FLOAT: "llvm.x86.tdpbf16ps"}
_FEATURES = {"int32": "amx_int8", FLOAT: "amx_bf16"}


@dataclass(frozen=True)
class TileShape:
    """Rows of a register, and the bytes of each."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class MatrixUnit:
    """The tile registers of a core, which are numbered as their `shapes` are.

    `total`: the type of sums, int32 where unsigned bytes are multiplied by signed ones, float32
    where bfloat16 are.
    """

    shapes: tuple[TileShape, ...]
    total: str

    @contextlib.contextmanager
    def configured(self) -> Iterator[None]:
        """Emit that the registers have these shapes for what is emitted inside."""
        from tvm import tirx
        from tvm.tirx.script.builder import ir as T

        words = configuration(self.shapes).view(np.int32)
        held = T.alloc_buffer(words.shape, "int32")
        for place, word in enumerate(words.tolist()):
            T.buffer_store(held, tirx.const(word, "int32"), [place])
        emit("llvm.x86.ldtilecfg", tirx.address_of(held[0]))
        yield
        emit("llvm.x86.tilerelease")

    def clear(self, register: int) -> None:
        """Emit that `register` is zero."""
        emit("llvm.x86.tilezero", _number(register))

    def load(self, register: int, buffer: Any, place: Sequence[Any], stride: int) -> None:
        """Emit that `register` holds rows of `buffer`, from `place` on, `stride` bytes apart."""
        emit("llvm.x86.tileloadd64", _number(register), *_rows(buffer, place, stride))

    def store(self, register: int, buffer: Any, place: Sequence[Any], stride: int) -> None:
        """Emit the store of `register` to rows of `buffer`, from `place` on."""
        emit("llvm.x86.tilestored64", _number(register), *_rows(buffer, place, stride))

    def multiply(self, total: int, a: int, b: int) -> None:
        """Emit the addition of the product of the registers `a` and `b` to `total`."""
        emit(_PRODUCTS[self.total], *map(_number, (total, a, b)))


def multiplies_tiles(machine: CpuMachine, total: str) -> bool:
    """Say whether `machine` has products of tiles whose sums are of the type `total`."""
    return total in _FEATURES and machine.has(_FEATURES[total])


def configuration(shapes: Sequence[TileShape]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the 64 bytes that LDTILECFG reads; registers without a shape have no rows."""
    found = np.zeros(64, np.uint8)
    found[0] = _PALETTE
    widths = found[_BYTES_AT:_ROWS_AT].view(np.uint16)
    for register, shape in enumerate(shapes):
        widths[register] = shape.bytes
        found[_ROWS_AT + register] = shape.rows
    return found


def emit(name: str, *given: Any) -> None:
    """Emit an instruction, by LLVM's name for it."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    T.evaluate(tirx.call_llvm_intrin("void", name, *given))


def _number(register: int) -> Any:
    from tvm import tirx

    return tirx.const(register, "int8")


def _rows(buffer: Any, place: Sequence[Any], stride: int) -> tuple[Any, Any]:
    from tvm import tirx

    return tirx.address_of(buffer[tuple(place)]), tirx.const(stride, "int64")
