"""A Relax program to machine code."""

from __future__ import annotations

from typing import Any

from ..runtime.threads import use_threads
from ..spec.machine import Machine
from .fusion import fused
from .generic import schedule_generic
from .shape_order import relax_pipeline
from .straight_line import arena_of, join_calls, register_pipeline


def build(module: Any, machine: Machine, threads: int, *, apart: bool = False) -> tuple[Any, int]:
    """Return the library of `module`, and the bytes of memory that a run is to be lent.

    What has no schedule is given one, and all kernels become one call. `apart`: leave them calls of
    their own, which can be watched one by one.
    """
    import tvm

    target = tvm.target.Target(machine.llvm(threads))
    module = scheduled(module, machine, threads)
    if not apart:
        module = join_calls(module)
    with target, tvm.transform.PassContext(opt_level=3):
        library = tvm.compile(
            module,
            target=target,
            relax_pipeline=relax_pipeline(),
            tir_pipeline=register_pipeline(),
        )
    return library, arena_of(module)


def scheduled(module: Any, machine: Machine, threads: int) -> Any:
    """Return `module` as calls of kernels that all have a schedule; TVM fuses its own operators."""
    import tvm

    use_threads(threads)  # constants are folded by running
    with tvm.target.Target(machine.llvm(threads)), tvm.transform.PassContext(opt_level=3):
        return schedule_generic(fused(module))
