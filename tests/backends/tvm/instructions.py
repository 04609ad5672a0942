"""Code for any instruction set, run here: as it is where the CPU has it, else on what it has.

Vectors of another length are cut by LLVM, products of several numbers at once become plain
arithmetic; layouts, packed weights and loop nests stay those of the instruction set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onnx_graphsurgeon as gs
import pytest

from planish.backends.contract.prepare import prepare
from planish.backends.tvm.compile.cpu import CpuToolchain
from planish.backends.tvm.kernels.dot import ByteDot, HalfDot
from planish.backends.tvm.kernels.registers import Register
from planish.backends.tvm.kernels.settings import Settings
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES, host_isa, runs_here

from .matrix_unit import stand_in


def each_isa(*alike: str) -> list[Any]:
    """Return all instruction sets, as slow tests those whose kernels are another's: `alike`."""
    return [
        pytest.param(isa, marks=[pytest.mark.slow] if isa in alike else [])
        for isa in sorted(MACHINES)
    ]


def make_runnable(isa: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the target for `isa`, whose code runs here until the test ends."""
    if not runs_here(isa):
        host = MACHINES[host_isa()]
        emulated = replace(MACHINES[isa], mcpu=host.mcpu, mattr=host.mattr, triple=host.triple)
        monkeypatch.setitem(MACHINES, isa, emulated)
        monkeypatch.setattr(CpuToolchain, "runs_here", lambda _: True)
        monkeypatch.setattr(ByteDot, "sums", _sums_of_bytes)
        monkeypatch.setattr(HalfDot, "add", _add_halves)
        stand_in(monkeypatch)
    return f"cpu{{isa={isa}}}"


def assembly_of(graph: gs.Graph, isa: str) -> str:
    """Return the machine code of `graph` for `isa`, whatever the CPU here has."""
    toolchain = CpuToolchain(MACHINES[isa], 1)
    lowered = lower_graph(toolchain.emitter(prepare(graph), Settings()))
    (code,) = toolchain.build(lowered.module).library.mod.imports
    return str(code.inspect_source("s"))


def _sums_of_bytes(self: ByteDot, total: Any, value: Any, weights: Any) -> Any:
    """VPDPBUSD: four unsigned bytes by four signed ones, added up in 32 bits, in every lane."""
    from tvm import tirx

    def all_lanes(number: int) -> Any:
        return tirx.Broadcast(tirx.const(number, "int32"), weights.ty.dtype.lanes)

    for i in range(4):
        byte = value >> all_lanes(8 * i) & all_lanes(255)
        signed = weights << all_lanes(24 - 8 * i) >> all_lanes(24)
        total = total + byte * signed
    return total


def _add_halves(self: HalfDot, total: Register, value: Any, w: Any, place: Sequence[Any]) -> None:
    """VDPBF16PS: two bfloat16 by two, each the upper half of a float32."""
    from tvm import tirx

    def halves(pair: Any) -> list[Any]:
        upper = tirx.const(-65536, "int32")
        return [tirx.reinterpret("float32", bits) for bits in (pair << 16, pair & upper)]

    def products(weight: Any) -> Any:
        return sum(
            (a * b for a, b in zip(halves(value), halves(weight), strict=True)),
            tirx.const(0, "float32"),
        )

    total.set(lambda lane: total[lane] + products(w[(*place, lane)]))
