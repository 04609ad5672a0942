"""Which of planish's machines a target of TVM's is."""

from __future__ import annotations

from typing import Any

from ...backends.tvm.spec.machine import FLAGS, MACHINES, CpuMachine, machine_of
from ...ir.core.cpu import core_numbers
from ...ir.core.errors import BackendError
from ...ir.core.target import Target


def target(isa: str | None = None, threads: int | None = None) -> Any:
    """Return TVM's target for planish's kernels: this machine, or the instruction set `isa`.

    `threads`: how many the work is cut for, by default one a core. Raises BackendError.
    """
    import tvm

    machine = machine_of(Target.parse("cpu" if isa is None else f"cpu{{isa={isa}}}"))
    return tvm.target.Target(machine.llvm(threads or len(core_numbers())))


def machine_for(found: Any) -> CpuMachine:
    """Return the best machine all of whose instructions the target `found` has.

    Raises BackendError where it is no CPU of those that planish has kernels for.
    """
    from tvm.target import codegen

    if str(found.kind.name) != "llvm":
        raise BackendError(
            f"planish's Relax kernels are for CPUs (llvm), and the target is {found.kind.name}; "
            "leave it to TVM's own pipelines"
        )
    triple = str(found.attrs.get("mtriple", "") or "")
    if triple.startswith("aarch64"):
        return MACHINES["neon"]
    known = {str(name).replace("_", "") for name in codegen.llvm_get_cpu_features(found)}
    for isa, flags in FLAGS.items():
        if {flag.replace("_", "") for flag in flags} <= known:
            return _with_caches(isa)
    raise BackendError(
        f"planish's kernels need AVX2 or NEON, which target '{found}' does not have; give "
        "planish.integrations.relax.target()"
    )


def _with_caches(isa: str) -> CpuMachine:
    """Return the machine of `isa`, with the caches of this one where it is this one."""
    here = machine_of(Target.parse("cpu"))
    return here if here.isa == isa else MACHINES[isa]


def threads_for(found: Any) -> int:
    """Return how many threads the target `found` has its work cut for."""
    return int(found.attrs.get("num-cores", 0) or 0) or len(core_numbers())
