"""A Relax program to machine code."""

from __future__ import annotations

from typing import Any

from ..runtime.built import Built
from ..runtime.linker import has_linker, linked
from ..runtime.threads import making_code, run_on
from ..spec.calls import SizedKernels
from ..spec.machine import CpuMachine
from .fusion import fused
from .generic import schedule_generic
from .onnxruntime_calls import nodes_elsewhere
from .parts import KernelCompiler, KernelObject
from .pointer_kernels import register_pipeline
from .pool import with_pool
from .shape_order import relax_pipeline
from .single_call import arena_of, merge_calls

_FEW = 8  # functions of a program


def build(
    module: Any,
    machine: CpuMachine,
    threads: int,
    compiler: KernelCompiler,
    *,
    single_call: bool = True,
    sized: SizedKernels | None = None,
) -> Built:
    """Compile `module`: what has no schedule is given one, and all kernels become one call.

    Without `single_call` they stay calls of their own, which can be watched one by one. `compiler`
    makes those of a single call, for the same machine and threads, unless they are few.
    """
    import tvm

    module = scheduled(module, machine, threads)
    elsewhere = nodes_elsewhere(module)
    merged = False
    parts: dict[str, KernelObject] = {}

    def apart(kernel: Any) -> str:
        part = compiler.begin(kernel)
        parts[part.symbol] = part
        return part.symbol

    target = tvm.target.Target(machine.llvm(threads))
    with making_code, target, tvm.transform.PassContext(opt_level=3):
        if single_call:
            # Few kernels are compiled sooner than linked; code for others may have no linker here.
            many = len(module.functions) > _FEW and has_linker(machine.architecture)
            whole = merge_calls(
                module, machine, threads, apart=apart if many else None, sized=sized
            )
            merged, module = whole is not module, whole
        # What is left then calls kernels and does no work: one long function, for which LLVM would
        # take longer than for all kernels.
        calling = tvm.target.Target({**machine.llvm(threads), "opt-level": 0})
        library = tvm.compile(
            with_pool(module, machine),
            target=calling if parts else target,
            relax_pipeline=relax_pipeline(),
            tir_pipeline=register_pipeline(),
        )
        objects = [part.code for part in parts.values()]
    code = linked(machine.architecture, objects, library) if objects else b""
    return Built(
        library, arena=arena_of(module), code=code, elsewhere=elsewhere, single_call=merged
    )


def scheduled(module: Any, machine: CpuMachine, threads: int) -> Any:
    """Return `module` as calls of kernels that all have a schedule; TVM fuses its own operators."""
    import tvm

    def schedule() -> Any:
        with tvm.target.Target(machine.llvm(threads)), tvm.transform.PassContext(opt_level=3):
            return schedule_generic(fused(module))

    return run_on(1, schedule)  # constants are folded by running
