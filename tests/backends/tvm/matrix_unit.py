"""A stand-in for the matrix unit of AMX: its instructions as functions on registers in memory.

It takes what the instructions take: the 64 bytes of a configuration, register numbers, addresses
and strides, and has registers only between a configuration and a release. A product of registers
whose shapes do not fit each other adds nothing, and registers hold no zeros until they are written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from planish.backends.tvm.kernels.amx import unit

_CONFIGURED = 8 * 1024  # where the configuration lies, behind eight registers of a kilobyte
_SIZE = _CONFIGURED + 64


def stand_in(monkeypatch: pytest.MonkeyPatch, product: str = "") -> None:
    """Let kernels that are made until the test ends call functions for the matrix unit.

    `product`: LLVM's code for what is to stand in for the sum over a row, where it is another one.
    """
    held: list[Any] = []

    def emit(name: str, *given: Any) -> None:
        from tvm import tirx
        from tvm.tirx.script.builder import ir as script

        short = name.rpartition(".")[2]
        begins = short == "ldtilecfg"
        if begins:
            assert not held, "configured twice"
            held.append(script.alloc_buffer((_SIZE,), "uint8"))
            # TVM takes from a buffer what nothing reads or writes.
            script.buffer_store(held[-1], tirx.const(0, "uint8"), [_SIZE - 1])
        memory = tirx.address_of(held[-1][0])
        if short == "tilerelease":
            held.pop()
        call = tirx.call_extern("void", f"planish_{short}", memory, *given)
        with contextlib.ExitStack() as stack:
            if begins:
                zero = tirx.const(0, "int32")
                stack.enter_context(script.attr(zero, "pragma_import_llvm", code(product)))
            script.evaluate(call)

    monkeypatch.setattr(unit, "emit", emit)


def _loop(name: str, count: str, before: str, body: Callable[[str], str]) -> str:
    """Return a loop over `count`, an i64, behind the block `before`; it goes on in `NAME.end`."""
    i = f"%{name}.i"
    return f"""
  br label %{name}.test
{name}.test:
  {i} = phi i64 [ 0, %{before} ], [ %{name}.next, %{name}.last ]
  %{name}.more = icmp ult i64 {i}, {count}
  br i1 %{name}.more, label %{name}.body, label %{name}.end
{name}.body:
{body(i)}
  br label %{name}.last
{name}.last:
  %{name}.next = add i64 {i}, 1
  br label %{name}.test
{name}.end:
"""


def _row(name: str, register: str, row: str) -> str:
    return f"""
  %{name}.line = mul i64 {row}, 64
  %{name}.first = mul i64 {register}, 1024
  %{name}.at = add i64 %{name}.first, %{name}.line
  %{name} = getelementptr i8, ptr %m, i64 %{name}.at
"""


def _moved(name: str, to: str, source: str) -> str:
    """Return the function that moves the rows of a register, by what is `to` and `source`."""
    body = _loop(
        "row", "%rows", "entry",
        lambda i: _row("own", "%t", i) + f"""
  %far = mul i64 {i}, %stride
  %other = getelementptr i8, ptr %p, i64 %far
  call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 %bytes, i1 false)
""",
    )  # fmt: skip
    return f"""
define linkonce_odr void @planish_{name}(ptr %m, i8 %tile, ptr %p, i64 %stride) {{
entry:
  %t = zext i8 %tile to i64
  %rows = call i64 @planish_tile_rows(ptr %m, i64 %t)
  %bytes = call i64 @planish_tile_bytes(ptr %m, i64 %t)
{body}
  ret void
}}
"""


_BYTES = "".join(
    f"""
  %x.up.{i} = lshr <16 x i32> %x, splat (i32 {8 * i})
  %x.{i} = and <16 x i32> %x.up.{i}, splat (i32 255)
  %w.up.{i} = shl <16 x i32> %w, splat (i32 {24 - 8 * i})
  %w.{i} = ashr <16 x i32> %w.up.{i}, splat (i32 24)
  %product.{i} = mul <16 x i32> %x.{i}, %w.{i}
  %sum.{i + 1} = add <16 x i32> %sum.{i}, %product.{i}
"""
    for i in range(4)
)
WRONG = _BYTES.replace("ashr", "lshr")  # as if both factors were unsigned
_HALVES = """
  %x.low = shl <16 x i32> %x, splat (i32 16)
  %w.low = shl <16 x i32> %w, splat (i32 16)
  %x.high = and <16 x i32> %x, splat (i32 -65536)
  %w.high = and <16 x i32> %w, splat (i32 -65536)
  %x.0 = bitcast <16 x i32> %x.low to <16 x float>
  %w.0 = bitcast <16 x i32> %w.low to <16 x float>
  %x.1 = bitcast <16 x i32> %x.high to <16 x float>
  %w.1 = bitcast <16 x i32> %w.high to <16 x float>
  %product.0 = fmul <16 x float> %x.0, %w.0
  %product.1 = fmul <16 x float> %x.1, %w.1
  %sum.1 = fadd <16 x float> %sum.0, %product.0
  %sum.2 = fadd <16 x float> %sum.1, %product.1
"""


def _multiplied(name: str, kind: str, body: str, last: int) -> str:
    def step(row: str) -> Callable[[str], str]:
        return lambda k: _row("right", "%b", k) + f"""
  %word = getelementptr i32, ptr %left, i64 {k}
  %number = load i32, ptr %word, align 1
  %one = insertelement <16 x i32> poison, i32 %number, i32 0
  %x = shufflevector <16 x i32> %one, <16 x i32> poison, <16 x i32> zeroinitializer
  %w = load <16 x i32>, ptr %right, align 1
  %sum.0 = load <16 x {kind}>, ptr %total, align 1
{body}
  store <16 x {kind}> %sum.{last}, ptr %total, align 1
"""  # fmt: skip

    rows = _loop(
        "row", "%rows", "whole",
        lambda r: _row("total", "%c", r) + _row("left", "%a", r) + """
  br label %inner
inner:
""" + _loop("step", "%steps", "inner", step(r)),
    )  # fmt: skip
    return f"""
define linkonce_odr void @planish_{name}(ptr %m, i8 %tile.c, i8 %tile.a, i8 %tile.b) {{
entry:
  %c = zext i8 %tile.c to i64
  %a = zext i8 %tile.a to i64
  %b = zext i8 %tile.b to i64
  %rows = call i64 @planish_tile_rows(ptr %m, i64 %c)
  %rows.a = call i64 @planish_tile_rows(ptr %m, i64 %a)
  %steps = call i64 @planish_tile_rows(ptr %m, i64 %b)
  %bytes.c = call i64 @planish_tile_bytes(ptr %m, i64 %c)
  %bytes.a = call i64 @planish_tile_bytes(ptr %m, i64 %a)
  %bytes.b = call i64 @planish_tile_bytes(ptr %m, i64 %b)
  %wanted = mul i64 %steps, 4
  %same.rows = icmp eq i64 %rows, %rows.a
  %same.steps = icmp eq i64 %wanted, %bytes.a
  %same.lanes = icmp eq i64 %bytes.c, %bytes.b
  %both = and i1 %same.rows, %same.steps
  %fits = and i1 %both, %same.lanes
  br i1 %fits, label %whole, label %out
whole:
{rows}
  br label %out
out:
  ret void
}}
"""


def code(product: str = "") -> str:
    """Return LLVM's code of all instructions; `product` is that of the sums of bytes."""
    return f"""
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define linkonce_odr i64 @planish_tile_rows(ptr %m, i64 %t) {{
  %at = add i64 %t, {_CONFIGURED + 48}
  %place = getelementptr i8, ptr %m, i64 %at
  %rows = load i8, ptr %place, align 1
  %wide = zext i8 %rows to i64
  ret i64 %wide
}}

define linkonce_odr i64 @planish_tile_bytes(ptr %m, i64 %t) {{
  %begin = getelementptr i8, ptr %m, i64 {_CONFIGURED + 16}
  %place = getelementptr i16, ptr %begin, i64 %t
  %bytes = load i16, ptr %place, align 1
  %wide = zext i16 %bytes to i64
  ret i64 %wide
}}

define linkonce_odr void @planish_ldtilecfg(ptr %m, ptr %p) {{
  call void @llvm.memset.p0.i64(ptr %m, i8 90, i64 {_CONFIGURED}, i1 false)
  %at = getelementptr i8, ptr %m, i64 {_CONFIGURED}
  call void @llvm.memcpy.p0.p0.i64(ptr %at, ptr %p, i64 64, i1 false)
  ret void
}}

define linkonce_odr void @planish_tilerelease(ptr %m) {{
  call void @llvm.memset.p0.i64(ptr %m, i8 0, i64 {_SIZE}, i1 false)
  ret void
}}

define linkonce_odr void @planish_tilezero(ptr %m, i8 %tile) {{
  %t = zext i8 %tile to i64
{_row("own", "%t", "0")}
  call void @llvm.memset.p0.i64(ptr %own, i8 0, i64 1024, i1 false)
  ret void
}}
{_moved("tileloadd64", "%own", "%other")}
{_moved("tilestored64", "%other", "%own")}
{_multiplied("tdpbusd", "i32", product or _BYTES, 4)}
{_multiplied("tdpbf16ps", "float", _HALVES, 2)}
"""
