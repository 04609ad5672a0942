"""The CPU that code is generated for: its vectors, registers and caches, and its name in LLVM."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from typing import Any

from ....ir.core.cpu import cache_sizes, cpu_flags, is_arm
from ....ir.core.errors import BackendError
from ....ir.core.nearest import nearest
from ....ir.core.target import Target
from .amx import withheld

TARGET_OPTIONS = ("isa", "threads")
ALIGNMENT = 64  # bytes: a cache line, and the widest vector


@dataclass(frozen=True, kw_only=True)
class CpuMachine:
    """A CPU: `lanes` float32 in a vector, `registers` vectors, cache sizes in bytes.

    `mcpu`, `mattr` and `triple` are what LLVM is told; without `triple` it is the machine here.
    """

    isa: str
    lanes: int
    registers: int
    mcpu: str
    mattr: tuple[str, ...] = ()
    triple: str = ""
    l1: int = 32 << 10
    l2: int = 1 << 20

    @property
    def architecture(self) -> str:
        """The architecture, as `platform.machine()` has it: of `triple`, or of the machine here."""
        arm = self.triple.startswith("aarch64") or (not self.triple and is_arm())
        return "aarch64" if self.isa == "neon" and arm else "x86_64"

    def has(self, feature: str) -> bool:
        """Say whether the instruction set has `feature`, as Linux names it."""
        return feature in FLAGS.get(self.isa, ())

    def llvm(self, threads: int) -> dict[str, Any]:
        """Return TVM's description of the target."""
        found: dict[str, Any] = {"kind": "llvm", "mcpu": self.mcpu, "num-cores": threads}
        if self.mattr:
            found["mattr"] = list(self.mattr)
        if self.triple:
            found["mtriple"] = self.triple
        return found


def _avx512(isa: str, mcpu: str) -> CpuMachine:
    # LLVM keeps to 256-bit vectors on these cores unless told otherwise.
    return CpuMachine(isa=isa, lanes=16, registers=32, mcpu=mcpu, mattr=("-prefer-256-bit",))


# The oldest cores with each instruction set, so that others' code has nothing that one lacks.
MACHINES = {
    found.isa: found
    for found in (
        CpuMachine(isa="avx2", lanes=8, registers=16, mcpu="haswell", l2=256 << 10),
        _avx512("avx512", "skylake-avx512"),
        _avx512("avx512-vnni", "cascadelake"),
        _avx512("avx512-bf16", "cooperlake"),
        replace(_avx512("amx", "sapphirerapids"), l1=48 << 10, l2=2 << 20),
        CpuMachine(
            isa="neon", lanes=4, registers=32, mcpu="neoverse-n1", triple="aarch64-linux-gnu"
        ),
    )
}


# What Linux says of a CPU that runs code for an instruction set, the best first.
_AVX512 = {"avx2", "fma", "avx512f", "avx512vl", "avx512dq", "avx512bw"}
_VNNI = {*_AVX512, "avx512_vnni"}
_BF16 = {*_VNNI, "avx512_bf16"}
FLAGS = {
    "amx": {*_BF16, "avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"},
    "avx512-bf16": _BF16,
    "avx512-vnni": _VNNI,
    "avx512": _AVX512,
    "avx2": {"avx2", "fma"},
}


def machine_of(target: Target) -> CpuMachine:
    """Return the machine that `target` names, or this one with its caches; raises BackendError."""
    given = target.known_options(TARGET_OPTIONS)
    isa = given.get("isa") or host_isa()
    if isa not in MACHINES:
        raise BackendError(f"target '{target}' has the unknown isa '{isa}'{nearest(isa, MACHINES)}")
    found = MACHINES[isa]
    if "isa" in given:
        return found
    sizes = cache_sizes()
    return replace(found, l1=sizes.get(1, found.l1), l2=sizes.get(2, found.l2))


def host_isa() -> str:
    """Return the name of the best instruction set that this machine has; raises BackendError."""
    if is_arm():
        return "neon"
    flags = cpu_flags()
    for isa, needed in FLAGS.items():
        if needed <= flags and not withheld(needed):
            return isa
    raise BackendError(
        f"backend 'tvm' needs a CPU with AVX2 or NEON, and this {platform.machine()} has neither; "
        f"name another with target 'cpu{{isa=...}}': {', '.join(MACHINES)}"
    )


def runs_here(isa: str) -> bool:
    """Say whether this machine executes code for `isa`."""
    try:
        here = host_isa()
    except BackendError:
        return False
    order = list(FLAGS)
    return isa == here or (isa in order and here in order and order.index(isa) >= order.index(here))
