"""A Relax program to machine code."""

from __future__ import annotations

from typing import Any

from ..runtime.built import Built
from ..runtime.linker import has_linker, linked
from ..runtime.threads import run_on
from ..spec.machine import CpuMachine
from .fusion import fused
from .generic import schedule_generic
from .onnxruntime_calls import nodes_elsewhere
from .parts import objects_of
from .pointer_kernels import register_pipeline
from .shape_order import relax_pipeline
from .single_call import arena_of, merge_calls

_FEW = 8  # functions of a program


def build(module: Any, machine: CpuMachine, threads: int, *, single_call: bool = True) -> Built:
    """Compile `module`: what has no schedule is given one, and all kernels become one call.

    Without `single_call` they stay calls of their own, which can be watched one by one.
    """
    import tvm

    module = scheduled(module, machine, threads)
    elsewhere = nodes_elsewhere(module)
    kernels: dict[str, Any] = {}
    if single_call:
        # Few kernels are compiled sooner than linked, and code for others may have no linker here.
        many = len(module.functions) > _FEW and has_linker(machine.architecture)
        module = merge_calls(module, apart=kernels if many else None)
    target = tvm.target.Target(machine.llvm(threads))
    with target, tvm.transform.PassContext(opt_level=3):
        library = tvm.compile(
            module,
            target=target,
            relax_pipeline=relax_pipeline(),
            tir_pipeline=register_pipeline(),
        )
    code = b""
    if kernels:
        code = linked(library, machine.architecture, objects_of(kernels, machine, threads))
    return Built(library, arena=arena_of(module), code=code, elsewhere=elsewhere)


def scheduled(module: Any, machine: CpuMachine, threads: int) -> Any:
    """Return `module` as calls of kernels that all have a schedule; TVM fuses its own operators."""
    import tvm

    def schedule() -> Any:
        with tvm.target.Target(machine.llvm(threads)), tvm.transform.PassContext(opt_level=3):
            return schedule_generic(fused(module))

    return run_on(1, schedule)  # constants are folded by running
